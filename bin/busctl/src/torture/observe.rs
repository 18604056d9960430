//! An observer: takes no seat, reads the lanes, and checks what it reads. It may lose frames on any
//! bus, and must count them.

use super::board::{Phase, Stage};
use super::reading::Reading;
use super::worker::{Worker, failed};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{Observer, PollError, Start};
use std::time::Duration;

/// Looks for frames before the phase is looked at.
const LOOKS: u32 = 64;

/// How long it waits for a frame, and at the end for one more.
const PATIENCE: Duration = Duration::from_millis(2);

/// Reads until it is told to leave.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    let start = if worker.random.percent(50) { Start::Oldest } else { Start::Latest };
    let mut observer = bus.observer().start(start).attach().map_err(failed("observing"))?;
    let mut reading = Reading::new(&bus, false);
    for lane in 0..bus.info().lanes {
        reading.ledger.join(worker.board(), lane, bus.info().origin, None);
    }
    worker.life().enter(Stage::Working);
    loop {
        let phase = worker.board().phase();
        if phase != Phase::Drain && worker.has_to_leave(monotonic_ns()) {
            worker.note_hits();
            return Ok(());
        }
        let mut found = false;
        for _ in 0..LOOKS {
            found |= look(worker, &mut observer, &mut reading)?;
        }
        if !found && phase == Phase::Drain && observer.lag() == 0 {
            break;
        }
        worker.note_hits();
        std::thread::sleep(Duration::from_micros(worker.random.any_size(1_000)));
    }
    for lane in bus.stat().lanes {
        reading.ledger.end(lane.lane, lane.position, observer.lane_lost(lane.lane));
    }
    reading.report(worker)
}

/// Looks for frames once. Returns whether there were any.
fn look(
    worker: &mut Worker,
    observer: &mut Observer,
    reading: &mut Reading,
) -> Result<bool, Failure> {
    let mut booked = None;
    let result = if worker.random.percent(80) {
        let max = usize::try_from(worker.random.any_size(512)).unwrap_or(1);
        observer.poll_batch(max, |frames| booked = reading.book(worker, frames)).map(drop)
    } else {
        let frame = observer.recv_timeout(PATIENCE);
        frame.map(|frame| booked = reading.book(worker, frame.into_iter()))
    };
    match result {
        Ok(()) => {}
        Err(PollError::Removed) => return Ok(false),
        Err(error) => return Err(failed("observing")(error.into())),
    }
    let Some(booked) = booked else {
        return Ok(false);
    };
    let (lane_lost, lost) = (observer.lane_lost(booked.lane), observer.lost());
    reading.settle(worker, booked.lane, lane_lost, lost)?;
    Ok(true)
}
