//! Frames that are handed out for writing in place.

#![allow(unsafe_code)]

use std::cell::Cell;

use super::engine::{Engine, Room};
use super::publish::Pass;
use crate::error::PublishError;
use crate::frame::Frame;
use crate::layout::frame::FrameHeader;
use crate::shm::window::SlotMut;

/// One frame, claimed for writing. [`commit`](Self::commit) makes it visible; dropping it aborts,
/// and then it never existed.
///
/// The payload holds whatever the slot held before: write all that you commit. Holding a claim for
/// long holds up nobody.
#[derive(Debug)]
#[must_use = "a claim that is not committed is aborted"]
pub struct Claim<'a> {
    engine: &'a mut Engine,
    slot: Slot<'a>,
    room: Room,
    /// How it is published.
    pass: Pass,
}

impl<'a> Claim<'a> {
    /// Always inlined on the short way; why, says `producer::publish`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    pub(super) fn new(engine: &'a mut Engine, room: Room) -> Result<Self, PublishError> {
        if engine.is_short_way(1) {
            // SAFETY: the way was looked at just now; the claim borrows the engine, asks nothing of it, and
            // ends with the commit.
            let mut slot = Slot::of(unsafe { engine.short_slot() }, None);
            // There are no timestamps on it.
            slot.reset(0);
            return Ok(Self { engine, slot, room, pass: Pass::Short });
        }
        // SAFETY: the claim borrows the engine, asks nothing of it, and ends with the commit.
        let (slot, pass) = unsafe { engine.claim_another_way(room)? };
        let mut slot = Slot::of(slot, None);
        slot.reset(engine.claim_time_ns());
        Ok(Self { engine, slot, room, pass })
    }

    /// The payload, all of it; stale content.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.slot.payload_mut()
    }

    /// The payload as a value of type `T`, whose size and kind the frame takes; stale content.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] or [`PublishError::WrongLength`] when `T` does not fit.
    #[inline]
    pub fn value_mut<T: Frame>(&mut self) -> Result<&mut T, PublishError> {
        self.slot.value_mut()
    }

    /// How much of the payload is used; all of it unless set. Event frames only.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`], or [`PublishError::WrongLength`] on a bus of bare frames.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> Result<(), PublishError> {
        self.slot.set_len(len)
    }

    /// The event type. Bare frames have none, and ignore it.
    #[inline]
    pub fn set_kind(&mut self, kind: u16) {
        self.slot.set_kind(kind);
    }

    /// The user's flags. Bare frames have none, and ignore them.
    #[inline]
    pub fn set_flags(&mut self, flags: u16) {
        self.slot.set_flags(flags);
    }

    /// Publishes the frame; returns its position.
    ///
    /// # Errors
    /// None on `single` and `lanes`. On `ordered`, as publishing when the order ring is full, and
    /// [`PublishError::Contested`].
    #[allow(clippy::inline_always)] // as `new`
    #[inline(always)]
    pub fn commit(self) -> Result<u64, PublishError> {
        let Self { engine, mut slot, room, pass } = self;
        let unused = slot.unused();
        if pass == Pass::Short {
            return Ok(engine.commit_the_short_way(unused));
        }
        engine.commit_another_way(pass, unused, room)
    }
}

/// Several frames, claimed together. [`commit`](Self::commit) makes them visible all at once;
/// dropping them aborts, and then none ever existed.
///
/// # Examples
/// ```
/// # let name = format!("doc-batch-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let bus = busway::Bus::options().create(&name)?;
/// # let mut consumer = bus.consumer().attach()?;
/// # let mut producer = bus.producer().attach()?;
/// let mut batch = producer.claim_batch(3)?;
/// for index in 0..3 {
///     let mut slot = batch.frame(index).expect("three frames are claimed");
///     slot.payload_mut()[0] = b'a' + index as u8;
///     slot.set_len(1)?;
/// }
/// let first = batch.commit()?;
/// assert_eq!(first, 0);
/// assert_eq!(consumer.lag(), 3);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a batch that is not committed is aborted"]
pub struct Batch<'a> {
    engine: &'a mut Engine,
    frames: u32,
    /// Bytes of their payloads that are not used, as far as was said.
    unused: Cell<u64>,
    room: Room,
}

impl<'a> Batch<'a> {
    #[inline]
    pub(super) fn new(
        engine: &'a mut Engine,
        frames: u32,
        room: Room,
    ) -> Result<Self, PublishError> {
        engine.reserve(frames.into(), room)?;
        let mut batch = Self { engine, frames, unused: Cell::new(0), room };
        let time_ns = batch.engine.claim_time_ns();
        for index in 0..frames {
            if let Some(mut slot) = batch.slot(index) {
                slot.reset(time_ns);
            }
        }
        Ok(batch)
    }

    /// How many frames are claimed.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a batch is never empty
    pub fn len(&self) -> u32 {
        self.frames
    }

    /// One of the frames; `None` from `len` on.
    #[inline]
    pub fn frame(&mut self, index: u32) -> Option<Slot<'_>> {
        self.slot(index)
    }

    #[inline]
    fn slot(&mut self, index: u32) -> Option<Slot<'_>> {
        if index >= self.frames {
            return None;
        }
        // SAFETY: as many frames are reserved; the slot borrows this batch, which asks nothing else of
        // the engine meanwhile.
        let slot = unsafe { self.engine.slot(index.into()) };
        slot.map(|slot| Slot::of(slot, Some(&self.unused)))
    }

    /// Publishes the frames, all at once; returns the position of the first.
    ///
    /// # Errors
    /// None on `single` and `lanes`. On `ordered`, as publishing when the order ring is full, and
    /// [`PublishError::Contested`].
    #[inline]
    pub fn commit(self) -> Result<u64, PublishError> {
        self.engine.commit(self.frames.into(), self.unused.get(), self.room)
    }
}

/// One frame of a [`Batch`].
#[derive(Debug)]
pub struct Slot<'a> {
    slot: SlotMut<'a>,
    /// Where those whose frames are published together count the bytes that they do not use.
    unused: Option<&'a Cell<u64>>,
}

impl<'a> Slot<'a> {
    #[inline]
    pub(super) fn of(slot: SlotMut<'a>, unused: Option<&'a Cell<u64>>) -> Self {
        Self { slot, unused }
    }

    /// How much of the payload is not used.
    #[inline]
    fn unused(&mut self) -> u64 {
        let max = self.slot.payload_bytes() as u64;
        self.slot.header_mut().map_or(0, |header| max.saturating_sub(header.len.into()))
    }

    /// The payload, all of it; stale content.
    #[inline]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.slot.reborrow().payload_mut()
    }

    /// The payload as a value of type `T`, whose size and kind the frame takes; stale content.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] or [`PublishError::WrongLength`] when `T` does not fit.
    #[inline]
    pub fn value_mut<T: Frame>(&mut self) -> Result<&mut T, PublishError> {
        let (len, max) = (size_of::<T>(), self.slot.payload_bytes());
        self.set_len(len)?;
        self.set_kind(T::KIND);
        let bytes = self.payload_mut().get_mut(..len);
        bytes
            .and_then(|bytes| T::mut_from_bytes(bytes).ok())
            .ok_or(PublishError::TooLarge { len, max })
    }

    /// How much of the payload is used; all of it unless set. Event frames only.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`], or [`PublishError::WrongLength`] on a bus of bare frames.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> Result<(), PublishError> {
        let max = self.slot.payload_bytes();
        if len > max {
            return Err(PublishError::TooLarge { len, max });
        }
        match self.slot.header_mut() {
            Some(header) => {
                let len = u32::try_from(len).unwrap_or(u32::MAX);
                // Most frames stay as full as they were claimed: those cost no store.
                if header.len != len {
                    if let Some(unused) = self.unused {
                        // Both lengths are at most a payload's, and the sum is that over all frames.
                        let grown = u64::from(header.len).wrapping_sub(len.into());
                        unused.set(unused.get().wrapping_add(grown));
                    }
                    header.len = len;
                }
            }
            None if len != max => return Err(PublishError::WrongLength { len, want: max }),
            None => {}
        }
        Ok(())
    }

    /// The event type. Bare frames have none, and ignore it.
    #[inline]
    pub fn set_kind(&mut self, kind: u16) {
        if let Some(header) = self.slot.header_mut() {
            header.kind = kind;
        }
    }

    /// The user's flags. Bare frames have none, and ignore them.
    #[inline]
    pub fn set_flags(&mut self, flags: u16) {
        if let Some(header) = self.slot.header_mut() {
            header.flags = flags;
        }
    }

    /// A fresh header over the stale one.
    #[inline]
    pub(super) fn reset(&mut self, time_ns: u64) {
        let len = u32::try_from(self.slot.payload_bytes()).unwrap_or(u32::MAX);
        if let Some(header) = self.slot.header_mut() {
            *header = FrameHeader { time_ns, len, kind: 0, flags: 0 };
        }
    }
}
