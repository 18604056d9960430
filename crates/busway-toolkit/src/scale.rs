//! How many workers: a fixed number, or as many as the work asks for between two limits.
//!
//! A crew is saturated when work waits and nobody is idle. Saturated without a break for `grow_after`, it
//! grows by one; a worker that had nothing to do for `idle_after` leaves.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::nanoseconds;
use crate::error::BuildError;

/// More threads than this on one host are a mistake.
pub const WORKERS_MAX: u32 = 1024;

/// Between which limits a pool of workers keeps its size.
///
/// # Examples
/// ```
/// use busway_toolkit::Workers;
///
/// assert_eq!(Workers::fixed(4), Workers { min: 4, max: 4, ..Workers::default() });
/// assert!(Workers::between(1, 8).max > 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Never fewer. 0 only together with a `max` of 0.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// How long work has to wait with nobody idle before one more is started.
    pub grow_after: Duration,
    /// How long a worker above `min` stays without work.
    pub idle_after: Duration,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            min: 1,
            max: 1,
            grow_after: Duration::from_millis(5),
            idle_after: Duration::from_secs(10),
        }
    }
}

impl Workers {
    /// Always this many.
    #[must_use]
    pub fn fixed(count: u32) -> Self {
        Self { min: count, max: count, ..Self::default() }
    }

    /// From `min` to `max`, as the work asks for.
    #[must_use]
    pub fn between(min: u32, max: u32) -> Self {
        Self { min, max, ..Self::default() }
    }

    /// Whether there are no threads at all.
    pub(crate) fn is_none(&self) -> bool {
        self.max == 0
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let allowed = || format!("1 to {WORKERS_MAX}");
        if self.max > WORKERS_MAX {
            return Err(BuildError::limit("workers.max", self.max, allowed()));
        }
        if self.max > 0 && (self.min == 0 || self.min > self.max) {
            return Err(BuildError::limit("workers.min", self.min, format!("1 to {}", self.max)));
        }
        if self.max == 0 && self.min > 0 {
            return Err(BuildError::limit("workers.max", 0_u32, format!("{} or more", self.min)));
        }
        Ok(())
    }
}

/// Who works: counted, not known.
#[derive(Debug)]
pub(crate) struct Crew {
    workers: Workers,
    size: AtomicU32,
    idle: AtomicU32,
    /// Since when it has been saturated.
    saturated_since_ns: Mutex<Option<u64>>,
}

impl Crew {
    /// A crew of its least size: that many are to be started.
    pub(crate) fn new(workers: Workers) -> Self {
        Self {
            workers,
            size: AtomicU32::new(workers.min),
            idle: AtomicU32::new(0),
            saturated_since_ns: Mutex::new(None),
        }
    }

    pub(crate) fn size(&self) -> u32 {
        // ORDERING: relaxed here and below; counts that nothing else is read by.
        self.size.load(Ordering::Relaxed)
    }

    pub(crate) fn idle_after(&self) -> Duration {
        self.workers.idle_after
    }

    /// A worker has nothing to do while `wait` runs.
    pub(crate) fn while_idle<T>(&self, wait: impl FnOnce() -> T) -> T {
        // ORDERING: as in `size`.
        self.idle.fetch_add(1, Ordering::Relaxed);
        let value = wait();
        self.idle.fetch_sub(1, Ordering::Relaxed);
        value
    }

    /// Whether one more is to be started, who is then counted already. Asked when work was put into the
    /// queue, with how much waits there. Costs one load unless the crew can grow.
    pub(crate) fn grows(
        &self,
        waiting: impl FnOnce() -> usize,
        now_ns: impl FnOnce() -> u64,
    ) -> bool {
        if self.size() >= self.workers.max {
            return false;
        }
        // ORDERING: as in `size`.
        let saturated = self.idle.load(Ordering::Relaxed) == 0 && waiting() > 0;
        let mut since = self.saturated_since_ns.lock().unwrap_or_else(PoisonError::into_inner);
        if !saturated {
            *since = None;
            return false;
        }
        let now = now_ns();
        let began = *since.get_or_insert(now);
        if now.saturating_sub(began) < nanoseconds(self.workers.grow_after) {
            return false;
        }
        // The next one has to be asked for as long again.
        *since = Some(now);
        // ORDERING: relaxed, as in `size`; the compare keeps the limit.
        let grown = self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| {
            (size < self.workers.max).then_some(size + 1)
        });
        grown.is_ok()
    }

    /// Whether a worker that has been idle for long enough leaves; it is then not counted any more.
    pub(crate) fn lets_go(&self) -> bool {
        // ORDERING: relaxed, as in `size`; the compare keeps the limit.
        let left = self.size.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |size| {
            (size > self.workers.min).then(|| size - 1)
        });
        left.is_ok()
    }

    /// One that was counted could not be started, or has ended.
    pub(crate) fn lost_one(&self) {
        // ORDERING: as in `size`.
        self.size.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crew_grows_only_after_it_was_saturated_without_a_break() {
        let crew =
            Crew::new(Workers { grow_after: Duration::from_nanos(10), ..Workers::between(1, 3) });
        assert!(!crew.grows(|| 5, || 0));
        assert!(!crew.grows(|| 5, || 9));
        assert!(!crew.grows(|| 0, || 10), "nothing waits: it begins anew");
        assert!(!crew.grows(|| 5, || 11));
        assert!(!crew.while_idle(|| crew.grows(|| 5, || 30)), "one is idle: it begins anew");
        assert!(!crew.grows(|| 5, || 31));
        assert!(crew.grows(|| 5, || 41));
        assert!(!crew.grows(|| 5, || 42), "one at a time");
        assert!(crew.grows(|| 5, || 51));
        assert!(!crew.grows(|| 5, || 1_000), "never above its limit");
        assert_eq!(crew.size(), 3);
    }

    #[test]
    fn crew_never_falls_below_its_least_size() {
        let crew = Crew::new(Workers { grow_after: Duration::ZERO, ..Workers::between(1, 2) });
        assert!(crew.grows(|| 1, || 0));
        assert!(crew.lets_go());
        assert!(!crew.lets_go());
        assert_eq!(crew.size(), 1);
    }

    #[test]
    fn limits_that_make_no_sense_are_refused_by_name() {
        assert!(Workers::fixed(0).check().is_ok(), "no threads at all");
        let error = Workers::between(0, 4).check().unwrap_err().to_string();
        assert_eq!(error, "workers.min 0 is out of range; allowed: 1 to 4");
        assert!(Workers::between(5, 4).check().is_err());
        assert!(Workers::between(1, 0).check().is_err());
        assert!(Workers::between(1, WORKERS_MAX + 1).check().is_err());
    }
}
