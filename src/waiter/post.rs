//! What the waiter knows of one task that waits: without threads, clocks and the kernel.
//!
//! | task | waiter | publisher |
//! |---|---|---|
//! | looks: nothing | | |
//! | leaves its waker (lock) | | |
//! | says that it sleeps, heavy barrier | | publishes, light barrier |
//! | looks again: returns, or is pending | | sees the bit: rings |
//! | | sees that the bell is another (lock): takes the waker, wakes | |
//!
//! Either the second look finds what was published, or the publisher sees the bit (`sync::bell`) and
//! changes the bell. The waiter sleeps on no bell that is not what it last saw, so it comes by. If it came
//! before the waker was left, the lock makes what it saw visible to the second look.

#[cfg(all(test, loom))]
mod model;

use crate::sync::{AtomicU32, Ordering};

/// One task's place.
#[derive(Debug)]
pub(super) struct Post<W> {
    /// The bell as it was when last looked at.
    pub(super) rung: u32,
    waker: Option<W>,
}

impl<W> Post<W> {
    /// A place that nobody waits at yet.
    pub(super) fn new(doorbell: &AtomicU32) -> Self {
        // ORDERING: acquire, pairs with the release in `Bell::ring`.
        Self { rung: doorbell.load(Ordering::Acquire), waker: None }
    }

    /// Leaves a waker, in the place of any other.
    pub(super) fn leave(&mut self, waker: W) {
        self.waker = Some(waker);
    }

    /// The waker that is left, if any.
    pub(super) fn waker(&self) -> Option<&W> {
        self.waker.as_ref()
    }

    /// Takes the waker back.
    pub(super) fn take(&mut self) -> Option<W> {
        self.waker.take()
    }

    /// Looks at the bell. If it was rung, whoever waits is to be woken.
    pub(super) fn look(&mut self, doorbell: &AtomicU32) -> Option<W> {
        // ORDERING: acquire, pairs with the release in `Bell::ring`: what was published before is visible
        // to whoever has the lock after this.
        let rung = doorbell.load(Ordering::Acquire);
        if rung == self.rung {
            return None;
        }
        self.rung = rung;
        self.waker.take()
    }
}
