//! A member that is waited for together with others, or in a task.
//!
//! A look claims what it finds, as a poll does: only a claim says that the frame is this member's, and
//! that the poll after it returns something. What is claimed stays in the run until it is handed out;
//! nothing of it is settled before, also on an at-most-once group, and a member that is dropped gives it
//! back. So no frame is lost by a look that no poll follows, only late.

use std::time::{Duration, Instant};

use super::engine::Engine;
use super::member::GroupMember;
use super::wait::PROBE;
use crate::error::PollError;
use crate::options::Delivery;
use crate::park::{Bed, PARK};
use crate::shm::alarm;
use crate::waits::Waits;

impl Waits for GroupMember {
    fn look(&mut self) -> bool {
        self.engine.look()
    }

    fn bed(&self) -> &Bed {
        &self.engine.bed
    }

    fn probe(&mut self) {
        self.engine.probe();
    }

    fn longest_wait(&self) -> Duration {
        self.engine.longest_sleep(PARK)
    }
}

impl Engine {
    /// Whether the next poll returns something.
    fn look(&mut self) -> bool {
        if alarm::is_raised() && self.check_memory().is_err() {
            return true;
        }
        loop {
            if self.untold.is_some() {
                return true;
            }
            if !self.run.is_over() {
                if self.keeps_next() {
                    self.probe_at = None;
                    return true;
                }
                continue;
            }
            match self.next_run() {
                // Bounded as in `advance`.
                Ok(true) => {}
                Ok(false) => return false,
                // The sweep that met it is past it, so it is kept for the poll.
                Err(error) => self.untold = Some(error),
            }
        }
    }

    /// Whether the frame that is handed out next is still this member's, where handing out settles it. One
    /// that is not is passed over, as it would be then.
    fn keeps_next(&mut self) -> bool {
        if self.header.delivery == Delivery::AtLeastOnce {
            return true;
        }
        let lane = usize::try_from(self.run.lane).unwrap_or(usize::MAX);
        let claim = self.claims.get(self.handed).copied();
        let is_held = claim
            .zip(self.lanes.get(lane))
            .is_some_and(|(claim, lane)| lane.group.claims.holds(self.run.position(), claim));
        if !is_held {
            self.end_one(lane, false);
            self.pass_over();
        }
        is_held
    }

    /// What a look came upon, for the poll after it.
    #[cold]
    pub(super) fn tell(&mut self) -> Result<(), PollError> {
        self.untold.take().map_or(Ok(()), Err)
    }

    /// Recovers dead producers if it is time to ask.
    fn probe(&mut self) {
        let now = Instant::now();
        if now >= *self.probe_at.get_or_insert_with(|| now + PROBE) {
            self.give_back_dead_producers();
            self.probe_at = Some(now + PROBE);
        }
    }
}
