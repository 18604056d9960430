//! Time for workers: the shared clock, and waiting until a moment of it.
//!
//! Reference: clock_nanosleep(2).

use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{Timespec, clock_gettime};
use std::num::NonZeroU64;

/// The rest of a wait that is spent awake: a sleep ends up to this much late on an idle core.
const AWAKE_NS: u64 = 100_000;

/// Nanoseconds of `CLOCK_MONOTONIC`: the clock of frames' `time_ns`, the same in every process.
#[inline]
pub fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

/// Asks the kernel not to round this thread's timers (by 50 µs, as it does by default).
pub fn precise_timers() {
    // Only punctuality depends on it, and the report shows punctuality.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}

/// Sleeps until `CLOCK_MONOTONIC` reaches `at_ns`; returns at once when that is past.
pub fn sleep_until(at_ns: u64) {
    let request = Timespec {
        tv_sec: i64::try_from(at_ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (at_ns % 1_000_000_000).cast_signed(),
    };
    // A signal ends the sleep early; every caller looks at the clock again.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &request);
}

/// Waits until `at_ns` and returns the time then: asleep first, awake for the last stretch.
///
/// `spins`: keep the core for that stretch; otherwise it is offered to whoever is runnable.
#[inline]
pub fn wait_until(at_ns: u64, spins: bool) -> u64 {
    loop {
        let now_ns = monotonic_ns();
        if now_ns >= at_ns {
            return now_ns;
        }
        if at_ns - now_ns > 2 * AWAKE_NS {
            sleep_until(at_ns - AWAKE_NS);
        } else if spins {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_never_ends_early() {
        for spins in [false, true] {
            let at_ns = monotonic_ns() + 1_000_000;
            assert!(wait_until(at_ns, spins) >= at_ns);
        }
    }

    #[test]
    fn a_moment_that_is_past_is_not_waited_for() {
        sleep_until(0);
        assert!(wait_until(0, true) > 0);
    }
}
