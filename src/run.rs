//! The run that a reader is in the middle of, and how one is taken from a lane.
//!
//! A run is a number of frames of one lane that have been made sure of together: by the gate on a
//! lossless bus, by copying and checking on a lossy one. Its frames stand one after the other: one that
//! is read in place does not go past the ring's end.

#![allow(unsafe_code)]

use std::ops::Deref;

use crate::buffer::Buffer;
use crate::lane::lossy::Check;
use crate::lane::reader::LaneReader;
use crate::lane::{earlier, later};
use crate::layout::frame::FrameShape;
use crate::layout::words::LaneWords;
use crate::received::{FrameRef, Frames};
use crate::regions::LaneData;
use crate::shm::window::Window;

/// Bytes that one visit to a lane reads at most: half of a common first-level cache. It bounds how
/// long a flooding lane is listened to before the others are looked at again.
const VISIT_BYTES: u64 = 16 << 10;
/// Frames that one visit reads at most.
const VISIT_FRAMES: u64 = 256;
/// How often a lossy visit starts over when the producer overwrites faster than it copies.
const TRIES: u32 = 4;

/// A run, and how far it has been handed out.
///
/// ```text
///   first ········· position ········· end
///     | handed out,    | to be handed   |
///     | not given back | out            |
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) lane: u32,
    first: u64,
    position: u64,
    end: u64,
    /// Where the frame of `position` stands.
    window: Window,
}

impl Run {
    /// A run of `count` frames, of which the first stands at the window's start.
    #[inline]
    pub(crate) fn new(lane: u32, position: u64, count: u64, window: Window) -> Self {
        Self { lane, first: position, position, end: position.wrapping_add(count), window }
    }

    /// Frames that have not been handed out.
    #[inline]
    pub(crate) fn left(&self) -> u64 {
        self.end.wrapping_sub(self.position)
    }

    /// Frames that have been handed out, and not been given back.
    #[inline]
    pub(crate) fn handed(&self) -> u64 {
        self.position.wrapping_sub(self.first)
    }

    /// The position of the frame that is handed out next.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Whether all of them have been handed out.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.position == self.end
    }

    /// Takes note that what was handed out has been given back.
    #[inline]
    pub(crate) fn give_back(&mut self) {
        self.first = self.position;
    }

    /// Passes over a frame of a run that is not over.
    pub(crate) fn skip(&mut self, shape: FrameShape) {
        self.position = self.position.wrapping_add(1);
        self.window.skip(shape);
    }

    /// Hands out a frame.
    ///
    /// # Safety
    /// The run is not over, its frames are of this shape, and nobody writes them while `'a` lasts.
    #[inline]
    pub(crate) unsafe fn next<'a>(&mut self, shape: FrameShape) -> FrameRef<'a> {
        let position = self.position;
        self.position = position.wrapping_add(1);
        // SAFETY: there is a next one, by this function's contract.
        FrameRef::of(unsafe { self.window.next(shape) }, self.lane, position)
    }

    /// Hands out `count` frames.
    ///
    /// # Safety
    /// As of `next`, with `count` frames left.
    #[inline]
    pub(crate) unsafe fn take<'a>(&mut self, shape: FrameShape, count: u64) -> Frames<'a> {
        let position = self.position;
        self.position = position.wrapping_add(count);
        #[allow(clippy::cast_possible_truncation)] // as many as lie in memory
        // SAFETY: there are as many, by this function's contract.
        Frames::of(unsafe { self.window.take(shape, count as usize) }, self.lane, position)
    }
}

/// How many frames a visit to a lane may take: bounded in bytes and frames, and by a quarter of the
/// ring so that the cursor moves while the producer fills the rest.
pub(crate) fn visit_frames(stride: u64, capacity: u64) -> u64 {
    let bytes = VISIT_BYTES.checked_div(stride).unwrap_or(1);
    bytes.min(VISIT_FRAMES).min(capacity / 4).max(1)
}

/// Copies up to `most` frames of a lane and keeps those that were not overwritten meanwhile.
///
/// Returns the run, if any frame was whole, and how many were lost on the way. Bounded: the
/// producer may lap the reader `TRIES` times, then the next visit goes on.
pub(crate) fn copy<W: Deref<Target = LaneWords>>(
    lane: u32,
    reader: &mut LaneReader<W>,
    data: &LaneData,
    capacity: u64,
    most: u64,
    buffer: &mut Buffer,
) -> (Option<Run>, u64) {
    let mut lost = 0_u64;
    for _ in 0..TRIES {
        let available = reader.available();
        if available == 0 {
            break;
        }
        if available <= capacity {
            let (run, torn) = copy_known(lane, reader, data, capacity, available.min(most), buffer);
            lost = lost.wrapping_add(torn);
            if run.is_some() {
                return (run, lost);
            }
        }
        lost = lost.wrapping_add(skip(reader, capacity));
    }
    (None, lost)
}

/// Copies `count` frames that are known to be published and keeps those that were not overwritten.
/// Moves the reader past those that were, and returns how many.
pub(crate) fn copy_known<W: Deref<Target = LaneWords>>(
    lane: u32,
    reader: &mut LaneReader<W>,
    data: &LaneData,
    capacity: u64,
    count: u64,
    buffer: &mut Buffer,
) -> (Option<Run>, u64) {
    let stride = data.slots.stride();
    let position = reader.position();
    let mut start = 0_usize;
    for step in 0..count {
        let words = buffer.words_mut(start..start.saturating_add(stride));
        data.slots.load_words(position.wrapping_add(step), words);
        start = start.saturating_add(stride);
    }
    let check = Check::after_copy(reader.words(), capacity);
    if check.is_whole(position) {
        return (buffered(lane, position, 0, count, data, buffer), 0);
    }
    let torn = check.first_whole().wrapping_sub(position).min(count);
    let first = position.wrapping_add(torn);
    reader.jump(first);
    let whole = count - torn;
    let run = if whole > 0 { buffered(lane, first, torn, whole, data, buffer) } else { None };
    (run, torn)
}

/// A run of up to `count` frames that are read where they stand.
#[inline]
pub(crate) fn in_place<W: Deref<Target = LaneWords>>(
    lane: u32,
    reader: &LaneReader<W>,
    data: &LaneData,
    count: u64,
) -> Run {
    let position = reader.position();
    let count = data.slots.contiguous(position, count);
    Run::new(lane, position, count, data.slots.window(position))
}

/// A run of `count` frames that stand in the buffer, after `skipped` others.
pub(crate) fn buffered(
    lane: u32,
    position: u64,
    skipped: u64,
    count: u64,
    data: &LaneData,
    buffer: &Buffer,
) -> Option<Run> {
    let shape = data.slots.shape();
    let start = usize::try_from(skipped).ok()?.checked_mul(shape.stride())?;
    let window = Window::over(buffer.from(start), shape, count)?;
    Some(Run::new(lane, position, count, window))
}

/// Jumps over what is surely overwritten, and a little more, so as not to be lapped again at once.
/// Returns how many frames that loses.
fn skip<W: Deref<Target = LaneWords>>(reader: &mut LaneReader<W>, capacity: u64) -> u64 {
    let position = reader.position();
    let head = reader.published();
    let ahead = head.wrapping_sub(capacity).wrapping_add(capacity / 8);
    // At least one frame, and never beyond what is published: what is not there yet is not lost.
    let to = earlier(later(ahead, position.wrapping_add(1)), head);
    reader.jump(to);
    to.wrapping_sub(position)
}
