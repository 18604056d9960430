//! Positions that pass 2^64, on rings of two and four frames that go round thousands of times.

use std::time::Duration;

use busway::{OnFull, PollError, Start, Topology};

use crate::matrix::check;
use crate::support::bus::{TestBus, options};
use crate::support::role::{Consume, Produce, Role};
use crate::support::worker::{self, Worker};

const FRAMES: u64 = 1_500;
/// The wrap comes in the midst of the run, of tickets and of positions.
const ORIGIN: u64 = u64::MAX - 700;

fn wrap(topology: Topology, on_full: OnFull) {
    for capacity in [2, 4] {
        let producers = if topology == Topology::Single { 1 } else { 2 };
        let options = options(topology, on_full, producers, capacity).origin(ORIGIN);
        let bus = TestBus::new(&options);
        let readers: Vec<Worker> =
            (0..2).map(|_| Worker::attached(&Role::Consume(Consume::new(bus.name())))).collect();
        let workers = worker::producers((0..producers).map(|id| Produce {
            batch_max: if id == 0 { 1 } else { capacity as u32 },
            abort_every: 11,
            ..Produce::new(bus.name(), id, FRAMES)
        }));
        let published: Vec<_> = workers.iter().map(Worker::published).collect();
        let reports: Vec<_> = readers.iter().map(Worker::report).collect();
        for report in &reports {
            check(report, &published, on_full);
            for seen in report.producers.values() {
                assert_eq!(seen.start, ORIGIN);
            }
        }
        if topology == Topology::Ordered && on_full.is_lossless() {
            assert_eq!(reports[0].trace_hash, reports[1].trace_hash);
        }
        let end = ORIGIN.wrapping_add(FRAMES);
        assert!(bus.stat().lanes.iter().all(|lane| lane.position == end));
    }
}

macro_rules! wraps {
    ($($name:ident $topology:ident $on_full:ident;)+) => { $(
        #[test]
        fn $name() {
            wrap(Topology::$topology, OnFull::$on_full);
        }
    )+ };
}

wraps! {
    single_block_goes_on_past_the_wrap Single Block;
    single_reject_goes_on_past_the_wrap Single Reject;
    single_drop_oldest_goes_on_past_the_wrap Single DropOldest;
    lanes_block_goes_on_past_the_wrap Lanes Block;
    lanes_reject_goes_on_past_the_wrap Lanes Reject;
    lanes_drop_oldest_goes_on_past_the_wrap Lanes DropOldest;
    ordered_block_goes_on_past_the_wrap Ordered Block;
    ordered_reject_goes_on_past_the_wrap Ordered Reject;
    ordered_drop_oldest_goes_on_past_the_wrap Ordered DropOldest;
}

#[test]
fn history_across_the_wrap_is_held_whole() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        let options = options(topology, OnFull::Block, 1, 8).origin(u64::MAX - 2);
        let bus = TestBus::new(&options);
        let mut producer = bus.producer().attach().unwrap();
        let positions: Vec<u64> =
            (0..6_u8).map(|byte| producer.publish_bytes(0, &[byte]).unwrap()).collect();
        assert_eq!(positions, [u64::MAX - 2, u64::MAX - 1, u64::MAX, 0, 1, 2]);
        let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
        for (byte, position) in (0..6_u8).zip(positions) {
            let frame = consumer.poll().unwrap().expect("a frame that is held");
            assert_eq!((frame.payload(), frame.position()), (&[byte][..], position));
        }
        assert!(consumer.poll().unwrap().is_none());
        assert_eq!((consumer.lost(), consumer.lag()), (0, 0));
    }
}

#[test]
fn consumer_that_was_lapped_by_the_whole_order_reads_what_is_held_and_learns_of_the_end() {
    for origin in [0, u64::MAX - 700] {
        for lanes in [1, 2] {
            let options = options(Topology::Ordered, OnFull::DropOldest, lanes, 4).origin(origin);
            let bus = TestBus::new(&options);
            let mut consumer = bus.consumer().attach().unwrap();
            let mut producer = bus.producer().attach().unwrap();
            for number in 0..3000_u32 {
                producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
            }
            drop(producer);
            let mut read = Vec::new();
            let ended = loop {
                match consumer.recv_timeout(Duration::from_secs(1)) {
                    Ok(Some(frame)) => {
                        read.push(u32::from_le_bytes(frame.payload().try_into().unwrap()));
                    }
                    Ok(None) => panic!("silence after {read:?}, {} lost", consumer.lost()),
                    Err(error) => break error,
                }
            };
            assert_eq!(ended, PollError::Closed);
            assert_eq!((read, consumer.lost()), (vec![2996, 2997, 2998, 2999], 2996));
        }
    }
}
