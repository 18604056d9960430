//! A file of `/dev/shm` mapped by several processes, for what the driver itself shares and for the
//! peers that are nothing but shared memory.

#![allow(unsafe_code, reason = "maps memory that other processes write")]

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

/// A mapped file; every page present, so that no page fault falls into a measurement.
pub struct Map(MmapRaw);

impl Map {
    /// Makes a file of zeros. The mapping is returned, too.
    ///
    /// # Errors
    /// The file's path and what the system said.
    pub fn create(path: &Path, len_bytes: usize) -> Result<Self, String> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = file.map_err(|error| format!("creating {}: {error}", path.display()))?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len_bytes as u64)
            .map_err(|error| format!("{len_bytes} bytes for {}: {error}", path.display()))?;
        Self::of(&file, path)
    }

    /// Maps a file that exists.
    ///
    /// # Errors
    /// The file's path and what the system said.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|error| format!("opening {}: {error}", path.display()))?;
        Self::of(&file, path)
    }

    fn of(file: &std::fs::File, path: &Path) -> Result<Self, String> {
        let map = MmapOptions::new().populate().map_raw(file);
        map.map(Self).map_err(|error| format!("mapping {}: {error}", path.display()))
    }

    /// A shared word.
    ///
    /// # Panics
    /// When it does not lie in the file, or not at a multiple of 8: a bug of the caller.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.0.len(), "no word at {offset}");
        // SAFETY: inside the mapping and aligned, by the assertion; lives as long as `self`; other
        // processes access it as an atomic, too.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().add(offset).cast()) }
    }

    /// A shared half word, for futexes.
    ///
    /// # Panics
    /// As [`word`](Self::word).
    pub fn half(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.0.len(), "no word at {offset}");
        // SAFETY: as in `word`.
        unsafe { AtomicU32::from_ptr(self.0.as_mut_ptr().add(offset).cast()) }
    }

    /// The first byte of the mapping, which lives as long as `self`.
    pub fn base(&self) -> *mut u8 {
        self.0.as_mut_ptr()
    }

    /// Bytes of the file.
    pub fn len_bytes(&self) -> usize {
        self.0.len()
    }
}
