//! Publishing frames, the short way where there is one.
//!
//! On most buses, most of the time, a frame takes no more than this: there is credit for it, and no
//! alarm; write it, store `head`, look whether anybody sleeps. That is one straight line, which has
//! nothing of the other buses in it. On an `ordered` bus the same line has the ticket in it. Everything
//! else goes the long way: `reserve`, `write`, `commit`.
//!
//! The short way is inlined into the caller, a claim as well. That saves more than the calls: stores
//! become visible in their order, so every store to the stack waits in the store buffer behind the
//! frame's, whose line may have to come from another core. With 28 stores a frame (saved registers,
//! a claim handed over in memory) two frames' lines are under way at a time; with five, a dozen. One by
//! one that was 92 million events a second against 211 (docs/performance.md).

#![allow(unsafe_code)]

use super::engine::{Engine, Room};
use crate::error::PublishError;
use crate::layout::frame::FrameHeader;
use crate::options::Timestamps;
use crate::shm::alarm;
use crate::shm::window::SlotMut;
use crate::sync::{barrier, clock};

/// What a frame of this bus takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Credit is all: the bus is lossless, without an order and without timestamps, and the kernel has
    /// the light barrier.
    Short,
    /// The same and a ticket: it has an order.
    Ordered,
    /// One of the two, and a look at the clock: its frames have timestamps.
    Stamped,
    /// More.
    Long,
}

/// Which way a frame may go that is to be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Short,
    Ordered,
    /// It is reserved.
    Long,
}

impl Engine {
    /// Publishes one frame of bytes.
    #[inline]
    pub(super) fn publish(
        &mut self,
        kind: u16,
        bytes: &[u8],
        room: Room,
    ) -> Result<u64, PublishError> {
        self.check_len(bytes.len())?;
        // SAFETY: the length was checked just now.
        unsafe { self.publish_fitting(kind, bytes, room) }
    }

    /// The same for bytes of which it is known that they fit.
    ///
    /// # Safety
    /// There are no more of them than a payload has.
    #[inline]
    pub(super) unsafe fn publish_fitting(
        &mut self,
        kind: u16,
        bytes: &[u8],
        room: Room,
    ) -> Result<u64, PublishError> {
        if !self.is_short_way(1) {
            // SAFETY: by this function's contract.
            return unsafe { self.publish_another_way(kind, bytes, room) };
        }
        let position = self.lane.head();
        // SAFETY: there is credit for the position; the length by this function's contract.
        unsafe { self.put(position, kind, 0, bytes) };
        self.publish_the_short_way(1, self.unused(bytes.len()));
        Ok(position)
    }

    /// How much of a payload's room is left when so many bytes of it are used.
    #[inline]
    pub(super) fn unused(&self, used: usize) -> u64 {
        self.data.slots.shape().payload_bytes().saturating_sub(used) as u64
    }

    /// Whether the next `count` frames may be written and published with no more questions.
    #[inline]
    pub(super) fn is_short_way(&self, count: u64) -> bool {
        // The last of them is before the limit, that is, their difference is negative; and no alarm:
        // one look at both.
        let last = self.lane.head().wrapping_add(count - 1);
        (last.wrapping_sub(self.short_limit) & alarm::calm()) >> 63 == 1
    }

    /// The same of the next frame on a bus where it takes a ticket or a look at the clock besides.
    #[inline]
    fn is_other_way(&self) -> bool {
        (self.lane.head().wrapping_sub(self.other_limit) & alarm::calm()) >> 63 == 1
    }

    /// Makes a frame visible that was written on the strength of `Pass::Ordered`; its position.
    #[inline]
    fn publish_the_ordered_way(&mut self, unused: u64, room: Room) -> Result<u64, PublishError> {
        let position = self.lane.head();
        self.enter(position, room)?;
        self.publish_the_short_way(1, unused);
        Ok(position)
    }

    /// Makes frames visible that were written on the strength of `is_short_way`, with so many bytes
    /// unused.
    #[inline]
    pub(super) fn publish_the_short_way(&mut self, count: u64, unused: u64) {
        self.lane.count(count, unused);
        self.lane.publish(count);
        // The light barrier, of which the way says that it needs no fence.
        barrier::compiler();
        self.wake_sleepers();
    }

    /// Publishes one frame on a bus that has more to ask, or that has no credit left. Cold only so that
    /// the short way is a straight line.
    ///
    /// # Safety
    /// As of `publish_fitting`.
    #[cold]
    #[inline(never)]
    unsafe fn publish_another_way(
        &mut self,
        kind: u16,
        bytes: &[u8],
        room: Room,
    ) -> Result<u64, PublishError> {
        if self.is_other_way() {
            let position = self.lane.head();
            let time_ns = match self.timestamps {
                Timestamps::Off => 0,
                Timestamps::Batch | Timestamps::Frame => clock::monotonic_ns(),
            };
            // SAFETY: there is credit for the position; the length by this function's contract.
            unsafe { self.put(position, kind, time_ns, bytes) };
            if self.order.is_some() {
                self.enter(position, room)?;
            }
            self.publish_the_short_way(1, self.unused(bytes.len()));
            return Ok(position);
        }
        self.reserve(1, room)?;
        // SAFETY: one frame is reserved; the length by this function's contract.
        unsafe { self.write(0, kind, bytes) };
        self.commit(1, self.unused(bytes.len()), room)
    }

    /// Publishes frames together, of which each has `len` bytes.
    ///
    /// # Safety
    /// They have as many, and that is no more than a payload has.
    #[inline]
    pub(super) unsafe fn publish_all<'a>(
        &mut self,
        kind: u16,
        len: usize,
        frames: impl ExactSizeIterator<Item = &'a [u8]>,
        room: Room,
    ) -> Result<u64, PublishError> {
        let count = u64::try_from(frames.len()).unwrap_or(u64::MAX);
        self.reserve(count, room)?;
        let unused = self.unused(len).wrapping_mul(count);
        if self.is_short_way(count) {
            let first = self.lane.head();
            for (step, bytes) in (0..count).zip(frames) {
                // SAFETY: there is credit for `count` positions; the length by this function's contract.
                unsafe { self.put(first.wrapping_add(step), kind, 0, bytes) };
            }
            self.publish_the_short_way(count, unused);
            return Ok(first);
        }
        for (index, bytes) in (0..count).zip(frames) {
            // SAFETY: `count` frames are reserved; the length by this function's contract.
            unsafe { self.write(index, kind, bytes) };
        }
        self.commit(count, unused, room)
    }

    /// Writes a frame into its slot, on a lossless lane.
    ///
    /// # Safety
    /// There is credit for the position, which is not published, and no more bytes than a payload has.
    #[inline]
    pub(super) unsafe fn put(&mut self, position: u64, kind: u16, time_ns: u64, bytes: &[u8]) {
        // The length is at most a payload's, which is a u32.
        #[allow(clippy::cast_possible_truncation)]
        let header = FrameHeader { time_ns, len: bytes.len() as u32, kind, flags: 0 };
        // SAFETY: this is the lane's only producer (it holds the seat's lock), and maps it for writing;
        // position and length by this function's contract; the borrow of self keeps any other borrow
        // of the slot away.
        unsafe { self.data.slots.put(position, header, bytes) };
    }

    /// The slot of the next frame, where that is published the short way.
    ///
    /// # Safety
    /// As of `slot`, and `is_short_way(1)` holds.
    #[inline]
    pub(super) unsafe fn short_slot<'a>(&mut self) -> SlotMut<'a> {
        // SAFETY: there is credit for the position, on a lossless lane whose only producer this is (it
        // holds the seat's lock), and which it maps for writing; else by this function's contract.
        unsafe { self.data.slots.slot_mut(self.lane.head()) }
    }

    /// Reserves one frame that is not published the short way, and hands out its slot. Says as well which
    /// way it may go.
    ///
    /// # Safety
    /// As of `slot`.
    #[inline(never)]
    pub(super) unsafe fn claim_another_way<'a>(
        &mut self,
        room: Room,
    ) -> Result<(SlotMut<'a>, Pass), PublishError> {
        let pass = if self.way == Way::Ordered && self.is_other_way() {
            Pass::Ordered
        } else {
            self.reserve(1, room)?;
            Pass::Long
        };
        let none = PublishError::BatchSize { frames: 1, max: 0 };
        // SAFETY: one frame is reserved; else by this function's contract.
        Ok((unsafe { self.slot(0) }.ok_or(none)?, pass))
    }

    /// Publishes a frame that was claimed for the short way, and written; its position.
    #[inline]
    pub(super) fn commit_the_short_way(&mut self, unused: u64) -> u64 {
        let position = self.lane.head();
        self.publish_the_short_way(1, unused);
        position
    }

    /// Publishes a frame that was claimed for another way, and written.
    #[inline(never)]
    pub(super) fn commit_another_way(
        &mut self,
        pass: Pass,
        unused: u64,
        room: Room,
    ) -> Result<u64, PublishError> {
        match pass {
            Pass::Short => Ok(self.commit_the_short_way(unused)),
            Pass::Ordered => self.publish_the_ordered_way(unused, room),
            Pass::Long => self.commit(1, unused, room),
        }
    }
}
