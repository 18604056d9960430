//! One mapped region, and references into it that keep it mapped.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::sigbus;
use crate::layout::geometry::Region;
use crate::layout::group::{GroupWords, HintWords, MemberWords};
use crate::layout::table::words::{DeskWords, TableWords};
use crate::layout::words::{ControlWords, CursorWords, LaneWords, SeatWords};

/// Regions up to this size have all their pages when they are mapped, so that the first lap is as fast
/// as the others; larger ones get each page when it is first touched, some 0.3 us then, lest an attach
/// take milliseconds.
const PREFAULT_BYTES: usize = 16 << 20;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// To read, by who takes no seat: a forked child inherits it.
    Look,
    Read,
    ReadWrite,
}

/// A region of a segment in this process's memory. Unmapped when the last reference goes.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Invariant: `base .. base + bytes` is one live shared mapping that only `drop` ends.
    base: NonNull<u8>,
    bytes: usize,
    /// The process that has the mapping alone; `None`: its forked children have it too.
    pid: Option<u32>,
    /// Where the handler of SIGBUS knows it.
    slot: &'static sigbus::Slot,
}

// SAFETY: a Mapping is an address range; what is in it is reached only through the references below,
// each of which says for itself what it may do from which thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a region. A region of no bytes takes a page nobody uses, so that callers need no case.
    ///
    /// A forked child inherits it only if it is to look (`MADV_DONTFORK`).
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(crate) fn new(file: &File, region: Region, access: Access) -> io::Result<Arc<Self>> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let bytes = usize::try_from(region.bytes).map_err(invalid)?;
        let length = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
        let offset = i64::try_from(region.offset).map_err(invalid)?;
        let protection = match access {
            Access::Look | Access::Read => ProtFlags::PROT_READ,
            Access::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        let mut flags = MapFlags::MAP_SHARED;
        if access != Access::Look && bytes <= PREFAULT_BYTES {
            flags |= MapFlags::MAP_POPULATE;
        }
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let base = unsafe { mmap(None, length, protection, flags, file, offset)? };
        let pid = (access != Access::Look).then(std::process::id);
        let slot = sigbus::watch(base.addr().get(), length.get(), pid.is_none());
        let mapping = Self { base: base.cast(), bytes: length.get(), pid, slot };
        if pid.is_some() {
            // SAFETY: the range is the mapping just made; DONTFORK does not change its content.
            unsafe { madvise(base, length.get(), MmapAdvise::MADV_DONTFORK)? };
        }
        Ok(Arc::new(mapping))
    }

    /// Zeros of this process alone, in the place of a region that nobody has written to yet. Takes
    /// no memory before it is written to.
    ///
    /// # Errors
    /// Those of mmap(2).
    pub(crate) fn blank(bytes: u64) -> io::Result<Arc<Self>> {
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let length = NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let base = unsafe { mmap_anonymous(None, length, protection, flags)? };
        let slot = sigbus::watch(base.addr().get(), length.get(), false);
        let pid = Some(std::process::id());
        let mapping = Self { base: base.cast(), bytes: length.get(), pid, slot };
        // SAFETY: the range is the mapping just made; DONTFORK does not change its content.
        unsafe { madvise(base, length.get(), MmapAdvise::MADV_DONTFORK)? };
        Ok(Arc::new(mapping))
    }

    /// Whether a page was found missing: somebody cut the file short, and what stands there now is
    /// this process's own.
    pub(crate) fn is_broken(&self) -> bool {
        self.slot.is_broken()
    }

    /// The address of `bytes` bytes at `offset`, if they lie in the mapping at that alignment.
    pub(crate) fn range(&self, offset: u64, bytes: u64, align: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        let bytes = usize::try_from(bytes).ok()?;
        if offset.checked_add(bytes)? > self.bytes {
            return None;
        }
        // SAFETY: offset is within the mapping, which is one allocation (checked above).
        let pointer = unsafe { self.base.add(offset) };
        pointer.addr().get().is_multiple_of(align).then_some(pointer)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.pid.is_some_and(|pid| pid != std::process::id()) {
            // In a forked child the range is not mapped (`MADV_DONTFORK`), or is something else's
            // by now.
            return;
        }
        self.slot.clear();
        // SAFETY: the range is the mapping made in `new`, in this process; every reference into it
        // holds an Arc of this value, so none is left.
        let _unmapped = unsafe { munmap(self.base.cast(), self.bytes) };
    }
}

/// Types made of atomics alone, so that a shared reference to memory that other processes store to
/// is sound whatever they store.
///
/// # Safety
/// The type is `repr(C)` or a primitive, has no padding, and every field is an atomic integer or an
/// array of them.
pub(crate) unsafe trait SharedWords {}

// SAFETY: an atomic.
unsafe impl SharedWords for AtomicU64 {}
// SAFETY: repr(C), fields are atomics, size asserted beside the type.
unsafe impl SharedWords for LaneWords {}
// SAFETY: as above.
unsafe impl SharedWords for ControlWords {}
// SAFETY: as above.
unsafe impl SharedWords for SeatWords {}
// SAFETY: as above.
unsafe impl SharedWords for CursorWords {}
// SAFETY: as above, beside the type in `layout::group`.
unsafe impl SharedWords for GroupWords {}
// SAFETY: as above; its seat is a `SeatWords`.
unsafe impl SharedWords for MemberWords {}
// SAFETY: as above.
unsafe impl SharedWords for HintWords {}
// SAFETY: as above.
unsafe impl SharedWords for TableWords {}
// SAFETY: as above.
unsafe impl SharedWords for DeskWords {}

/// A reference to shared words that keeps their mapping alive.
#[derive(Debug)]
pub(crate) struct Shared<T: SharedWords> {
    /// Invariant: valid and aligned for `T` as long as `mapping` lives.
    pointer: NonNull<T>,
    mapping: Arc<Mapping>,
}

// SAFETY: gives out only `&T`, and T is made of atomics, which are Sync.
unsafe impl<T: SharedWords> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: SharedWords> Sync for Shared<T> {}

impl<T: SharedWords> Shared<T> {
    /// The words at `offset` bytes into the mapping; `None` when they do not lie in it.
    pub(crate) fn at(mapping: &Arc<Mapping>, offset: u64) -> Option<Self> {
        let bytes = u64::try_from(size_of::<T>()).ok()?;
        let pointer = mapping.range(offset, bytes, align_of::<T>())?.cast();
        Some(Self { pointer, mapping: Arc::clone(mapping) })
    }
}

impl<T: SharedWords> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { pointer: self.pointer, mapping: Arc::clone(&self.mapping) }
    }
}

impl<T: SharedWords> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: valid, aligned and alive by the field's invariant; every bit pattern is a T, and
        // other processes' stores are to atomics.
        unsafe { self.pointer.as_ref() }
    }
}

/// An array of shared words that keeps its mapping alive.
#[derive(Clone, Debug)]
pub(crate) struct SharedArray {
    /// Invariant: `len` words from here are valid as long as `_mapping` lives.
    base: NonNull<AtomicU64>,
    len: usize,
    _mapping: Arc<Mapping>,
    _words: PhantomData<AtomicU64>,
}

// SAFETY: gives out only slices of atomics.
unsafe impl Send for SharedArray {}
// SAFETY: as above.
unsafe impl Sync for SharedArray {}

impl SharedArray {
    /// `len` words at `offset` bytes into the mapping; `None` when they do not lie in it.
    pub(crate) fn at(mapping: &Arc<Mapping>, offset: u64, len: u64) -> Option<Self> {
        let base = mapping.range(offset, len.checked_mul(8)?, align_of::<AtomicU64>())?.cast();
        let len = usize::try_from(len).ok()?;
        Some(Self { base, len, _mapping: Arc::clone(mapping), _words: PhantomData })
    }
}

impl Deref for SharedArray {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: valid for `len` words by the field's invariant; atomics have any bit pattern.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}
