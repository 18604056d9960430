//! A time to wait for together with other things.

use std::time::{Duration, Instant};

use crate::park::{Bed, PARK};
use crate::waits::Waits;

/// Is ready from its time on, until it is set anew: for a wait set, and with the feature `async` for
/// tasks, on any executor and without one thread more (the one that sleeps for all tasks of the process).
///
/// # Examples
/// ```
/// use busway::{Timer, WaitSet};
/// use std::time::Duration;
///
/// let (mut soon, mut never) = (Timer::after(Duration::from_millis(2)), Timer::new());
/// let mut set = WaitSet::new();
/// assert_eq!(set.poll(&mut [&mut never, &mut soon]), None);
/// assert_eq!(set.wait(&mut [&mut never, &mut soon], None), Some(1));
/// soon.set(None);
/// assert_eq!(set.poll(&mut [&mut never, &mut soon]), None);
/// ```
#[derive(Debug)]
pub struct Timer {
    at: Option<Instant>,
    bed: Bed,
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

impl Timer {
    /// One that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self { at: None, bed: Bed::nowhere() }
    }

    /// One that is ready when so much time has gone by.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        // What is too far for the clock never comes.
        Self { at: Instant::now().checked_add(time), ..Self::new() }
    }

    /// Sets it to another time, or to none.
    pub fn set(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Whether its time has come.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }
}

impl Waits for Timer {
    fn look(&mut self) -> bool {
        self.is_over()
    }

    fn bed(&self) -> &Bed {
        &self.bed
    }

    fn probe(&mut self) {}

    fn longest_wait(&self) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.at.map_or(PARK, left).min(PARK)
    }
}
