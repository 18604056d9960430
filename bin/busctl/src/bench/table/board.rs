//! What the ends of a measurement share besides the table: who has written and read how much, and the
//! array of cells with a mutex each that a table is measured beside.

#![allow(unsafe_code, reason = "declares what several processes store to")]

use crate::shared::Board;
use rustix::thread::futex::{self, Flags};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Keys of a measurement at most.
pub const KEYS_MAX: usize = 256;

/// A word on a line of its own.
#[repr(C, align(64))]
pub struct Line(pub AtomicU64, [AtomicU64; 7]);

/// A value under a mutex.
#[repr(C, align(64))]
pub struct MutexCell {
    /// 0 free, 1 locked, 2 locked and awaited.
    lock: AtomicU32,
    _rest: AtomicU32,
    /// Guarded by the lock, like what follows.
    version: AtomicU64,
    taken: AtomicU64,
    value: [AtomicU64; 2],
}

/// The memory of one measurement.
#[repr(C, align(64))]
pub struct TableBoard {
    /// Messages that writers have undertaken to send.
    pub sent: Line,
    /// Writers that are done.
    pub done: Line,
    /// The version of each key that was read last, where each is read once.
    pub taken: [Line; KEYS_MAX],
    pub cells: [MutexCell; KEYS_MAX],
}

// SAFETY: repr(C) of atomics alone, aligned to 64.
unsafe impl Board for TableBoard {
    const NAME: &'static str = "busway-bench-table";
    const POPULATED: bool = true;
}

impl MutexCell {
    /// Runs `inside` with the cell locked: a plain mutex on a futex that processes can share, the second
    /// of U. Drepper, "Futexes Are Tricky", which is what the standard library's is as well.
    fn locked<T>(&self, inside: impl FnOnce() -> T) -> T {
        // ORDERING: acquire, pairs with the release in the unlock below.
        let free = self.lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if !free {
            // ORDERING: acquire, as above.
            while self.lock.swap(2, Ordering::Acquire) != 0 {
                // Woken for any reason, it tries again.
                let _ = futex::wait(&self.lock, Flags::empty(), 2, None);
            }
        }
        let result = inside();
        // ORDERING: release, pairs with the acquire of whoever locks next.
        if self.lock.swap(0, Ordering::Release) == 2 {
            let _ = futex::wake(&self.lock, Flags::empty(), 1);
        }
        result
    }

    /// Writes a message made by `make` (under the lock) unless `once` and the last was not read.
    pub fn put(&self, once: bool, make: impl FnOnce() -> [u64; 2]) -> bool {
        // ORDERING: relaxed for all; guarded by the lock.
        self.locked(|| {
            let version = self.version.load(Ordering::Relaxed);
            if once && self.taken.load(Ordering::Relaxed) != version {
                return false;
            }
            let [first, second] = make();
            self.value[0].store(first, Ordering::Relaxed);
            self.value[1].store(second, Ordering::Relaxed);
            self.version.store(version + 1, Ordering::Relaxed);
            true
        })
    }

    /// Reads the message, if it was not read before; where not `once`, with its version and always.
    pub fn get(&self, once: bool) -> Option<(u64, [u64; 2])> {
        // ORDERING: relaxed for all; guarded by the lock.
        self.locked(|| {
            let version = self.version.load(Ordering::Relaxed);
            if version == 0 || (once && self.taken.load(Ordering::Relaxed) == version) {
                return None;
            }
            self.taken.store(version, Ordering::Relaxed);
            let value = [&self.value[0], &self.value[1]];
            Some((version, value.map(|word| word.load(Ordering::Relaxed))))
        })
    }
}
