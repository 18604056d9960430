//! Buses and files with names of their own that are gone when the test ends, however it ends.

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use busway::{Bus, BusOptions, OnFull, Topology};

/// A name that no other test uses.
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("t-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A bus that is removed at the end of the test.
#[derive(Debug)]
pub struct TestBus {
    bus: Bus,
}

impl TestBus {
    pub fn new(options: &BusOptions) -> Self {
        Self { bus: options.create(&unique_name()).expect("a new bus") }
    }

    /// A bus of checkable frames.
    pub fn of(topology: Topology, on_full: OnFull, lanes: u32, capacity: u64) -> Self {
        Self::new(&options(topology, on_full, lanes, capacity))
    }
}

/// Options of a bus of checkable frames.
pub fn options(topology: Topology, on_full: OnFull, lanes: u32, capacity: u64) -> BusOptions {
    Bus::options()
        .topology(topology)
        .on_full(on_full)
        .lanes(lanes)
        .capacity_frames(capacity)
        .payload_bytes(PAYLOAD_BYTES)
}

/// Payload of the buses that carry checkable frames.
pub const PAYLOAD_BYTES: u32 = 72;

impl Deref for TestBus {
    type Target = Bus;

    fn deref(&self) -> &Bus {
        &self.bus
    }
}

impl Drop for TestBus {
    fn drop(&mut self) {
        // A test may have removed it itself.
        let _gone = Bus::remove(self.bus.name());
    }
}

/// The file that stands for a bus name, whatever is in it; removed at the end of the test.
#[derive(Debug)]
pub struct SegmentFile {
    pub name: String,
    pub path: PathBuf,
}

impl SegmentFile {
    pub fn new() -> Self {
        let name = unique_name();
        let path = path_of(&name);
        Self { name, path }
    }
}

/// The file of a bus.
pub fn path_of(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/busway.{name}"))
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path).or_else(|_| std::fs::remove_dir(&self.path));
    }
}
