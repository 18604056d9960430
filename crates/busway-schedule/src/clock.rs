//! The two clocks that things are due by, and waiting on both at once.
//!
//! References: timerfd_create(2), clock_getres(2), eventfd(2).

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// Longest time to sleep without a look, whatever the kernel has promised.
const PARK_LONGEST: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// How long to sleep where the kernel does not do what it should.
const PARK_BLIND: Duration = Duration::from_millis(1);

const NANOS: u64 = 1_000_000_000;

/// When something is due, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// When the wall clock shows it: since 1970 UTC.
    Wall(u64),
    /// After so much time, sleep of the machine included: since the machine's start.
    Elapsed(u64),
}

/// What both clocks show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_REALTIME`, nanoseconds since 1970 UTC.
    pub wall_ns: u64,
    /// `CLOCK_BOOTTIME`, nanoseconds since the machine's start.
    pub elapsed_ns: u64,
}

/// The first time of each clock that is worth waking up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// On the wall clock.
    pub wall_ns: Option<u64>,
    /// On the clock of elapsed time.
    pub elapsed_ns: Option<u64>,
}

/// What a scheduler tells the time by.
pub trait Clock: Send + Sync {
    /// What the clocks show.
    fn now(&self) -> Now;

    /// Sleeps until a time of `wake` has come, the wall clock was set, or somebody calls
    /// [`wake`](Self::wake), which counts also when it came before. May return earlier.
    fn park(&self, wake: Wake);

    /// Ends a sleep.
    fn wake(&self);
}

/// The kernel's clocks, and its timers to sleep by.
#[derive(Debug)]
pub struct SystemClock {
    woken: OwnedFd,
    wall: OwnedFd,
    elapsed: OwnedFd,
}

impl Due {
    /// At a time of the wall clock. Times before 1970 are due at once.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Wall(nanoseconds(since))
    }

    /// How long ago that was; zero when it is still to come.
    #[must_use]
    pub fn late(self, now: Now) -> Duration {
        let (due, now) = match self {
            Self::Wall(due) => (due, now.wall_ns),
            Self::Elapsed(due) => (due, now.elapsed_ns),
        };
        Duration::from_nanos(now.saturating_sub(due))
    }

    /// So much later on the same clock.
    #[must_use]
    pub fn plus(self, more_ns: u64) -> Self {
        match self {
            Self::Wall(due) => Self::Wall(due.saturating_add(more_ns)),
            Self::Elapsed(due) => Self::Elapsed(due.saturating_add(more_ns)),
        }
    }
}

/// As a number; what is longer than 584 years is that long.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl SystemClock {
    /// Takes three descriptors.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self {
            woken: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            wall: timerfd_create(TimerfdClockId::Realtime, flags)?,
            elapsed: timerfd_create(TimerfdClockId::Boottime, flags)?,
        })
    }

    /// Sets both timers. `Ok(false)`: the wall clock was set just now, so look again first.
    fn arm(&self, wake: Wake) -> Result<bool, Errno> {
        let once = TimerfdTimerFlags::ABSTIME;
        timerfd_settime(&self.elapsed, once, &at(wake.elapsed_ns))?;
        let told = once | TimerfdTimerFlags::CANCEL_ON_SET;
        match timerfd_settime(&self.wall, told, &at(wake.wall_ns)) {
            Ok(_) => Ok(true),
            Err(Errno::CANCELED) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let read = |id| {
            let time = clock_gettime(id);
            // Neither clock shows a time before its beginning.
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
            seconds.saturating_mul(NANOS).saturating_add(rest)
        };
        Now { wall_ns: read(ClockId::Realtime), elapsed_ns: read(ClockId::Boottime) }
    }

    fn park(&self, wake: Wake) {
        match self.arm(wake) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return std::thread::sleep(PARK_BLIND),
        }
        let ready = |fd| PollFd::new(fd, PollFlags::IN);
        let mut fds = [ready(&self.woken), ready(&self.wall), ready(&self.elapsed)];
        match poll(&mut fds, Some(&PARK_LONGEST)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return std::thread::sleep(PARK_BLIND),
        }
        // The timers are set anew before they are waited for again. Nothing to read is fine.
        let _none = rustix::io::read(&self.woken, &mut [0; 8]);
    }

    fn wake(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.woken, &1_u64.to_ne_bytes());
    }
}

/// Once, at this time; never, without one. Zero would mean never to the kernel.
fn at(time_ns: Option<u64>) -> Itimerspec {
    let never = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = time_ns.map_or(never, |time| Timespec {
        tv_sec: i64::try_from(time.max(1) / NANOS).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(time.max(1) % NANOS).unwrap_or(0),
    });
    Itimerspec { it_interval: never, it_value: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parked_until_a_time_of_either_clock_or_a_call() {
        let clock = SystemClock::new().unwrap();
        let soon = 2_000_000;
        let start = clock.now();
        clock.park(Wake { wall_ns: Some(start.wall_ns + soon), elapsed_ns: None });
        let second = clock.now();
        clock.park(Wake { wall_ns: None, elapsed_ns: Some(second.elapsed_ns + soon) });
        assert!(clock.now().elapsed_ns - start.elapsed_ns >= soon, "{start:?}");
        clock.wake();
        clock.park(Wake::default());
        clock.park(Wake { wall_ns: Some(0), elapsed_ns: None });
        clock.park(Wake { wall_ns: None, elapsed_ns: Some(1) });
    }

    #[test]
    fn what_is_due_is_late_by_its_own_clock() {
        let now = Now { wall_ns: 100, elapsed_ns: 10 };
        assert_eq!(Due::Wall(40).late(now), Duration::from_nanos(60));
        assert_eq!(Due::Elapsed(40).late(now), Duration::ZERO);
        assert_eq!(Due::at(UNIX_EPOCH - Duration::from_secs(1)), Due::Wall(0));
        assert_eq!(Due::Wall(u64::MAX).plus(1), Due::Wall(u64::MAX));
    }
}
