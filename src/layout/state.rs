//! A seat's state: one word that says whose tenancy it is and how that stands.
//!
//! ```text
//! bit 63                                          8 7        0
//!     +--------------------------------------------+----------+
//!     | epoch: how often the seat was taken        | standing |
//!     +--------------------------------------------+----------+
//! ```
//!
//! | standing | stored by | meaning |
//! |---|---|---|
//! | 0 free | the lock's holder | nobody's |
//! | 1 taken | the lock's holder | somebody's |
//! | 2 evicted | anybody, by a CAS from "taken" of the same epoch | its holder is to leave |
//! | 3 dead | whoever found the lock free, by a CAS from the others of the same epoch | its holder is no more |
//! | 4 group | its holder, by a CAS from "taken" of the same epoch | a consumer group's, whoever lives |
//!
//! A group's seat needs nobody alive: it is never taken for dead, nor evicted. It ends by a CAS to
//! "dead", by whoever removes the group; the locks that members hold on its byte then keep it from
//! being let again while one of them could still store to its cursors.
//!
//! The epoch makes the CAS safe: whoever evicts decides about the tenancy that it looked at, and a
//! newcomer in the same seat is out of its reach.

const EPOCH_SHIFT: u32 = 8;
const STANDING_MASK: u64 = 0xff;
const FREE: u64 = 0;
const TAKEN: u64 = 1;
const EVICTED: u64 = 2;
const DEAD: u64 = 3;
const GROUP: u64 = 4;

/// A seat's state, as it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeatState(u64);

impl SeatState {
    /// Takes a word as it was loaded.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// How often the seat was taken.
    pub(crate) const fn epoch(self) -> u64 {
        self.0 >> EPOCH_SHIFT
    }

    /// Whether the seat is somebody's. A standing that nobody stores counts as taken: whoever finds
    /// the lock free puts the seat in order before it is used again.
    pub(crate) const fn is_taken(self) -> bool {
        self.0 & STANDING_MASK != FREE
    }

    /// Whether its holder is to leave.
    pub(crate) const fn is_evicted(self) -> bool {
        self.0 & STANDING_MASK == EVICTED
    }

    /// Whether its holder is known to be no more.
    pub(crate) const fn is_dead(self) -> bool {
        self.0 & STANDING_MASK == DEAD
    }

    /// Whether it is a consumer group's.
    pub(crate) const fn is_group(self) -> bool {
        self.0 & STANDING_MASK == GROUP
    }

    /// Whether its holder has lost the seat, whatever the reason. For the holder itself: who is alive
    /// and reads that it is dead has met a liar.
    pub(crate) const fn is_lost(self) -> bool {
        self.0 & STANDING_MASK >= EVICTED
    }

    /// The next tenancy.
    pub(crate) const fn sat(self) -> Self {
        Self(self.epoch().wrapping_add(1) << EPOCH_SHIFT | TAKEN)
    }

    /// The end of this tenancy.
    pub(crate) const fn freed(self) -> Self {
        Self(self.epoch() << EPOCH_SHIFT | FREE)
    }

    /// This tenancy, given to a consumer group; `None` when it is not its holder's any more.
    pub(crate) const fn grouped(self) -> Option<Self> {
        if self.0 & STANDING_MASK == TAKEN {
            Some(Self(self.epoch() << EPOCH_SHIFT | GROUP))
        } else {
            None
        }
    }

    /// The end of a consumer group's tenancy; `None` when it is none.
    pub(crate) const fn disbanded(self) -> Option<Self> {
        if self.is_group() { Some(Self(self.epoch() << EPOCH_SHIFT | DEAD)) } else { None }
    }

    /// This tenancy, whose holder is no more; `None` when there was none, or that is known, or it is a
    /// group's, which needs none.
    pub(crate) const fn died(self) -> Option<Self> {
        if self.is_taken() && !self.is_dead() && !self.is_group() {
            Some(Self(self.epoch() << EPOCH_SHIFT | DEAD))
        } else {
            None
        }
    }

    /// This tenancy, told to leave; `None` when there is nobody to tell, or it was told.
    pub(crate) const fn evicted(self) -> Option<Self> {
        if self.0 & STANDING_MASK == TAKEN {
            Some(Self(self.epoch() << EPOCH_SHIFT | EVICTED))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenancy_goes_from_free_to_taken_to_evicted_to_free() {
        let free = SeatState::from_word(7 << 8);
        assert!(!free.is_taken() && free.evicted().is_none());
        let taken = free.sat();
        assert_eq!((taken.epoch(), taken.is_taken(), taken.is_evicted()), (8, true, false));
        let evicted = taken.evicted().unwrap();
        assert_eq!((evicted.epoch(), evicted.is_taken(), evicted.is_evicted()), (8, true, true));
        assert_eq!(evicted.evicted(), None);
        let dead = evicted.died().unwrap();
        assert_eq!((dead.epoch(), dead.is_taken(), dead.is_dead()), (8, true, true));
        assert_eq!(
            [free, taken, evicted, dead].map(SeatState::is_lost),
            [false, false, true, true]
        );
        assert_eq!((dead.died(), dead.evicted(), free.died()), (None, None, None));
        assert_eq!(taken.died(), Some(dead));
        assert_eq!(evicted.freed(), taken.freed());
        assert_ne!(evicted.freed().sat(), taken);
    }

    #[test]
    fn group_is_neither_evicted_nor_taken_for_dead_and_ends_as_dead() {
        let taken = SeatState::from_word(7 << 8).sat();
        let group = taken.grouped().unwrap();
        assert_eq!((group.epoch(), group.is_taken(), group.is_group()), (8, true, true));
        assert_eq!((group.evicted(), group.died(), group.grouped()), (None, None, None));
        let ended = group.disbanded().unwrap();
        assert!(ended.is_dead() && ended.is_lost() && ended.disbanded().is_none());
        assert_eq!(taken.evicted().unwrap().grouped(), None, "who was evicted makes no group");
    }
}
