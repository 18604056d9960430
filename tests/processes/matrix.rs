//! Every topology × policy × wait strategy: several producers, one or two consumers, each a process
//! of its own. Order, loss, duplication and tearing are checked frame by frame by the readers.

use std::collections::BTreeMap;

use busway::{OnFull, Topology, Wait};

use crate::support::bus::TestBus;
use crate::support::role::{Consume, Produce, Published, Report, Role};
use crate::support::worker::{self, Worker};

const FRAMES: u64 = 6_000;
const CAPACITY: u64 = 256;

/// Runs one combination.
fn run(topology: Topology, on_full: OnFull, wait: Wait) {
    let producers = if topology == Topology::Single { 1 } else { 3 };
    let readers = if wait == Wait::Busy && topology != Topology::Ordered { 1 } else { 2 };
    let bus = TestBus::of(topology, on_full, producers, CAPACITY);
    let consumers: Vec<Worker> = (0..readers)
        .map(|index| {
            let batch = if index == 0 { 1 } else { 40 };
            Worker::attached(&Role::Consume(Consume { wait, batch, ..Consume::new(bus.name()) }))
        })
        .collect();
    let workers = worker::producers((0..producers).map(|id| Produce {
        wait,
        batch_max: if id == 1 { 9 } else { 1 },
        abort_every: 7,
        ..Produce::new(bus.name(), id, FRAMES)
    }));
    let published: Vec<Published> = workers.iter().map(Worker::published).collect();
    let reports: Vec<Report> = consumers.iter().map(Worker::report).collect();
    for report in &reports {
        check(report, &published, on_full);
    }
    if topology == Topology::Ordered && on_full.is_lossless() {
        assert!(reports.iter().all(|report| report.trace_hash == reports[0].trace_hash));
    }
}

/// Holds a report against what was published.
pub fn check(report: &Report, published: &[Published], on_full: OnFull) {
    assert_eq!(report.faults, [""; 0], "{report:?}");
    assert_eq!(report.ended, "closed");
    let mut per_lane: BTreeMap<u32, u64> = BTreeMap::new();
    for producer in published {
        *per_lane.entry(producer.lane).or_default() += producer.count;
        if on_full.is_lossless() {
            let seen = report.producers[&producer.id];
            assert_eq!((seen.first, seen.next, seen.read), (0, producer.count, producer.count));
        }
    }
    for (lane, count) in per_lane {
        let seen = report.lanes[lane as usize];
        assert_eq!(seen.read + seen.lost, count, "lane {lane}: {report:?}");
    }
    let total = published.iter().map(|producer| producer.count).sum::<u64>();
    assert_eq!(report.read + report.lost, total, "{report:?}");
    // However far behind it was, the last frame was held when nobody published any more.
    assert!(report.read > 0, "{report:?}");
    if on_full.is_lossless() {
        assert_eq!(report.lost, 0);
    }
}

macro_rules! combinations {
    ($($topology:ident $module:ident;)+) => { $(
        mod $module {
            use super::{OnFull, Topology, Wait, run};

            combinations!(@policy $topology Block
                block_busy_delivers_every_frame_in_order Busy
                block_yielding_delivers_every_frame_in_order Yielding
                block_parking_delivers_every_frame_in_order Parking
                block_adaptive_delivers_every_frame_in_order Adaptive);
            combinations!(@policy $topology Reject
                reject_busy_delivers_every_frame_in_order Busy
                reject_yielding_delivers_every_frame_in_order Yielding
                reject_parking_delivers_every_frame_in_order Parking
                reject_adaptive_delivers_every_frame_in_order Adaptive);
            combinations!(@policy $topology DropOldest
                drop_oldest_busy_counts_exactly_what_is_lost Busy
                drop_oldest_yielding_counts_exactly_what_is_lost Yielding
                drop_oldest_parking_counts_exactly_what_is_lost Parking
                drop_oldest_adaptive_counts_exactly_what_is_lost Adaptive);
        }
    )+ };
    (@policy $topology:ident $on_full:ident $($name:ident $wait:ident)+) => { $(
        #[test]
        fn $name() {
            run(Topology::$topology, OnFull::$on_full, Wait::$wait);
        }
    )+ };
}

combinations! {
    Single single;
    Lanes lanes;
    Ordered ordered;
}
