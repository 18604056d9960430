//! Random numbers that a seed determines: the schedule of a run can be had again.

/// SplitMix64: one step from `state`, well mixed (Steele, Lea, Flood 2014).
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sequence of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed and of who asks, so that nobody's draws move anybody else's.
    pub fn of(seed: u64, whose: &[u64]) -> Self {
        Self(whose.iter().fold(mix(seed), |state, part| mix(state ^ part)))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// A number from `low` to `high`, both included.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// A number from 1 to `most`, small ones as likely as large ones: uniform in its logarithm.
    pub fn any_size(&mut self, most: u64) -> u64 {
        let bits = u64::from(most.max(1).ilog2());
        let top = self.within(0, bits);
        self.within(1 << top, (2 << top) - 1).min(most)
    }

    /// Whether something of this chance comes about.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    /// One of several; `None` of none.
    pub fn one_of<T: Copy>(&mut self, several: &[T]) -> Option<T> {
        let count = u64::try_from(several.len()).unwrap_or(0);
        let index = self.next().checked_rem(count)?;
        several.get(usize::try_from(index).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_an_asker_give_the_same_numbers_again() {
        let numbers = |seed, whose: &[u64]| {
            let mut random = Random::of(seed, whose);
            [random.next(), random.within(3, 9), random.any_size(1000)]
        };
        assert_eq!(numbers(1, &[2, 3]), numbers(1, &[2, 3]));
        assert_ne!(numbers(1, &[2, 3]), numbers(1, &[3, 2]));
        assert_ne!(numbers(1, &[2, 3]), numbers(2, &[2, 3]));
    }

    #[test]
    fn sizes_are_in_their_range_and_of_every_magnitude() {
        let mut random = Random::of(7, &[]);
        let sizes: Vec<u64> = (0..1000).map(|_| random.any_size(100)).collect();
        assert!(sizes.iter().all(|size| (1..=100).contains(size)));
        assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 64));
        assert_eq!(random.one_of::<u8>(&[]), None);
    }
}
