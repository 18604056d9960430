//! What a member says of its frames: done, or not to be dealt with; and counting that.

use std::time::Duration;

use super::engine::Engine;
use super::member::Receipt;
use super::roster;
use crate::error::{AckError, PollError};
use crate::layout::claim::{AHEAD_MAX_MS, Why, millis};
use crate::options::Delivery;
use crate::shm::alarm;
use crate::sync::{Ordering, clock};

impl Engine {
    /// Acknowledges a frame.
    #[inline]
    pub(super) fn ack(&mut self, receipt: Receipt) -> Result<(), AckError> {
        if alarm::is_raised() {
            self.check_ack()?;
        }
        if self.header.delivery == Delivery::AtMostOnce {
            return Ok(());
        }
        let Receipt { lane, position, claim } = receipt;
        let index = usize::try_from(lane).unwrap_or(usize::MAX);
        let finished =
            self.lanes.get(index).is_some_and(|lane| lane.group.claims.finish(position, claim));
        self.end_one(index, finished);
        if !finished {
            return Err(AckError::TakenBack);
        }
        self.acknowledged = self.acknowledged.wrapping_add(1);
        self.note_counts();
        Ok(())
    }

    /// Refuses a frame.
    pub(super) fn nack(&mut self, receipt: Receipt, delay: Duration) -> Result<(), AckError> {
        self.check_ack()?;
        if self.header.delivery == Delivery::AtMostOnce {
            return Err(AckError::Settled);
        }
        let Receipt { lane, position, claim } = receipt;
        let index = usize::try_from(lane).unwrap_or(usize::MAX);
        let delay_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX).min(AHEAD_MAX_MS);
        let due_ms = millis(clock::monotonic_ns()).wrapping_add(delay_ms);
        let ended = self
            .lanes
            .get(index)
            .is_some_and(|lane| lane.group.claims.take_back(position, claim, Why::Refused, due_ms));
        self.end_one(index, ended);
        if !ended {
            return Err(AckError::TakenBack);
        }
        roster::count(&self.group.words.refused, 1);
        if delay_ms == 0 {
            self.sweep.hurry();
            self.wake_members();
        }
        Ok(())
    }

    fn check_ack(&self) -> Result<(), AckError> {
        self.check_memory().map_err(|error| match error {
            PollError::Forked => AckError::Forked,
            _ => AckError::Truncated,
        })
    }

    /// Books the end of a claim, as it was wished for or not.
    #[inline]
    pub(super) fn end_one(&mut self, index: usize, as_wished: bool) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if !as_wished {
            self.too_late = self.too_late.wrapping_add(1);
            self.note_counts();
        } else if self.outstanding == 0 {
            // It may be long until the next call. What is wrong with the lane, that one says.
            let _window = self.settle(index);
        }
    }

    #[inline]
    pub(super) fn note_counts(&self) {
        let [claimed, acknowledged, too_late] = self.before;
        // ORDERING: relaxed for all; statistics with one writer.
        self.member.claimed.store(claimed.wrapping_add(self.claimed), Ordering::Relaxed);
        let now = acknowledged.wrapping_add(self.acknowledged);
        self.member.acknowledged.store(now, Ordering::Relaxed);
        self.member.too_late.store(too_late.wrapping_add(self.too_late), Ordering::Relaxed);
    }
}
