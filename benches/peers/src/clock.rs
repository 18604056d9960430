//! Time: `CLOCK_MONOTONIC`, which is the same in every process, and waiting for a moment of it.
//!
//! Reading it takes some 20 ns by the vDSO; on latencies it is part of both ends' figures, for all
//! peers alike. Reference: `clock_nanosleep(2)`.

use std::num::NonZeroU64;

use rustix::thread::{ClockId, clock_nanosleep_absolute, set_current_timer_slack};
use rustix::time::{Timespec, clock_gettime};

/// A sleep ends up to this much late on an idle core: the rest of a wait is spent awake.
const AWAKE_NS: u64 = 100_000;

const NS_PER_S: u64 = 1_000_000_000;

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline]
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * NS_PER_S + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Asks the kernel not to round this thread's timers (by 50 µs, as it does by default).
pub fn precise_timers() {
    // Only punctuality depends on it.
    let _ = set_current_timer_slack(NonZeroU64::new(1));
}

/// Sleeps until the clock shows `at_ns`; returns at once when that is past. May end early.
pub fn sleep_until(at_ns: u64) {
    let request = Timespec {
        tv_sec: i64::try_from(at_ns / NS_PER_S).unwrap_or(i64::MAX),
        tv_nsec: (at_ns % NS_PER_S).cast_signed(),
    };
    // A signal ends the sleep early; every caller looks at the clock again.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &request);
}

/// Waits until `at_ns`: asleep first, awake for the last stretch. Never ends early.
///
/// `crowded`: offer the core to others meanwhile.
#[inline]
pub fn wait_until(at_ns: u64, crowded: bool) {
    loop {
        let now_ns = now_ns();
        if now_ns >= at_ns {
            return;
        }
        if at_ns - now_ns > 2 * AWAKE_NS {
            sleep_until(at_ns - AWAKE_NS);
        } else if crowded {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

/// How long the rate of the counter is measured: at this length an interrupt of 10 µs is 0.1 %.
#[cfg(target_arch = "x86_64")]
const CALIBRATION_NS: u64 = 10_000_000;

/// A stopwatch within one process: the time stamp counter on x86-64, which takes 8 ns to read where
/// the clock takes 20, and the clock elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// Nanoseconds in 2^32 ticks.
    scale: u128,
}

impl Ticks {
    /// Measures the counter's rate against the clock. Takes 10 ms on x86-64.
    pub fn calibrate() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let (begin_ns, begin) = (now_ns(), Self::now());
            let mut end_ns = begin_ns;
            while end_ns - begin_ns < CALIBRATION_NS {
                end_ns = now_ns();
            }
            let ticks = Self::now().saturating_sub(begin).max(1);
            Self { scale: (u128::from(end_ns - begin_ns) << 32) / u128::from(ticks) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Self { scale: 1 << 32 }
    }

    /// The present reading, in ticks.
    #[inline]
    #[allow(unsafe_code, reason = "the counter is read by an intrinsic")]
    pub fn now() -> u64 {
        // SAFETY: every x86-64 processor has the instruction, and Linux lets user mode use it.
        #[cfg(target_arch = "x86_64")]
        return unsafe { core::arch::x86_64::_rdtsc() };
        #[cfg(not(target_arch = "x86_64"))]
        now_ns()
    }

    /// Nanoseconds from one reading to another.
    #[inline]
    pub fn between(self, from: u64, to: u64) -> u64 {
        let ticks = u128::from(to.saturating_sub(from));
        u64::try_from((ticks * self.scale) >> 32).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_never_ends_early() {
        for crowded in [false, true] {
            let at_ns = now_ns() + 1_000_000;
            wait_until(at_ns, crowded);
            assert!(now_ns() >= at_ns);
        }
    }

    #[test]
    fn the_stopwatch_agrees_with_the_clock() {
        let ticks = Ticks::calibrate();
        let (begin_ns, begin) = (now_ns(), Ticks::now());
        std::thread::sleep(std::time::Duration::from_millis(30));
        let measured_ns = ticks.between(begin, Ticks::now());
        let real_ns = now_ns() - begin_ns;
        assert!(measured_ns.abs_diff(real_ns) < real_ns / 5, "{measured_ns} ns, {real_ns} ns");
    }
}
