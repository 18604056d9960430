//! The lane when one of its participants stops for ever, at each of its steps in turn.

use loom::thread;

use super::life::{explore_deaths, until_death};
use super::*;

#[test]
fn batches_of_a_producer_that_dies_anywhere_are_seen_whole_and_its_lane_goes_on() {
    explore_deaths(Some(3), |life| {
        let lane = Lane::new();
        let mut consumer = Consumer::attached(&lane, 0);
        let mortal = lane.mortal(life);
        let thread = thread::spawn(move || {
            until_death(|| {
                let mut producer = Producer::new(&mortal);
                producer.try_publish(2);
                producer.try_publish(2);
            });
            let mut tenant = Producer::new(&lane);
            tenant.try_publish(2);
            tenant
        });
        for _ in 0..2 {
            assert_ne!(consumer.poll(), 1, "part of a batch");
        }
        let mut tenant = thread.join().unwrap();
        consumer.poll();
        assert_eq!(consumer.reader.position(), tenant.writer.head());
        tenant.publish(2);
        assert_eq!(consumer.poll(), 2);
    });
}

/// A consumer, attached or joining, dies; its seat is recovered, and a newcomer comes, all while a
/// producer publishes. The newcomer is as safe as if nobody had sat there.
fn death_and_newcomer(life: &Life, joins: bool) {
    let lane = Lane::new();
    let mut producer = Producer::new(&lane);
    producer.publish(2);
    if !joins {
        Consumer::attached(&lane, 0);
    }
    let mortal = lane.mortal(life);
    let thread = thread::spawn(move || {
        until_death(|| {
            let mut consumer = if joins {
                Consumer::join(&mortal, 0, true)
            } else {
                let reader = LaneReader::new(mortal.clone(), ORIGIN);
                Consumer { lane: mortal, number: 0, reader }
            };
            consumer.poll();
        });
        lane.clear_consumer(0);
        // In the seat that was recovered, or beside it.
        let mut newcomer = Consumer::join(&lane, u32::from(!joins), true);
        newcomer.poll();
        newcomer
    });
    producer.try_publish(1);
    producer.try_publish(1);
    let mut newcomer = thread.join().unwrap();
    newcomer.poll();
    assert_eq!(newcomer.reader.position(), producer.writer.head());
    // And nothing is left of the dead one that would hold the producer up.
    producer.publish(2);
    assert_eq!(newcomer.poll(), 2);
}

#[test]
fn consumer_that_dies_anywhere_holds_nobody_once_it_is_recovered() {
    explore_deaths(Some(3), |life| death_and_newcomer(life, false));
}

#[test]
fn joiner_that_dies_anywhere_holds_nobody_once_it_is_recovered() {
    explore_deaths(Some(2), |life| death_and_newcomer(life, true));
}

#[test]
fn copy_beside_a_producer_that_dies_anywhere_is_whole_or_known_to_be_bad() {
    explore_deaths(Some(3), |life| {
        let lane = Lane::new();
        Producer::new(&lane).overwrite(2);
        let mortal = lane.mortal(life);
        let thread = thread::spawn({
            let lane = lane.clone();
            move || {
                until_death(|| Producer::new(&mortal).overwrite(2));
                let mut tenant = Producer::new(&lane);
                tenant.overwrite(1);
                tenant.writer.head()
            }
        });
        copy(&lane, ORIGIN.wrapping_add(1));
        copy(&lane, ORIGIN);
        let head = thread.join().unwrap();
        // All is quiet: what the lane says it holds can be had, the tenant's frame at least.
        let last = head.wrapping_sub(1);
        let oldest = lossy::oldest(&lane, CAPACITY, ORIGIN);
        assert!(copy(&lane, last) && !is_before(last, oldest));
        assert!(copy(&lane, oldest));
    });
}

#[test]
fn observer_beside_a_producer_that_dies_anywhere_detects_what_is_overwritten() {
    explore_deaths(Some(3), |life| {
        let lane = Lane::new();
        let publish = |lane: &Lane, frames: u64| {
            let mut producer = Producer::new(lane);
            assert!(producer.writer.has_room(frames));
            producer.store_words(frames);
            producer.writer.publish(frames);
        };
        publish(&lane, 2);
        let mortal = lane.mortal(life);
        let thread = thread::spawn({
            let lane = lane.clone();
            move || {
                until_death(|| publish(&mortal, 2));
                publish(&lane, 1);
            }
        });
        copy(&lane, ORIGIN.wrapping_add(1));
        copy(&lane, ORIGIN);
        thread.join().unwrap();
    });
}
