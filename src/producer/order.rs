//! Committing a run with a ticket, on an `ordered` bus.

use super::engine::{Engine, Room};
use crate::crash::crash_point;
use crate::error::PublishError;
use crate::layout::words::LaneWords;
use crate::options::{OnFull, Wait};
use crate::order;
use crate::order::writer::NotCommitted;
use crate::park::{Step, Waiting};
use crate::regions::LaneData;
use crate::sync::Ordering;

impl Engine {
    /// Commits the frame at `position`, which is written, on a lossless bus. Most of the time the first
    /// ticket does it.
    #[allow(clippy::inline_always)] // a few instructions on each of the two ways that come here
    #[inline(always)]
    pub(super) fn enter(&mut self, position: u64, room: Room) -> Result<(), PublishError> {
        if let Some(order) = &mut self.order {
            let marks = Marks { lane: self.lane.words(), data: &self.data, first: position };
            if let Ok(Some(_)) = order.attempt(1, |ticket| marks.record(ticket)) {
                return Ok(());
            }
        }
        self.commit_in_order(position, 1, room)
    }

    /// Commits a run, as soon as the order ring has an entry for it.
    #[cold]
    #[inline(never)]
    pub(super) fn commit_in_order(
        &mut self,
        first: u64,
        count: u64,
        room: Room,
    ) -> Result<(), PublishError> {
        let mut waiting = None;
        loop {
            match self.try_commit_in_order(first, count) {
                Ok(()) => return Ok(()),
                Err(NotCommitted::Contested) => return Err(PublishError::Contested),
                Err(NotCommitted::Full) => {}
            }
            let timeout = match (room, self.on_full) {
                (Room::Within(timeout), _) => Some(timeout),
                (Room::ByPolicy, OnFull::Block) => self.timeout,
                _ => {
                    self.probe();
                    return Err(self.reject());
                }
            };
            // The order ring is as long as twice all lanes: this is a consumer that stands still
            // before a flood of tombs. Parking is not worth its code here.
            let waiting = waiting.get_or_insert_with(|| Waiting::new(Wait::Yielding, timeout));
            if waiting.step() == Step::Over {
                return Err(PublishError::TimedOut);
            }
            self.check_standing()?;
            // The lane has room for the run: it is the order ring that is looked at.
            self.wanted = 0;
            self.probe();
        }
    }

    /// Takes tickets until one of them commits the run.
    fn try_commit_in_order(&mut self, first: u64, count: u64) -> Result<(), NotCommitted> {
        let Some(order) = &mut self.order else {
            return Ok(());
        };
        let marks = Marks { lane: self.lane.words(), data: &self.data, first };
        // A consumer of a lossy bus may come back to a lane after any number of laps: the other
        // slots of the run must not show it tickets of an earlier one.
        let others = if self.lossless { 1..1 } else { 1..count };
        let record = |ticket: u64| {
            others.clone().for_each(|step| marks.beside(step, order::inside(ticket)));
            marks.record(ticket);
        };
        order.commit(count, record).map(drop)
    }
}

/// Where the ticket of a run is kept, for who joins and who recovers.
#[derive(Clone, Copy)]
struct Marks<'a> {
    lane: &'a LaneWords,
    data: &'a LaneData,
    first: u64,
}

impl Marks<'_> {
    /// Beside the run's first slot, and on the lane.
    #[inline]
    fn record(self, ticket: u64) {
        self.beside(0, ticket);
        crash_point!(TicketMarked);
        // ORDERING: relaxed; before the store of the position, which is release.
        self.lane.ticket.store(ticket, Ordering::Relaxed);
        // ORDERING: release; whoever recovers this lane and sees the position sees the ticket.
        // Pairs as well with the acquire load in `locate_held` of a lossy consumer.
        self.lane.ticket_at.store(self.first, Ordering::Release);
    }

    /// Beside a slot of the run.
    #[inline]
    fn beside(self, step: u64, ticket: u64) {
        if let Some(beside) = self.data.ticket(self.first.wrapping_add(step)) {
            // ORDERING: relaxed; published by the release CAS of the entry, which follows.
            beside.store(ticket, Ordering::Relaxed);
        }
    }
}
