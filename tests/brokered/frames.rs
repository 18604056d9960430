//! What a bus promises, on memory that was handed out.

use std::thread;

use busway::{Bus, OnFull, PollError, PublishError, Role, Start, Topology};

use crate::support::{PATIENCE, Running};

#[test]
fn frames_are_read_as_they_were_published() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2));
    assert!(bus.info().brokered);
    let mut consumer = bus.consumer().name("reader").attach().unwrap();
    let mut producer = bus.producer().name("writer").attach().unwrap();
    for number in 0..10_u64 {
        assert_eq!(producer.publish_bytes(7, &number.to_le_bytes()), Ok(number));
    }
    for number in 0..10_u64 {
        let frame = consumer.poll().unwrap().unwrap();
        assert_eq!((frame.kind(), frame.payload()), (7, number.to_le_bytes().as_slice()));
    }
    assert!(consumer.poll().unwrap().is_none());
    drop(producer);
    assert_eq!(consumer.poll().err(), Some(PollError::Closed));
}

#[test]
fn stat_and_participants_show_who_is_attached_and_how_far() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2));
    let consumer = bus.consumer().name("reader").attach().unwrap();
    let mut producer = bus.producer().name("writer").attach().unwrap();
    for _ in 0..3 {
        producer.publish_bytes(0, b"x").unwrap();
    }
    let stat = bus.stat();
    assert_eq!((stat.published, stat.lanes.len(), stat.removed), (3, 2, false));
    assert_eq!(stat.lanes[0].producer.as_ref().unwrap().name, "writer");
    assert_eq!((stat.consumers[0].lag, stat.consumers[0].participant.name.as_str()), (3, "reader"));
    let who: Vec<(Role, bool)> =
        bus.participants().into_iter().map(|who| (who.role, who.alive)).collect();
    assert_eq!(who, [(Role::Producer, true), (Role::Consumer, true)]);
    assert!(bus.reclaim().unwrap().is_empty());
    drop((consumer, producer));
    assert!(bus.participants().is_empty());
    assert_eq!(bus.stat().published, 3);
}

#[test]
fn four_producers_fan_in_and_nothing_is_lost_or_out_of_order() {
    const FRAMES: u64 = 20_000;
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(4).capacity_frames(256));
    let mut consumer = bus.consumer().attach().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut producer = bus.producer().attach().unwrap();
            thread::spawn(move || {
                for number in 0..FRAMES {
                    producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0_u64; 4];
    loop {
        match consumer.recv_timeout(PATIENCE) {
            Ok(Some(frame)) => {
                let lane = &mut next[frame.lane() as usize];
                assert_eq!(frame.payload(), lane.to_le_bytes());
                *lane += 1;
            }
            Ok(None) => panic!("nothing came for {PATIENCE:?}"),
            Err(PollError::Closed) => break,
            Err(error) => panic!("{error}"),
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!((next, consumer.lost()), ([FRAMES; 4], 0));
}

#[test]
fn full_lane_refuses_or_waits_for_consumers_that_joined_after_the_producer() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(4).on_full(OnFull::Reject));
    let mut producer = bus.producer().attach().unwrap();
    for _ in 0..9 {
        producer.publish_bytes(0, b"history").unwrap();
    }
    let mut consumer = bus.consumer().attach().unwrap();
    for _ in 0..4 {
        producer.publish_bytes(0, b"gated").unwrap();
    }
    assert_eq!(producer.publish_bytes(0, b"gated"), Err(PublishError::Full));
    for _ in 0..4 {
        assert_eq!(consumer.poll().unwrap().unwrap().payload(), b"gated");
    }
    assert!(consumer.poll().unwrap().is_none());
    producer.publish_bytes(0, b"gated").unwrap();
}

#[test]
fn lossy_bus_never_waits_and_counts_what_was_lost() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(16).on_full(OnFull::DropOldest));
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for number in 0..100_u64 {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
    }
    let mut read = 0;
    while let Some(frame) = consumer.poll().unwrap() {
        assert_eq!(frame.payload(), frame.position().to_le_bytes());
        read += 1;
    }
    assert!(read > 0 && consumer.lost() > 0);
    assert_eq!(read + consumer.lost(), 100);
}

#[test]
fn observer_reads_lanes_let_before_and_after_it_attached() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2));
    let mut first = bus.producer().attach().unwrap();
    first.publish_bytes(1, b"before").unwrap();
    let mut observer = bus.observer().start(Start::Oldest).attach().unwrap();
    let mut second = bus.producer().attach().unwrap();
    second.publish_bytes(2, b"after").unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = observer.poll().unwrap() {
        seen.push((frame.lane(), frame.payload().to_vec()));
    }
    seen.sort();
    assert_eq!(seen, [(0, b"before".to_vec()), (1, b"after".to_vec())]);
}

#[test]
fn consumers_start_at_the_oldest_and_at_positions_as_on_any_bus() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).origin(u64::MAX - 2));
    let mut producer = bus.producer().attach().unwrap();
    for number in 0..6_u64 {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
    }
    let first = |start| {
        let mut consumer = bus.consumer().start(start).attach().unwrap();
        consumer.poll().unwrap().map(|frame| frame.payload()[0])
    };
    assert_eq!(first(Start::Oldest), Some(0));
    assert_eq!(first(Start::Position(1)), Some(4));
    assert_eq!(first(Start::Latest), None);
}

#[test]
fn what_a_brokered_bus_cannot_be_is_refused_by_name() {
    let running = Running::start();
    let refused = |options: &busway::BusOptions, want: &str| {
        let mut broker = running.broker.lock().unwrap();
        let text = broker.create(options, "bus", 0, Vec::new()).unwrap_err().to_string();
        assert!(text.contains(want), "{text}");
    };
    refused(&Bus::options().topology(Topology::Ordered), "topology \"ordered\"");
    refused(&Bus::options().mode(0o660), "mode \"0660\"");
    refused(&Bus::options().group(7), "group \"7\"");
    refused(&Bus::options().size_bytes_max(4096), "size_bytes_max");
}

/// Removes a named bus whatever happens.
struct Guard<'a>(&'a str);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = Bus::remove(self.0);
    }
}

#[test]
fn names_are_shared_with_named_buses() {
    let name = format!("t-brokered-{}", std::process::id());
    let _guard = Guard(&name);
    Bus::options().create(&name).unwrap();
    let running = Running::start();
    let mut broker = running.broker.lock().unwrap();
    let refused = broker.create(&Bus::options(), &name, 0, Vec::new()).unwrap_err();
    assert_eq!(refused.code(), "already_exists");
    let other = format!("{name}-b");
    broker.create(&Bus::options(), &other, 0, Vec::new()).unwrap();
    let refused = broker.create(&Bus::options(), &other, 0, Vec::new()).unwrap_err();
    assert_eq!(refused.code(), "already_exists");
}
