//! The shared words of a table: structs made of atomics alone, and the words that are packed.
//!
//! Whatever another process stores there, every bit pattern is a value. Hot words of different
//! writers stand on different 64-byte lines. Reserved bytes are zero and not touched.
//!
//! ```text
//! cell     bit 63                            20 19              0
//!              +-------------------------------+----------------+
//!              | version of the key, from 1    | slot           |    0: no key has this cell
//!              +-------------------------------+----------------+
//! stamp        | version                       | cell           |    0: being written
//!              +-------------------------------+----------------+
//! tenancy      | epoch of the writer's seat          | seat (8) |    0: nobody
//!
//! slot      0  stamp       what this is the value of                   all by its owner
//!           8  owner       tenancy whose slot it is while it stands in no cell
//!          16  writer      tenancy that wrote it
//!          24  time_ns     0 when the table keeps no times
//!          32  meta        pid << 32 | removed << 31 | bytes of the value
//!          40  key         8 bytes, or 32 of text padded with NUL
//!          48 or 72        the value
//! ```

use crate::sync::{AtomicU32, AtomicU64};

/// Bits of a slot's number in a cell, and of a cell's in a stamp.
const NUMBER_BITS: u32 = 20;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
/// The last version that a key can have: 2^44 writes, at ten million a second twenty days of writing
/// nothing but this key. Then the key takes no more, lest an old version come again.
pub(crate) const VERSION_MAX: u64 = (1 << (64 - NUMBER_BITS)) - 1;
/// Groups of keys whose waiters are woken together.
pub(crate) const BELLS: usize = 64;
/// `attention`: somebody waits for any key.
pub(crate) const WAITS_FOR_ANY: u32 = 1;
/// `attention`: the table was removed.
pub(crate) const REMOVED: u32 = 2;

/// A cell's word, as it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellWord(u64);

impl CellWord {
    /// No key has the cell.
    pub(crate) const EMPTY: Self = Self(0);

    /// Takes a word as it was loaded.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// This version in this slot.
    pub(crate) const fn of(version: u64, slot: u32) -> Self {
        Self(version << NUMBER_BITS | (slot as u64 & NUMBER_MASK))
    }

    /// The word to store.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// Which version of its key; 0 for an empty cell.
    pub(crate) const fn version(self) -> u64 {
        self.0 >> NUMBER_BITS
    }

    /// Where the value is.
    pub(crate) const fn slot(self) -> u32 {
        (self.0 & NUMBER_MASK) as u32
    }

    /// Whether no key has the cell.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What a slot with the value of this version of this cell is stamped with. No two values that ever
/// become visible have the same stamp.
pub(crate) const fn stamp(version: u64, cell: u32) -> u64 {
    version << NUMBER_BITS | (cell as u64 & NUMBER_MASK)
}

/// A writer's tenancy of its seat, as slots name it.
pub(crate) const fn tenancy(seat: u32, epoch: u64) -> u64 {
    epoch << 8 | (seat as u64 & 0xff)
}

/// Seat and epoch of a tenancy.
pub(crate) const fn seat_and_epoch(tenancy: u64) -> (u32, u64) {
    ((tenancy & 0xff) as u32, tenancy >> 8)
}

/// What a slot says of its value besides the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) pid: u32,
    pub(crate) removed: bool,
    pub(crate) len: u32,
}

impl Meta {
    const REMOVED: u64 = 1 << 31;

    /// Takes a word as it was loaded.
    #[allow(clippy::cast_possible_truncation)] // what is above is masked or shifted away
    pub(crate) const fn from_word(word: u64) -> Self {
        let len = (word & (Self::REMOVED - 1)) as u32;
        Self { pid: (word >> 32) as u32, removed: word & Self::REMOVED != 0, len }
    }

    /// The word to store.
    pub(crate) const fn word(self) -> u64 {
        let removed = if self.removed { Self::REMOVED } else { 0 };
        (self.pid as u64) << 32 | removed | (self.len as u64 & (Self::REMOVED - 1))
    }
}

/// Bytes of a slot before its key.
pub(crate) const SLOT_HEADER_BYTES: u64 = 40;
/// Bytes from one cell to the next: a line, so that writers of different keys share none.
pub(crate) const CELL_BYTES: u64 = 64;
/// Bytes of a [`DeskWords`] and the distance from one to the next.
pub(crate) const DESK_BYTES: u64 = 64;
/// Bytes of the [`TableWords`]; the seats follow.
pub(crate) const TABLE_WORDS_BYTES: u64 = 640;

/// What a writer is about to do: written by it alone, for whoever recovers its seat.
///
/// ```text
///   0  at          the cell it writes to, plus one; 0 while the rest changes
///   8  new         the word that it is about to store there
///  16  old         the word that this replaces: its slot is about to be this writer's
///  24  replaces    the stamp of what stands there
///  32  writes      values written in this tenancy
///  40  retries     times that somebody else came first
///  48  (reserved)
///  64
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct DeskWords {
    pub(crate) at: AtomicU64,
    pub(crate) new: AtomicU64,
    pub(crate) old: AtomicU64,
    pub(crate) replaces: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) _rest: [AtomicU64; 2],
}

/// One bell: who waits for a key of its group says so and sleeps on it.
///
/// ```text
///  0  waits       1: somebody sleeps (u32)
///  4  doorbell    futex word (u32)
///  8
/// ```
#[repr(C)]
#[derive(Debug)]
pub(crate) struct BellWords {
    pub(crate) waits: AtomicU32,
    pub(crate) doorbell: AtomicU32,
}

/// The words of the whole table.
///
/// ```text
///   0  seat_changes  attaches, detaches and reclaims so far (u32)           line 0, changes at attach
///   4  (reserved)
///   8  keys          cells that were asked for and may be taken: not less than there are keys
///  16  recoveries    seats given back after their holder died
///  24  corruptions   impossible words that were met in the segment
///  32  (reserved)
///  64  attention     bit 0: somebody waits for any key; bit 1: removed (u32)  line 1, read by writers
///  68  doorbell      futex word of who waits for any key (u32)
///  72  (reserved)
/// 128  bells         64 of 8 bytes: who waits for a key of cell c sleeps on bell c mod 64
/// 640
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct TableWords {
    pub(crate) seat_changes: AtomicU32,
    pub(crate) _line0: AtomicU32,
    pub(crate) keys: AtomicU64,
    pub(crate) recoveries: AtomicU64,
    pub(crate) corruptions: AtomicU64,
    pub(crate) _line0_rest: [AtomicU64; 4],
    pub(crate) attention: AtomicU32,
    pub(crate) doorbell: AtomicU32,
    pub(crate) _line1: [AtomicU64; 7],
    pub(crate) bells: [BellWords; BELLS],
}

// Offsets are part of the format. Under loom atomics have other sizes.
#[cfg(not(loom))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<DeskWords>() as u64 == DESK_BYTES);
    assert!(offset_of!(DeskWords, at) == 0);
    assert!(offset_of!(DeskWords, new) == 8);
    assert!(offset_of!(DeskWords, old) == 16);
    assert!(offset_of!(DeskWords, replaces) == 24);
    assert!(offset_of!(DeskWords, writes) == 32);
    assert!(offset_of!(DeskWords, retries) == 40);
    assert!(size_of::<BellWords>() == 8);
    assert!(offset_of!(BellWords, doorbell) == 4);
    assert!(size_of::<TableWords>() as u64 == TABLE_WORDS_BYTES);
    assert!(offset_of!(TableWords, keys) == 8);
    assert!(offset_of!(TableWords, recoveries) == 16);
    assert!(offset_of!(TableWords, corruptions) == 24);
    assert!(offset_of!(TableWords, attention) == 64);
    assert!(offset_of!(TableWords, doorbell) == 68);
    assert!(offset_of!(TableWords, bells) == 128);
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn words_keep_what_is_packed_into_them() {
        let word = CellWord::of(VERSION_MAX, 0xf_fffe);
        assert_eq!((word.version(), word.slot()), (VERSION_MAX, 0xf_fffe));
        assert!(CellWord::EMPTY.is_empty() && !CellWord::of(1, 0).is_empty());
        assert_ne!(stamp(1, 2), stamp(2, 1));
        assert_eq!(seat_and_epoch(tenancy(255, 1 << 40)), (255, 1 << 40));
        for removed in [false, true] {
            let meta = Meta { pid: u32::MAX, removed, len: 1 << 20 };
            assert_eq!(Meta::from_word(meta.word()), meta);
        }
    }
}
