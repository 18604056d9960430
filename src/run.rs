//! The run that a reader is in the middle of, and how one is taken from a lane.
//!
//! A run is a number of frames of one lane that have been made sure of together: by the gate on a
//! lossless bus, by copying and checking on a lossy one.

use std::ops::Deref;

use crate::buffer::Buffer;
use crate::lane::lossy::Check;
use crate::lane::reader::LaneReader;
use crate::lane::{earlier, later};
use crate::layout::words::LaneWords;
use crate::regions::LaneData;

/// Bytes that one visit to a lane reads at most: half of a common first-level cache. It bounds how
/// long a flooding lane is listened to before the others are looked at again.
const VISIT_BYTES: u64 = 16 << 10;
/// Frames that one visit reads at most.
const VISIT_FRAMES: u64 = 256;
/// How often a lossy visit starts over when the producer overwrites faster than it copies.
const TRIES: u32 = 4;

/// The part of a run that has not been handed out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Run {
    pub(crate) lane: u32,
    /// The next frame's position.
    pub(crate) position: u64,
    /// Frames left.
    pub(crate) left: u64,
    /// Frames of the run, handed out or not: what is released at its end.
    pub(crate) count: u64,
    /// Lossy: where in the buffer the next frame is, in frames.
    pub(crate) buffered: u64,
}

impl Run {
    /// A run of frames that are read in place.
    #[inline]
    pub(crate) fn in_place(lane: u32, position: u64, count: u64) -> Self {
        Self { lane, position, left: count, count, buffered: 0 }
    }

    /// Hands out `count` frames.
    #[inline]
    pub(crate) fn take(&mut self, count: u64) {
        self.position = self.position.wrapping_add(count);
        self.buffered = self.buffered.wrapping_add(count);
        self.left = self.left.saturating_sub(count);
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
        return (Some(Run::in_place(lane, position, count)), 0);
    }
    let torn = check.first_whole().wrapping_sub(position).min(count);
    let first = position.wrapping_add(torn);
    reader.jump(first);
    let whole = count - torn;
    let run = Run { lane, position: first, left: whole, count: whole, buffered: torn };
    ((whole > 0).then_some(run), torn)
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
