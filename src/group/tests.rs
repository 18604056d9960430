//! Groups in one process: what a member sees, step by step.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;
use crate::error::{AckError, PollError, PublishError};
use crate::options::{OnFull, Start, Topology};
use crate::producer::Producer;
use crate::shm::segment::unlink;
use crate::sync::Ordering;

const PATIENCE: Duration = Duration::from_secs(20);
const NOW: Duration = Duration::ZERO;

struct Scratch(String);

impl Scratch {
    fn new(what: &str) -> Self {
        Self(format!("t-group-{what}-{}", std::process::id()))
    }

    fn bus(&self) -> Bus {
        Bus::options().lanes(2).capacity_frames(16).payload_bytes(8).create(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = Bus::remove(&self.0);
        let _dead = Bus::remove(&format!("{}.g.dead", self.0));
    }
}

fn publish(producer: &mut Producer, from: u64, count: u64) {
    for number in from..from + count {
        producer.publish_bytes(1, &number.to_le_bytes()).unwrap();
    }
}

fn number(delivered: &Delivered<'_>) -> u64 {
    u64::from_le_bytes(delivered.frame().payload().try_into().unwrap())
}

/// The next frame's number and receipt, waited for.
fn next(member: &mut GroupMember) -> (u64, Receipt) {
    let delivered = member.receive(PATIENCE).unwrap().expect("a frame");
    (number(&delivered), delivered.receipt())
}

#[test]
fn members_share_the_frames_and_the_gate_follows() {
    let scratch = Scratch::new("share");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut one = group.member().batch(2).attach().unwrap();
    let mut two = group.member().batch(2).attach().unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..20 {
        publish(&mut producer, round * 8, 8);
        for _ in 0..4 {
            for member in [&mut one, &mut two] {
                let (number, receipt) = next(member);
                assert!(seen.insert(number), "{number} twice");
                member.ack(receipt).unwrap();
            }
        }
    }
    assert_eq!(seen.len(), 160);
    let stat = group.stat().unwrap();
    assert_eq!((stat.backlog, stat.acknowledged, stat.members.len()), (0, 160, 2));
    assert_eq!(one.poll().unwrap().map(|frame| number(&frame)), None);
}

#[test]
fn group_holds_producers_up_while_nobody_is_attached_and_keeps_what_they_published() {
    let scratch = Scratch::new("durable");
    let bus = scratch.bus();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0, 40);
    let group = bus.group("g").create().unwrap();
    publish(&mut producer, 100, 16);
    let full = producer.publish_bytes_timeout(1, b"full", Duration::from_millis(20));
    assert_eq!(full, Err(PublishError::TimedOut));
    let mut member = group.member().attach().unwrap();
    for wanted in 100..116 {
        let (number, receipt) = next(&mut member);
        assert_eq!(number, wanted, "in the order of the lane");
        member.ack(receipt).unwrap();
    }
    publish(&mut producer, 0, 16);
}

#[test]
fn group_may_start_at_the_oldest() {
    let scratch = Scratch::new("oldest");
    let bus = scratch.bus();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0, 5);
    let group = bus.group("g").start(Start::Oldest).create().unwrap();
    assert_eq!(group.stat().unwrap().backlog, 5);
    let mut member = group.member().attach().unwrap();
    assert_eq!(next(&mut member).0, 0);
}

#[test]
fn refused_frame_comes_again_and_ends_as_a_dead_letter() {
    let scratch = Scratch::new("letter");
    let bus = scratch.bus();
    let group = bus.group("g").max_attempts(3).create().unwrap();
    let mut producer = bus.producer().name("maker").attach().unwrap();
    let mut member = group.member().attach().unwrap();
    publish(&mut producer, 7, 1);
    for attempt in 1..=3 {
        let (seven, receipt) = next(&mut member);
        assert_eq!((seven, receipt.attempt()), (7, attempt));
        member.nack(receipt, NOW).unwrap();
    }
    publish(&mut producer, 8, 1);
    let (eight, receipt) = next(&mut member);
    assert_eq!(eight, 8);
    member.ack(receipt).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while group.stat().unwrap().dead_letters == 0 {
        assert!(member.receive(Duration::from_millis(5)).unwrap().is_none());
        assert!(Instant::now() < deadline);
    }
    let stat = group.stat().unwrap();
    assert_eq!((stat.backlog, stat.refused, stat.acknowledged), (0, 3, 1));

    let letters = group.dead_letters().unwrap().unwrap();
    let list = letters.list().unwrap();
    assert_eq!(list.len(), 1);
    let letter = &list[0];
    assert_eq!((letter.bus.as_str(), letter.group.as_str()), (scratch.0.as_str(), "g"));
    assert_eq!((letter.lane, letter.position, letter.attempts), (0, 0, 3));
    assert_eq!((letter.producer.as_str(), letter.producer_pid), ("maker", std::process::id()));
    assert_eq!((letter.cause, letter.kind), (Cause::Refused, 1));
    assert_eq!(letter.payload, 7_u64.to_le_bytes());

    assert_eq!(letters.replay(10).unwrap(), 1);
    assert_eq!(letters.list().unwrap(), []);
    let (seven, receipt) = next(&mut member);
    assert_eq!((seven, receipt.attempt()), (7, 1), "a replay is a new frame");
    member.ack(receipt).unwrap();
}

#[test]
fn dead_letters_are_kept_until_they_are_purged() {
    let scratch = Scratch::new("purge");
    let bus = scratch.bus();
    let group = bus.group("g").max_attempts(1).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    for round in 0..10 {
        publish(&mut producer, round, 1);
        let (_, receipt) = next(&mut member);
        member.nack(receipt, NOW).unwrap();
        assert!(member.receive(Duration::from_millis(1)).unwrap().is_none());
    }
    let letters = group.dead_letters().unwrap().unwrap();
    assert_eq!(letters.list().unwrap().len(), 10);
    assert_eq!(letters.purge(4).unwrap(), 4);
    let left: Vec<u64> = letters.list().unwrap().iter().map(|letter| letter.position).collect();
    assert_eq!(left, [4, 5, 6, 7, 8, 9]);
    assert_eq!(letters.purge(u64::MAX).unwrap(), 6);
}

#[test]
fn dead_letter_without_room_stays_a_frame_of_its_group() {
    let scratch = Scratch::new("noroom");
    let bus = scratch.bus();
    let group = bus.group("g").max_attempts(1).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    // Whoever holds all lanes of the letters' bus leaves none.
    let letters = Bus::open(&format!("{}.g.dead", scratch.0)).unwrap();
    let taken: Vec<_> = (0..4).map(|_| letters.producer().attach().unwrap()).collect();
    publish(&mut producer, 1, 1);
    let (_, receipt) = next(&mut member);
    member.nack(receipt, NOW).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while group.stat().unwrap().letters_held_up == 0 {
        assert!(member.receive(Duration::from_millis(5)).unwrap().is_none());
        assert!(Instant::now() < deadline);
    }
    assert_eq!(group.stat().unwrap().backlog, 1, "it is not lost");
    drop(taken);
    while group.stat().unwrap().dead_letters == 0 {
        assert!(member.receive(Duration::from_millis(5)).unwrap().is_none());
        assert!(Instant::now() < deadline);
    }
    let list = group.dead_letters().unwrap().unwrap().list().unwrap();
    assert_eq!((list[0].attempts, list[0].cause), (1, Cause::Refused));
}

#[test]
fn frame_whose_time_is_over_goes_to_another_and_its_acknowledgement_is_refused() {
    let scratch = Scratch::new("late");
    let bus = scratch.bus();
    let timeout = Duration::from_millis(30);
    let group = bus.group("g").processing_timeout(timeout).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let (mut slow, mut quick) =
        (group.member().attach().unwrap(), group.member().attach().unwrap());
    publish(&mut producer, 1, 1);
    let (_, late) = next(&mut slow);
    let (again, receipt) = next(&mut quick);
    assert_eq!((again, receipt.attempt()), (1, 2));
    assert_eq!(slow.ack(late), Err(AckError::TakenBack));
    assert_eq!(slow.nack(late, NOW), Err(AckError::TakenBack));
    quick.ack(receipt).unwrap();
    assert_eq!(quick.ack(receipt), Err(AckError::TakenBack), "once");
    let stat = group.stat().unwrap();
    assert_eq!((stat.timed_out, stat.acknowledged, stat.backlog), (1, 1, 0));
}

#[test]
fn delayed_refusal_is_not_tried_before_its_time() {
    let scratch = Scratch::new("delay");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    publish(&mut producer, 1, 1);
    let (_, receipt) = next(&mut member);
    let start = Instant::now();
    member.nack(receipt, Duration::from_millis(60)).unwrap();
    assert_eq!(group.stat().unwrap().waiting, 1);
    let (_, receipt) = next(&mut member);
    // A due time is in whole milliseconds.
    assert!(start.elapsed() >= Duration::from_millis(59));
    assert_eq!(receipt.attempt(), 2);
}

#[test]
fn member_that_leaves_gives_back_what_it_has_at_once() {
    let scratch = Scratch::new("leave");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut leaver = group.member().batch(8).attach().unwrap();
    publish(&mut producer, 0, 8);
    assert_eq!(next(&mut leaver).0, 0);
    drop(leaver);
    let mut heir = group.member().attach().unwrap();
    let mut attempts = Vec::new();
    for _ in 0..8 {
        let (number, receipt) = next(&mut heir);
        attempts.push((number, receipt.attempt()));
        heir.ack(receipt).unwrap();
    }
    attempts.sort_unstable();
    let want: Vec<_> = (0..8).map(|number| (number, if number == 0 { 2 } else { 1 })).collect();
    assert_eq!(attempts, want, "only what was handed out counts");
}

#[test]
fn at_most_once_hands_out_each_frame_once_and_gives_back_what_it_did_not_hand_out() {
    let scratch = Scratch::new("once");
    let bus = scratch.bus();
    let group = bus.group("g").delivery(Delivery::AtMostOnce).create().unwrap();
    assert_eq!((&group.info().dead_letter_bus, group.info().max_attempts), (&None, None));
    assert!(group.dead_letters().unwrap().is_none());
    let mut producer = bus.producer().attach().unwrap();
    let mut leaver = group.member().attach().unwrap();
    publish(&mut producer, 0, 8);
    let (zero, receipt) = next(&mut leaver);
    assert_eq!(zero, 0);
    assert_eq!(leaver.nack(receipt, NOW), Err(AckError::Settled));
    assert_eq!(leaver.ack(receipt), Ok(()));
    drop(leaver);
    let mut heir = group.member().attach().unwrap();
    let rest: Vec<u64> = (1..8).map(|_| next(&mut heir).0).collect();
    assert_eq!(rest, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(group.stat().unwrap().backlog, 0);
}

#[test]
fn removed_group_lets_producers_go_and_tells_its_members() {
    let scratch = Scratch::new("remove");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    publish(&mut producer, 0, 16);
    let (_, receipt) = next(&mut member);
    assert_eq!(producer.try_publish_bytes(1, b"full"), Err(PublishError::Full));
    bus.remove_group("g").unwrap();
    assert!(group.is_removed());
    publish(&mut producer, 16, 100);
    member.ack(receipt).unwrap();
    while let Ok(Some(_)) = member.poll() {}
    assert_eq!(member.poll().err(), Some(PollError::Removed));
    assert!(matches!(bus.open_group("g"), Err(Error::Group { fault: GroupFault::NotFound, .. })));
    // The seat is not let while a member could store to its cursors.
    assert_eq!(bus.stat().consumers.len(), 1);
    drop(member);
    assert_eq!(bus.reclaim().unwrap().len(), 1);
    assert_eq!(bus.participants().len(), 1, "the producer");
    assert_eq!(bus.groups().unwrap(), Vec::<String>::new());
}

#[test]
fn seat_of_a_group_is_nobodys_to_take_to_reclaim_or_to_kick() {
    let scratch = Scratch::new("seat");
    let options = Bus::options().consumers(2).lanes(1).capacity_frames(4);
    let bus = options.evict_after(Some(Duration::from_millis(1))).create(&scratch.0).unwrap();
    let _group = bus.group("g").create().unwrap();
    let who = bus.participants();
    assert_eq!((who.len(), who[0].group, who[0].alive, who[0].pid), (1, true, true, 0));
    assert_eq!(who[0].name, "g");
    assert_eq!(bus.reclaim().unwrap(), []);
    assert_eq!(bus.kick(std::process::id()).unwrap(), []);
    let _consumer = bus.consumer().attach().unwrap();
    let error = bus.consumer().attach().unwrap_err();
    assert!(matches!(&error, Error::SeatsTaken { .. }));
    assert!(error.to_string().contains("group \"g\""), "{error}");
    let mut producer = bus.producer().attach().unwrap();
    let mut published = 0;
    for _ in 0..50 {
        match producer.publish_bytes_timeout(0, b"x", Duration::from_millis(2)) {
            Ok(_) => published += 1,
            Err(PublishError::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(published, 4, "it is never evicted, unlike the consumer");
    assert_eq!(bus.stat().evictions, 1);
}

#[test]
fn group_is_made_once_and_opened_only_as_it_is() {
    let scratch = Scratch::new("once-made");
    let bus = scratch.bus();
    let made = bus.group("g").create().unwrap();
    let code = |result: Result<Group, Error>| result.unwrap_err().code();
    assert_eq!(code(bus.group("g").create()), "group_exists");
    let same = bus.group("g").if_not_exists(true).create().unwrap();
    assert_eq!(same.info(), made.info());
    assert_eq!(code(bus.group("g").if_not_exists(true).max_attempts(9).create()), "group_differs");
    assert_eq!(code(bus.group("a/b").create()), "bad_name");
    assert_eq!(code(bus.group("h").members(65).create()), "bad_geometry");
    assert_eq!(code(bus.group("h").max_attempts(255).create()), "bad_geometry");
    assert_eq!(code(bus.group("h").processing_timeout(NOW).create()), "bad_option");
    assert_eq!(code(bus.group("h").start(Start::Position(1)).create()), "bad_option");
    assert_eq!(code(bus.open_group("h")), "no_group");
    assert_eq!(bus.groups().unwrap(), ["g"]);
}

#[test]
fn lossy_bus_has_no_groups() {
    let scratch = Scratch::new("lossy");
    let bus = Bus::options().on_full(OnFull::DropOldest).create(&scratch.0).unwrap();
    let error = bus.group("g").create().unwrap_err();
    assert_eq!(error.code(), "group_unsupported");
    assert!(error.to_string().contains("drops its oldest"), "{error}");
}

#[test]
fn ordered_bus_is_not_held_up_by_what_a_group_does_not_read_of_the_order() {
    let scratch = Scratch::new("ordered");
    let options = Bus::options().topology(Topology::Ordered).lanes(1).capacity_frames(4);
    let bus = options.create(&scratch.0).unwrap();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    // More than a lap of the order ring, which has 1024 entries.
    for number in 0..3000_u64 {
        producer.publish_bytes_timeout(1, &number.to_le_bytes(), PATIENCE).unwrap();
        let (seen, receipt) = next(&mut member);
        assert_eq!(seen, number);
        member.ack(receipt).unwrap();
        if number % 500 == 0 {
            // Time for a sweep.
            assert!(member.receive(Duration::from_millis(3)).unwrap().is_none());
        }
    }
}

#[test]
fn reset_starts_anew_at_either_end_and_only_without_members() {
    let scratch = Scratch::new("reset");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0, 10);
    let mut member = group.member().attach().unwrap();
    for _ in 0..6 {
        let (_, receipt) = next(&mut member);
        member.ack(receipt).unwrap();
    }
    assert_eq!(group.reset(Start::Oldest).unwrap_err().code(), "group_in_use");
    drop(member);
    group.reset(Start::Oldest).unwrap();
    assert_eq!(group.stat().unwrap().backlog, 10, "all that the ring still holds");
    let mut member = group.member().attach().unwrap();
    assert_eq!(next(&mut member).0, 0);
    drop(member);
    group.reset(Start::Latest).unwrap();
    assert_eq!(group.stat().unwrap().backlog, 0);
    publish(&mut producer, 50, 1);
    let mut member = group.member().attach().unwrap();
    let (fifty, receipt) = next(&mut member);
    assert_eq!((fifty, receipt.attempt()), (50, 1));
}

#[test]
fn group_goes_with_its_bus_and_one_of_a_former_bus_is_replaced() {
    let scratch = Scratch::new("former");
    let bus = scratch.bus();
    bus.group("g").create().unwrap();
    // Removed by hand: the group's file stays behind.
    unlink(&scratch.0).unwrap();
    let bus = scratch.bus();
    assert_eq!(bus.open_group("g").unwrap_err().code(), "group_unfinished");
    let group = bus.group("g").create().unwrap();
    assert_eq!(group.stat().unwrap().backlog, 0);
    Bus::remove(&scratch.0).unwrap();
    assert_eq!(file::list_of(&scratch.0).unwrap(), Vec::<String>::new());
}

#[test]
fn group_whose_file_is_gone_or_damaged_can_be_removed() {
    let scratch = Scratch::new("handmade");
    let bus = scratch.bus();
    let mut producer = bus.producer().attach().unwrap();
    for damage in [true, false] {
        bus.group("g").if_not_exists(true).create().unwrap();
        publish(&mut producer, 0, 16);
        assert_eq!(producer.try_publish_bytes(1, b"full"), Err(PublishError::Full));
        if damage {
            let (segment, _) = segment::open(&scratch.0, "g", Access::ReadWrite).unwrap();
            segment.file.set_len(100).unwrap();
        } else {
            unlink(&segment::segment_name(&scratch.0, "g")).unwrap();
        }
        assert!(bus.open_group("g").is_err());
        bus.remove_group("g").unwrap();
        publish(&mut producer, 0, 40);
        assert_eq!(bus.remove_group("g").unwrap_err().code(), "no_group");
    }
}

#[test]
fn scribbled_words_are_an_error_until_the_group_is_reset() {
    let scratch = Scratch::new("scribble");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0, 8);
    let (segment, header) = segment::open(&scratch.0, "g", Access::ReadWrite).unwrap();
    let mut member = group.member().attach().unwrap();
    assert_eq!(next(&mut member).0, 0);
    let words = header.geometry().words.offset;
    for pattern in [0_u64, u64::MAX, 0x5555_5555_5555_5555, 1 << 62 | 63 << 46] {
        for slot in 0..16 {
            let bytes = pattern.to_le_bytes();
            std::os::unix::fs::FileExt::write_all_at(&segment.file, &bytes, words + slot * 8)
                .unwrap();
        }
        let deadline = Instant::now() + Duration::from_millis(50);
        while Instant::now() < deadline {
            match member.receive(Duration::from_millis(1)) {
                Ok(delivered) => {
                    let receipt = delivered.map(|one| one.receipt());
                    receipt.map(|receipt| member.ack(receipt));
                }
                Err(error) => assert_eq!(error, PollError::Corrupt { lane: 0 }),
            }
        }
        group.stat().unwrap();
    }
    assert!(bus.stat().corruptions > 0);
    drop(member);
    group.reset(Start::Latest).unwrap();
    publish(&mut producer, 9, 1);
    let mut member = group.member().attach().unwrap();
    assert_eq!(next(&mut member).0, 9);
}

#[test]
fn producer_that_goes_on_after_a_group_was_removed_corrupts_nothing() {
    let scratch = Scratch::new("gone");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0, 8);
    let mut member = group.member().attach().unwrap();
    let (_, receipt) = next(&mut member);
    bus.remove_group("g").unwrap();
    publish(&mut producer, 8, 40);
    let _acknowledged = member.ack(receipt);
    assert_eq!(member.nack(receipt, Duration::ZERO), Err(AckError::TakenBack));
    assert!(matches!(group.stat(), Err(Error::Poll(PollError::Removed))));
    drop(member);
    assert_eq!(bus.stat().corruptions, 0);
}

#[test]
fn hint_that_leads_past_frames_loses_none() {
    let scratch = Scratch::new("hint");
    let bus = scratch.bus();
    let group = bus.group("g").create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    publish(&mut producer, 0, 12);
    member.engine_lane_hint(0).store(12, Ordering::Relaxed);
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..12 {
        let (number, receipt) = next(&mut member);
        member.ack(receipt).unwrap();
        seen.push(number);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..12).collect::<Vec<u64>>());
}
