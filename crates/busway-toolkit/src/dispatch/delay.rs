//! What waits for a time: events to be tried again, gates to be looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::job::Job;

/// What is to be done at some time.
#[derive(Debug)]
pub(super) enum Due<R> {
    /// Go on with an event.
    Job(Job<R>),
    /// Look at the gate of the route of this index.
    Gate(u32),
}

/// All that waits for a time, the first first; of equal times, what was put in first.
#[derive(Debug)]
pub(super) struct Delays<R> {
    heap: Mutex<Heap<R>>,
    /// The first time; all ones: nothing waits.
    next_ns: AtomicU64,
}

#[derive(Debug)]
struct Heap<R> {
    entries: BinaryHeap<Reverse<Timed<R>>>,
    count: u64,
}

#[derive(Debug)]
struct Timed<R> {
    at_ns: u64,
    /// Tells equal times apart.
    number: u64,
    due: Due<R>,
}

impl<R> Timed<R> {
    fn key(&self) -> (u64, u64) {
        (self.at_ns, self.number)
    }
}

impl<R> PartialEq for Timed<R> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<R> Eq for Timed<R> {}

impl<R> PartialOrd for Timed<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<R> Ord for Timed<R> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<R> Delays<R> {
    pub(super) fn new() -> Self {
        let heap = Heap { entries: BinaryHeap::new(), count: 0 };
        Self { heap: Mutex::new(heap), next_ns: AtomicU64::new(u64::MAX) }
    }

    fn heap(&self) -> MutexGuard<'_, Heap<R>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first time at which something is due; all ones: never.
    pub(super) fn next_ns(&self) -> u64 {
        // ORDERING: relaxed; a hint, what it speaks of is read under the lock.
        self.next_ns.load(Ordering::Relaxed)
    }

    /// Puts something in; whether it is now the first.
    pub(super) fn push(&self, at_ns: u64, due: Due<R>) -> bool {
        let mut heap = self.heap();
        let number = heap.count;
        heap.count += 1;
        heap.entries.push(Reverse(Timed { at_ns, number, due }));
        let is_first = at_ns < self.next_ns();
        self.note_next(&heap);
        is_first
    }

    /// Takes out what is due first, if it is due. Costs one load when nothing is.
    pub(super) fn pop(&self, now_ns: u64) -> Option<Due<R>> {
        if now_ns < self.next_ns() {
            return None;
        }
        let mut heap = self.heap();
        let is_due = heap.entries.peek().is_some_and(|Reverse(timed)| timed.at_ns <= now_ns);
        let due = if is_due { heap.entries.pop() } else { None };
        self.note_next(&heap);
        due.map(|Reverse(timed)| timed.due)
    }

    /// Takes away all events that wait, whenever they are due.
    pub(super) fn give_up(&self) -> Vec<Job<R>> {
        let mut heap = self.heap();
        let entries = std::mem::take(&mut heap.entries);
        self.note_next(&heap);
        let jobs = entries.into_iter().filter_map(|Reverse(timed)| match timed.due {
            Due::Job(job) => Some(job),
            Due::Gate(_) => None,
        });
        jobs.collect()
    }

    fn note_next(&self, heap: &Heap<R>) {
        let next = heap.entries.peek().map_or(u64::MAX, |Reverse(timed)| timed.at_ns);
        // ORDERING: as in `next_ns`.
        self.next_ns.store(next, Ordering::Relaxed);
    }
}
