//! When the time of a handler that runs is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// A time, and a number that tells equal ones apart.
type Key = (u64, u64);

/// The times of all handlers that run and have one.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    times: Mutex<BTreeMap<Key, Option<Waker>>>,
    next: AtomicU64,
}

impl Alarms {
    fn times(&self) -> MutexGuard<'_, BTreeMap<Key, Option<Waker>>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An alarm for this time.
    pub(super) fn at(&self, at_ns: u64) -> Alarm<'_> {
        // ORDERING: relaxed; a number.
        let key = (at_ns, self.next.fetch_add(1, Ordering::Relaxed));
        self.times().insert(key, None);
        Alarm { alarms: self, key }
    }

    /// Wakes those whose time is over.
    pub(super) fn ring(&self, now_ns: u64) {
        let mut over = Vec::new();
        for (_, waker) in self.times().range_mut(..=(now_ns, u64::MAX)) {
            over.extend(waker.take());
        }
        over.into_iter().for_each(Waker::wake);
    }

    /// The first time; all ones: there is none.
    pub(super) fn next_ns(&self) -> u64 {
        self.times().first_key_value().map_or(u64::MAX, |((at_ns, _), _)| *at_ns)
    }
}

/// One handler's. Taken back on drop.
#[derive(Debug)]
pub(super) struct Alarm<'a> {
    alarms: &'a Alarms,
    key: Key,
}

impl Alarm<'_> {
    /// Whether it is over. If it is not, this is woken when it is.
    pub(super) fn is_over(&self, now_ns: u64, waker: &Waker) -> bool {
        if now_ns >= self.key.0 {
            return true;
        }
        let before = self.alarms.times().insert(self.key, Some(waker.clone()));
        drop(before);
        false
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let waker = self.alarms.times().remove(&self.key);
        drop(waker);
    }
}
