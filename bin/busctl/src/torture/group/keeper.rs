//! A keeper: makes a second group of the bus, works for it, resets it and removes it, all the time,
//! while another keeper does the same to the same group. Producers wait for that group as for any, so
//! what a keeper leaves half done when it dies shows in them.

use super::super::board::Stage;
use super::super::frame;
use super::super::plan::Sabotage;
use super::super::violation::Violation;
use super::super::worker::{Worker, failed};
use super::member::turn;
use super::{ABANDONED, SIDE};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{AckError, Bus, Error, Group, PollError, Start};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Frames that it takes at a time, at most.
const FRAMES_MAX: u64 = 4_000;

/// What others of its kind do to the group meanwhile, and being told to leave.
const EXPECTED: &[&str] =
    &["no_group", "group_unfinished", "group_busy", "group_in_use", "evicted", "removed"];

/// Makes and removes until it is told to leave.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    worker.life().enter(Stage::Working);
    while !worker.is_over(monotonic_ns()) {
        turn(worker);
        let done = keep(worker, &bus)?;
        unless_expected(done, "keeping a group")?;
        // ORDERING: relaxed; a count.
        worker.life().deeds.fetch_add(1, Ordering::Relaxed);
        worker.note_hits();
        std::thread::sleep(Duration::from_micros(worker.random.any_size(5_000)));
    }
    if worker.sabotages(Sabotage::Abandon) {
        bus.group(ABANDONED).max_attempts(0).create().map_err(failed("abandoning a group"))?;
    }
    Ok(())
}

/// Makes the group unless it is there, works for it, and mostly removes it.
fn keep(worker: &mut Worker, bus: &Bus) -> Result<Result<(), Error>, Failure> {
    let start = if worker.random.percent(50) { Start::Oldest } else { Start::Latest };
    let group = match bus.group(SIDE).max_attempts(0).start(start).if_not_exists(true).create() {
        Ok(group) => group,
        // It is there, and starts elsewhere.
        Err(error) if error.code() == "group_differs" => return Ok(bus.remove_group(SIDE)),
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = work(worker, &group)? {
        return Ok(Err(error));
    }
    if worker.random.percent(40)
        && let Err(error) = group.reset(start)
    {
        return Ok(Err(error));
    }
    Ok(if worker.random.percent(70) { bus.remove_group(SIDE) } else { Ok(()) })
}

/// Takes frames of the group, and leaves with some in hand.
fn work(worker: &mut Worker, group: &Group) -> Result<Result<(), Error>, Failure> {
    let mut member = match group.member().name(worker.name()).attach() {
        Ok(member) => member,
        Err(error) => return Ok(Err(error)),
    };
    for _ in 0..worker.random.any_size(FRAMES_MAX) {
        let taken = match member.poll() {
            Ok(Some(taken)) => taken,
            Ok(None) => break,
            Err(PollError::Removed) => return Ok(Ok(())),
            Err(error) => return Err(failed("taking a frame of a second group")(error.into())),
        };
        let (receipt, torn) = (taken.receipt(), frame::check(taken.frame().payload()).err());
        if let Some(torn) = torn {
            worker.report(Violation::Torn, &format!("in a second group: {torn:?}"))?;
        }
        match member.ack(receipt) {
            Ok(()) | Err(AckError::TakenBack) => {}
            Err(error) => return Err(failed("acknowledging")(error.into())),
        }
    }
    Ok(Ok(()))
}

fn unless_expected(done: Result<(), Error>, what: &'static str) -> Result<(), Failure> {
    match done {
        Err(error) if !EXPECTED.contains(&error.code()) => Err(failed(what)(error)),
        _ => Ok(()),
    }
}
