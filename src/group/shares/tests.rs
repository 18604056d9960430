//! Affinity in one process: whose a key is, when it changes hands, and what waits for that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::*;
use crate::bus::Bus;
use crate::error::AckError;
use crate::group::{Delivered, Group, GroupMember, Receipt};
use crate::options::{Delivery, FrameLayout};
use crate::producer::Producer;

const PATIENCE: Duration = Duration::from_secs(20);
const KEYS: u64 = 64;
const BY_KEY: Affinity = Affinity::Payload { offset: 0, len: 8 };

struct Scratch(String);

impl Scratch {
    fn new(what: &str) -> Self {
        Self(format!("t-shares-{what}-{}", std::process::id()))
    }

    fn bus(&self) -> Bus {
        let options = Bus::options().lanes(2).capacity_frames(1024).payload_bytes(16);
        options.create(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = Bus::remove(&self.0);
        let _dead = Bus::remove(&format!("{}.g.dead", self.0));
    }
}

/// Frame `number` of each key.
fn publish(producer: &mut Producer, keys: std::ops::Range<u64>, number: u64) {
    for key in keys {
        let kind = u16::try_from(key).unwrap();
        let payload = [key.to_le_bytes(), number.to_le_bytes()].concat();
        producer.publish_bytes(kind, &payload).unwrap();
    }
}

fn key_and_number(delivered: &Delivered<'_>) -> (u64, u64) {
    let (words, _) = delivered.frame().payload().as_chunks::<8>();
    (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]))
}

/// The next frame that is there within `patience`.
fn next(member: &mut GroupMember, patience: Duration) -> Option<(u64, u64, Receipt)> {
    let delivered = member.receive(patience).unwrap()?;
    let (key, number) = key_and_number(&delivered);
    Some((key, number, delivered.receipt()))
}

/// Has a member ask for work, and acknowledge what it gets, until the group stands as it should.
fn until(group: &Group, members: &mut [&mut GroupMember], stands: impl Fn(&[u32]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for member in &mut *members {
            if let Some((_, _, receipt)) = next(member, Duration::ZERO) {
                member.ack(receipt).unwrap();
            }
        }
        let owned: Vec<u32> = group.stat().unwrap().members.iter().map(|one| one.shares).collect();
        if stands(&owned) {
            return;
        }
        assert!(Instant::now() < deadline, "{owned:?}");
    }
}

#[test]
fn absent_is_who_does_not_ask_while_frames_wait_and_is_looked_at_twice() {
    let ms = |ms: u64| ms * 1_000_000;
    let mut sighting = Sighting::default();
    let mut look = |asked, waits, at| sighting.is_absent((1, asked), waits, ms(at), ms(30));
    assert!(!look(7, true, 100) && !look(7, true, 129));
    assert!(!look(7, true, 131), "it may be about to wake, as who looks did");
    assert!(!look(7, true, 135) && look(7, true, 136) && look(7, true, 500));
    assert!(!look(8, true, 501), "it asked");
    assert!(!look(8, false, 600), "nobody has to ask when nothing waits");
    assert!(!look(8, true, 629) && !look(8, true, 631) && look(8, true, 700));
}

#[test]
fn frames_of_a_key_go_to_one_member_in_their_order() {
    let scratch = Scratch::new("one");
    let bus = scratch.bus();
    for affinity in [BY_KEY, Affinity::Kind] {
        let group = bus.group("g").affinity(affinity).create().unwrap();
        assert_eq!(group.info().affinity, affinity);
        let mut producer = bus.producer().attach().unwrap();
        let mut members: Vec<_> = (0..3).map(|_| group.member().attach().unwrap()).collect();
        let [one, two, three] = &mut members[..] else { unreachable!() };
        until(&group, &mut [one, two, three], |owned| owned.iter().all(|count| *count >= 85));
        let mut handler = BTreeMap::new();
        let mut last = BTreeMap::new();
        for number in 0..8 {
            publish(&mut producer, 0..KEYS, number);
        }
        let deadline = Instant::now() + PATIENCE;
        while group.stat().unwrap().backlog > 0 {
            assert!(Instant::now() < deadline);
            for (index, member) in members.iter_mut().enumerate() {
                let Some((key, number, receipt)) = next(member, Duration::ZERO) else {
                    continue;
                };
                assert_eq!(*handler.entry(key).or_insert(index), index, "key {key} moved");
                assert_eq!(last.insert(key, number), number.checked_sub(1), "key {key}");
                member.ack(receipt).unwrap();
            }
        }
        assert_eq!(last.len(), 64);
        let busy: BTreeSet<_> = handler.values().collect();
        assert_eq!(busy.len(), 3, "each has some keys");
        drop(members);
        drop(producer);
        bus.remove_group("g").unwrap();
    }
}

#[test]
fn member_that_joins_gets_its_part_and_one_that_leaves_hands_it_over() {
    let scratch = Scratch::new("part");
    let bus = scratch.bus();
    let group = bus.group("g").affinity(BY_KEY).members(8).create().unwrap();
    let mut one = group.member().attach().unwrap();
    until(&group, &mut [&mut one], |owned| owned == [256]);
    let mut two = group.member().attach().unwrap();
    until(&group, &mut [&mut one, &mut two], |owned| owned == [128, 128]);
    let mut three = group.member().attach().unwrap();
    let mut all = [&mut one, &mut two, &mut three];
    let is_even =
        |owned: &[u32]| owned.iter().sum::<u32>() == 256 && owned.iter().all(|n| *n >= 85);
    until(&group, &mut all, is_even);
    drop(one);
    until(&group, &mut [&mut two, &mut three], |owned| owned == [128, 128]);
    drop(two);
    until(&group, &mut [&mut three], |owned| owned == [256]);
}

#[test]
fn share_that_is_taken_waits_for_the_frames_that_its_former_owner_has() {
    let scratch = Scratch::new("wait");
    let bus = scratch.bus();
    let group = bus.group("g").affinity(BY_KEY).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0..KEYS, 0);
    let mut old = group.member().batch(256).attach().unwrap();
    let mut held: Vec<_> = (0..KEYS).map(|_| next(&mut old, PATIENCE).unwrap()).collect();
    // In the other lane, where no claim stands before them.
    let mut second = bus.producer().attach().unwrap();
    publish(&mut second, 0..KEYS, 1);
    let mut new = group.member().attach().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while group.stat().unwrap().members[1].shares < 128 {
        assert_eq!(next(&mut new, Duration::ZERO), None, "all are in the other's hands");
        assert!(Instant::now() < deadline);
    }
    for _ in 0..20 {
        assert_eq!(next(&mut new, Duration::from_millis(1)), None);
    }
    // Each that is acknowledged frees its key, and no other.
    let mut freed = BTreeSet::new();
    let mut moved = BTreeSet::new();
    while let Some((key, _, receipt)) = held.pop() {
        old.ack(receipt).unwrap();
        freed.insert(key);
        while let Some((key, number, receipt)) = next(&mut new, Duration::from_millis(8)) {
            assert!(freed.contains(&key) && number == 1, "{key} is in the other's hands");
            assert!(moved.insert(key), "{key} twice");
            new.ack(receipt).unwrap();
        }
    }
    until(&group, &mut [&mut old, &mut new], |_| group.stat().unwrap().backlog == 0);
}

#[test]
fn member_that_does_not_ask_loses_its_keys_after_the_timeout_and_gets_its_part_when_it_asks() {
    let scratch = Scratch::new("absent");
    let bus = scratch.bus();
    let timeout = Duration::from_millis(30);
    let group = bus.group("g").affinity(BY_KEY).processing_timeout(timeout).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut sleeper = group.member().attach().unwrap();
    assert_eq!(next(&mut sleeper, Duration::ZERO), None);
    publish(&mut producer, 0..1, 0);
    let (_, _, late) = next(&mut sleeper, PATIENCE).unwrap();
    publish(&mut producer, 0..KEYS, 1);
    let mut other = group.member().attach().unwrap();
    until(&group, &mut [&mut other], |owned| owned == [0, 256]);
    until(&group, &mut [&mut other], |_| group.stat().unwrap().backlog == 0);
    assert_eq!(sleeper.ack(late), Err(AckError::TakenBack));
    until(&group, &mut [&mut other, &mut sleeper], |owned| owned == [128, 128]);
}

#[test]
fn frames_given_back_unseen_come_in_their_order_to_the_next_owner() {
    let scratch = Scratch::new("back");
    let bus = scratch.bus();
    let group = bus.group("g").affinity(Affinity::Lane).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 0..20, 0);
    let mut leaver = group.member().batch(8).attach().unwrap();
    let (first, _, _) = next(&mut leaver, PATIENCE).unwrap();
    assert_eq!(first, 0);
    let mut heir = group.member().batch(8).attach().unwrap();
    assert_eq!(next(&mut heir, Duration::ZERO), None, "the lane's only share is in hand");
    drop(leaver);
    for wanted in 0..20 {
        let (key, _, receipt) = next(&mut heir, PATIENCE).unwrap();
        let attempt = if wanted == 0 { 2 } else { 1 };
        assert_eq!((key, receipt.attempt()), (wanted, attempt));
        heir.ack(receipt).unwrap();
    }
}

#[test]
fn refused_frame_comes_again_to_the_owner_of_its_key_and_becomes_a_dead_letter() {
    let scratch = Scratch::new("refused");
    let bus = scratch.bus();
    let group = bus.group("g").affinity(BY_KEY).max_attempts(2).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let (mut one, mut two) = (group.member().attach().unwrap(), group.member().attach().unwrap());
    until(&group, &mut [&mut one, &mut two], |owned| owned == [128, 128]);
    publish(&mut producer, 0..KEYS, 0);
    let mut handlers = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while group.stat().unwrap().backlog > 0 {
        assert!(Instant::now() < deadline);
        for (index, member) in [&mut one, &mut two].into_iter().enumerate() {
            if let Some((key, _, receipt)) = next(member, Duration::ZERO) {
                assert_eq!(*handlers.entry(key).or_insert(index), index);
                member.nack(receipt, Duration::ZERO).unwrap();
            }
        }
    }
    let stat = group.stat().unwrap();
    assert_eq!((stat.refused, stat.dead_letters), (2 * KEYS, KEYS));
}

#[test]
fn at_most_once_group_has_affinity_as_well() {
    let scratch = Scratch::new("most");
    let bus = scratch.bus();
    let group = bus.group("g").affinity(BY_KEY).delivery(Delivery::AtMostOnce).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let (mut one, mut two) = (group.member().attach().unwrap(), group.member().attach().unwrap());
    until(&group, &mut [&mut one, &mut two], |owned| owned == [128, 128]);
    publish(&mut producer, 0..KEYS, 0);
    publish(&mut producer, 0..KEYS, 1);
    let mut seen = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while group.stat().unwrap().backlog > 0 {
        assert!(Instant::now() < deadline);
        for (index, member) in [&mut one, &mut two].into_iter().enumerate() {
            if let Some((key, number, _)) = next(member, Duration::ZERO) {
                seen.entry(key).or_insert_with(Vec::new).push((index, number));
            }
        }
    }
    for (key, seen) in seen {
        assert_eq!(seen, [(seen[0].0, 0), (seen[0].0, 1)], "key {key}");
    }
}

#[test]
fn payload_that_ends_before_its_key_has_the_key_that_is_there() {
    let scratch = Scratch::new("short");
    let bus = scratch.bus();
    let affinity = Affinity::Payload { offset: 3, len: 8 };
    let group = bus.group("g").affinity(affinity).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let payloads: [&[u8]; 6] =
        [b"", b"ab", b"abcd", b"abckeykey", b"abckeykeyke and", b"xyzkeykeyke or"];
    for payload in payloads {
        producer.publish_bytes(1, payload).unwrap();
    }
    let mut member = group.member().attach().unwrap();
    let shares: Vec<u8> = (0..6).map(|at| member.engine_share_at(0, at)).collect();
    let wanted: [&[u8]; 6] = [b"", b"", b"d", b"keykey", b"keykeyke", b"keykeyke"];
    assert_eq!(shares, wanted.map(crate::layout::share::share_of));
    for _ in payloads {
        let receipt = member.receive(PATIENCE).unwrap().unwrap().receipt();
        member.ack(receipt).unwrap();
    }
}

#[test]
fn key_that_frames_do_not_have_is_refused() {
    let scratch = Scratch::new("refuse");
    let bus = scratch.bus();
    let code = |affinity| bus.group("g").affinity(affinity).create().unwrap_err().code();
    for (offset, len) in [(0, 0), (0, 17), (16, 1), (u32::MAX, 8)] {
        assert_eq!(code(Affinity::Payload { offset, len }), "bad_option");
    }
    bus.group("g").affinity(Affinity::Payload { offset: 8, len: 8 }).create().unwrap();
    let other = bus.group("g").affinity(Affinity::Lane).if_not_exists(true).create();
    assert!(other.unwrap_err().to_string().contains("affinity is payload:8:8"), "it differs");

    let scratch = Scratch::new("bare");
    let options = Bus::options().frames(FrameLayout::Bare).payload_bytes(8);
    let bus = options.create(&scratch.0).unwrap();
    let error = bus.group("g").affinity(Affinity::Kind).create().unwrap_err();
    assert!(error.to_string().contains("bare"), "{error}");
    let group = bus.group("g").affinity(BY_KEY).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, &7_u64.to_le_bytes()).unwrap();
    let mut member = group.member().attach().unwrap();
    let receipt = member.receive(PATIENCE).unwrap().unwrap().receipt();
    member.ack(receipt).unwrap();
}

#[test]
fn scribbled_owners_are_nobody() {
    let scratch = Scratch::new("scribble");
    let bus = scratch.bus();
    let group = bus.group("g").affinity(BY_KEY).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut member = group.member().attach().unwrap();
    until(&group, &mut [&mut member], |owned| owned == [256]);
    for pattern in [u64::MAX, 0, 1, 64, 0x5555_5555_5555_5555] {
        for share in 0..=u8::MAX {
            member.engine_scribble_owner(share, pattern);
        }
        publish(&mut producer, 0..KEYS, 0);
        until(&group, &mut [&mut member], |owned| owned == [256]);
        until(&group, &mut [&mut member], |_| group.stat().unwrap().backlog == 0);
    }
}
