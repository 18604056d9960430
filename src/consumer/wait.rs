//! Waiting for a frame, and learning meanwhile that a producer died.

use std::time::{Duration, Instant};

use super::engine::Engine;
use crate::error::PollError;
use crate::lane::bits;
use crate::park::{self, Step, Waiting};
use crate::participant::Role;
use crate::seat::{self, recovery};
use crate::shm::lock;
use crate::sync::Ordering;

/// How often a waiting consumer asks the kernel whether the producers that it waits for live.
const PROBE: Duration = Duration::from_millis(20);

impl Engine {
    /// Waits for a frame. `false`: the time is over.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, PollError> {
        if self.advance()? {
            return Ok(true);
        }
        let mut waiting = Waiting::new(self.wait, timeout);
        // Kept from one call to the next, so that short timeouts come to it as well.
        let mut probe_at = *self.probe_at.get_or_insert_with(|| Instant::now() + PROBE);
        let mut steps = 0_u32;
        loop {
            let looks = match waiting.step() {
                // A strategy that never parks has to learn of deaths as well. The clock costs more
                // than a spin, so it is not read at each.
                Step::Again => {
                    steps = steps.wrapping_add(1);
                    steps.is_multiple_of(64)
                }
                Step::Over => {
                    if Instant::now() >= probe_at {
                        self.give_back_dead_producers();
                        self.probe_at = None;
                        return self.advance();
                    }
                    return Ok(false);
                }
                Step::Park(longest) => {
                    self.park(longest);
                    true
                }
            };
            if looks && Instant::now() >= probe_at {
                self.give_back_dead_producers();
                probe_at = Instant::now() + PROBE;
                self.probe_at = Some(probe_at);
            }
            if self.advance()? {
                self.probe_at = None;
                return Ok(true);
            }
        }
    }

    fn park(&self, longest: Duration) {
        let sleepers = &self.regions.bells.sleeping_consumers;
        let changes = &self.regions.bells.seat_changes;
        // ORDERING: relaxed; compared with a later look at the same word.
        let before = changes.load(Ordering::Relaxed);
        let bit = 1 << (self.seat.index & 63);
        park::park(&self.seat.bell, (sleepers, bit), longest, || {
            // Producers that left since may have closed the last lane.
            self.has_more()
                || changes.load(Ordering::Relaxed) != before
                || (self.met && !self.has_producers())
        });
    }

    /// Recovers producers that are provably dead, so that their lanes count as closed.
    fn give_back_dead_producers(&self) {
        let dead = |lane: u32| {
            let byte = seat::byte(Role::Producer, lane);
            lock::is_locked(&self.segment.file, byte).is_ok_and(|locked| !locked)
        };
        let words = (0..).step_by(64).zip(&self.regions.words.producers);
        // ORDERING: relaxed; only whom to ask about.
        let any = words
            .flat_map(|(base, word)| bits(word.load(Ordering::Relaxed)).map(move |bit| base + bit))
            .any(dead);
        if any {
            // Somebody else may be faster, or this user may lack the right: the next look tells.
            let _reclaimed = recovery::reclaim(&self.segment);
        }
    }
}
