//! A batch is seen whole or not at all, by consumers and by observers; what is aborted is never
//! seen.

use busway::{OnFull, PublishError, Topology};

use crate::matrix::check;
use crate::support::bus::TestBus;
use crate::support::role::{Consume, Observe, Produce, Role};
use crate::support::worker::{self, Worker};

const FRAMES: u64 = 8_000;
const CAPACITY: u32 = 32;

/// Batches of every size up to the whole ring, read by a consumer and an observer at once.
fn whole(topology: Topology, on_full: OnFull) {
    let producers = if topology == Topology::Single { 1 } else { 2 };
    let bus = TestBus::of(topology, on_full, producers, CAPACITY.into());
    let total = FRAMES * u64::from(producers);
    let observer =
        Worker::attached(&Role::Observe(Observe { bus: bus.name().to_owned(), frames: total }));
    let consumer = Worker::attached(&Role::Consume(Consume::new(bus.name())));
    let workers = worker::producers((0..producers).map(|id| Produce {
        batch_max: CAPACITY,
        abort_every: 3,
        ..Produce::new(bus.name(), id, FRAMES)
    }));
    let published: Vec<_> = workers.iter().map(Worker::published).collect();
    check(&consumer.report(), &published, on_full);
    let seen = observer.report();
    assert_eq!(seen.faults, [""; 0], "{seen:?}");
    assert_eq!((seen.read + seen.lost, seen.ended.as_str()), (total, "all"), "{seen:?}");
}

#[test]
fn concurrent_readers_of_single_see_only_whole_batches() {
    whole(Topology::Single, OnFull::Block);
    whole(Topology::Single, OnFull::DropOldest);
}

#[test]
fn concurrent_readers_of_lanes_see_only_whole_batches() {
    whole(Topology::Lanes, OnFull::Block);
    whole(Topology::Lanes, OnFull::Reject);
    whole(Topology::Lanes, OnFull::DropOldest);
}

#[test]
fn concurrent_readers_of_ordered_see_only_whole_batches() {
    whole(Topology::Ordered, OnFull::Block);
    whole(Topology::Ordered, OnFull::Reject);
    whole(Topology::Ordered, OnFull::DropOldest);
}

#[test]
fn batch_of_the_whole_ring_is_published_and_one_more_is_refused() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
            let bus = TestBus::of(topology, on_full, 1, 16);
            let mut consumer = bus.consumer().attach().unwrap();
            let mut producer = bus.producer().attach().unwrap();
            for round in 0..3 {
                assert_eq!(producer.claim_batch(16).unwrap().commit().unwrap(), round * 16);
                let mut read = 0;
                while let Some(frame) = consumer.poll().unwrap() {
                    assert_eq!(frame.position(), round * 16 + read);
                    read += 1;
                }
                assert_eq!((read, consumer.lost()), (16, 0));
            }
            let want = PublishError::BatchSize { frames: 17, max: 16 };
            assert_eq!(producer.claim_batch(17).unwrap_err(), want);
            assert_eq!(producer.position(), 48);
        }
    }
}

#[test]
fn aborted_claims_leave_no_trace() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
            let bus = TestBus::of(topology, on_full, 1, 4);
            let mut consumer = bus.consumer().attach().unwrap();
            let mut producer = bus.producer().attach().unwrap();
            for round in 0..20_u64 {
                producer.claim().unwrap().payload_mut().fill(0xaa);
                let mut batch = producer.claim_batch(4).unwrap();
                batch.frame(3).unwrap().payload_mut().fill(0xbb);
                drop(batch);
                assert!(consumer.poll().unwrap().is_none());
                assert_eq!(producer.publish_bytes(1, &round.to_le_bytes()).unwrap(), round);
                let frame = consumer.poll().unwrap().expect("the frame");
                assert_eq!(frame.payload(), round.to_le_bytes());
                // A batch as long as the ring needs the frame just read as well.
                consumer.release();
            }
            assert!(consumer.poll().unwrap().is_none());
            assert_eq!((bus.stat().published, consumer.lost()), (20, 0));
        }
    }
}
