//! Frames that are published together although nobody knows beforehand how many they will be.
//!
//! It is a batch that grows: frame after frame is reserved and written behind the lane's head, where nobody
//! looks, and one store of the head (one entry on an `ordered` bus) makes all of them visible. So there is
//! nothing to undo: a transaction that is dropped, or whose process dies, was never there.

#![allow(unsafe_code)]

use std::cell::Cell;

use super::claim::Slot;
use super::engine::{Engine, Room};
use crate::error::PublishError;
use crate::frame::Frame;

/// Several frames that become visible all at once, at [`commit`](Self::commit), or not at all: from
/// [`Producer::transaction`](crate::Producer::transaction). Dropping it is [`rollback`](Self::rollback).
///
/// It holds nobody up, however long it takes: no consumer waits for it, and other producers have lanes of
/// their own. It may have as many frames as the lane (65 535 on an `ordered` bus); the one too
/// many is refused with [`PublishError::BatchSize`] and leaves the transaction as it was, as does one for
/// which there is no room.
///
/// # Examples
/// ```
/// # let name = format!("doc-transaction-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let bus = busway::Bus::options().create(&name)?;
/// # let mut consumer = bus.consumer().attach()?;
/// # let mut producer = bus.producer().attach()?;
/// let mut transfer = producer.transaction();
/// transfer.publish_bytes(1, b"100 from Ann")?;
/// transfer.publish_bytes(2, b"100 to Bob")?;
/// assert_eq!(consumer.lag(), 0, "nothing is visible before the commit");
/// transfer.commit()?;
/// assert_eq!(consumer.lag(), 2);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Transaction<'a> {
    engine: &'a mut Engine,
    frames: u64,
    /// Bytes of their payloads that are not used.
    unused: Cell<u64>,
    room: Room,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(engine: &'a mut Engine, room: Room) -> Self {
        Self { engine, frames: 0, unused: Cell::new(0), room }
    }

    /// Adds a frame of bytes. `kind` is kept by event frames only.
    ///
    /// # Errors
    /// [`PublishError::BatchSize`] when the transaction outgrows the lane; otherwise as
    /// [`Producer::publish_bytes`](crate::Producer::publish_bytes).
    pub fn publish_bytes(&mut self, kind: u16, bytes: &[u8]) -> Result<(), PublishError> {
        self.engine.check_len(bytes.len())?;
        let mut slot = self.frame()?;
        slot.set_len(bytes.len())?;
        slot.set_kind(kind);
        if let Some(to) = slot.payload_mut().get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
        }
        Ok(())
    }

    /// Adds a frame of type `T`.
    ///
    /// # Errors
    /// As [`publish_bytes`](Self::publish_bytes).
    pub fn publish<T: Frame>(&mut self, frame: &T) -> Result<(), PublishError> {
        self.publish_bytes(T::KIND, frame.as_bytes())
    }

    /// Adds a frame and hands it out for writing in place. Its payload is stale: write all of it.
    ///
    /// # Errors
    /// As [`publish_bytes`](Self::publish_bytes).
    pub fn frame(&mut self) -> Result<Slot<'_>, PublishError> {
        let index = self.frames;
        self.engine.reserve(index.saturating_add(1), self.room)?;
        let time_ns = self.engine.claim_time_ns();
        self.frames = index.saturating_add(1);
        let mut slot = self.slot(index)?;
        slot.reset(time_ns);
        Ok(slot)
    }

    /// One of its frames, for writing.
    pub(crate) fn slot(&mut self, index: u64) -> Result<Slot<'_>, PublishError> {
        let none = PublishError::BatchSize { frames: index, max: self.frames };
        if index >= self.frames {
            return Err(none);
        }
        // SAFETY: as many frames are reserved; the slot borrows this transaction, which asks nothing else
        // of the engine meanwhile.
        let slot = unsafe { self.engine.slot(index) }.ok_or(none)?;
        Ok(Slot::of(slot, Some(&self.unused)))
    }

    /// How many frames it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.frames
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// Publishes the frames, all at once; returns the position of the first. Without any frame it does
    /// nothing, and returns the position that the next frame will have.
    ///
    /// # Errors
    /// None on `single` and `lanes`, but [`PublishError::Forked`]. On `ordered`, as publishing when the
    /// order ring is full, and [`PublishError::Contested`]; then nothing was published.
    pub fn commit(self) -> Result<u64, PublishError> {
        if self.is_empty() {
            return Ok(self.engine.position());
        }
        self.engine.commit(self.frames, self.unused.get(), self.room)
    }

    /// Forgets the frames. The same as dropping.
    pub fn rollback(self) {}
}
