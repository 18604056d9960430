//! Detaching, closing, coming back, and taking a bus away.

use std::thread;
use std::time::Duration;

use busway::{Bus, Drained, OnFull, PollError, PublishError, Start, Topology, Wait};

use crate::support::PATIENCE;
use crate::support::bus::TestBus;

const TOPOLOGIES: [Topology; 3] = [Topology::Single, Topology::Lanes, Topology::Ordered];
const POLICIES: [OnFull; 3] = [OnFull::Block, OnFull::Reject, OnFull::DropOldest];

#[test]
fn consumer_drains_a_detached_lane_and_then_learns_closed() {
    for (topology, on_full) in TOPOLOGIES.into_iter().flat_map(|t| POLICIES.map(|p| (t, p))) {
        let bus = TestBus::of(topology, on_full, 1, 8);
        let mut consumer = bus.consumer().attach().unwrap();
        for round in 0..5_u64 {
            let mut producer = bus.producer().attach().unwrap();
            assert_eq!((producer.lane(), producer.position()), (0, round * 3), "{topology}");
            for number in 0..3 {
                assert_eq!(producer.publish_bytes(0, &[1]), Ok(round * 3 + number));
            }
            producer.detach();
            for number in 0..3 {
                let frame = consumer.poll().unwrap().expect("a frame left behind");
                assert_eq!(frame.position(), round * 3 + number);
            }
            assert_eq!(consumer.poll().map(|_| ()), Err(PollError::Closed));
            assert_eq!(consumer.recv().map(|_| ()), Err(PollError::Closed));
            assert_eq!(consumer.iter_mut().count(), 0);
        }
    }
}

#[test]
fn lane_of_one_who_left_goes_on_for_the_next_while_others_keep_theirs() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 3, 8);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut first = bus.producer().attach().unwrap();
    let mut second = bus.producer().attach().unwrap();
    first.publish_bytes(1, &[1]).unwrap();
    second.publish_bytes(2, &[2]).unwrap();
    first.detach();
    let mut third = bus.producer().attach().unwrap();
    assert_eq!((third.lane(), third.position(), third.published()), (0, 1, 0));
    third.publish_bytes(3, &[3]).unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = consumer.poll().unwrap() {
        seen.push((frame.lane(), frame.position(), frame.kind()));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 0, 1), (0, 1, 3), (1, 0, 2)]);
}

/// A consumer sees `Closed` a moment before the producer that left has unmapped everything.
#[test]
fn lane_is_free_as_soon_as_its_closing_is_seen() {
    let bus = TestBus::of(Topology::Single, OnFull::Block, 1, 1 << 15);
    let mut consumer = bus.consumer().attach().unwrap();
    for round in 0..200_u64 {
        let mut producer = bus.producer().attach().unwrap();
        let leaving = thread::spawn(move || {
            producer.publish_bytes(0, &[0]).unwrap();
        });
        assert_eq!(consumer.recv_timeout(PATIENCE).unwrap().unwrap().position(), round);
        while consumer.poll().is_ok() {
            thread::yield_now();
        }
        let mut next = bus.producer().attach().unwrap_or_else(|error| panic!("{round}: {error}"));
        assert!(next.try_claim().is_ok());
        drop(next);
        leaving.join().unwrap();
    }
}

#[test]
fn drain_says_what_was_left() {
    for topology in TOPOLOGIES {
        for wait in [Wait::Busy, Wait::Yielding, Wait::Parking, Wait::Adaptive] {
            let bus = TestBus::of(topology, OnFull::Block, 1, 16);
            let mut producer = bus.producer().wait(wait).attach().unwrap();
            producer.publish_bytes(0, &[0]).unwrap();
            assert_eq!(producer.drain(Duration::ZERO), Drained { left: 0 }, "nobody is attached");
            let mut consumer = bus.consumer().attach().unwrap();
            let mut other = bus.consumer().attach().unwrap();
            for _ in 0..10 {
                producer.publish_bytes(0, &[0]).unwrap();
            }
            assert_eq!(producer.drain(Duration::from_millis(2)), Drained { left: 10 });
            while other.poll().unwrap().is_some() {}
            assert_eq!(producer.drain(Duration::from_millis(2)), Drained { left: 10 });
            for _ in 0..4 {
                consumer.poll().unwrap().unwrap();
            }
            consumer.release();
            assert_eq!(producer.drain(Duration::from_millis(2)), Drained { left: 6 });
            let reading = thread::spawn(move || {
                while consumer.poll().unwrap().is_some() {}
                consumer
            });
            assert_eq!(producer.drain(PATIENCE), Drained { left: 0 });
            drop(reading.join().unwrap());
        }
    }
}

#[test]
fn removed_bus_is_read_to_its_end_and_takes_nobody_new() {
    for topology in TOPOLOGIES {
        let bus = TestBus::of(topology, OnFull::Block, 1, 4);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut observer = bus.observer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        for _ in 0..4 {
            producer.publish_bytes(0, &[0]).unwrap();
        }
        let blocked = thread::spawn(move || producer.publish_bytes(0, &[0]));
        Bus::remove(bus.name()).unwrap();
        assert_eq!(blocked.join().unwrap(), Err(PublishError::Removed));
        assert!(bus.is_removed() && bus.stat().removed);
        for _ in 0..4 {
            assert!(consumer.recv_timeout(PATIENCE).unwrap().is_some());
            assert!(observer.recv_timeout(PATIENCE).unwrap().is_some());
        }
        // Its only producer is gone by now as well, and may have been first.
        let ended = consumer.recv_timeout(PATIENCE).map(|_| ()).unwrap_err();
        assert!(matches!(ended, PollError::Removed | PollError::Closed));
        assert_eq!(observer.recv_timeout(PATIENCE).map(|_| ()), Err(PollError::Removed));
        assert_eq!(bus.producer().attach().unwrap_err().code(), "not_found");
        assert_eq!(bus.consumer().attach().unwrap_err().code(), "not_found");
        assert_eq!(bus.observer().attach().unwrap_err().code(), "not_found");
        assert_eq!(Bus::open(bus.name()).unwrap_err().code(), "not_found");
        assert_eq!(Bus::remove(bus.name()).unwrap_err().code(), "not_found");
    }
}

#[test]
fn bus_of_the_same_name_is_another_bus() {
    let old = TestBus::of(Topology::Lanes, OnFull::Block, 1, 4);
    Bus::remove(old.name()).unwrap();
    let new = Bus::options().create(old.name()).unwrap();
    assert_ne!(old.info().instance, new.info().instance);
    assert_eq!(old.producer().attach().unwrap_err().code(), "not_found");
    let mut producer = new.producer().attach().unwrap();
    producer.publish_bytes(0, &[0]).unwrap();
    assert_eq!((old.stat().published, new.stat().published), (0, 1));
}

#[test]
fn history_is_read_by_who_comes_after_everybody_left() {
    for topology in TOPOLOGIES {
        let bus = TestBus::of(topology, OnFull::Block, 1, 8);
        let mut producer = bus.producer().attach().unwrap();
        for number in 0..20_u64 {
            producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        }
        drop(producer);
        let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
        let mut positions = Vec::new();
        while let Ok(Some(frame)) = consumer.poll() {
            assert_eq!(frame.payload(), frame.position().to_le_bytes());
            positions.push(frame.position());
        }
        assert_eq!(positions, (12..20).collect::<Vec<_>>(), "{topology}");
        assert_eq!(consumer.poll().map(|_| ()), Err(PollError::Closed));
    }
}
