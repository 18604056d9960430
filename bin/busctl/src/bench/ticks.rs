//! A stopwatch for round trips: the processor's time stamp counter where it may be trusted,
//! `CLOCK_MONOTONIC` elsewhere.
//!
//! A round trip between two cores takes about 100 ns and a `clock_gettime` a fifth of that, so the
//! clock would be a good part of what is measured; reading the counter costs 8 ns. Differences are
//! only ever taken within one process. The counter is trusted when Linux itself keeps time by it or
//! says that it is constant and does not stop; its rate is then measured against `CLOCK_MONOTONIC`.

use super::pace::monotonic_ns;

/// How long the rate of the counter is measured: at this length an interrupt of 10 µs is 0.05 %.
#[cfg(target_arch = "x86_64")]
const CALIBRATION_NS: u64 = 20_000_000;

/// A calibrated stopwatch.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// Nanoseconds in 2^32 ticks; 2^32 itself when a tick is a nanosecond.
    scale: u64,
    counter: bool,
}

impl Ticks {
    /// Chooses the clock and measures its rate. Takes 20 ms on x86-64.
    pub fn calibrate() -> Self {
        #[cfg(target_arch = "x86_64")]
        if counter_is_constant() {
            let (begin_ns, begin) = (monotonic_ns(), counter());
            let mut end_ns = begin_ns;
            while end_ns.saturating_sub(begin_ns) < CALIBRATION_NS {
                std::hint::spin_loop();
                end_ns = monotonic_ns();
            }
            let ticks = counter().saturating_sub(begin);
            let scale = (u128::from(end_ns - begin_ns) << 32) / u128::from(ticks.max(1));
            return Self { scale: u64::try_from(scale).unwrap_or(u64::MAX), counter: true };
        }
        Self { scale: 1 << 32, counter: false }
    }

    /// The present reading, in ticks.
    #[inline]
    pub fn now(self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if self.counter {
            return counter();
        }
        monotonic_ns()
    }

    /// A difference of two readings, in nanoseconds.
    #[inline]
    pub fn to_ns(self, ticks: u64) -> u64 {
        u64::try_from((u128::from(ticks) * u128::from(self.scale)) >> 32).unwrap_or(u64::MAX)
    }

    /// Nanoseconds, as a difference of readings.
    pub fn ticks_of(self, ns: u64) -> u64 {
        u64::try_from((u128::from(ns) << 32) / u128::from(self.scale.max(1))).unwrap_or(u64::MAX)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; that user mode may use it is what
    // `counter_is_constant` saw: Linux lists the flag for processors where it is enabled.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(target_arch = "x86_64")]
fn counter_is_constant() -> bool {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    if std::fs::read_to_string(source).is_ok_and(|name| name.trim() == "tsc") {
        return true;
    }
    let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else {
        return false;
    };
    let Some(flags) = text.lines().find(|line| line.starts_with("flags")) else {
        return false;
    };
    ["tsc", "constant_tsc", "nonstop_tsc"]
        .iter()
        .all(|wanted| flags.split_whitespace().any(|flag| flag == *wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_agrees_with_the_system_clock() {
        let ticks = Ticks::calibrate();
        let (begin_ns, begin) = (monotonic_ns(), ticks.now());
        std::thread::sleep(std::time::Duration::from_millis(30));
        let measured = ticks.to_ns(ticks.now() - begin);
        let real = monotonic_ns() - begin_ns;
        assert!(measured.abs_diff(real) < real / 5, "{measured} ns against {real} ns");
        let there_and_back = ticks.to_ns(ticks.ticks_of(1_000_000));
        assert!(there_and_back.abs_diff(1_000_000) < 1_000, "{there_and_back}");
    }
}
