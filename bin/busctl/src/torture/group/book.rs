//! What who takes frames of a group looks at, and what is noted of each.

use super::super::board::Board;
use super::super::frame::{self, Mark};
use super::super::ledger::is_before;
use super::super::violation::Violation;
use super::super::worker::Worker;
use super::journal::{Entry, Mapping};
use crate::exit::Failure;
use busway_crashable::Bus;
use std::sync::atomic::Ordering;

/// Something that should not be.
pub type Fault = (Violation, String);

/// The journal of a play, as a worker writes it.
pub struct Book {
    journal: Mapping,
    origin: u64,
}

impl Book {
    /// Opens it.
    pub fn open(worker: &Worker, bus: &Bus) -> Result<Self, Failure> {
        let number = worker.plan.journal.ok_or_else(|| Failure::usage("a plan with no journal"))?;
        Ok(Self { journal: Mapping::open(number)?, origin: bus.info().origin })
    }

    /// The entry of a frame.
    pub fn entry(&self, lane: u32, position: u64) -> Result<&Entry, Fault> {
        let index = position.wrapping_sub(self.origin);
        let unknown = || format!("lane {lane}: there is no position {position}");
        self.journal.entry(lane, index).ok_or_else(|| (Violation::Torn, unknown()))
    }
}

/// Checks a frame: every byte, and that this is the position that its producer gave it.
pub fn check(board: &Board, lane: u32, position: u64, payload: &[u8]) -> Result<Mark, Fault> {
    let mark = frame::check(payload).map_err(|torn| {
        (Violation::Torn, format!("lane {lane}, position {position}: nobody wrote {torn:?}"))
    })?;
    let life = board.life(mark.life);
    // ORDERING: acquire, pairs with the release store in `produce`; whoever sees a frame sees that it
    // was begun.
    let started = life.started.load(Ordering::Acquire);
    // ORDERING: relaxed; stored when the process was started.
    if life.id.load(Ordering::Relaxed) != mark.life || life.seat() != Some(lane) {
        let what = format!("lane {lane}, position {position}: {mark:?} is not of this lane");
        return Err((Violation::Torn, what));
    }
    // ORDERING: relaxed; published with the seat.
    let right = life.start.load(Ordering::Relaxed).wrapping_add(mark.sequence);
    let what = || format!("lane {lane}, position {position}: {mark:?}, begun to {started}");
    if mark.sequence >= started {
        return Err((Violation::UncommittedSeen, what()));
    }
    match position {
        position if position == right => Ok(mark),
        position if is_before(position, right) => Err((Violation::Lost, what())),
        _ => Err((Violation::Doubled, what())),
    }
}
