//! What a worker process is told to do, and what it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;

use busway::Wait;
use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Role {
    Produce(Produce),
    Consume(Consume),
    Observe(Observe),
    /// Opens, attaches and removes, and tells the codes of what came out.
    Try {
        bus: String,
    },
}

/// Publishes checkable frames, from `go` until `count` or `stop`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Produce {
    pub bus: String,
    pub id: u32,
    pub wait: Wait,
    /// Frames to publish; `u64::MAX` is until told to stop.
    pub count: u64,
    /// Frames of a batch at most; 1 publishes one by one.
    pub batch_max: u32,
    /// One claim in so many is filled and dropped before the real one; 0 never.
    pub abort_every: u64,
    /// Sleep between publishes; 0 is full rate.
    pub pace_us: u64,
    /// Where to keep count of what was published for sure.
    pub confirm: Option<PathBuf>,
    /// Stay attached after the last frame until told to leave.
    pub linger: bool,
    /// Have the lane keep where it ends.
    pub keep_end: bool,
}

impl Produce {
    pub fn new(bus: &str, id: u32, count: u64) -> Self {
        Self {
            bus: bus.to_owned(),
            id,
            wait: Wait::Adaptive,
            count,
            batch_max: 1,
            abort_every: 0,
            pace_us: 0,
            confirm: None,
            linger: false,
            keep_end: false,
        }
    }
}

/// Reads and checks everything until the bus closes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Consume {
    pub bus: String,
    pub wait: Wait,
    /// Frames to take at once; 1 polls one by one.
    pub batch: usize,
    /// Sleep after every so many frames, for a consumer that is slow; 0 never.
    pub nap_every: u64,
}

impl Consume {
    pub fn new(bus: &str) -> Self {
        Self { bus: bus.to_owned(), wait: Wait::Adaptive, batch: 1, nap_every: 0 }
    }
}

/// Observes and checks until the bus is removed, or until `frames` were published and seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observe {
    pub bus: String,
    pub frames: u64,
}

/// What a worker says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Note {
    /// It is attached: a producer to this lane, a consumer to this seat.
    Ready {
        seat: u32,
    },
    Published(Published),
    Read(Report),
    Codes(BTreeMap<String, String>),
}

/// What a producer did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    pub id: u32,
    pub lane: u32,
    pub count: u64,
    pub rejected: u64,
    pub blocked_count: u64,
}

/// What a reader saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub read: u64,
    pub lost: u64,
    pub lanes: Vec<LaneReport>,
    pub producers: BTreeMap<u32, ProducerReport>,
    pub trace_hash: u64,
    pub faults: Vec<String>,
    /// The code of the error that ended it.
    pub ended: String,
}

/// What a reader saw of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneReport {
    pub read: u64,
    pub lost: u64,
}

/// What a reader saw of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerReport {
    pub lane: u32,
    /// The position of its sequence 0.
    pub start: u64,
    pub first: u64,
    pub next: u64,
    pub read: u64,
}
