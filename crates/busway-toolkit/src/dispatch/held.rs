//! How many events are held outside the bus: the bound on what a dispatcher takes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A count with a bound, and somebody who may wait for it to fall.
#[derive(Debug)]
pub(super) struct Held {
    count: AtomicUsize,
    max: usize,
    /// Somebody waits.
    awaited: AtomicBool,
    lock: Mutex<()>,
    fell: Condvar,
}

impl Held {
    pub(super) fn new(max: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            max,
            awaited: AtomicBool::new(false),
            lock: Mutex::new(()),
            fell: Condvar::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        // ORDERING: acquire, pairs with the release in `remove`: who sees 0 sees what the last one counted.
        self.count.load(Ordering::Acquire)
    }

    /// How many more may be held.
    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.count())
    }

    pub(super) fn add(&self) {
        // ORDERING: relaxed; only the polling thread adds, and it alone keeps the bound.
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// One has ended. Wakes who waits when a quarter is free, or all.
    pub(super) fn remove(&self) {
        // ORDERING: release, see `count`.
        let left = self.count.fetch_sub(1, Ordering::Release).saturating_sub(1);
        // ORDERING: relaxed; a wake that is missed costs as long as the wait lasts at most.
        if (left == 0 || left <= self.max - self.max / 4) && self.awaited.load(Ordering::Relaxed) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.fell.notify_one();
        }
    }

    /// Waits until it falls, or for so long.
    pub(super) fn wait(&self, longest: Duration) {
        let before = self.count();
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // ORDERING: as in `remove`.
        self.awaited.store(true, Ordering::Relaxed);
        if self.count() >= before && before > 0 {
            drop(self.fell.wait_timeout(guard, longest));
        }
        // ORDERING: as in `remove`.
        self.awaited.store(false, Ordering::Relaxed);
    }
}
