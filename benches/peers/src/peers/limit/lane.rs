//! One ring: one writer, and readers that all see everything.
//!
//! ```text
//!     0             head     messages written; the writer's line
//!   128             cursor   messages read; the first reader's line, the others' follow
//!   128 × (1 + n)   slots    of the payload's size, rounded up to 8 bytes
//! ```
//! The writer remembers the cursors and looks again when the ring seems full; a reader remembers
//! the head and looks again when it has read up to it. `head` is stored once a batch, a cursor once
//! a run.

#![allow(unsafe_code, reason = "slots are memory that two processes use in turn")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::peer::{Backoff, Peer, Rx, Shape, Tx, Wait, need};
use crate::shm::Map;

/// Processors fetch lines in pairs: words that different ends write are this far apart, in bytes.
const LINE_BYTES: usize = 128;

/// The ring's memory and its measures.
pub struct Ring {
    map: Map,
    payload_bytes: usize,
    stride_bytes: usize,
    slots_offset: usize,
    /// Slots; a power of two.
    slots: u64,
    cursors: usize,
}

impl Ring {
    fn path(place: &Path, number: usize) -> PathBuf {
        place.join(format!("lane-{number}"))
    }

    /// Makes ring `number` in a place.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn create(shape: &Shape, place: &Path, number: usize) -> Result<(), String> {
        let stride_bytes = shape.payload_bytes.next_multiple_of(8);
        let slots_offset = LINE_BYTES * (1 + shape.consumers);
        let bytes = slots_offset + shape.slots(stride_bytes) * stride_bytes;
        Map::create(&Self::path(place, number), bytes).map(drop)
    }

    /// Maps ring `number` of a place.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn open(shape: &Shape, place: &Path, number: usize) -> Result<Self, String> {
        let map = Map::open(&Self::path(place, number))?;
        let stride_bytes = shape.payload_bytes.next_multiple_of(8);
        let slots_offset = LINE_BYTES * (1 + shape.consumers);
        let slots = shape.slots(stride_bytes);
        if slots_offset + slots * stride_bytes > map.len_bytes() {
            return Err(format!("ring {number} is smaller than {slots} slots"));
        }
        let payload_bytes = shape.payload_bytes;
        let (slots, cursors) = (slots as u64, shape.consumers);
        Ok(Self { map, payload_bytes, stride_bytes, slots_offset, slots, cursors })
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        self.map.word(0)
    }

    #[inline]
    fn cursor(&self, reader: usize) -> &AtomicU64 {
        self.map.word(LINE_BYTES * (1 + reader))
    }

    /// The slot of a position.
    #[inline]
    fn slot(&self, position: u64) -> *mut u8 {
        #[allow(clippy::cast_possible_truncation, reason = "the mask keeps it below the slots")]
        let index = (position & (self.slots - 1)) as usize;
        // SAFETY: `open` has checked that all slots lie in the mapping.
        unsafe { self.map.base().add(self.slots_offset + index * self.stride_bytes) }
    }
}

/// The writing end.
pub struct LaneTx {
    ring: Ring,
    /// The next position.
    position: u64,
    /// Up to here there is room, as far as is known.
    limit: u64,
    backoff: Backoff,
}

impl LaneTx {
    /// The only writer of ring `number`.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn open(shape: &Shape, place: &Path, number: usize) -> Result<Self, String> {
        let ring = Ring::open(shape, place, number)?;
        let limit = ring.slots;
        Ok(Self { ring, position: 0, limit, backoff: Backoff::new(shape) })
    }

    /// The next position.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes without making anything visible; [`publish`](Self::publish) does that.
    #[inline]
    pub fn write(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) {
        while self.position + count as u64 > self.limit {
            self.look_for_room(count as u64);
        }
        for index in 0..count {
            let slot = self.ring.slot(self.position + index as u64);
            // SAFETY: a slot of the mapping, and nobody reads or writes it: this is the only
            // writer, and `limit` keeps it off what a reader has not read.
            let payload = unsafe { std::slice::from_raw_parts_mut(slot, self.ring.payload_bytes) };
            fill(index, payload);
        }
        self.position += count as u64;
    }

    /// Makes visible what was written.
    #[inline]
    pub fn publish(&self) {
        // ORDERING: release, pairs with the acquire load in `LaneRx::look`.
        self.ring.head().store(self.position, Ordering::Release);
    }

    #[cold]
    fn look_for_room(&mut self, count: u64) {
        // ORDERING: acquire, pairs with the release store in `LaneRx::give_back`: the reader's
        // loads from the slots are over.
        let cursors =
            (0..self.ring.cursors).map(|reader| self.ring.cursor(reader).load(Ordering::Acquire));
        self.limit = cursors.min().unwrap_or(self.position) + self.ring.slots;
        if self.position + count > self.limit {
            self.backoff.pause();
        }
    }
}

impl Tx for LaneTx {
    #[inline]
    fn send(&mut self, count: usize, fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        self.write(count, fill);
        self.publish();
        Ok(())
    }
}

/// A reading end.
pub struct LaneRx {
    ring: Ring,
    reader: usize,
    /// The next position.
    position: u64,
    /// Up to here there is something, as far as is known.
    head: u64,
}

impl LaneRx {
    /// Reader `reader` of ring `number`.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn open(shape: &Shape, place: &Path, number: usize, reader: usize) -> Result<Self, String> {
        Ok(Self { ring: Ring::open(shape, place, number)?, reader, position: 0, head: 0 })
    }

    /// The next position.
    #[inline]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The first word of the next slot, which its writer may be about to store.
    #[inline]
    pub fn word(&self) -> &AtomicU64 {
        // SAFETY: a slot of the mapping; slots are aligned to 8 and no shorter.
        unsafe { AtomicU64::from_ptr(self.ring.slot(self.position).cast()) }
    }

    /// Reads the next message, which the caller knows to be there and visible.
    #[inline]
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) {
        let slot = self.ring.slot(self.position);
        // SAFETY: a slot of the mapping, and nobody writes it: its message is visible, and this
        // reader's cursor is not past it.
        each(unsafe { std::slice::from_raw_parts(slot, self.ring.payload_bytes) });
        self.position += 1;
    }

    /// Gives the slots back that were read.
    #[inline]
    pub fn give_back(&self) {
        // ORDERING: release, pairs with the acquire load in `LaneTx::look_for_room`.
        self.ring.cursor(self.reader).store(self.position, Ordering::Release);
    }

    #[inline]
    fn look(&mut self) {
        // ORDERING: acquire, pairs with the release store in `LaneTx::publish`: makes the messages
        // visible.
        self.head = self.ring.head().load(Ordering::Acquire);
    }
}

impl Rx for LaneRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        if self.position == self.head {
            self.look();
        }
        let end = self.head.min(self.position + max as u64);
        let begin = self.position;
        while self.position < end {
            self.read(&mut each);
        }
        if end == begin {
            return Ok(0);
        }
        self.give_back();
        Ok(usize::try_from(end - begin).unwrap_or(max))
    }
}

/// What none of the limits does.
///
/// # Errors
/// The first thing that the shape asks for.
pub fn plain(shape: &Shape) -> Result<(), String> {
    need(!shape.lossy, "lossless only")?;
    need(shape.wait == Wait::Spin, "spins only")
}

/// `limit:lane`: one writer, one reader.
pub struct Lane;

impl Peer for Lane {
    const NAME: &'static str = "limit:lane";
    const ABOUT: &'static str = "the limit: a bare ring, one writer, one reader, no header";
    type Tx = LaneTx;
    type Rx = LaneRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        plain(shape)?;
        need(shape.seats() == 1 && shape.consumers == 1, "one producer, one consumer")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        Ring::create(shape, place, 0).map(|()| Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<LaneTx, String> {
        LaneTx::open(shape, place, 0)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<LaneRx, String> {
        LaneRx::open(shape, place, 0, index)
    }
}

/// `limit:broadcast`: one writer, several readers.
pub struct Broadcast;

impl Peer for Broadcast {
    const NAME: &'static str = "limit:broadcast";
    const ABOUT: &'static str = "the limit: a bare ring, one writer, a cursor for each reader";
    type Tx = LaneTx;
    type Rx = LaneRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        plain(shape)?;
        need(shape.seats() == 1, "one producer")?;
        need(shape.consumers > 1, "as limit:lane with one consumer")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        Ring::create(shape, place, 0).map(|()| Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<LaneTx, String> {
        LaneTx::open(shape, place, 0)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<LaneRx, String> {
        LaneRx::open(shape, place, 0, index)
    }
}
