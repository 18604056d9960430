//! Attaching while others run: what is published after an attach has returned reaches whoever
//! attached, with no further call.

use std::thread;

use busway::{Bus, Consumer, OnFull, PollError, Start, Topology};

use crate::support::PATIENCE;
use crate::support::bus::TestBus;
use crate::support::ledger::{Expect, Ledger};
use crate::support::role::Produce;
use crate::support::shared::Confirmed;
use crate::support::worker::{self, Worker};

const PRODUCERS: u32 = 3;
const BATCH_MAX: u32 = 5;
const ROUNDS: usize = 12;
/// Frames that each joiner reads.
const FRAMES: u64 = 1_500;

type Trace = Vec<(u32, u64)>;

/// Producers at full rate, and where each confirms what it has published.
fn load(bus: &Bus) -> (Vec<Worker>, Vec<Confirmed>) {
    let confirmed: Vec<_> = (0..PRODUCERS).map(|_| Confirmed::new()).collect();
    let roles = (0..PRODUCERS).map(|id| Produce {
        batch_max: if id == 0 { BATCH_MAX } else { 1 },
        confirm: Some(confirmed[id as usize].path()),
        ..Produce::new(bus.name(), id, u64::MAX)
    });
    let workers = worker::producers(roles);
    let deadline = std::time::Instant::now() + PATIENCE;
    while confirmed.iter().any(|count| count.get() == 0) {
        assert!(std::time::Instant::now() < deadline, "producers that do not begin");
        thread::yield_now();
    }
    (workers, confirmed)
}

/// Reads everything until the bus closes.
fn read_all(mut consumer: Consumer, mut ledger: Ledger) -> Ledger {
    loop {
        match consumer.recv_timeout(PATIENCE) {
            Ok(Some(frame)) => ledger.note(frame),
            Ok(None) => break ledger.fault("silence".to_owned()),
            Err(PollError::Closed) => break,
            Err(error) => break ledger.fault(error.to_string()),
        }
    }
    ledger
}

/// Joins, checks that nothing published since is missing, and returns what was read.
fn join(bus: &Bus, start: Start, confirmed: &[Confirmed]) -> Trace {
    let mut consumer = bus.consumer().start(start).attach().unwrap();
    let after: Vec<u64> = confirmed.iter().map(Confirmed::get).collect();
    let mut ledger = Ledger::new(Expect::of(bus));
    let all_seen = |ledger: &Ledger| (0..PRODUCERS).all(|id| ledger.producer(id).is_some());
    while ledger.read() < FRAMES || !all_seen(&ledger) {
        let frame = consumer.recv_timeout(PATIENCE).unwrap().expect("producers that go on");
        ledger.note(frame);
    }
    assert_eq!(ledger.faults, [""; 0]);
    for (id, after) in (0..PRODUCERS).zip(after) {
        let first = ledger.producer(id).unwrap().first;
        // Beyond what was confirmed, one batch may have been published before the attach returned.
        let bound = after + u64::from(BATCH_MAX);
        assert!(first <= bound, "{first} is the first of producer {id}, {after} was confirmed");
    }
    ledger.trace
}

fn join_under_load(topology: Topology, start: Start) {
    let bus = TestBus::of(topology, OnFull::Block, PRODUCERS, 512);
    let witness = bus.consumer().attach().unwrap();
    let ledger = Ledger::new(Expect::of(&bus));
    let witness = thread::spawn(move || read_all(witness, ledger));
    let (mut workers, confirmed) = load(&bus);
    let traces: Vec<Trace> = (0..ROUNDS).map(|_| join(&bus, start, &confirmed)).collect();
    workers.iter_mut().for_each(Worker::stop);
    let published: u64 = workers.iter().map(|worker| worker.published().count).sum();
    let witness = witness.join().unwrap();
    assert_eq!(witness.faults, [""; 0]);
    assert_eq!(witness.read(), published);
    if topology == Topology::Ordered {
        for trace in traces {
            let from = witness.trace.iter().position(|seen| *seen == trace[0]).expect("the first");
            assert!(witness.trace[from..].starts_with(&trace), "another order from {from}");
        }
    }
}

#[test]
fn joiner_of_lanes_under_load_misses_nothing_from_latest() {
    join_under_load(Topology::Lanes, Start::Latest);
}

#[test]
fn joiner_of_lanes_under_load_misses_nothing_from_oldest() {
    join_under_load(Topology::Lanes, Start::Oldest);
}

#[test]
fn joiner_of_ordered_under_load_sees_the_same_order_from_latest() {
    join_under_load(Topology::Ordered, Start::Latest);
}

#[test]
fn joiner_of_ordered_under_load_sees_the_same_order_from_oldest() {
    join_under_load(Topology::Ordered, Start::Oldest);
}

#[test]
fn joiner_of_a_lossy_bus_under_load_sees_whole_frames_in_order() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        for start in [Start::Latest, Start::Oldest] {
            let bus = TestBus::of(topology, OnFull::DropOldest, PRODUCERS, 64);
            let (_workers, confirmed) = load(&bus);
            for _ in 0..ROUNDS {
                let mut consumer = bus.consumer().start(start).attach().unwrap();
                let mut ledger = Ledger::new(Expect::of(&bus));
                while ledger.read() < 200 {
                    let frame = consumer.recv_timeout(PATIENCE).unwrap();
                    ledger.note(frame.expect("producers that go on"));
                }
                assert_eq!(ledger.faults, [""; 0], "{topology} {start:?}");
                // Every gap between two frames of a producer is counted as lost.
                let gaps: u64 = (0..PRODUCERS)
                    .filter_map(|id| ledger.producer(id))
                    .map(|seen| seen.next - seen.first - seen.read)
                    .sum();
                assert!(gaps <= consumer.lost(), "{gaps} missing, {} lost", consumer.lost());
            }
            drop(confirmed);
        }
    }
}

#[test]
fn positions_are_where_a_reader_starts_and_what_is_gone_is_counted() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::DropOldest, 1, 4);
        let mut producer = bus.producer().attach().unwrap();
        for byte in 0..10_u8 {
            producer.publish_bytes(0, &[byte]).unwrap();
        }
        // Positions 6 to 9 are held. What is asked for, what is read first, what is lost.
        for (wanted, first, lost) in
            [(8, Some(8), 0), (3, Some(6), 3), (10, None, 0), (99, None, 0)]
        {
            let start = Start::Position(wanted);
            let mut consumer = bus.consumer().start(start).attach().unwrap();
            let mut observer = bus.observer().start(start).attach().unwrap();
            let seen = consumer.poll().unwrap().map(|frame| frame.position());
            assert_eq!((seen, consumer.lost()), (first, lost), "{topology} from {wanted}");
            let seen = observer.poll().unwrap().map(|frame| frame.position());
            assert_eq!((seen, observer.lost()), (first, lost), "{topology} from {wanted}");
        }
    }
}

#[test]
fn producer_that_attaches_later_is_seen_with_no_call() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::Block, 4, 8);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut observer = bus.observer().attach().unwrap();
        assert!(consumer.poll().unwrap().is_none(), "no producer yet is not closed");
        let mut producers = Vec::new();
        for number in 0..4_u8 {
            producers.push(bus.producer().attach().unwrap());
            for producer in &mut producers {
                producer.publish_bytes(number.into(), &[number]).unwrap();
            }
            for _ in 0..=number {
                assert_eq!(consumer.poll().unwrap().unwrap().payload(), [number]);
                assert_eq!(observer.poll().unwrap().unwrap().payload(), [number]);
            }
            assert!(consumer.poll().unwrap().is_none());
        }
    }
}
