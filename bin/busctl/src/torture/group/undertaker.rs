//! An undertaker: takes the group's dead letters, as a member of the group that holds them, and looks
//! whether each is the frame that it says.

use super::super::board::{Phase, Stage};
use super::super::plan::Sabotage;
use super::super::violation::Violation;
use super::super::worker::{Worker, failed};
use super::book::{Book, Fault, check};
use super::member::{attach, turn};
use super::{GROUP, HOLDER};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{AckError, Bus, DeadLetter, GroupInfo};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long it waits for a letter.
const PATIENCE: Duration = Duration::from_millis(2);

/// Takes letters until there is nobody who sends any.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    let group = bus.open_group(GROUP).map_err(failed("opening the group"))?;
    let Some(name) = group.info().dead_letter_bus.clone() else {
        return Err(Failure::usage("an undertaker for a group that has no letters"));
    };
    let letters = Bus::open(&name).map_err(failed("opening the bus of letters"))?;
    let holder = letters.open_group(HOLDER).map_err(failed("opening the group of letters"))?;
    let book = Book::open(worker, &bus)?;
    let Some(mut member) = attach(worker, &holder)? else {
        return Ok(());
    };
    worker.life().enter(Stage::Working);
    loop {
        turn(worker);
        let phase = worker.board().phase();
        if phase < Phase::Drain && worker.has_to_leave(monotonic_ns()) {
            break;
        }
        let taken = member.receive(PATIENCE);
        let taken = taken.map_err(|error| failed("taking a letter")(error.into()))?;
        let Some(taken) = taken else {
            let stat = holder.stat().map_err(failed("looking at the letters"))?;
            if phase == Phase::Close && stat.backlog == 0 {
                break;
            }
            continue;
        };
        let receipt = taken.receipt();
        let letter = DeadLetter::from_payload(taken.frame().payload());
        if phase < Phase::Drain && worker.random.percent(10) {
            refuse(&mut member, receipt)?;
            continue;
        }
        if !worker.sabotages(Sabotage::Burn)
            && let Err((violation, what)) = bury(worker, &book, group.info(), letter)
        {
            worker.report(violation, &what)?;
        }
        // ORDERING: relaxed; a count.
        worker.life().deeds.fetch_add(1, Ordering::Relaxed);
        match member.ack(receipt) {
            Ok(()) | Err(AckError::TakenBack) => {}
            Err(error) => return Err(failed("acknowledging a letter")(error.into())),
        }
    }
    worker.note_hits();
    Ok(())
}

fn refuse(
    member: &mut busway_crashable::GroupMember,
    receipt: busway_crashable::Receipt,
) -> Result<(), Failure> {
    match member.nack(receipt, Duration::ZERO) {
        Ok(()) | Err(AckError::TakenBack) => Ok(()),
        Err(error) => Err(failed("refusing a letter")(error.into())),
    }
}

/// Notes a letter, and checks it.
fn bury(
    worker: &Worker,
    book: &Book,
    group: &GroupInfo,
    letter: Option<DeadLetter>,
) -> Result<(), Fault> {
    let Some(letter) = letter else {
        return Err((Violation::Torn, String::from("a dead letter that is none")));
    };
    let counts = book.entry(letter.lane, letter.position)?.letter();
    let mark = check(worker.board(), letter.lane, letter.position, &letter.payload)?;
    let attempts = Some(letter.attempts);
    if letter.bus != group.bus || letter.group != group.name || attempts != group.max_attempts {
        let what = format!("{mark:?}, {counts:?}: {} after {attempts:?}", letter.group);
        return Err((Violation::Torn, format!("a dead letter of {}: {what}", letter.bus)));
    }
    Ok(())
}
