//! Who does nothing although nothing holds it up.
//!
//! Time counts as the conductor itself gets to see it: where the machine stands still, or gives the
//! conductor no processor, nobody is blamed.

use std::time::Duration;

/// How long a live process that nobody rightly holds up may do nothing. A hundred times what the
/// scheduler of a busy machine takes; whoever waits for a dead process for good exceeds it.
pub const IDLE_MAX: Duration = Duration::from_secs(2);

/// Of a gap between two looks of the conductor, so much counts.
const LOOK_MAX: Duration = Duration::from_millis(50);

/// Of the conductor's time, what counts.
pub fn counted(elapsed: Duration) -> Duration {
    elapsed.min(LOOK_MAX)
}

/// How long a worker has done nothing.
#[derive(Clone, Debug, Default)]
pub struct Idle {
    progress: u64,
    time: Duration,
}

impl Idle {
    /// Looks at how far it has come. `counts`: it ought to have come further meanwhile. Returns
    /// whether it has been idle for too long, once.
    pub fn is_too_long(&mut self, progress: u64, elapsed: Duration, counts: bool) -> bool {
        if progress != self.progress {
            *self = Self { progress, time: Duration::ZERO };
            return false;
        }
        if !counts {
            return false;
        }
        let before = self.time;
        self.time += counted(elapsed);
        before <= IDLE_MAX && self.time > IDLE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_nothing_is_found_once() {
        let mut idle = Idle::default();
        let tick = LOOK_MAX;
        let ticks = u32::try_from(IDLE_MAX.as_millis() / tick.as_millis()).unwrap();
        assert!((0..ticks).all(|_| !idle.is_too_long(0, tick, true)));
        assert!(idle.is_too_long(0, tick, true));
        assert!(!idle.is_too_long(0, tick, true), "said once");
        idle.is_too_long(1, tick, true);
        assert!((0..ticks).all(|_| !idle.is_too_long(1, tick, true)));
        assert!(idle.is_too_long(1, tick, true), "and again, having come further meanwhile");
    }

    #[test]
    fn time_that_the_conductor_did_not_see_is_not_held_against_anybody() {
        let mut idle = Idle::default();
        assert!(!idle.is_too_long(0, Duration::from_secs(60), true));
        assert!((0..1000).all(|_| !idle.is_too_long(0, LOOK_MAX, false)));
    }
}
