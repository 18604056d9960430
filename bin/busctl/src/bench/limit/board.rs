//! The memory that two workers of `bench limit` share: words on cache lines of their own and a ring
//! of 64-byte frames, in a memfd that both inherit.
//!
//! ```text
//!     0  ping     written by the caller, read by the answerer
//!   128  pong     the other way
//!   256  head     frames written; the ring's writer
//!   384  cursor   frames read; the ring's reader
//!   512  end      1 + frames of the whole run, once the writer has finished; 0 before
//!   640  slots    RING_FRAMES frames of 64 bytes
//! ```
//! Words are 128 bytes apart, since processors fetch lines in pairs. See `shared`.

#![allow(unsafe_code, reason = "writes ring slots that another process reads")]

use crate::shared;
use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64;

/// Frames in the ring, as many as a lane has by default.
pub const RING_FRAMES: u64 = 4096;
#[allow(clippy::cast_possible_truncation, reason = "4096")]
const SLOTS: usize = RING_FRAMES as usize;

/// The payload of a frame, in words.
pub const FRAME_WORDS: usize = 8;

/// A word with its line, and the line that would be fetched with it, to itself.
#[repr(C, align(128))]
pub struct Line(pub AtomicU64);

/// A frame of the ring.
#[repr(C, align(64))]
struct Slot(UnsafeCell<[u64; FRAME_WORDS]>);

/// The shared memory.
#[repr(C)]
pub struct Board {
    pub ping: Line,
    pub pong: Line,
    pub head: Line,
    pub cursor: Line,
    pub end: Line,
    slots: [Slot; SLOTS],
}

const _: () = assert!(std::mem::offset_of!(Board, slots) == 640);
const _: () = assert!(size_of::<Board>() == 640 + 64 * SLOTS);

// SAFETY: all but the slots is atomic; the slots are reached through unsafe methods whose callers
// order their accesses by `head` and `cursor`.
unsafe impl Sync for Board {}

impl Board {
    /// Writes the frame of a position.
    ///
    /// # Safety
    /// Nobody reads or writes this slot meanwhile: the caller is the only writer and has seen the
    /// cursor within `RING_FRAMES` of `position`.
    #[inline]
    pub unsafe fn write(&self, position: u64) {
        let frame: [u64; FRAME_WORDS] = std::array::from_fn(|index| position + index as u64);
        // SAFETY: the pointer is that of a live slot; exclusive by this function's contract.
        unsafe { self.slot(position).0.get().write(frame) };
    }

    /// Reads the frame of a position and returns the sum of its words.
    ///
    /// # Safety
    /// Nobody writes this slot meanwhile: the caller has seen `head` beyond `position` and has not
    /// yet moved its cursor past it.
    #[inline]
    pub unsafe fn read(&self, position: u64) -> u64 {
        // SAFETY: the pointer is that of a live slot; not written meanwhile by this function's
        // contract.
        let frame = unsafe { &*self.slot(position).0.get() };
        frame.iter().fold(0, |sum, word| sum.wrapping_add(*word))
    }

    fn slot(&self, position: u64) -> &Slot {
        #[allow(clippy::cast_possible_truncation, reason = "the mask keeps the index inside")]
        &self.slots[(position & (RING_FRAMES - 1)) as usize]
    }
}

/// What all frames before `frames` add up to.
pub fn sum_of_frames(frames: u64) -> u64 {
    let words = FRAME_WORDS as u64;
    // The reader's sum wraps at 64 bits; so does this one. One of the two factors is even.
    let pairs = if frames.is_multiple_of(2) {
        (frames / 2).wrapping_mul(frames.saturating_sub(1))
    } else {
        frames.wrapping_mul(frames.saturating_sub(1) / 2)
    };
    let offsets = words * (words - 1) / 2;
    pairs.wrapping_mul(words).wrapping_add(frames.wrapping_mul(offsets))
}

// SAFETY: repr(C) of atomics and of cells whose users agree by head and cursor, aligned to less than
// a page.
unsafe impl shared::Board for Board {
    const NAME: &'static str = "busway-bench-limit";
    const POPULATED: bool = true;
}

/// A new board, by its descriptor.
pub type BoardFile = shared::BoardFile<Board>;
/// A board in this process's memory.
pub type Mapping = shared::Mapping<Board>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn both_ends_see_the_same_frames() {
        let file = BoardFile::create().expect("a memfd");
        let (one, other) = (Mapping::open(file.number()), Mapping::open(file.number()));
        let (one, other) = (one.expect("mapped"), other.expect("mapped"));
        let mut sum = 0_u64;
        for position in 0..10_000 {
            // SAFETY: one thread uses both mappings, one access after the other.
            unsafe { one.write(position) };
            // SAFETY: as above.
            sum = sum.wrapping_add(unsafe { other.read(position) });
        }
        assert_eq!(sum, sum_of_frames(10_000));
    }

    #[test]
    fn a_descriptor_of_something_else_is_refused() {
        let file = File::open("/dev/null").expect("/dev/null");
        assert!(Mapping::open(file.as_raw_fd()).is_err());
        assert!(Mapping::open(-1).is_err());
    }
}
