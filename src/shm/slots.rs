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

/// The slots of one lane.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    /// Invariant: `(mask + 1) * stride` bytes from here lie in `mapping`; 64-byte aligned.
    base: NonNull<u8>,
    /// Capacity − 1; the capacity is a power of two.
    mask: u64,
    /// Bytes from one slot to the next; a multiple of 8.
    stride: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: an address range; the methods that touch it state who may call them when.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// The slots at `offset` bytes into the mapping; `None` when they do not lie in it, or when
    /// `capacity` is not a power of two or `stride` not a multiple of 8.
    pub(crate) fn at(
        mapping: &Arc<Mapping>,
        offset: u64,
        capacity: u64,
        stride: u32,
    ) -> Option<Self> {
        if !capacity.is_power_of_two() || !stride.is_multiple_of(8) {
            return None;
        }
        let base = mapping.range(offset, capacity.checked_mul(stride.into())?, 64)?;
        let stride = usize::try_from(stride).ok()?;
        Some(Self { base, mask: capacity - 1, stride, mapping: Arc::clone(mapping) })
    }

    /// What keeps the slots.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Bytes from one slot to the next.
    #[inline]
    pub(crate) fn stride(&self) -> usize {
        self.stride
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
        unsafe { self.base.add(index * self.stride) }
    }

    /// The bytes of `count` slots from `position`, cut at the ring's end.
    ///
    /// # Safety
    /// Nobody writes these slots while the borrow lives: the protocol says that the positions are
    /// published and gated by a cursor that does not move before the borrow ends.
    #[inline]
    pub(crate) unsafe fn read(&self, position: u64, count: u64) -> &[u8] {
        #[allow(clippy::cast_possible_truncation)] // at most capacity, see `pointer`
        let count = self.contiguous(position, count) as usize;
        // SAFETY: in range by `contiguous`; not written meanwhile by this function's contract.
        unsafe { std::slice::from_raw_parts(self.pointer(position).as_ptr(), count * self.stride) }
    }

    /// The bytes of the slot of `position`, for writing.
    ///
    /// # Safety
    /// The caller is the lane's only producer, the position is claimed and not yet published, and
    /// no other borrow of this slot is alive. The mapping is writable.
    #[inline]
    #[allow(clippy::mut_from_ref)] // exclusivity comes from the protocol, see the contract
    pub(crate) unsafe fn write(&self, position: u64) -> &mut [u8] {
        // SAFETY: in range by `pointer`; exclusive by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(position).as_ptr(), self.stride) }
    }

    /// The slot of `position` as shared words: for both ends of a race that the caller resolves.
    #[inline]
    pub(crate) fn words(&self, position: u64) -> &[AtomicU64] {
        // SAFETY: in range by `pointer`; aligned, since the base is and the stride is a multiple
        // of 8; atomics take any bit pattern and any concurrent store.
        unsafe {
            std::slice::from_raw_parts(self.pointer(position).as_ptr().cast(), self.stride / 8)
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
