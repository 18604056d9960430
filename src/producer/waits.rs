//! A producer that waits for room together with others, or in a task.

use std::time::Duration;

use super::Producer;
use super::engine::Engine;
use crate::error::PublishError;
use crate::layout::words::SeatWords;
use crate::park::Bed;
use crate::participant::Role;
use crate::shm::mapping::Shared;
use crate::sync::clock;
use crate::waits::Waits;

/// How often it asks whether those who hold it up are alive. Five times what a thread that is blocked
/// takes: a task is woken for it by way of two threads.
const LONGEST_WAIT: Duration = Duration::from_millis(10);

impl<T> Waits for Producer<T> {
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
        LONGEST_WAIT
    }
}

impl<T> Producer<T> {
    /// Recovers whoever is provably dead in a seat of the bus.
    pub(crate) fn give_back_dead(&self, role: Role, seat: u32) {
        self.engine.tie.give_back_dead(&self.engine.regions, role, std::iter::once(seat));
    }

    /// A seat of the bus.
    pub(crate) fn peer(&self, role: Role, seat: u32) -> Option<Shared<SeatWords>> {
        self.engine.regions.seat(role, seat)
    }

    /// Whether this process is a forked child of the one that attached: nothing of it is mapped here.
    pub(crate) fn is_forked(&self) -> bool {
        self.engine.check_process().is_err()
    }

    /// Bytes that a payload of the bus has.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.engine.data.slots.shape().payload_bytes()
    }

    /// Says for how many frames there is to be room when it is waited for.
    #[cfg_attr(not(feature = "async"), allow(dead_code))]
    pub(crate) fn ask_room(&mut self, frames: u32) -> Result<(), PublishError> {
        let (frames, max) = (u64::from(frames), self.engine.batch_max);
        if frames == 0 || frames > max {
            return Err(PublishError::BatchSize { frames, max });
        }
        self.engine.asked = frames;
        Ok(())
    }
}

impl Engine {
    /// Whether publishing would not be refused for want of room: there is some, or it ends in another way.
    fn look(&mut self) -> bool {
        let count = self.asked;
        let is_ready = self.check_process().is_err()
            || !self.lossless
            || self.lane.has_room(count)
            || self.check_standing().is_err()
            || (self.fetch_cursors() && self.lane.has_room(count));
        if is_ready {
            self.wanted = 0;
        } else if self.wanted != count {
            self.wanted = count;
            self.lane.note_full(count, clock::monotonic_ns());
        }
        is_ready
    }
}
