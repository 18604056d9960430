//! A consumer process.

use std::time::Duration;

use busway::{Bus, Consumer, PollError};

use super::say;
use crate::support::PATIENCE;
use crate::support::ledger::{Expect, Ledger};
use crate::support::role::{Consume, Note, Report};

pub fn run(role: &Consume) {
    let bus = Bus::open(&role.bus).expect("the bus");
    let mut consumer = bus.consumer().name("reader").wait(role.wait).attach().expect("a seat");
    say(&Note::Ready { seat: consumer.seat() });
    let report = read_all(&bus, &mut consumer, role);
    say(&Note::Read(report));
}

/// Reads until polling ends in an error.
fn read_all(bus: &Bus, consumer: &mut Consumer, role: &Consume) -> Report {
    let expect = Expect::of(bus);
    let mut ledger = Ledger::new(expect);
    let ended = loop {
        match step(consumer, &mut ledger, role, expect.lossless) {
            Ok(true) => {}
            Ok(false) => break "silence",
            Err(error) => break error.code(),
        }
    };
    if ledger.read() != consumer.read() {
        ledger.fault(format!("{} read, {} counted", ledger.read(), consumer.read()));
    }
    let lanes = bus.info().lanes;
    let lost = (0..lanes).map(|lane| consumer.lane_lost(lane)).sum::<u64>();
    if lost != consumer.lost() {
        ledger.fault(format!("lanes lost {lost}, all lost {}", consumer.lost()));
    }
    let mut report = ledger.report(lanes, consumer.lost(), |lane| consumer.lane_lost(lane));
    ended.clone_into(&mut report.ended);
    report
}

/// Reads what there is, then waits for more. `false`: there was none for too long.
fn step(
    consumer: &mut Consumer,
    ledger: &mut Ledger,
    role: &Consume,
    lossless: bool,
) -> Result<bool, PollError> {
    loop {
        let before = ledger.read();
        if role.batch > 1 {
            consumer.poll_batch(role.batch, |frames| {
                frames.for_each(|frame| ledger.note(frame));
            })?;
        } else if let Some(frame) = consumer.poll()? {
            ledger.note(frame);
        }
        if ledger.read() == before {
            break;
        }
        let naps = |frames: u64| frames.checked_div(role.nap_every).unwrap_or(0);
        if naps(before) != naps(ledger.read()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    if lossless {
        ledger.idle();
    }
    match consumer.recv_timeout(PATIENCE)? {
        Some(frame) => ledger.note(frame),
        None => return Ok(false),
    }
    Ok(true)
}
