//! What room that a consumer gave back means to producers that sleep for want of it.

use super::engine::Engine;
use crate::lane::bits;
use crate::park;
use crate::participant::Role;
use crate::seat::recovery;
use crate::sync::Ordering;

impl Engine {
    /// Rings for a lane's producer if it sleeps for want of room.
    #[inline]
    pub(super) fn wake_lane(&self, lane: u32) {
        self.light.barrier();
        let sleeping = recovery::lane_bit(&self.regions.bells.sleeping_producers, lane);
        if let Some((word, bit)) = sleeping
            // ORDERING: relaxed; the light barrier orders it after the store of the cursor.
            && word.load(Ordering::Relaxed) & bit != 0
        {
            self.ring(lane);
        }
    }

    /// Rings for every producer that sleeps.
    pub(super) fn wake_all(&self) {
        self.light.barrier();
        for (base, word) in (0..).step_by(64).zip(&self.regions.bells.sleeping_producers) {
            // ORDERING: relaxed; the light barrier orders it after the stores of the cursors.
            for bit in bits(word.load(Ordering::Relaxed)) {
                self.ring(base + bit);
            }
        }
    }

    #[cold]
    fn ring(&self, lane: u32) {
        let sleepers = recovery::lane_bit(&self.regions.bells.sleeping_producers, lane);
        if let Some((seat, bit)) = self.regions.bell(Role::Producer, lane).zip(sleepers) {
            park::ring(&seat, bit);
        }
    }
}
