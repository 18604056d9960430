//! An observer process.

use std::time::Instant;

use busway::{Bus, PollError, Start};

use super::say;
use crate::support::PATIENCE;
use crate::support::ledger::{Expect, Ledger};
use crate::support::role::{Note, Observe};

pub fn run(role: &Observe) {
    let bus = Bus::open(&role.bus).expect("the bus");
    let mut observer = bus.observer().start(Start::Oldest).attach().expect("read permission");
    say(&Note::Ready { seat: 0 });
    let mut ledger = Ledger::new(Expect { lossless: false, ..Expect::of(&bus) });
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        let (read, lost) = (observer.read(), observer.lost());
        match observer.poll_batch(7, |frames| frames.for_each(|frame| ledger.note(frame))) {
            Ok(0) if read + lost >= role.frames => break "all",
            Ok(0) if Instant::now() > deadline => break "silence",
            // As long as nothing is lost, no batch can have lost its end.
            Ok(0) => {
                if observer.lost() == 0 {
                    ledger.idle();
                }
                std::thread::yield_now();
            }
            Ok(_) => {}
            Err(PollError::Removed) => break "removed",
            Err(error) => break error.code(),
        }
    };
    let lanes = bus.info().lanes;
    if ledger.read() != observer.read() {
        ledger.fault(format!("{} read, {} counted", ledger.read(), observer.read()));
    }
    let mut report = ledger.report(lanes, observer.lost(), |lane| observer.lane_lost(lane));
    ended.clone_into(&mut report.ended);
    say(&Note::Read(report));
}
