//! Frames that stand one after the other in memory, handed out one by one or together.
//!
//! A run of frames is made sure of once, when it begins: they are published and gated, or they are a
//! checked copy. What is left to do for each is to step an address on, and that is all that is done
//! here. That nobody writes them meanwhile is for the caller to know.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::layout::frame::{FrameHeader, FrameShape};

/// Where the next frame of a run stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    at: NonNull<u8>,
}

// SAFETY: an address; the methods that follow it state who may call them when.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Default for Window {
    /// Before any run.
    fn default() -> Self {
        Self { at: NonNull::<u64>::dangling().cast() }
    }
}

impl Window {
    /// From a slot's address on.
    #[inline]
    pub(super) fn at(at: NonNull<u8>) -> Self {
        Self { at }
    }

    /// Frames in private memory. `None` when it has no room for `count` of them, or is not aligned to
    /// words.
    pub(crate) fn over(bytes: &[u8], shape: FrameShape, count: u64) -> Option<Self> {
        let count = usize::try_from(count).ok()?;
        let at = NonNull::from(bytes).cast::<u8>();
        let fits = count.checked_mul(shape.stride())? <= bytes.len();
        (fits && at.addr().get().is_multiple_of(8)).then_some(Self { at })
    }

    /// Hands out the next frame.
    ///
    /// # Safety
    /// It is one of those that the window was made for, whose slots are of this shape, and nobody
    /// writes it while `'a` lasts.
    #[inline]
    pub(crate) unsafe fn next<'a>(&mut self, shape: FrameShape) -> SlotRef<'a> {
        let slot = SlotRef { at: self.at, shape, _slot: PhantomData };
        // SAFETY: a slot of this stride stands here, so the address after it is within or at the end
        // of the same memory.
        self.at = unsafe { self.at.add(shape.stride()) };
        slot
    }

    /// Passes over the next frame. An address alone is stepped on: what may be read there is for who
    /// calls `next` to know.
    pub(crate) fn skip(&mut self, shape: FrameShape) {
        let stepped = self.at.as_ptr().wrapping_add(shape.stride());
        self.at = NonNull::new(stepped).unwrap_or(self.at);
    }

    /// Hands out the next `count` frames.
    ///
    /// # Safety
    /// As of `next`, for all of them.
    #[inline]
    pub(crate) unsafe fn take<'a>(&mut self, shape: FrameShape, count: usize) -> SlotRun<'a> {
        let slots = SlotRun { at: self.at, count, shape, _slots: PhantomData };
        // SAFETY: as in `next`.
        self.at = unsafe { self.at.add(shape.stride() * count) };
        slots
    }
}

/// The bytes of one slot, which nobody writes while `'a` lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotRef<'a> {
    /// Invariant: aligned to 8, and `shape.stride()` bytes from here can be read.
    at: NonNull<u8>,
    shape: FrameShape,
    _slot: PhantomData<&'a [u8]>,
}

impl<'a> SlotRef<'a> {
    /// The header; zeros when frames are bare.
    #[inline]
    pub(crate) fn header(self) -> FrameHeader {
        if !self.shape.is_event() {
            return FrameHeader::default();
        }
        // SAFETY: an event's shape has a header at its start; any bits are one.
        unsafe { self.at.cast::<FrameHeader>().read() }
    }

    /// The payload's bytes that are used, as the slot's `header` says. A length beyond the payload,
    /// which no honest producer writes, is cut to it.
    #[inline]
    pub(crate) fn payload(self, header: FrameHeader) -> &'a [u8] {
        let max = self.shape.payload_bytes();
        let used = usize::try_from(header.len).unwrap_or(usize::MAX);
        let len = if self.shape.is_event() { used.min(max) } else { max };
        // SAFETY: header and payload fit the slot (`FrameShape`), so `len` bytes lie in it.
        unsafe {
            let start = self.at.add(self.shape.header_bytes());
            std::slice::from_raw_parts(start.as_ptr(), len)
        }
    }
}

/// One slot for writing, which is its holder's alone while `'a` lasts.
#[derive(Debug)]
pub(crate) struct SlotMut<'a> {
    /// Invariant: aligned to 8, and `shape.stride()` bytes from here can be written.
    at: NonNull<u8>,
    shape: FrameShape,
    _slot: PhantomData<&'a mut [u8]>,
}

// SAFETY: an exclusive borrow of bytes.
unsafe impl Send for SlotMut<'_> {}
// SAFETY: as above.
unsafe impl Sync for SlotMut<'_> {}

impl<'a> SlotMut<'a> {
    /// The slot at an address.
    ///
    /// # Safety
    /// A slot of this shape, which is the caller's alone while `'a` lasts, and lives as long.
    #[inline]
    pub(super) unsafe fn at(at: NonNull<u8>, shape: FrameShape) -> Self {
        Self { at, shape, _slot: PhantomData }
    }

    /// A slot in private memory. `None` when that is too small, or not aligned to words.
    pub(crate) fn over(bytes: &'a mut [u8], shape: FrameShape) -> Option<Self> {
        let at = NonNull::from(&mut *bytes).cast::<u8>();
        let fits = shape.stride() <= bytes.len() && at.addr().get().is_multiple_of(8);
        fits.then_some(Self { at, shape, _slot: PhantomData })
    }

    /// The same for a time of the caller's choice.
    ///
    /// # Safety
    /// The slot is the caller's alone while `'b` lasts, and lives as long.
    #[inline]
    pub(crate) unsafe fn extend<'b>(self) -> SlotMut<'b> {
        SlotMut { at: self.at, shape: self.shape, _slot: PhantomData }
    }

    /// The same for a shorter time.
    #[inline]
    pub(crate) fn reborrow(&mut self) -> SlotMut<'_> {
        SlotMut { at: self.at, shape: self.shape, _slot: PhantomData }
    }

    /// The header. `None`: frames are bare.
    #[inline]
    pub(crate) fn header_mut(&mut self) -> Option<&mut FrameHeader> {
        // SAFETY: an event's shape has a header at its start; it is this borrow's alone.
        self.shape.is_event().then(|| unsafe { self.at.cast::<FrameHeader>().as_mut() })
    }

    /// The payload, all of it.
    #[inline]
    pub(crate) fn payload_mut(self) -> &'a mut [u8] {
        let len = self.shape.payload_bytes();
        // SAFETY: header and payload fit the slot (`FrameShape`), which is this value's alone.
        unsafe {
            let start = self.at.add(self.shape.header_bytes());
            std::slice::from_raw_parts_mut(start.as_ptr(), len)
        }
    }

    /// How long a payload can be.
    #[inline]
    pub(crate) fn payload_bytes(&self) -> usize {
        self.shape.payload_bytes()
    }
}

/// Slots one after the other, which nobody writes while `'a` lasts.
#[derive(Clone, Debug)]
pub(crate) struct SlotRun<'a> {
    /// Invariant: `count` slots of `shape` from here can be read.
    at: NonNull<u8>,
    count: usize,
    shape: FrameShape,
    _slots: PhantomData<&'a [u8]>,
}

// SAFETY: a shared borrow of bytes.
unsafe impl Send for SlotRun<'_> {}
// SAFETY: as above.
unsafe impl Sync for SlotRun<'_> {}
// SAFETY: a shared borrow of bytes.
unsafe impl Send for SlotRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for SlotRef<'_> {}

impl<'a> SlotRun<'a> {
    /// How the frames lie in them.
    #[inline]
    pub(crate) fn shape(&self) -> FrameShape {
        self.shape
    }

    /// How many are left.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The first that is left.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<SlotRef<'a>> {
        self.count = self.count.checked_sub(1)?;
        let slot = SlotRef { at: self.at, shape: self.shape, _slot: PhantomData };
        // SAFETY: a slot of this stride stands here, by the invariant.
        self.at = unsafe { self.at.add(self.shape.stride()) };
        Some(slot)
    }

    /// All that is left, as bytes.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        // SAFETY: by the invariant.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.count * self.shape.stride()) }
    }
}
