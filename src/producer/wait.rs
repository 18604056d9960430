//! Waiting for room, and learning meanwhile that whoever is in the way died, or stands still.

use std::time::{Duration, Instant};

use super::engine::{Engine, Room};
use crate::error::PublishError;
use crate::lane::writer::LaneWriter;
use crate::lane::{Gates, bits};
use crate::layout::words::LaneWords;
use crate::options::{OnFull, Wait};
use crate::park::{self, Step, Waiting};
use crate::participant::Role;
use crate::regions::{Cursors, LaneGates};
use crate::seat::recovery;
use crate::shm::mapping::Shared;
use crate::sync::{AtomicU64, Ordering, clock};

/// How long a blocked producer waits before it asks the kernel whether who holds it up is alive,
/// and between asking again.
const PROBE: Duration = Duration::from_millis(2);

impl Engine {
    /// The lane is full: refuses, or waits as asked.
    #[cold]
    pub(super) fn wait_for_room(&mut self, count: u64, room: Room) -> Result<(), PublishError> {
        self.check_standing()?;
        // It may be closed only because somebody joined whose cursors are not here yet.
        if self.fetch_cursors() && self.lane.has_room(count) {
            return Ok(());
        }
        self.lane.note_full(count, clock::monotonic_ns());
        self.wanted = count;
        let timeout = match (room, self.on_full) {
            (Room::Within(timeout), _) => Some(timeout),
            (Room::ByPolicy, OnFull::Block) => self.timeout,
            _ => {
                self.probe();
                return Err(self.reject());
            }
        };
        let start = Instant::now();
        let result = self.wait_until(timeout, false, |lane| lane.has_room(count));
        self.wanted = 0;
        self.counters.blocked_count += 1;
        let waited = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.blocked_ns = self.counters.blocked_ns.saturating_add(waited);
        let words = self.lane.words();
        add(&words.blocked_count, 1);
        add(&words.blocked_ns, waited);
        result
    }

    /// Whether there is any point in waiting.
    pub(super) fn check_standing(&self) -> Result<(), PublishError> {
        if self.lane.gates().is_broken() {
            Err(PublishError::Truncated)
        } else if self.regions.is_removed() {
            Err(PublishError::Removed)
        } else if self.seat.is_evicted() {
            Err(PublishError::Evicted)
        } else {
            Ok(())
        }
    }

    /// Waits until `done` or the timeout, giving back the seats of dead consumers meanwhile.
    fn wait_until(
        &mut self,
        timeout: Option<Duration>,
        outlives_removal: bool,
        mut done: impl FnMut(&mut LaneWriter<Shared<LaneWords>, LaneGates>) -> bool,
    ) -> Result<(), PublishError> {
        let mut waiting = Waiting::new(self.wait, timeout);
        let mut steps = 0_u32;
        while !done(&mut self.lane) {
            if steps == 0 {
                self.probe();
            }
            if !outlives_removal {
                self.check_standing()?;
            }
            self.fetch_cursors();
            match waiting.step() {
                Step::Again => {}
                Step::Over => return Err(PublishError::TimedOut),
                Step::Park(longest) => {
                    let sleepers = &self.regions.bells.sleeping_producers;
                    if let Some(bit) = recovery::lane_bit(sleepers, self.seat.index) {
                        let lane = &mut self.lane;
                        park::park(&self.seat.bell, bit, longest.min(PROBE), || done(lane));
                    }
                }
            }
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(64) || self.wait != Wait::Busy {
                self.probe();
            }
            if steps.is_multiple_of(64) && self.tie.is_given_up(&mut self.gone_since) {
                return Err(PublishError::BrokerGone);
            }
        }
        self.gone_since = None;
        Ok(())
    }

    /// Fetches the cursors of consumers that this producer does not know yet, where they have
    /// memory of their own. `true`: there were some, and they are here now.
    pub(super) fn fetch_cursors(&mut self) -> bool {
        let LaneGates { words, cursors, .. } = self.lane.gates_mut();
        let known = |cursors: &Cursors| {
            // ORDERING: acquire, as in `LaneWriter::gate`.
            bits(words.consumers.load(Ordering::Acquire)).all(|one| cursors.is_current(one))
        };
        if known(cursors) {
            return false;
        }
        // What is not what it should be keeps the lane closed, as what did not come does.
        let _all = self.tie.fetch_cursors(&words.consumers, cursors);
        known(cursors)
    }

    /// Asks after whoever holds this producer up, once in `PROBE`: are they alive, do they move?
    pub(super) fn probe(&mut self) {
        let now = Instant::now();
        if now >= *self.probe_at.get_or_insert(now + PROBE) {
            self.give_back_dead_consumers();
            if let Some(slow) = &mut self.slow {
                slow.look(now, self.wanted, &self.lane, self.order.as_ref());
            }
            self.probe_at = Some(now + PROBE);
        }
    }

    /// Recovers consumers that hold this producer up and are provably dead.
    fn give_back_dead_consumers(&self) {
        // ORDERING: relaxed; only whom to ask about.
        let attached = self.lane.gates().attached().load(Ordering::Relaxed);
        self.tie.give_back_dead(&self.regions, Role::Consumer, bits(attached));
    }

    /// Waits until everything is read; returns how much is not.
    pub(super) fn drain(&mut self, timeout: Duration) -> u64 {
        if self.check_process().is_err() {
            return 0;
        }
        // What is left says whether it timed out. Who is attached reads on after a removal.
        let _result = self.wait_until(Some(timeout), true, |lane| lane.unread() == 0);
        self.lane.unread()
    }

    /// Counts a refusal.
    #[cold]
    pub(super) fn reject(&mut self) -> PublishError {
        self.counters.rejected += 1;
        add(&self.lane.words().rejected, 1);
        PublishError::Full
    }
}

/// Adds to a counter that only this lane's producer writes.
fn add(counter: &AtomicU64, amount: u64) {
    // ORDERING: relaxed; a statistic with one writer.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}
