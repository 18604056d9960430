//! Members that are killed and stopped at random while two producers publish as fast as they may.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use busway::{Bus, Delivery, Group};
use rustix::process::{Pid, Signal, kill_process};

use crate::journal::{Leashed, PATIENCE, Scratch, finish, letters};
use crate::worker::refuses;

/// Of each producer; an eighth of them become dead letters, for which there has to be room.
const FRAMES: u64 = 3_000;
const WORKERS: usize = 3;

#[test]
fn at_least_once_loses_nothing_whoever_is_killed_or_stopped() {
    let scratch = Scratch::new("least");
    let group = torture(&scratch, Delivery::AtLeastOnce);
    let (seen, dead) = (scratch.read(), letters(&group));
    let dead: BTreeSet<u64> = dead.into_iter().collect();
    for number in (0..FRAMES).chain(1 << 32..(1 << 32) + FRAMES) {
        assert!(seen.contains_key(&number) || dead.contains(&number), "{number} is lost");
        assert!(!refuses(number) || dead.contains(&number), "{number} was refused each time");
        assert!(!refuses(number) || !seen.contains_key(&number), "and noted by nobody");
    }
    let stat = group.stat().unwrap();
    let settled = stat.acknowledged + stat.dead_letters;
    // Who dies between an acknowledgement and its count leaves that out; between a letter's count and its
    // frame's end, the letter is counted twice.
    assert!(settled.abs_diff(2 * FRAMES) <= 200, "{stat:?}");
}

#[test]
fn at_most_once_doubles_nothing_whoever_is_killed_or_stopped() {
    let scratch = Scratch::new("most");
    let group = torture(&scratch, Delivery::AtMostOnce);
    let seen = scratch.read();
    let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    // Each that was killed may have lost the one frame that it had in hand.
    let lost = 2 * FRAMES - seen.len() as u64;
    assert!(lost <= 200, "{lost} are lost");
    assert_eq!(group.stat().unwrap().backlog, 0);
}

/// Everything is published, and the group is done with it, however many workers that took.
fn torture(scratch: &Scratch, delivery: Delivery) -> Group {
    let seed = u64::from(std::process::id()) << 20;
    println!("seed {seed}");
    let mut random = seed;
    let options = Bus::options().lanes(2).capacity_frames(256).payload_bytes(8).consumers(2);
    let bus = options.create(&scratch.name).unwrap();
    let timeout = Duration::from_millis(200);
    let group = bus.group("g").delivery(delivery).processing_timeout(timeout).members(8);
    let group = group.max_attempts(3).create().unwrap();
    let producers: Vec<_> = (0..2_u64)
        .map(|which| {
            let mut producer = bus.producer().attach().unwrap();
            std::thread::spawn(move || {
                for number in (which << 32)..(which << 32) + FRAMES {
                    producer.publish_bytes_timeout(0, &number.to_le_bytes(), PATIENCE).unwrap();
                }
            })
        })
        .collect();
    let spawn = || scratch.spawn("work - -");
    let mut workers: Vec<Leashed> = (0..WORKERS).map(|_| spawn()).collect();
    let deadline = Instant::now() + PATIENCE;
    while producers.iter().any(|producer| !producer.is_finished()) {
        assert!(Instant::now() < deadline, "seed {seed}: {:?}", group.stat());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_micros(random >> 33 & 0xffff));
        let which = usize::try_from(random >> 17).unwrap() % WORKERS;
        let pid = Pid::from_child(&workers[which].0);
        match random >> 60 & 3 {
            0 => {
                kill_process(pid, Signal::STOP).unwrap();
            }
            1 => {
                kill_process(pid, Signal::CONT).unwrap();
            }
            _ => workers[which] = spawn(),
        }
    }
    for producer in producers {
        producer.join().unwrap();
    }
    drop(workers);
    let mut member = group.member().attach().unwrap();
    finish(
        &group,
        &mut member,
        scratch,
        if delivery == Delivery::AtMostOnce { |_| false } else { refuses },
    );
    drop(member);
    group
}
