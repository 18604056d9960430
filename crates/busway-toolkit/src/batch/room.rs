//! Tasks that wait for room in the queue. They are woken in their order; one that comes in the moment in
//! which there is room takes it before those that were woken for it, which then wait in their old places.
//!
//! | task | worker |
//! |---|---|
//! | finds the queue full | takes items out of the queue |
//! | leaves its waker, counts itself | fence |
//! | fence | looks at the count: wakes as many as there is room for |
//! | tries once more: pending | |
//!
//! Of the two fences one comes first: either the second try finds the room, or the worker sees the count. A
//! task that was woken and is dropped before it has used its room passes the wake on.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Who waits, by number.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    wakers: BTreeMap<u64, Waker>,
    next: u64,
}

impl Room {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is room for so many more. Costs a fence and a load while nobody waits.
    pub(super) fn note(&self, items: usize) {
        // ORDERING: this fence and the one in `Place::wait` are two SeqCst fences, of which one comes
        // first; see above.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.wake(items);
        }
    }

    fn wake(&self, count: usize) {
        let mut list = self.list();
        let mut woken = Vec::new();
        while woken.len() < count
            && let Some((_, waker)) = list.wakers.pop_first()
        {
            woken.push(waker);
        }
        self.count(&list);
        drop(list);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Wakes all: there will be no more room.
    pub(super) fn close(&self) {
        self.wake(usize::MAX);
    }

    fn count(&self, list: &List) {
        // ORDERING: relaxed; by the fences, and changed under the lock.
        self.waiting.store(list.wakers.len(), Ordering::Relaxed);
    }
}

/// One task's place.
#[derive(Debug)]
pub(super) struct Place<'a> {
    room: &'a Room,
    /// Kept from the first wait on, so that who was woken in vain is not the last.
    number: Option<u64>,
}

impl<'a> Place<'a> {
    pub(super) fn new(room: &'a Room) -> Self {
        Self { room, number: None }
    }

    /// Leaves a waker. The caller tries once more after this.
    pub(super) fn wait(&mut self, waker: &Waker) {
        let mut list = self.room.list();
        let number = *self.number.get_or_insert(list.next);
        list.next = list.next.max(number.wrapping_add(1));
        let before = list.wakers.insert(number, waker.clone());
        self.room.count(&list);
        drop(list);
        // A waker's drop is somebody else's code.
        drop(before);
        // ORDERING: see `Room::note`.
        fence(Ordering::SeqCst);
    }

    /// Its item is in the queue, or never will be: a wake that was meant for it is used up.
    pub(super) fn leave(mut self) {
        if let Some(number) = self.number.take() {
            self.remove(number);
        }
    }

    fn remove(&self, number: u64) -> bool {
        let mut list = self.room.list();
        let own = list.wakers.remove(&number);
        self.room.count(&list);
        drop(list);
        own.is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(number) = mem::take(&mut self.number)
            && !self.remove(number)
        {
            self.room.wake(1);
        }
    }
}
