//! A flooding producer does not starve a slow one.

use busway::{OnFull, Topology};

use crate::matrix::check;
use crate::support::bus::TestBus;
use crate::support::role::{Consume, Produce, Role};
use crate::support::worker::Worker;

/// Frames that one visit to a lane takes at most.
const VISIT_FRAMES: usize = 256;

#[test]
fn thousand_a_second_beside_a_flood_keep_their_order_and_lose_nothing() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::Block, 2, 1024);
        let consumer = Worker::attached(&Role::Consume(Consume::new(bus.name())));
        let flood = Produce::new(bus.name(), 0, u64::MAX);
        let mut flood = Worker::attached(&Role::Produce(flood));
        let slow = Produce { pace_us: 1000, ..Produce::new(bus.name(), 1, 300) };
        let mut slow = Worker::attached(&Role::Produce(slow));
        flood.go();
        slow.go();
        let slow = slow.published();
        flood.stop();
        let published = [flood.published(), slow];
        let report = consumer.report();
        check(&report, &published, OnFull::Block);
        assert_eq!(report.producers[&1].read, 300);
    }
}

#[test]
fn frame_beside_full_lanes_waits_for_one_visit_of_each() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Reject, 8, 4096);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut floods: Vec<_> = (0..7).map(|_| bus.producer().attach().unwrap()).collect();
    let mut slow = bus.producer().attach().unwrap();
    for round in 0..200_usize {
        for flood in &mut floods {
            while flood.publish_bytes(0, &[0]).is_ok() {}
        }
        // Somewhere in the midst of a visit.
        for _ in 0..round * 37 % 1000 {
            assert_eq!(consumer.poll().unwrap().unwrap().kind(), 0);
        }
        slow.publish_bytes(1, &[1]).unwrap();
        let mut waited = 0;
        while consumer.poll().unwrap().expect("a flood").kind() == 0 {
            waited += 1;
        }
        // The rest of the visit that it came into, then the lanes before its own.
        assert!(waited <= (floods.len() + 1) * VISIT_FRAMES, "{waited} frames came first");
    }
}
