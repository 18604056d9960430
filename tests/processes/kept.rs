//! Where a killed producer ended, asked for after others have published on its lane.

use std::thread;
use std::time::{Duration, Instant};

use busway::{Bus, OnFull, TenancyEnd, Topology};

use crate::support::PATIENCE;
use crate::support::bus::TestBus;
use crate::support::random::Random;
use crate::support::role::{Consume, Produce, Role};
use crate::support::shared::Confirmed;
use crate::support::worker::Worker;

/// Tenants of the lane after the one that was killed.
const LATER: u64 = 5;

/// Kills a producer at random under full rate, and lets others take its lane. What is said of its end
/// is what a consumer has seen of it.
fn end_after_others(topology: Topology) {
    let mut random = Random::of_run();
    for round in 0..10 {
        let bus = TestBus::of(topology, OnFull::Block, 1, 64);
        let consumer = Worker::attached(&Role::Consume(Consume::new(bus.name())));
        let confirmed = Confirmed::new();
        let mut victim = Worker::attached(&Role::Produce(Produce {
            batch_max: 4,
            keep_end: true,
            confirm: Some(confirmed.path()),
            ..Produce::new(bus.name(), 0, u64::MAX)
        }));
        let epoch = bus.participants()[0].epoch;
        victim.go();
        let deadline = Instant::now() + PATIENCE;
        while confirmed.get() == 0 {
            assert!(Instant::now() < deadline, "no first frame");
            thread::sleep(Duration::from_micros(100));
        }
        thread::sleep(Duration::from_micros(random.within(0, 3_000)));
        assert_eq!(bus.tenancy_end(0, epoch), TenancyEnd::NotYet);
        victim.kill();
        // More than the lane holds, so that nothing of the victim's is left in it.
        for id in 1..=LATER {
            let role = Produce::new(bus.name(), u32::try_from(id).unwrap(), 100);
            let mut next = Worker::attached(&Role::Produce(role));
            next.go();
            next.published();
        }
        let seen = consumer.report();
        assert_eq!(seen.faults, [""; 0], "{seen:?}");
        let end = bus.info().origin.wrapping_add(seen.producers[&0].next);
        assert_eq!(bus.tenancy_end(0, epoch), TenancyEnd::At(end), "round {round}: {seen:?}");
        assert_eq!(bus.tenancy_end(0, epoch + 1), TenancyEnd::Unknown, "it did not ask");
        check_that_another_takes_the_place(&bus, epoch);
    }
}

fn check_that_another_takes_the_place(bus: &Bus, before: u64) {
    let mut next = bus.producer().keep_end(true).attach().unwrap();
    let (lane, epoch) = (next.lane(), next.epoch());
    let position = next.publish_bytes(0, &[0; 24]).unwrap();
    next.detach();
    assert_eq!(bus.tenancy_end(lane, epoch), TenancyEnd::At(position.wrapping_add(1)));
    assert_eq!(bus.tenancy_end(lane, before), TenancyEnd::Unknown);
    assert_eq!(bus.tenancy_end(lane, epoch + 1), TenancyEnd::Unknown, "there was none");
    assert_eq!(bus.tenancy_end(7, 1), TenancyEnd::Unknown, "no such lane");
}

#[test]
fn end_of_a_killed_producer_is_known_whoever_came_after() {
    end_after_others(Topology::Single);
}

#[test]
fn end_of_a_killed_producer_of_an_order_is_known_whoever_came_after() {
    end_after_others(Topology::Ordered);
}
