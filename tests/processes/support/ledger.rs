//! What a reader has seen, and every promise that it breaks.

use std::collections::BTreeMap;

use busway::FrameRef;

use super::frame::{self, Mark};
use super::role::{LaneReport, ProducerReport, Report};

/// Faults kept; the first tell the most.
const FAULTS_MAX: usize = 8;

/// How a reader reads, which says what it may expect.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// Nothing may be missing between the first frame and the last.
    pub lossless: bool,
    pub bare: bool,
    pub payload_bytes: usize,
}

impl Expect {
    /// What a consumer of this bus may expect.
    pub fn of(bus: &busway::Bus) -> Self {
        let info = bus.info();
        Self {
            lossless: info.on_full.is_lossless(),
            bare: info.frames == busway::FrameLayout::Bare,
            payload_bytes: info.payload_bytes as usize,
        }
    }
}

/// The books of one reader.
#[derive(Debug)]
pub struct Ledger {
    expect: Expect,
    lanes: BTreeMap<u32, Lane>,
    producers: BTreeMap<u32, ProducerReport>,
    read: u64,
    /// Lane and position of every frame, in the order in which they came.
    pub trace: Vec<(u32, u64)>,
    pub faults: Vec<String>,
}

#[derive(Debug)]
struct Lane {
    read: u64,
    next: u64,
    last: Mark,
}

impl Ledger {
    pub fn new(expect: Expect) -> Self {
        Self {
            expect,
            lanes: BTreeMap::new(),
            producers: BTreeMap::new(),
            read: 0,
            trace: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Books a frame.
    pub fn note(&mut self, frame: FrameRef<'_>) {
        self.read += 1;
        self.trace.push((frame.lane(), frame.position()));
        let Expect { bare, payload_bytes, .. } = self.expect;
        match frame::check(frame.payload(), payload_bytes, bare) {
            Err(fault) => {
                self.fault(format!("lane {} position {}: {fault}", frame.lane(), frame.position()));
            }
            Ok(mark) => {
                if !bare && frame.kind() != frame::kind(mark) {
                    self.fault(format!("{mark:?} has kind {}", frame.kind()));
                }
                self.book_lane(frame.lane(), frame.position(), mark);
                self.book_producer(frame.lane(), frame.position(), mark);
            }
        }
    }

    fn book_lane(&mut self, lane: u32, position: u64, mark: Mark) {
        let lossless = self.expect.lossless;
        let mut fault = None;
        let entry = self.lanes.entry(lane).or_insert_with(|| Lane {
            read: 0,
            next: position,
            // As if the batch before had been seen whole, or the beginning of this one.
            last: Mark { index: mark.index.wrapping_sub(1), ..mark },
        });
        let gap = position.wrapping_sub(entry.next);
        if gap > 1 << 63 || (lossless && gap > 0) {
            fault = Some(format!("lane {lane} goes from {} to {position}", entry.next));
        }
        let goes_on = mark.producer == entry.last.producer && mark.count == entry.last.count;
        if gap == 0 && mark.index > 0 && !(goes_on && entry.last.index + 1 == mark.index) {
            fault = Some(format!("{mark:?} comes after {:?}", entry.last));
        }
        entry.read += 1;
        entry.next = position.wrapping_add(1);
        entry.last = mark;
        if let Some(fault) = fault {
            self.fault(fault);
        }
    }

    fn book_producer(&mut self, lane: u32, position: u64, mark: Mark) {
        let lossless = self.expect.lossless;
        let start = position.wrapping_sub(mark.sequence);
        let book = self.producers.entry(mark.producer).or_insert(ProducerReport {
            lane,
            start,
            first: mark.sequence,
            next: mark.sequence,
            read: 0,
        });
        let mut fault = None;
        if book.lane != lane || book.start != start {
            fault = Some(format!("{mark:?} stands at lane {lane} position {position}: {book:?}"));
        } else if mark.sequence < book.next || (lossless && mark.sequence != book.next) {
            fault = Some(format!("{mark:?} comes when {} is next", book.next));
        }
        book.next = mark.sequence + 1;
        book.read += 1;
        if let Some(fault) = fault {
            self.fault(fault);
        }
    }

    /// Everything that was published is read: no batch may be half-way. Batches of which the end
    /// was lost are not half-way, so this is for readers that lose nothing.
    pub fn idle(&mut self) {
        let open = self.lanes.values().find(|lane| lane.last.index + 1 != lane.last.count);
        if let Some(open) = open {
            self.fault(format!("a batch is seen in part: {:?}", open.last));
        }
    }

    pub fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    pub fn read(&self) -> u64 {
        self.read
    }

    pub fn producer(&self, id: u32) -> Option<&ProducerReport> {
        self.producers.get(&id)
    }

    /// The books as values. `lane_lost` says what was lost on each lane.
    pub fn report(&self, lanes: u32, lost: u64, lane_lost: impl Fn(u32) -> u64) -> Report {
        Report {
            read: self.read,
            lost,
            lanes: (0..lanes)
                .map(|lane| LaneReport {
                    read: self.lanes.get(&lane).map_or(0, |lane| lane.read),
                    lost: lane_lost(lane),
                })
                .collect(),
            producers: self.producers.clone(),
            trace_hash: hash(&self.trace),
            faults: self.faults.clone(),
            ended: String::new(),
        }
    }
}

/// A number that differs when two traces do.
pub fn hash(trace: &[(u32, u64)]) -> u64 {
    trace.iter().fold(0, |sum, (lane, position)| {
        super::random::mix(sum ^ position.rotate_left(20) ^ u64::from(*lane))
    })
}
