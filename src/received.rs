//! Frames as a reader sees them: borrowed, in runs, or owned.

use zerocopy::FromBytes;

use crate::error::PollError;
use crate::frame::Frame;
use crate::layout::frame::FrameHeader;
use crate::shm::window::{SlotRef, SlotRun};

/// One frame, borrowed: from the bus itself when it is lossless and evicts nobody, from a private
/// copy otherwise.
/// It stays as it is for as long as the borrow lives.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    payload: &'a [u8],
    header: FrameHeader,
    lane: u32,
    position: u64,
}

impl<'a> FrameRef<'a> {
    /// The frame in a slot.
    #[inline]
    pub(crate) fn of(slot: SlotRef<'a>, lane: u32, position: u64) -> Self {
        // Read once: who writes it although it must not, cannot make two of it.
        let header = slot.header();
        Self { payload: slot.payload(header), header, lane, position }
    }

    /// The payload that is used.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// When it was committed, or with timestamps `frame` when it was claimed: `CLOCK_MONOTONIC` in
    /// nanoseconds; 0 when the bus keeps no timestamps or its frames are bare.
    #[inline]
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.header.time_ns
    }

    /// The event type; 0 for bare frames.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> u16 {
        self.header.kind
    }

    /// The user's flags; 0 for bare frames.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.header.flags
    }

    /// The lane that it was published on.
    #[inline]
    #[must_use]
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// Its position in that lane.
    #[inline]
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The payload as a value of type `T`, in place.
    ///
    /// # Errors
    /// [`PollError::WrongType`] when the payload is not exactly of `T`'s size, or not aligned as
    /// `T` asks.
    #[inline]
    pub fn value<T: Frame>(&self) -> Result<&'a T, PollError> {
        T::ref_from_bytes(self.payload)
            .map_err(|_| PollError::WrongType { len: self.payload.len(), want: size_of::<T>() })
    }

    /// A copy that outlives the borrow.
    #[must_use]
    pub fn to_owned(&self) -> OwnedFrame {
        OwnedFrame {
            payload: self.payload.into(),
            header: self.header,
            lane: self.lane,
            position: self.position,
        }
    }
}

/// A run of frames of one lane, one after the other.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    slots: SlotRun<'a>,
    lane: u32,
    position: u64,
}

impl<'a> Frames<'a> {
    #[inline]
    pub(crate) fn of(slots: SlotRun<'a>, lane: u32, position: u64) -> Self {
        Self { slots, lane, position }
    }

    /// The lane that they were published on.
    #[must_use]
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// The position of the first that is left.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// What is left of the run as one slice of `T`s, in place: for bare frames of exactly `T`'s
    /// size and stride.
    ///
    /// # Errors
    /// [`PollError::WrongType`] when the frames are not that.
    pub fn as_slice<T: Frame>(&self) -> Result<&'a [T], PollError> {
        let shape = self.slots.shape();
        let wrong = PollError::WrongType { len: shape.stride(), want: size_of::<T>() };
        if shape.is_event() || shape.stride() != size_of::<T>() {
            return Err(wrong);
        }
        <[T]>::ref_from_bytes(self.slots.bytes()).map_err(|_| wrong)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = FrameRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<FrameRef<'a>> {
        let frame = FrameRef::of(self.slots.next()?, self.lane, self.position);
        self.position = self.position.wrapping_add(1);
        Some(frame)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.slots.len(), Some(self.slots.len()))
    }
}

impl ExactSizeIterator for Frames<'_> {}

/// One frame, owned.
#[derive(Clone, Debug)]
pub struct OwnedFrame {
    payload: Box<[u8]>,
    header: FrameHeader,
    lane: u32,
    position: u64,
}

impl OwnedFrame {
    /// The payload that is used.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// When it was committed; see [`FrameRef::time_ns`].
    #[must_use]
    pub fn time_ns(&self) -> u64 {
        self.header.time_ns
    }

    /// The event type.
    #[must_use]
    pub fn kind(&self) -> u16 {
        self.header.kind
    }

    /// The user's flags.
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.header.flags
    }

    /// The lane that it was published on.
    #[must_use]
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// Its position in that lane.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// A copy of the payload as a value of type `T`.
    ///
    /// # Errors
    /// [`PollError::WrongType`] when the payload is not exactly of `T`'s size.
    pub fn value<T: Frame>(&self) -> Result<T, PollError> {
        T::read_from_bytes(&self.payload)
            .map_err(|_| PollError::WrongType { len: self.payload.len(), want: size_of::<T>() })
    }
}
