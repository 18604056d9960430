//! What an input keeps after it is done: memory, descriptors, mappings.
//!
//! libFuzzer finds leaks with the leak sanitizer, which takes a nightly compiler. Here the allocator
//! counts. Some growth is honest (a cache that fills at its first use), so an input that leaves
//! more behind than it found is run again: a leak grows every time.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicIsize, Ordering};

/// How often an input that leaves something behind is run again before it counts as a leak. Threads
/// that the input woke may be late with giving back, but not every time.
const AGAIN: u32 = 8;

static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator as it is; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(count(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(count(layout.size()), Ordering::Relaxed);
        // SAFETY: as above; the pointer came from `alloc`, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(count(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        LIVE_BYTES.fetch_add(count(bytes) - count(layout.size()), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

/// Runs an input and fails if it keeps memory.
///
/// # Panics
/// When it does.
pub fn keeps_no_memory(input: impl Fn()) {
    keeps_no(&input, || [LIVE_BYTES.load(Ordering::Relaxed), 0, 0]);
}

/// Runs an input and fails if it keeps memory, a descriptor, or a mapping of a bus.
///
/// # Panics
/// When it does.
pub fn keeps_nothing(input: impl Fn()) {
    keeps_no(&input, || {
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let mapped = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let mappings = mapped.lines().filter(|line| line.contains("/busway.")).count();
        [LIVE_BYTES.load(Ordering::Relaxed), count(descriptors), count(mappings)]
    });
}

fn keeps_no(input: &impl Fn(), held: impl Fn() -> [isize; 3]) {
    let grown = || {
        let before = held();
        input();
        let after = held();
        [0, 1, 2].map(|what| (after[what] - before[what]).max(0))
    };
    let mut kept = grown();
    for _ in 0..AGAIN {
        if kept == [0; 3] {
            return;
        }
        let again = grown();
        kept = [0, 1, 2].map(|what| kept[what].min(again[what]));
    }
    let [bytes, descriptors, mappings] = kept;
    assert!(
        kept == [0; 3],
        "leak: each run of this input keeps {bytes} bytes, {descriptors} descriptors and \
         {mappings} mappings"
    );
}
