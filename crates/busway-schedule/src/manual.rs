//! A clock that stands still until it is moved: for tests.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Now, Wake, nanoseconds};

/// Longest sleep, in real time; a sleeper then looks again.
const PARK_LONGEST: Duration = Duration::from_secs(1);

/// Two clocks that show what they are told to.
///
/// # Examples
/// ```
/// use busway_schedule::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::new(1_000, 0);
/// clock.advance(Duration::from_nanos(5));
/// clock.set_wall(10);
/// assert_eq!((clock.now().wall_ns, clock.now().elapsed_ns), (10, 5));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    now: Now,
    woken: bool,
}

impl ManualClock {
    /// Clocks that show these times, in nanoseconds.
    #[must_use]
    pub fn new(wall_ns: u64, elapsed_ns: u64) -> Self {
        let state = State { now: Now { wall_ns, elapsed_ns }, woken: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by = nanoseconds(by);
        let mut state = self.lock();
        state.now.wall_ns = state.now.wall_ns.saturating_add(by);
        state.now.elapsed_ns = state.now.elapsed_ns.saturating_add(by);
        state.woken = true;
        self.changed.notify_all();
    }

    /// Sets the wall clock; no time passes.
    pub fn set_wall(&self, wall_ns: u64) {
        let mut state = self.lock();
        state.now.wall_ns = wall_ns;
        state.woken = true;
        self.changed.notify_all();
    }

    /// Two plain values: whoever panicked with them left them whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        self.lock().now
    }

    fn park(&self, wake: Wake) {
        let is_over = |state: &State| {
            state.woken
                || wake.wall_ns.is_some_and(|due| due <= state.now.wall_ns)
                || wake.elapsed_ns.is_some_and(|due| due <= state.now.elapsed_ns)
        };
        let waited =
            self.changed.wait_timeout_while(self.lock(), PARK_LONGEST, |state| !is_over(state));
        waited.unwrap_or_else(PoisonError::into_inner).0.woken = false;
    }

    fn wake(&self) {
        self.lock().woken = true;
        self.changed.notify_all();
    }
}
