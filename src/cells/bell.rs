//! Waking who waits for a change, without a word from who writes as long as nobody does.
//!
//! | who waits | who writes |
//! |---|---|
//! | reads the doorbell | sets the cell |
//! | says that it waits | light barrier |
//! | heavy barrier | looks whether anybody waits: takes that back, rings, wakes |
//! | looks once more for a change | |
//! | sleeps unless the doorbell rang, for a bounded time | |
//!
//! Several may wait at one bell, so who wakes up does not take back that it waits: the next ring does,
//! and wakes nobody if nobody was left. One that died waiting costs the same one needless ring.

use crate::layout::table::words::{BellWords, TableWords, WAITS_FOR_ANY};
use crate::sync::{AtomicU32, Ordering};

/// One bell: the word that says who waits, by its lowest bit, and the word that they sleep on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bell<'a> {
    waits: &'a AtomicU32,
    pub(crate) doorbell: &'a AtomicU32,
}

impl<'a> Bell<'a> {
    /// For the keys of a group.
    pub(crate) fn of(words: &'a BellWords) -> Self {
        Self { waits: &words.waits, doorbell: &words.doorbell }
    }

    /// For all keys.
    pub(crate) fn of_any(words: &'a TableWords) -> Self {
        Self { waits: &words.attention, doorbell: &words.doorbell }
    }

    /// Says that somebody waits; what is to be slept on. A heavy barrier and a last look follow.
    pub(crate) fn listen(self) -> u32 {
        // ORDERING: acquire, pairs with the release in `ring`: if the ring that this sees took back that
        // somebody waits, the store below comes after that.
        let rung = self.doorbell.load(Ordering::Acquire);
        // ORDERING: relaxed; the heavy barrier orders it before the last look.
        self.waits.fetch_or(WAITS_FOR_ANY, Ordering::Relaxed);
        rung
    }

    /// Whether somebody waits. A light barrier comes before.
    #[inline]
    pub(crate) fn is_awaited(self) -> bool {
        // ORDERING: relaxed; the light barrier orders it after the store to the cell.
        self.waits.load(Ordering::Relaxed) & WAITS_FOR_ANY != 0
    }

    /// Takes back that somebody waits, and rings. Waking follows.
    pub(crate) fn ring(self) {
        // ORDERING: relaxed; the ring below comes after it for who listens.
        self.waits.fetch_and(!WAITS_FOR_ANY, Ordering::Relaxed);
        // ORDERING: release, pairs with the acquire load in `listen`.
        self.doorbell.fetch_add(1, Ordering::Release);
    }
}
