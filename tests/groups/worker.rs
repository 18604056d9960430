//! The processes that die or stop: they run the library that has crash points.

use std::io::Write;
use std::time::Duration;

use busway_crashable::{Bus, CrashAction, CrashPoint, Delivery, PollError, arm};

use crate::journal::{ROLE, open_journal};
use crate::keyed;

/// Runs the role in the environment and ends the process; returns where there is none.
pub fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.split(' ').collect();
    let [bus, journal, task, point, action] = words[..] else {
        panic!("a role of five words: {role}");
    };
    if point != "-" {
        let action = if action == "stop" { CrashAction::Stop } else { CrashAction::Die };
        arm(point.parse::<CrashPoint>().unwrap(), 1, action);
    }
    match task {
        "make" => make(bus),
        "keyed" => keyed::work(bus, journal),
        "part" => work(bus, journal, 20),
        _ => work(bus, journal, u64::MAX),
    }
    std::process::exit(0);
}

/// Odd frames are refused, each time.
pub fn refuses(number: u64) -> bool {
    number % 8 == 5
}

/// Works until the group is removed, or it has been handed so many frames, and leaves.
fn work(bus: &str, journal: &str, most: u64) {
    let mut journal = open_journal(journal);
    let group = Bus::open(bus).unwrap().open_group("g").unwrap();
    let once = group.info().delivery == Delivery::AtMostOnce;
    let mut member = group.member().name("worker").attach().unwrap();
    let mut handed = 0;
    while handed < most {
        let taken = match member.receive(Duration::from_millis(5)) {
            Ok(Some(taken)) => taken,
            Ok(None) => continue,
            Err(PollError::Removed) => return,
            Err(error) => panic!("{error}"),
        };
        handed += 1;
        let number = u64::from_le_bytes(taken.frame().payload().try_into().unwrap());
        let receipt = taken.receipt();
        if !once && refuses(number) {
            let _refused = member.nack(receipt, Duration::ZERO);
            continue;
        }
        journal.write_all(&number.to_le_bytes()).unwrap();
        // Too late is no failure here: whoever has it notes it as well.
        let _acknowledged = member.ack(receipt);
    }
}

/// Makes a group and removes it.
fn make(bus: &str) {
    let bus = Bus::open(bus).unwrap();
    bus.group("h").if_not_exists(true).create().unwrap();
    bus.remove_group("h").unwrap();
}
