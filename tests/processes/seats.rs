//! How many can attach, who is told to be in the way, and what their seats say.

use busway::{Bus, Error, OnFull, Role as End, Topology};

use crate::support::bus::TestBus;
use crate::support::ledger::{Expect, Ledger};
use crate::support::role::{Produce, Role};
use crate::support::worker::Worker;

/// The error's holders by pid and name, once its message has been seen to name them.
fn holders(error: &Error) -> Vec<(u32, String)> {
    let Error::SeatsTaken { holders, .. } = error else { panic!("{error}") };
    let text = error.to_string();
    for holder in holders {
        assert!(text.contains(&format!("pid {}", holder.pid)), "{text}");
        assert!(text.contains(&holder.name), "{text}");
    }
    assert!(text.contains(&format!("{} ", holders.len())), "{text}");
    holders.iter().map(|holder| (holder.pid, holder.name.clone())).collect()
}

#[test]
fn second_producer_of_single_is_told_who_holds_it() {
    let bus = TestBus::of(Topology::Single, OnFull::Block, 1, 8);
    let other = Worker::attached(&Role::Produce(Produce::new(bus.name(), 7, 1)));
    let error = bus.producer().attach().unwrap_err();
    assert_eq!(error.code(), "seats_taken");
    assert_eq!(holders(&error), [(other.pid(), "p7".to_owned())]);
}

#[test]
fn one_producer_more_than_lanes_is_told_who_holds_them() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 3, 8);
    let others: Vec<Worker> = (0..3)
        .map(|id| Worker::attached(&Role::Produce(Produce::new(bus.name(), id, 1))))
        .collect();
    let error = bus.producer().attach().unwrap_err();
    let want: Vec<_> =
        others.iter().zip(0..).map(|(one, id)| (one.pid(), format!("p{id}"))).collect();
    assert_eq!(holders(&error), want);
    assert_eq!(bus.stat().lanes.iter().filter(|lane| lane.producer.is_some()).count(), 3);
}

#[test]
fn one_consumer_more_than_seats_is_told_who_holds_them() {
    let bus = TestBus::new(&Bus::options().consumers(2));
    let first = bus.consumer().name("alpha").attach().unwrap();
    let second = bus.consumer().name("beta").attach().unwrap();
    let error = bus.consumer().attach().unwrap_err();
    let me = std::process::id();
    assert_eq!(holders(&error), [(me, "alpha".to_owned()), (me, "beta".to_owned())]);
    drop(first);
    assert_eq!(bus.consumer().attach().unwrap().seat(), 0);
    drop(second);
}

#[test]
fn lanes_to_the_limit_are_told_apart() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::Block, 256, 4);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producers: Vec<_> = (0..256).map(|_| bus.producer().attach().unwrap()).collect();
        let error = bus.producer().attach().unwrap_err();
        assert_eq!(holders(&error).len(), 256);
        for round in 0..10_u64 {
            for (lane, producer) in (0_u16..).zip(&mut producers) {
                assert_eq!(producer.lane(), u32::from(lane));
                assert_eq!(producer.publish_bytes(lane, &[0]), Ok(round));
            }
            let mut seen = vec![false; 256];
            while let Some(frame) = consumer.poll().unwrap() {
                assert_eq!((frame.lane(), frame.position()), (frame.kind().into(), round));
                assert!(!std::mem::replace(&mut seen[frame.lane() as usize], true));
            }
            assert!(seen.iter().all(|seen| *seen), "{topology}");
        }
    }
}

#[test]
fn consumers_to_the_limit_each_see_everything() {
    for on_full in [OnFull::Block, OnFull::DropOldest] {
        let bus = TestBus::new(&Bus::options().consumers(64).lanes(2).on_full(on_full));
        let mut consumers: Vec<_> = (0..64).map(|_| bus.consumer().attach().unwrap()).collect();
        assert_eq!(holders(&bus.consumer().attach().unwrap_err()).len(), 64);
        let mut producer = bus.producer().attach().unwrap();
        for number in 0..100_u64 {
            producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        }
        for consumer in &mut consumers {
            for number in 0..100_u64 {
                assert_eq!(consumer.poll().unwrap().unwrap().payload(), number.to_le_bytes());
            }
            assert!(consumer.poll().unwrap().is_none());
        }
    }
}

#[test]
fn seats_say_who_sits_there_and_changes_are_counted() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 2, 8);
    let before = bus.seat_changes();
    let long = "ä".repeat(20);
    let mut producer = bus.producer().name(&long).attach().unwrap();
    let consumer = bus.consumer().attach().unwrap();
    producer.publish_bytes(0, &[0]).unwrap();
    assert_eq!(bus.seat_changes(), before.wrapping_add(2));
    let stat = bus.stat();
    let seat = stat.lanes[0].producer.as_ref().unwrap();
    // 32 bytes are kept, and no half of a character.
    assert_eq!((seat.role, seat.seat, seat.epoch, seat.alive), (End::Producer, 0, 1, true));
    assert_eq!((seat.pid, seat.name.as_str()), (std::process::id(), "ä".repeat(16).as_str()));
    let reader = &stat.consumers[0];
    assert_eq!((reader.participant.role, reader.lag, reader.lost), (End::Consumer, 1, 0));
    assert_eq!(bus.participants().len(), 2);
    drop((producer, consumer));
    assert_eq!(bus.seat_changes(), before.wrapping_add(4));
    assert!(bus.participants().is_empty() && bus.stat().consumers.is_empty());
    assert_eq!(bus.reclaim().unwrap(), []);
}

#[test]
fn observer_gates_nobody_and_accounts_for_every_frame() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::Block, 1, 64);
        let mut observer = bus.observer().attach().unwrap();
        let role = Produce { batch_max: 5, ..Produce::new(bus.name(), 0, 20_000) };
        let producers = crate::support::worker::producers([role]);
        let mut ledger = Ledger::new(Expect { lossless: false, ..Expect::of(&bus) });
        // It looks now and then; the producer never waits for it.
        let mut look = || {
            while observer.poll_batch(9, |run| run.for_each(|f| ledger.note(f))).unwrap() > 0 {}
        };
        look();
        let published = producers[0].published();
        look();
        assert_eq!((published.count, published.blocked_count), (20_000, 0));
        assert_eq!(observer.read() + observer.lost(), 20_000);
        assert_eq!((observer.lag(), observer.lane_lost(0)), (0, observer.lost()));
        assert_eq!(ledger.faults, [""; 0]);
        assert!(bus.stat().consumers.is_empty());
    }
}
