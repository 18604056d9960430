//! A lane's slots in a mapping: addressed by position, read and written in place.
//!
//! This is where a position becomes an address, and where the two ways to touch a slot are kept
//! apart: as plain bytes, when the protocol gives the caller the slot to itself, and as relaxed
//! atomic words, when a producer may be overwriting it meanwhile.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mapping::Mapping;
use super::window::{SlotMut, Window};
use crate::crash::crash_point;
use crate::layout::frame::{FrameHeader, FrameShape};
use crate::sync::prefetch;

/// The slots of one lane.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// Invariant: `mask + 1` slots of `shape` from here lie in `mapping`; 64-byte aligned.
    base: NonNull<u8>,
    /// Capacity − 1; the capacity is a power of two.
    mask: u64,
    shape: FrameShape,
    mapping: Arc<Mapping>,
}

// SAFETY: an address range; the methods that touch it state who may call them when.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// The slots at `offset` bytes into the mapping; `None` when they do not lie in it, or when
    /// `capacity` is not a power of two.
    pub(crate) fn at(
        mapping: &Arc<Mapping>,
        offset: u64,
        capacity: u64,
        shape: FrameShape,
    ) -> Option<Self> {
        if !capacity.is_power_of_two() {
            return None;
        }
        let stride = u64::try_from(shape.stride()).ok()?;
        let base = mapping.range(offset, capacity.checked_mul(stride)?, 64)?;
        Some(Self { base, mask: capacity - 1, shape, mapping: Arc::clone(mapping) })
    }

    /// What keeps the slots.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// How a frame lies in its slot.
    #[inline]
    pub(crate) fn shape(&self) -> FrameShape {
        self.shape
    }

    /// Bytes from one slot to the next.
    #[inline]
    pub(crate) fn stride(&self) -> usize {
        self.shape.stride()
    }

    /// How many of `count` slots from `position` lie one after the other before the ring's end.
    #[inline]
    pub(crate) fn contiguous(&self, position: u64, count: u64) -> u64 {
        count.min(self.mask + 1 - (position & self.mask))
    }

    /// The address of the slot that holds `position`.
    #[inline]
    fn pointer(&self, position: u64) -> NonNull<u8> {
        // The mask bounds the index whatever the position is; capacity * stride was checked to fit
        // a usize when the range was, so neither the cast nor the product can lose bits.
        #[allow(clippy::cast_possible_truncation)]
        let index = (position & self.mask) as usize;
        // SAFETY: index <= mask, so the offset stays within the range of the field's invariant.
        unsafe { self.base.add(index * self.shape.stride()) }
    }

    /// Where the slot of `position` stands, and those that follow it up to the ring's end.
    #[inline]
    pub(crate) fn window(&self, position: u64) -> Window {
        Window::at(self.pointer(position))
    }

    /// Asks for the slot of `position`, which is about to be read.
    #[inline]
    pub(crate) fn expect_read(&self, position: u64) {
        if let Some(first) = self.words(position).first() {
            prefetch::to_read(first);
        }
    }

    /// The slot of `position`, for writing.
    ///
    /// # Safety
    /// The caller is the lane's only producer, the position is claimed and not published while `'a`
    /// lasts, nothing else borrows the slot, and the mapping, which outlives `'a`, is writable.
    #[inline]
    pub(crate) unsafe fn slot_mut<'a>(&self, position: u64) -> SlotMut<'a> {
        // SAFETY: in range by `pointer`; exclusive by this function's contract.
        unsafe { SlotMut::at(self.pointer(position), self.shape) }
    }

    /// Writes a frame into the slot of `position`. Bare frames have no header.
    ///
    /// # Safety
    /// As of `slot_mut`; and the payload is not longer than the shape says.
    #[inline]
    pub(crate) unsafe fn put(&self, position: u64, header: FrameHeader, payload: &[u8]) {
        debug_assert!(payload.len() <= self.shape.payload_bytes());
        let slot = self.pointer(position);
        if self.shape.is_event() {
            // SAFETY: an event's shape has room for the header, the slot is aligned to 8 (`at`), and
            // this caller's alone by this function's contract.
            unsafe { slot.cast::<FrameHeader>().write(header) };
        }
        crash_point!(FrameHalfWritten);
        // SAFETY: header and payload fit the slot (`FrameShape` and this function's contract); it is
        // this caller's alone, so it does not overlap `payload`.
        unsafe {
            let to = slot.add(self.shape.header_bytes()).as_ptr();
            std::ptr::copy_nonoverlapping(payload.as_ptr(), to, payload.len());
        }
        crash_point!(FrameWritten);
    }

    /// The slot of `position` as shared words: for both ends of a race that the caller resolves.
    #[inline]
    pub(crate) fn words(&self, position: u64) -> &[AtomicU64] {
        // SAFETY: in range by `pointer`; aligned, since the base is and the stride is a multiple
        // of 8; atomics take any bit pattern and any concurrent store.
        unsafe {
            let words = self.shape.stride() / 8;
            std::slice::from_raw_parts(self.pointer(position).as_ptr().cast(), words)
        }
    }

    /// Stores the words of `from` into the slot, as relaxed atomics.
    #[inline]
    pub(crate) fn store_words(&self, position: u64, from: &[u64]) {
        for (word, value) in self.words(position).iter().zip(from) {
            // ORDERING: relaxed; ordered by the fences of `lane::lossy`, which calls this.
            word.store(*value, Ordering::Relaxed);
        }
    }

    /// Copies the words of the slot into `into`, as relaxed atomics: what comes out may be torn.
    #[inline]
    pub(crate) fn load_words(&self, position: u64, into: &mut [u64]) {
        for (word, value) in self.words(position).iter().zip(into) {
            // ORDERING: relaxed; ordered by the fences of `lane::lossy`, which calls this.
            *value = word.load(Ordering::Relaxed);
        }
    }
}
