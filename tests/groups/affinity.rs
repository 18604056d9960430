//! Members of a group with affinity that are killed and stopped at random, and what their journal says of
//! who had which key.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use busway::{Affinity, Bus, Group};
use rustix::process::{Pid, Signal, kill_process};

use crate::journal::{Leashed, PATIENCE, Scratch, open_journal};
use crate::keyed::{Hold, Record, What, holds, key_of, number_of, payload_of};
use crate::worker::refuses;

/// Of each producer; an eighth of them become dead letters.
const FRAMES: u64 = 3_000;
const WORKERS: usize = 4;

#[test]
fn keys_are_one_members_at_a_time_in_order_and_go_on_whoever_is_killed_or_stopped() {
    let scratch = Scratch::new("keyed");
    let group = torture(&scratch);
    let holds = holds(&scratch);
    let stat = group.stat().unwrap();
    check_nothing_is_lost(&holds, &group);
    check_hands(&holds);
    check_order(&holds);
    // The test would be worth nothing if nobody had lost a frame with its key.
    assert!(stat.died + stat.timed_out > 0, "{stat:?}");
}

fn check_nothing_is_lost(holds: &[Hold], group: &Group) {
    let begun: BTreeSet<u64> = holds.iter().map(|hold| hold.first.number).collect();
    let letters = group.dead_letters().unwrap().unwrap().list().unwrap();
    let dead: BTreeSet<u64> = letters.iter().map(|letter| number_of(&letter.payload)).collect();
    for number in (0..FRAMES).chain(1 << 32..(1 << 32) + FRAMES) {
        assert!(begun.contains(&number) || dead.contains(&number), "{number} is lost");
        assert!(!refuses(number) || dead.contains(&number), "{number} was refused each time");
    }
}

/// While a frame that its member settles in time is in its hands, no other has one of its key that it
/// settles in time: who was too late, or was killed, had lost its own.
fn check_hands(holds: &[Hold]) {
    let in_time = |hold: &&Hold| matches!(hold.end, Some(What::Acknowledged | What::Refused));
    let mut of_key: BTreeMap<u64, Vec<&Hold>> = BTreeMap::new();
    for hold in holds.iter().filter(in_time) {
        let others = of_key.entry(key_of(hold.first.number)).or_default();
        for other in others.iter().rev().take(256) {
            let apart = other.first.pid == hold.first.pid || other.ending < hold.begun;
            assert!(apart, "two have a key at a time: {other:?} {hold:?}");
        }
        others.push(hold);
    }
}

/// Frames that were settled in time at their first attempt were handed out in the order of key and lane.
fn check_order(holds: &[Hold]) {
    let mut last = BTreeMap::new();
    for hold in holds.iter().filter(|hold| hold.first.attempt == 1) {
        if matches!(hold.end, Some(What::Acknowledged | What::Refused)) {
            let number = hold.first.number;
            let before = last.insert((key_of(number), number >> 32), number);
            assert!(before < Some(number), "{number:#x} after {before:x?}");
        }
    }
}

/// Everything is published, and the group is done with it, although its workers stand still at the end.
fn torture(scratch: &Scratch) -> Group {
    let seed = u64::from(std::process::id()) << 20;
    println!("seed {seed}");
    let mut random = seed;
    let options = Bus::options().lanes(2).capacity_frames(256).payload_bytes(16).consumers(2);
    let bus = options.create(&scratch.name).unwrap();
    let affinity = Affinity::Payload { offset: 8, len: 8 };
    let group = bus.group("g").affinity(affinity).members(8).max_attempts(3);
    let group = group.processing_timeout(Duration::from_millis(30)).create().unwrap();
    let producers: Vec<_> = (0..2_u64)
        .map(|which| {
            let mut producer = bus.producer().attach().unwrap();
            std::thread::spawn(move || {
                for number in (which << 32)..(which << 32) + FRAMES {
                    producer.publish_bytes_timeout(0, &payload_of(number), PATIENCE).unwrap();
                    if number.is_multiple_of(16) {
                        std::thread::sleep(Duration::from_millis(8));
                    }
                }
            })
        })
        .collect();
    let spawn = || scratch.spawn("keyed - -");
    let mut workers: Vec<Leashed> = (0..WORKERS).map(|_| spawn()).collect();
    let deadline = Instant::now() + PATIENCE;
    while producers.iter().any(|producer| !producer.is_finished()) {
        assert!(Instant::now() < deadline, "seed {seed}: {:?}", group.stat());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 33 & 0x7fff));
        let which = usize::try_from(random >> 17).unwrap() % WORKERS;
        let pid = Pid::from_child(&workers[which].0);
        match random >> 60 & 3 {
            0 | 1 => {
                kill_process(pid, Signal::STOP).unwrap();
            }
            2 => {
                for worker in &workers {
                    kill_process(Pid::from_child(&worker.0), Signal::CONT).unwrap();
                }
            }
            _ => workers[which] = spawn(),
        }
    }
    for producer in producers {
        producer.join().unwrap();
    }
    for worker in &workers {
        kill_process(Pid::from_child(&worker.0), Signal::STOP).unwrap();
    }
    finish(&group, scratch);
    for worker in &workers {
        kill_process(Pid::from_child(&worker.0), Signal::CONT).unwrap();
    }
    // They go on, and do no harm: all they have in hand is somebody else's.
    bus.remove_group("g").unwrap();
    for worker in &mut workers {
        assert!(worker.0.wait().unwrap().success());
    }
    group
}

/// Works in this process until nothing is left to do.
fn finish(group: &Group, scratch: &Scratch) {
    let mut journal = open_journal(scratch.journal.to_str().unwrap());
    let mut member = group.member().attach().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while group.stat().unwrap().backlog > 0 {
        assert!(Instant::now() < deadline, "{:?}", group.stat());
        let Some(taken) = member.receive(Duration::from_millis(20)).unwrap() else {
            continue;
        };
        let number = number_of(taken.frame().payload());
        let receipt = taken.receipt();
        let (pid, attempt) = (std::process::id(), receipt.attempt());
        let mut note = |what| {
            let record = Record { number, pid, what, attempt };
            journal.write_all(&record.bytes()).unwrap();
        };
        note(What::Begun);
        note(What::Ending);
        let settled = if refuses(number) {
            member.nack(receipt, Duration::ZERO).map(|()| What::Refused)
        } else {
            member.ack(receipt).map(|()| What::Acknowledged)
        };
        note(settled.unwrap_or(What::Late));
    }
}
