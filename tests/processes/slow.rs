//! A consumer that is too slow: what each policy does about it, and what it counts.

use std::time::Duration;

use busway::{OnFull, PublishError, Topology, Wait};

use crate::matrix::check;
use crate::support::PATIENCE;
use crate::support::bus::TestBus;
use crate::support::role::{Consume, Produce, Role};
use crate::support::worker::{self, Worker};

const TOPOLOGIES: [Topology; 3] = [Topology::Single, Topology::Lanes, Topology::Ordered];

/// Producers at full rate before a consumer that naps after every 64 frames.
fn napping(topology: Topology, on_full: OnFull) -> Vec<crate::support::role::Published> {
    let producers = if topology == Topology::Single { 1 } else { 2 };
    let bus = TestBus::of(topology, on_full, producers, 64);
    let consumer =
        Worker::attached(&Role::Consume(Consume { nap_every: 64, ..Consume::new(bus.name()) }));
    let workers = worker::producers((0..producers).map(|id| Produce::new(bus.name(), id, 3_000)));
    let published: Vec<_> = workers.iter().map(Worker::published).collect();
    check(&consumer.report(), &published, on_full);
    let stat = bus.stat();
    for producer in &published {
        let lane = &stat.lanes[producer.lane as usize];
        assert_eq!(lane.published, 3_000);
        assert_eq!(lane.rejected, producer.rejected);
        assert_eq!(lane.blocked_count, producer.blocked_count);
    }
    published
}

#[test]
fn block_waits_for_a_slow_consumer_and_loses_nothing() {
    // On a busy machine a producer may be as slow as the consumer; not all of them, every time.
    let published = TOPOLOGIES.map(|topology| napping(topology, OnFull::Block)).concat();
    assert!(published.iter().any(|producer| producer.blocked_count > 0));
}

#[test]
fn reject_refuses_and_what_was_accepted_arrives() {
    let published = TOPOLOGIES.map(|topology| napping(topology, OnFull::Reject)).concat();
    assert!(published.iter().any(|producer| producer.rejected > 0));
}

#[test]
fn drop_oldest_never_waits_and_counts_what_a_slow_consumer_lost() {
    for topology in TOPOLOGIES {
        let published = napping(topology, OnFull::DropOldest);
        assert!(published.iter().all(|one| one.rejected + one.blocked_count == 0));
    }
}

#[test]
fn block_with_a_timeout_gives_up_and_has_had_no_effect() {
    for topology in TOPOLOGIES {
        for wait in [Wait::Busy, Wait::Yielding, Wait::Parking, Wait::Adaptive] {
            let bus = TestBus::of(topology, OnFull::Block, 1, 4);
            let mut consumer = bus.consumer().attach().unwrap();
            let timeout = Some(Duration::from_millis(2));
            let mut producer = bus.producer().wait(wait).timeout(timeout).attach().unwrap();
            for byte in 0..4 {
                producer.publish_bytes(0, &[byte]).unwrap();
            }
            assert_eq!(producer.publish_bytes(0, &[9]), Err(PublishError::TimedOut));
            assert_eq!(producer.claim().unwrap_err(), PublishError::TimedOut);
            assert_eq!(producer.claim_batch(2).unwrap_err(), PublishError::TimedOut);
            let none = Duration::ZERO;
            assert_eq!(producer.claim_timeout(none).unwrap_err(), PublishError::TimedOut);
            assert_eq!(producer.try_publish_bytes(0, &[9]), Err(PublishError::Full));
            assert_eq!((producer.position(), producer.blocked_count()), (4, 4));
            assert!(producer.blocked_ns() > 0);
            for byte in 0..4 {
                assert_eq!(consumer.poll().unwrap().unwrap().payload(), [byte]);
            }
            assert!(consumer.poll().unwrap().is_none());
            assert_eq!(producer.publish_bytes(0, &[4]), Ok(4));
        }
    }
}

#[test]
fn full_lane_that_rejects_keeps_its_frames_and_counts() {
    for topology in TOPOLOGIES {
        let bus = TestBus::of(topology, OnFull::Reject, 1, 4);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        for byte in 0..4 {
            producer.publish_bytes(0, &[byte]).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(producer.publish_bytes(0, &[9]), Err(PublishError::Full));
            assert_eq!(producer.try_claim_batch(4).unwrap_err(), PublishError::Full);
        }
        let waited = producer.publish_bytes_timeout(0, &[9], Duration::from_millis(1));
        assert_eq!(waited, Err(PublishError::TimedOut));
        assert_eq!((producer.rejected(), bus.stat().lanes[0].rejected), (6, 6));
        let mut seen = Vec::new();
        while consumer.poll_batch(3, |run| run.for_each(|one| seen.push(one.payload()[0]))).unwrap()
            > 0
        {}
        assert_eq!(seen, [0, 1, 2, 3]);
    }
}

#[test]
fn lapped_reader_reads_most_of_the_ring_and_counts_the_rest() {
    for topology in TOPOLOGIES {
        for published in [4_u64, 5, 63, 64, 65, 100, 1000] {
            let bus = TestBus::of(topology, OnFull::DropOldest, 1, 64);
            let mut consumer = bus.consumer().attach().unwrap();
            let mut observer = bus.observer().attach().unwrap();
            let mut producer = bus.producer().attach().unwrap();
            for number in 0..published {
                assert_eq!(producer.publish_bytes(0, &number.to_le_bytes()), Ok(number));
            }
            let mut last = None;
            while let Some(frame) = consumer.poll().unwrap() {
                assert_eq!(frame.payload(), frame.position().to_le_bytes());
                last = Some(frame.position());
            }
            assert_eq!(last, Some(published - 1));
            assert_eq!(consumer.read() + consumer.lost(), published, "{topology}");
            assert!(consumer.read() >= published.min(64 * 3 / 4), "{topology} {published}");
            while observer.poll().unwrap().is_some() {}
            assert_eq!(observer.read() + observer.lost(), published);
        }
    }
}

/// A batch that is overwritten in part stands before every search for a frame that is lost: whoever
/// walked through it each time would take minutes.
#[test]
fn lapped_reader_does_not_search_a_long_batch_for_each_lost_frame() {
    const CAPACITY: u64 = 1 << 17;
    const BATCH: u32 = u16::MAX as u32;
    let bus = TestBus::of(Topology::Ordered, OnFull::DropOldest, 1, CAPACITY);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for _ in 0..CAPACITY {
        producer.publish_bytes(0, &[]).unwrap();
    }
    for _ in 0..2 {
        producer.claim_batch(BATCH).unwrap().commit().unwrap();
    }
    for _ in 0..8 {
        producer.publish_bytes(0, &[]).unwrap();
    }
    let (sender, polled) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        sender.send(consumer.poll().map(|frame| frame.is_some()).map(|_| consumer.lost()))
    });
    let lost = polled.recv_timeout(PATIENCE).expect("poll comes back");
    let published = CAPACITY + 2 * u64::from(BATCH) + 8;
    assert!(lost.is_ok_and(|lost| lost > 0 && lost < published));
}
