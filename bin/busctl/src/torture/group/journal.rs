//! What became of every frame of a group's bus, position by position: memory that outlives whoever
//! writes it.
//!
//! ```text
//!  0  counts   8 bytes   letters · acknowledged · too late · begun · handed out
//!  8  holder   8         the life that has it in hand, or when it was refused
//! ```
//! A member notes that it begins to acknowledge *before* it does, and what it was told after. So of one
//! that dies in between nobody knows whether it has; of all others everybody does:
//!
//! | acknowledged | begun and not ended | letters | the frame |
//! |---|---|---|---|
//! | 1 | any | 0 | is done |
//! | 0 | 1 or more | any | may be done: who began is dead |
//! | 0 | 0 | 1 or more | is a dead letter |
//! | 0 | 0 | 0 | is lost |
//! | 2 or more | any | any | was two members' |
//!
//! Every position of a play has an entry of its own; none is used again. The memory is there where
//! it has been written.

#![allow(unsafe_code, reason = "says what may be shared between processes")]

use super::super::board::{Board, LANES};
use crate::shared;
use std::sync::atomic::{AtomicU64, Ordering};

/// Positions of a lane that are kept. Nothing is published beyond.
pub const FRAMES: usize = 1 << 20;

const HANDED_SHIFT: u32 = 0;
const BEGUN_SHIFT: u32 = 16;
const LATE_SHIFT: u32 = 32;
const DONE_SHIFT: u32 = 48;
const LETTERS_SHIFT: u32 = 56;

/// One frame's.
#[repr(C)]
pub struct Entry {
    counts: AtomicU64,
    holder: AtomicU64,
}

/// What was counted for one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often it was handed out.
    pub handed: u64,
    /// How often somebody began to acknowledge it.
    pub begun: u64,
    /// How often that came too late.
    pub late: u64,
    /// How often it was done.
    pub done: u64,
    /// How often it came as a dead letter.
    pub letters: u64,
}

impl Counts {
    fn of(word: u64) -> Self {
        let field = |shift: u32, bits: u32| (word >> shift) & ((1 << bits) - 1);
        Self {
            handed: field(HANDED_SHIFT, 16),
            begun: field(BEGUN_SHIFT, 16),
            late: field(LATE_SHIFT, 16),
            done: field(DONE_SHIFT, 8),
            letters: field(LETTERS_SHIFT, 8),
        }
    }

    /// Acknowledgements of which nobody knows what became.
    pub fn unknown(self) -> u64 {
        self.begun.saturating_sub(self.late).saturating_sub(self.done)
    }
}

/// Who, or what, had a frame before it was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Nobody,
    /// This life.
    Held(u64),
    /// It was refused then.
    Refused(u64),
}

impl Before {
    fn word(self) -> u64 {
        match self {
            Self::Nobody => 0,
            Self::Held(life) => life << 1,
            Self::Refused(at_ns) => (at_ns << 1) | 1,
        }
    }

    fn of(word: u64) -> Self {
        match (word, word & 1) {
            (0, _) => Self::Nobody,
            (_, 0) => Self::Held(word >> 1),
            _ => Self::Refused(word >> 1),
        }
    }
}

impl Entry {
    /// What was counted.
    pub fn counts(&self) -> Counts {
        // ORDERING: relaxed; who adds up does it when everybody is gone.
        Counts::of(self.counts.load(Ordering::Relaxed))
    }

    fn count(&self, shift: u32) -> Counts {
        // ORDERING: relaxed; the word is all that is compared.
        let before = self.counts.fetch_add(1 << shift, Ordering::Relaxed);
        Counts::of(before.wrapping_add(1 << shift))
    }

    /// It was handed out to a life.
    pub fn hand_out(&self, life: u64) -> (Counts, Before) {
        let counts = self.count(HANDED_SHIFT);
        // ORDERING: acquire and release; a life that is named here has its record.
        let before = self.holder.swap(Before::Held(life).word(), Ordering::AcqRel);
        (counts, Before::of(before))
    }

    /// It is going to be acknowledged.
    pub fn begin(&self) {
        self.count(BEGUN_SHIFT);
    }

    /// It has been; what has been counted, this included.
    pub fn done(&self) -> Counts {
        self.count(DONE_SHIFT)
    }

    /// That was too late.
    pub fn late(&self) {
        self.count(LATE_SHIFT);
    }

    /// It has come as a dead letter.
    pub fn letter(&self) -> Counts {
        self.count(LETTERS_SHIFT)
    }

    /// A life that may have it in hand is going to refuse it; `at_ns` unless others have to wait with it.
    pub fn refuse(&self, life: u64, at_ns: Option<u64>) {
        let (held, refused) = (Before::Held(life), at_ns.map_or(Before::Nobody, Before::Refused));
        // ORDERING: relaxed; as above. A failure means that somebody else has it by now.
        let _refused = self.holder.compare_exchange(
            held.word(),
            refused.word(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
}

/// The entries of all lanes.
#[repr(C)]
pub struct Journal {
    lanes: [[Entry; FRAMES]; LANES],
}

impl Journal {
    /// The entry of a frame, which is so many after its lane's first. `None`: it has none.
    pub fn entry(&self, lane: u32, index: u64) -> Option<&Entry> {
        let lane = self.lanes.get(usize::try_from(lane).ok()?)?;
        lane.get(usize::try_from(index).ok()?)
    }
}

// SAFETY: repr(C) of atomics alone, aligned to less than a page.
unsafe impl shared::Board for Journal {
    const NAME: &'static str = "busway-torture-journal";
    const POPULATED: bool = false;
}

/// A new journal, by its descriptor.
pub type JournalFile = shared::BoardFile<Journal>;
/// A journal in this process's memory.
pub type Mapping = shared::Mapping<Journal>;

/// Why a frame was handed out again, where it is measured how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It was refused, to be tried again at once.
    Refused = 0,
    /// Its member was killed.
    Killed = 1,
}

/// Books how long a frame took to be handed out again; returns the microseconds that count of the
/// death of who had it.
pub fn book_again(board: &Board, before: Before, now_ns: u64) -> Option<u64> {
    match before {
        Before::Nobody => None,
        Before::Refused(at_ns) => {
            board.again[Again::Refused as usize].add(now_ns.saturating_sub(at_ns));
            None
        }
        Before::Held(life) => {
            let record = board.life(life);
            // ORDERING: acquire, pairs with the release store in `Play::kill`.
            let killed_ns = record.killed_ns.load(Ordering::Acquire);
            // ORDERING: relaxed; a record that was reused meanwhile is known by its id.
            let is_its = record.id.load(Ordering::Relaxed) == life;
            if killed_ns == 0 || killed_ns > now_ns || !is_its {
                return None;
            }
            board.again[Again::Killed as usize].add(now_ns - killed_ns);
            // ORDERING: relaxed; stored before `killed_ns`, and a clock.
            let killed_us = record.killed_clock_us.load(Ordering::Relaxed);
            Some(board.clock_us.load(Ordering::Relaxed).saturating_sub(killed_us))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_one_frame_do_not_run_into_each_other() {
        let file = JournalFile::create().expect("a memfd");
        let journal = Mapping::open(file.number()).expect("mapped");
        let entry = journal.entry(31, FRAMES as u64 - 1).expect("the last one");
        for _ in 0..300 {
            entry.hand_out(7);
            entry.begin();
            entry.late();
        }
        entry.begin();
        assert_eq!(entry.counts().unknown(), 1);
        entry.done();
        entry.letter();
        let counts = Counts { handed: 300, begun: 301, late: 300, done: 1, letters: 1 };
        assert_eq!((entry.counts(), counts.unknown()), (counts, 0));
        assert!(journal.entry(31, FRAMES as u64).is_none() && journal.entry(32, 0).is_none());
    }

    #[test]
    fn who_had_a_frame_before_is_told_to_the_next() {
        let file = JournalFile::create().expect("a memfd");
        let journal = Mapping::open(file.number()).expect("mapped");
        let entry = journal.entry(0, 0).expect("the first one");
        assert_eq!(entry.hand_out(5).1, Before::Nobody);
        entry.refuse(6, Some(9));
        assert_eq!(entry.hand_out(6).1, Before::Held(5), "it was not the sixth's to refuse");
        entry.refuse(6, Some(9));
        assert_eq!(entry.hand_out(7).1, Before::Refused(9));
        entry.refuse(7, None);
        assert_eq!(entry.hand_out(8).1, Before::Nobody);
    }
}
