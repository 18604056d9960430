//! What consumers and observers have in common: their books, and what they say on the board.

use super::frame::Mark;
use super::ledger::Ledger;
use super::worker::Worker;
use crate::exit::Failure;
use busway_crashable::{Bus, FrameRef};
use std::sync::atomic::Ordering;

/// The books of a reader in the making.
pub struct Reading {
    pub ledger: Ledger,
    read: u64,
}

/// A run of frames as it was booked.
#[derive(Clone, Copy, Debug)]
pub struct Booked {
    pub lane: u32,
    /// The last frame, if it was one.
    pub last: Option<Mark>,
}

impl Reading {
    /// Nothing read yet.
    pub fn new(bus: &Bus, lossless: bool) -> Self {
        Self { ledger: Ledger::new(bus.info().lanes, lossless), read: 0 }
    }

    /// Books frames of one lane. `None` if there are none.
    pub fn book<'a>(
        &mut self,
        worker: &Worker,
        frames: impl Iterator<Item = FrameRef<'a>>,
    ) -> Option<Booked> {
        let mut booked = None;
        for frame in frames {
            let (lane, position) = (frame.lane(), frame.position());
            let last = self.ledger.note(worker.board(), lane, position, frame.payload());
            self.read += 1;
            booked = Some(Booked { lane, last });
        }
        // ORDERING: relaxed; a count with one writer.
        worker.life().read.store(self.read, Ordering::Relaxed);
        booked
    }

    /// Notes what the reader counts as lost, and reports what was found.
    pub fn settle(
        &mut self,
        worker: &mut Worker,
        lane: u32,
        lane_lost: u64,
        lost: u64,
    ) -> Result<(), Failure> {
        self.ledger.settle(lane, lane_lost);
        // ORDERING: relaxed; a count with one writer.
        worker.life().lost.store(lost, Ordering::Relaxed);
        self.report(worker)
    }

    /// Reports what was found. Of what one run has broken, the first is the cause.
    pub fn report(&mut self, worker: &mut Worker) -> Result<(), Failure> {
        match self.ledger.take_faults().into_iter().next() {
            Some((violation, what)) => worker.report(violation, &what),
            None => Ok(()),
        }
    }
}
