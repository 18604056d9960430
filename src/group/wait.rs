//! Waiting for a frame, and ringing for who waits.
//!
//! All members of a group sleep on one bell, that of the group's seat in its bus: producers ring it as
//! any consumer's. Whoever rings wakes all of them (`park::park_together`).

use std::time::{Duration, Instant};

use super::engine::{Engine, MemberLane, Ready};
use crate::error::PollError;
use crate::lane::bits;
use crate::park::{self, Step, Waiting};
use crate::participant::Role;
use crate::sync::{AtomicU64, Ordering};
use crate::wake;

/// Longest time asleep while frames are claimed or wait for their next attempt: whose claim may end
/// by a death must not wait longer for that to be noticed than a third of what is promised (10 ms).
const PARK_PENDING: Duration = Duration::from_millis(3);
/// How often a waiting member asks the kernel whether the bus's producers live.
pub(super) const PROBE: Duration = Duration::from_millis(20);

impl Engine {
    /// Rings for members that sleep: something is to be tried again.
    pub(super) fn wake_members(&self) {
        self.light.barrier();
        let (word, bit) = self.sleepers();
        // ORDERING: relaxed; the light barrier orders it after the change of the frame's word.
        if word.load(Ordering::Relaxed) & bit != 0 {
            park::ring(&self.bell, (word, bit));
        }
    }

    fn sleepers(&self) -> (&AtomicU64, u64) {
        (&self.regions.bells.sleeping_consumers, 1 << (self.berth.seat & 63))
    }

    /// Waits for a frame. `None`: the time is over.
    pub(super) fn wait(&mut self, timeout: Duration) -> Result<Option<Ready>, PollError> {
        if let Some(ready) = self.advance()? {
            return Ok(Some(ready));
        }
        let mut waiting = Waiting::new(self.wait, Some(timeout));
        // Kept from one call to the next, so that short timeouts come to it as well.
        let mut probe_at = *self.probe_at.get_or_insert_with(|| Instant::now() + PROBE);
        let mut steps = 0_u32;
        loop {
            let looks = match waiting.step() {
                Step::Again => {
                    steps = steps.wrapping_add(1);
                    steps.is_multiple_of(64)
                }
                Step::Over => return Ok(None),
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
            if let Some(ready) = self.advance()? {
                self.probe_at = None;
                return Ok(Some(ready));
            }
        }
    }

    /// How long a sleep may be: shorter while frames are claimed or wait to be tried again.
    pub(super) fn longest_sleep(&self, longest: Duration) -> Duration {
        let ends = || self.lanes.iter().zip(self.row.positions.iter());
        // ORDERING: relaxed for both; hints. A look that is late is the sweep's to make up for.
        let is_pending = |(lane, gate): (&MemberLane, &AtomicU64)| {
            lane.words.head.load(Ordering::Relaxed) != gate.load(Ordering::Relaxed)
        };
        if ends().any(is_pending) { longest.min(PARK_PENDING) } else { longest }
    }

    fn park(&self, longest: Duration) {
        let longest = self.longest_sleep(longest);
        park::park_together(&self.bell, self.sleepers(), longest, || {
            // ORDERING: relaxed; the heavy barrier orders it after this member's bit.
            let is_new = |lane: &MemberLane| lane.words.head.load(Ordering::Relaxed) != lane.looked;
            self.lanes.iter().any(is_new)
                || !self.berth.is_held(&self.bus_seat)
                || self.regions.is_removed()
        });
    }

    /// Recovers producers of the bus that are provably dead: on an `ordered` bus that settles where their
    /// lanes end.
    pub(super) fn give_back_dead_producers(&self) {
        let words = (0..).step_by(64).zip(&self.regions.words.producers);
        // ORDERING: relaxed; only whom to ask about.
        let held = words
            .flat_map(|(base, word)| bits(word.load(Ordering::Relaxed)).map(move |bit| base + bit));
        self.tie.give_back_dead(&self.regions, Role::Producer, held);
    }

    /// Rings for a lane's producer if it sleeps for want of room.
    #[inline]
    pub(super) fn wake_lane(&self, lane: u32) {
        self.light.barrier();
        wake::producer(&self.regions, lane);
    }
}
