//! Waiting for a frame, and learning meanwhile that a producer died.

use std::time::{Duration, Instant};

use super::engine::{Engine, Ready};
use crate::error::PollError;
use crate::lane::bits;
use crate::park::{self, Step, Waiting};
use crate::participant::Role;
use crate::sync::Ordering;

/// How often a waiting consumer asks the kernel whether the producers that it waits for live.
pub(super) const PROBE: Duration = Duration::from_millis(20);

impl Engine {
    /// Waits for a frame. `None`: the time is over.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Ready>, PollError> {
        if let Some(ready) = self.advance()? {
            self.gone_since = None;
            return Ok(Some(ready));
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
                        let ready = self.advance()?;
                        if ready.is_none() {
                            self.heard_nothing()?;
                        }
                        return Ok(ready);
                    }
                    return Ok(None);
                }
                Step::Park(longest) => {
                    self.park(longest);
                    true
                }
            };
            let probed = looks && Instant::now() >= probe_at;
            if probed {
                self.give_back_dead_producers();
                probe_at = Instant::now() + PROBE;
                self.probe_at = Some(probe_at);
            }
            if let Some(ready) = self.advance()? {
                (self.probe_at, self.gone_since) = (None, None);
                return Ok(Some(ready));
            }
            if probed {
                self.heard_nothing()?;
            }
        }
    }

    /// Nothing came for some time: for good, if nobody is left who would know?
    pub(super) fn heard_nothing(&mut self) -> Result<(), PollError> {
        let given_up = self.tie.is_given_up(&mut self.gone_since);
        if given_up { Err(PollError::BrokerGone) } else { Ok(()) }
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
    pub(super) fn give_back_dead_producers(&self) {
        let words = (0..).step_by(64).zip(&self.regions.words.producers);
        // ORDERING: relaxed; only whom to ask about.
        let held = words
            .flat_map(|(base, word)| bits(word.load(Ordering::Relaxed)).map(move |bit| base + bit));
        self.tie.give_back_dead(&self.regions, Role::Producer, held);
    }
}
