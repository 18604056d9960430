//! Committing a run with a ticket, on an `ordered` bus.

use super::engine::{Engine, Room};
use crate::crash::crash_point;
use crate::error::PublishError;
use crate::options::{OnFull, Wait};
use crate::order;
use crate::order::writer::NotCommitted;
use crate::park::{Step, Waiting};
use crate::sync::Ordering;

impl Engine {
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
    #[inline]
    fn try_commit_in_order(&mut self, first: u64, count: u64) -> Result<(), NotCommitted> {
        let Some(order) = &mut self.order else {
            return Ok(());
        };
        let (words, tickets) = (self.lane.words(), &self.data.tickets);
        let mask = self.capacity - 1;
        // A consumer of a lossy bus may come back to a lane after any number of laps: the other
        // slots of the run must not show it tickets of an earlier one.
        let marked = if self.lossless { 1 } else { count };
        let record = |ticket: u64| {
            for step in 0..marked {
                let slot = usize::try_from(first.wrapping_add(step) & mask).unwrap_or(usize::MAX);
                // ORDERING: relaxed; published by the release CAS of the entry, which follows.
                if let Some(beside) = tickets.get(slot) {
                    let mark = if step == 0 { ticket } else { order::inside(ticket) };
                    beside.store(mark, Ordering::Relaxed);
                }
            }
            crash_point!(TicketMarked);
            words.ticket.store(ticket, Ordering::Relaxed);
            // ORDERING: release; whoever recovers this lane and sees the position sees the ticket.
            // Pairs as well with the acquire load in `locate_held` of a lossy consumer.
            words.ticket_at.store(first, Ordering::Release);
        };
        order.commit(count, record).map(drop)
    }
}
