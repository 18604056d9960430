//! One word of the order ring: which lane publishes how many frames with this ticket.
//!
//! ```text
//! bit 63                          24 23            8 7        0
//!     +------------------------------+---------------+----------+
//!     | lap (40 bits)                | run (16 bits) | lane (8) |
//!     +------------------------------+---------------+----------+
//! ```
//!
//! `lap` is how often the ring has been round, counted from 1 at the first ticket ever, so that a
//! zeroed ring holds only entries of lap 0: unset. `run` 0 is a tomb: the ticket was given up.
//! A word is *set* for a ticket when its lap is that ticket's lap, whatever the rest.
//!
//! Forty bits of lap on a ring of at least 1024 entries wrap after 2^50 tickets: a producer that is
//! stopped between reading a word and replacing it would have to sleep through exactly that many,
//! three weeks at 500 M/s, and wake within one lap of the very ticket.

use std::cmp::Ordering;

const LANE_BITS: u32 = 8;
const RUN_BITS: u32 = 16;
const LAP_SHIFT: u32 = LANE_BITS + RUN_BITS;
const LAP_MASK: u64 = (1 << (64 - LAP_SHIFT)) - 1;

/// The most frames that one entry can commit.
pub(crate) const RUN_MAX: u64 = (1 << RUN_BITS) - 1;

/// One entry's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u64);

impl Entry {
    /// Takes a word as it was loaded.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The entry that commits `run` frames of `lane`. A run of more than [`RUN_MAX`] is the
    /// caller's error and is cut to it.
    pub(crate) const fn commit(lap: u64, lane: u8, run: u64) -> Self {
        let run = if run > RUN_MAX { RUN_MAX } else { run };
        Self(((lap & LAP_MASK) << LAP_SHIFT) | (run << LANE_BITS) | lane as u64)
    }

    /// The entry that gives its ticket up.
    pub(crate) const fn tomb(lap: u64) -> Self {
        Self::commit(lap, 0, 0)
    }

    /// The word to store.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Whether the ticket was given up.
    pub(crate) const fn is_tomb(self) -> bool {
        self.run() == 0
    }

    /// How many frames are committed.
    pub(crate) const fn run(self) -> u64 {
        (self.0 >> LANE_BITS) & RUN_MAX
    }

    /// Whose frames they are.
    pub(crate) const fn lane(self) -> u32 {
        (self.0 & 0xff) as u32
    }

    /// How this entry's lap stands to `lap`: `Less` means not set yet, `Equal` set, `Greater`
    /// overwritten by a later lap.
    pub(crate) fn against(self, lap: u64) -> Ordering {
        // Laps are compared as signed distances of 40 bits, so that they may wrap.
        let distance = (self.0 >> LAP_SHIFT).wrapping_sub(lap) & LAP_MASK;
        if distance == 0 {
            Ordering::Equal
        } else if distance > LAP_MASK / 2 {
            Ordering::Less
        } else {
            Ordering::Greater
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_packed() {
        let entry = Entry::commit(77, 255, RUN_MAX);
        assert_eq!((entry.lane(), entry.run()), (255, RUN_MAX));
        assert_eq!(entry.against(77), Ordering::Equal);
        assert!(!entry.is_tomb());
        assert!(Entry::tomb(77).is_tomb());
        assert_eq!(Entry::tomb(77).against(77), Ordering::Equal);
    }

    #[test]
    fn zeroed_word_is_unset_for_the_first_lap() {
        assert_eq!(Entry::from_word(0).against(1), Ordering::Less);
    }

    #[test]
    fn laps_compare_across_their_wrap() {
        assert_eq!(Entry::commit(LAP_MASK, 1, 1).against(0), Ordering::Less);
        assert_eq!(Entry::commit(0, 1, 1).against(LAP_MASK), Ordering::Greater);
    }
}
