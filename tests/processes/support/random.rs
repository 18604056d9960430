//! Random numbers with a seed that a failing test prints: `BUSWAY_TEST_SEED` repeats a run.

use std::time::{SystemTime, UNIX_EPOCH};

/// SplitMix64: one step from `state`, well mixed.
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of random numbers.
#[derive(Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Starts at the seed of this run and prints it, which shows when the test fails.
    pub fn of_run() -> Self {
        let seed = std::env::var("BUSWAY_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::from(age.subsec_nanos()) ^ (u64::from(std::process::id()) << 32)
            });
        println!("BUSWAY_TEST_SEED={seed}");
        Self::from_seed(seed)
    }

    pub fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        mix(self.state)
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}
