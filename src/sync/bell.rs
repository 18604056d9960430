//! Saying that one sleeps, and being rung for: the words of it, without the kernel's part.
//!
//! | sleeper | publisher |
//! |---|---|
//! | `announce` each bell: reads it, sets its bit | stores `head` (or a cursor) |
//! | heavy barrier, once for all of them | light barrier |
//! | looks for work, at everything it sleeps for | `is_wanted`: looks at the bit |
//! | sleeps while no bell is other than what it read | `ring`: takes the bit back, changes the bell |
//! | `withdraw` each | wakes |
//!
//! Of the two barriers one comes first, so a publisher whose frame the look missed sees the bit and changes
//! the bell, which is other then than what was read before. That holds for each bell by itself, so it
//! does for any number of them with one barrier between the last bit and the first look.
//! `model.rs` shows it for two.

#[cfg(all(test, loom))]
pub(crate) mod model;

use super::{AtomicU32, AtomicU64, Ordering};

/// One sleeper's bell: the word that it sleeps on, and where it says that it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell<'a> {
    pub(crate) doorbell: &'a AtomicU32,
    pub(crate) sleepers: &'a AtomicU64,
    pub(crate) bit: u64,
}

impl<'a> Bell<'a> {
    /// Says that its owner is about to sleep. Returns the value to sleep on.
    pub(crate) fn announce(self) -> (&'a AtomicU32, u32) {
        // ORDERING: acquire, pairs with the release in `ring`: what was published before the ring that
        // this sees is visible to the last look.
        let rung = self.doorbell.load(Ordering::Acquire);
        // ORDERING: relaxed; the heavy barrier orders it before the last look.
        self.sleepers.fetch_or(self.bit, Ordering::Relaxed);
        (self.doorbell, rung)
    }

    /// Takes it back.
    pub(crate) fn withdraw(self) {
        // ORDERING: relaxed; a bit that is seen too long costs one needless ring.
        self.sleepers.fetch_and(!self.bit, Ordering::Relaxed);
    }

    /// Changes the doorbell, and takes back that its owner sleeps, so that nobody rings for it again
    /// while it is waking up. If the bit is one that it has set since, the changed doorbell wakes it
    /// all the same.
    pub(crate) fn ring(self) {
        // ORDERING: relaxed; the ring below comes after it for the sleeper, whom it alone concerns.
        self.sleepers.fetch_and(!self.bit, Ordering::Relaxed);
        // ORDERING: release, pairs with the acquire load in `announce`.
        self.doorbell.fetch_add(1, Ordering::Release);
    }
}
