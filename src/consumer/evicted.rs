//! A consumer that lost its place: how it finds out, and what it says.
//!
//! On a bus that evicts, producers go on whenever they have decided to, so a frame is copied and the
//! copy checked (`lane::lossy`); one that may not be whole was taken from this consumer, if it was
//! evicted. If it was not, it is whole: only an announcement was in its way. On any other bus
//! the consumer reads in place, is only asked to leave, and gates until it has read the word.

use super::engine::Engine;
use crate::error::PollError;
use crate::run;
use crate::seat::recovery;
use crate::sync::{Ordering, fence};

impl Engine {
    /// What looks impossible to a consumer that was evicted meanwhile is what it lost.
    #[cold]
    pub(super) fn explain(&mut self, error: PollError) -> PollError {
        // ORDERING: acquire fence, pairs with the SeqCst fence in `LaneWriter::renew`: a ticket beside
        // a slot is loaded relaxed, and whoever stored a later one over it had seen the eviction
        // before that fence. So does the look below.
        fence(Ordering::Acquire);
        if self.seat.is_evicted() {
            return self.leave_evicted();
        }
        if matches!(error, PollError::Corrupt { .. }) {
            self.regions.note_corruption();
        }
        error
    }

    /// Stops to gate, if it still did, and says how many frames that cost.
    #[cold]
    pub(super) fn leave_evicted(&mut self) -> PollError {
        if let Some(lost) = self.evicted {
            return PollError::Evicted { lost };
        }
        let mut total = self.torn;
        for index in 0..self.lanes.len() {
            let lost = self.lane_lag(u32::try_from(index).unwrap_or(u32::MAX));
            self.count_lost(index, lost);
            total = total.saturating_add(lost);
        }
        // Nothing is borrowed and nothing will be read: only now may a producer overwrite what a
        // consumer reads in place.
        recovery::clear_consumer(&self.regions, self.seat.index);
        self.wake_all();
        self.evicted = Some(total);
        PollError::Evicted { lost: total }
    }

    /// Starts a run of `count` frames that this consumer gates, unless it was evicted, by copying
    /// them.
    pub(super) fn copy_gated(&mut self, index: usize, count: u64) -> Result<bool, PollError> {
        let Some(lane) = self.lanes.get_mut(index) else {
            return Ok(false);
        };
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let (reader, buffer) = (&mut lane.reader, &mut self.buffer);
        let position = reader.position();
        let (run, torn) = run::copy_known(number, reader, &lane.data, self.capacity, count, buffer);
        if torn > 0 {
            // A producer that announced, and only then found this consumer joining, does not write
            // what it announced. Whoever overwrote a word copied above had seen the eviction before
            // its SeqCst fence in `LaneWriter::renew`; with the acquire fence of the check, this
            // look sees it too.
            if !self.seat.is_evicted() {
                reader.jump(position);
                let run = run::buffered(number, position, 0, count, &lane.data, &self.buffer);
                self.run = run.unwrap_or_default();
                return Ok(run.is_some());
            }
            self.count_torn(index, torn);
            return Err(PollError::Corrupt { lane: number });
        }
        if let Some(run) = run {
            self.run = run;
        }
        Ok(run.is_some())
    }

    /// The reader has moved past frames that were overwritten: they are part of the loss.
    #[cold]
    fn count_torn(&mut self, index: usize, torn: u64) {
        self.count_lost(index, torn);
        self.torn = self.torn.saturating_add(torn);
    }
}
