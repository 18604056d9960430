//! Inputs that nobody should give, types that must not be shared, errors that are plain values.

use std::time::Duration;

use busway::{
    Bus, Consumer, Error, Observer, OnFull, PollError, Producer, PublishError, Start, Topology,
    Wait,
};

use crate::support::bus::TestBus;

const fn is_send<T: Send>() {}
const fn is_sync<T: Sync>() {}
const fn is_copy<T: Copy>() {}

const _: () = {
    is_send::<Producer>();
    is_send::<Consumer>();
    is_send::<Observer>();
    is_send::<Bus>();
    is_sync::<Bus>();
    is_send::<Error>();
    is_sync::<Error>();
    is_copy::<PublishError>();
    is_copy::<PollError>();
};

/// Names exactly one implementation for types that are not `Sync`, and two for those that are, so
/// that this does not compile if an end becomes `Sync`.
trait NotSync<Marker> {
    const HOLDS: () = ();
}
struct Shared;
impl<T> NotSync<()> for T {}
impl<T: Sync> NotSync<Shared> for T {}
const _: () = <Producer as NotSync<_>>::HOLDS;
const _: () = <Consumer as NotSync<_>>::HOLDS;
const _: () = <Observer as NotSync<_>>::HOLDS;

/// Every topology and policy.
fn every_bus(test: impl Fn(&TestBus)) {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
            test(&TestBus::of(topology, on_full, 1, 8));
        }
    }
}

#[test]
fn batches_of_none_and_of_too_many_are_refused() {
    every_bus(|bus| {
        let mut producer = bus.producer().attach().unwrap();
        for frames in [0, 9, 1000, u32::MAX] {
            let want = PublishError::BatchSize { frames: frames.into(), max: 8 };
            assert_eq!(producer.claim_batch(frames).unwrap_err(), want);
            assert_eq!(producer.try_claim_batch(frames).unwrap_err(), want);
            let soon = Duration::from_millis(1);
            assert_eq!(producer.claim_batch_timeout(frames, soon).unwrap_err(), want);
            assert!(want.to_string().contains(&format!("{frames} frames; allowed are 1 to 8")));
        }
        let mut batch = producer.claim_batch(2).unwrap();
        assert_eq!(batch.len(), 2);
        assert!(batch.frame(2).is_none() && batch.frame(u32::MAX).is_none());
        drop(batch);
        assert_eq!((producer.position(), producer.published(), producer.rejected()), (0, 0, 0));
    });
}

#[test]
fn payloads_of_nothing_and_of_too_much_are_told_apart() {
    every_bus(|bus| {
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        assert_eq!(producer.publish_bytes(3, &[]), Ok(0));
        let frame = consumer.poll().unwrap().expect("an empty frame");
        assert_eq!((frame.payload(), frame.kind()), (&[][..], 3));
        let want = PublishError::TooLarge { len: 73, max: 72 };
        assert_eq!(producer.publish_bytes(0, &[0; 73]), Err(want));
        assert_eq!(producer.try_publish_bytes(0, &[0; 1 << 12]).unwrap_err().code(), "too_large");
        assert!(want.to_string().contains("73") && want.to_string().contains("72"));
        let mut claim = producer.claim().unwrap();
        assert_eq!(claim.payload_mut().len(), 72);
        assert_eq!(claim.set_len(73), Err(want));
        assert!(claim.set_len(usize::MAX).is_err());
        claim.set_len(0).unwrap();
        assert_eq!(claim.commit(), Ok(1));
        assert_eq!(consumer.poll().unwrap().unwrap().payload(), [0; 0]);
    });
}

#[test]
fn polls_for_nothing_read_nothing() {
    every_bus(|bus| {
        let mut consumer = bus.consumer().attach().unwrap();
        let mut observer = bus.observer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        producer.publish_bytes(0, &[1]).unwrap();
        assert_eq!(consumer.poll_batch(0, |_| panic!("there is no run")), Ok(0));
        assert_eq!(observer.poll_batch(0, |_| panic!("there is no run")), Ok(0));
        assert_eq!((consumer.lag(), observer.lag()), (1, 1));
        assert_eq!(
            (consumer.lane_lag(99), consumer.lane_lost(99), observer.lane_lost(99)),
            (0, 0, 0)
        );
        assert_eq!((consumer.lane_position(99), consumer.lane_position(0)), (None, Some(0)));
        consumer.release();
        consumer.release();
        assert_eq!(consumer.poll_batch(usize::MAX, |run| assert_eq!(run.len(), 1)), Ok(1));
        assert_eq!(observer.poll_batch(usize::MAX, |run| assert_eq!(run.len(), 1)), Ok(1));
        assert_eq!(consumer.lane_position(0), Some(1));
    });
}

#[test]
fn waits_of_no_time_and_of_all_time_are_waits() {
    every_bus(|bus| {
        for wait in [Wait::Busy, Wait::Yielding, Wait::Parking, Wait::Adaptive] {
            let mut consumer = bus.consumer().wait(wait).attach().unwrap();
            for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(1)] {
                assert!(consumer.recv_timeout(timeout).is_ok_and(|frame| frame.is_none()));
            }
            let mut producer =
                bus.producer().wait(wait).timeout(Some(Duration::MAX)).attach().unwrap();
            producer.publish_bytes_timeout(0, &[1], Duration::MAX).unwrap();
            assert!(consumer.recv_timeout(Duration::MAX).is_ok_and(|frame| frame.is_some()));
            consumer.release();
            assert_eq!(producer.drain(Duration::MAX).left, 0);
        }
    });
}

#[test]
fn starts_anywhere_are_starts() {
    every_bus(|bus| {
        let mut producer = bus.producer().attach().unwrap();
        for _ in 0..20 {
            producer.publish_bytes(0, &[1]).unwrap();
        }
        for position in [0, 1, 12, 19, 20, 21, 1 << 40, 1 << 62] {
            let start = Start::Position(position);
            let mut consumer = bus.consumer().start(start).attach().unwrap();
            let mut observer = bus.observer().start(start).attach().unwrap();
            let end = 20_u64.saturating_sub(position);
            while consumer.poll().unwrap().is_some() {}
            while observer.poll().unwrap().is_some() {}
            assert_eq!(consumer.read() + consumer.lost(), end, "{:?} {position}", bus.info());
            assert_eq!(observer.read() + observer.lost(), end, "{:?} {position}", bus.info());
        }
    });
}

#[test]
fn ends_outlive_the_handle_and_move_between_threads() {
    every_bus(|bus| {
        let again = Bus::open(bus.name()).unwrap();
        let mut consumer = again.consumer().attach().unwrap();
        let producer = again.producer().attach().unwrap();
        drop(again);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut producer = producer;
                producer.publish_bytes(0, &[7]).unwrap();
            });
        });
        let read: Vec<_> = consumer.iter_mut().map(|frame| frame.unwrap().payload()[0]).collect();
        assert_eq!(read, [7]);
    });
}

#[test]
fn forked_child_that_drops_its_copies_unmaps_nothing_of_its_own() {
    use nix::libc;

    every_bus(|bus| {
        let producer = bus.producer().attach().unwrap();
        let consumer = bus.consumer().attach().unwrap();
        let other = Bus::open(bus.name()).unwrap();
        // SAFETY: the child only allocates, which glibc makes work after a fork, and exits.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // The ends' mappings are not inherited: these blocks take the addresses.
            let blocks: Vec<Vec<u8>> = (0..200).map(|_| vec![7; 256 << 10]).collect();
            drop((producer, consumer, other));
            let whole = blocks.iter().flatten().step_by(4096).all(|byte| *byte == 7);
            // SAFETY: ends this process and runs nothing else of it.
            unsafe { libc::_exit(i32::from(!whole)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above and writes the status given.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0));
        let stat = bus.stat();
        assert!(stat.lanes[0].producer.is_some(), "the child has detached nobody");
        assert_eq!(stat.consumers.len(), 1);
        drop((producer, consumer, other));
    });
}
