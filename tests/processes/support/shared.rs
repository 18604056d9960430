//! One number in a file that two processes map: what a producer has published for sure. It outlives
//! a producer that is killed, and costs the producer one store.

use std::fs::{File, OpenOptions};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

const BYTES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The number, mapped.
#[derive(Debug)]
pub struct Confirmed {
    base: NonNull<AtomicU64>,
    path: PathBuf,
    owner: bool,
}

impl Confirmed {
    /// A new number, 0, whose file is removed with this value.
    pub fn new() -> Self {
        let name = format!("busway-{}.confirmed", super::bus::unique_name());
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .expect("a new file");
        file.set_len(BYTES.get() as u64).expect("room for a number");
        Self { base: map(&file), path, owner: true }
    }

    /// The number of another process.
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("the file");
        Self { base: map(&file), path: path.to_owned(), owner: false }
    }

    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    pub fn get(&self) -> u64 {
        self.word().load(Ordering::SeqCst)
    }

    pub fn set(&self, value: u64) {
        self.word().store(value, Ordering::SeqCst);
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: the mapping lives until `drop`, is page-aligned and longer than the word; atomics
        // take any bit pattern and any other process's store.
        unsafe { self.base.as_ref() }
    }
}

fn map(file: &File) -> NonNull<AtomicU64> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: no address is asked for, so nothing is replaced.
    let base = unsafe { mmap(None, BYTES, access, MapFlags::MAP_SHARED, file, 0) };
    base.expect("a mapping").cast()
}

impl Drop for Confirmed {
    fn drop(&mut self) {
        // SAFETY: the mapping made by `map`; `word` borrows self, so no reference is left.
        let _unmapped = unsafe { munmap(self.base.cast(), BYTES.get()) };
        if self.owner {
            let _removed = std::fs::remove_file(&self.path);
        }
    }
}
