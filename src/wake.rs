//! Ringing for producers that sleep for want of room.

use crate::lane::bits;
use crate::park;
use crate::participant::Role;
use crate::regions::Regions;
use crate::seat::recovery;
use crate::sync::Ordering;

/// Rings for a lane's producer if it sleeps. A caller that has given room back makes that visible before
/// the look, by a light barrier; without one a sleep may be missed, and lasts as long as it is bounded.
#[inline]
pub(crate) fn producer(regions: &Regions, lane: u32) {
    let sleeping = recovery::lane_bit(&regions.bells.sleeping_producers, lane);
    if let Some((word, bit)) = sleeping
        // ORDERING: relaxed; the caller's barrier orders it after the store of what gates the lane.
        && word.load(Ordering::Relaxed) & bit != 0
    {
        ring(regions, lane);
    }
}

/// The same for every lane.
pub(crate) fn producers(regions: &Regions) {
    for (base, word) in (0..).step_by(64).zip(&regions.bells.sleeping_producers) {
        // ORDERING: relaxed; as above.
        for bit in bits(word.load(Ordering::Relaxed)) {
            ring(regions, base + bit);
        }
    }
}

#[cold]
fn ring(regions: &Regions, lane: u32) {
    let sleepers = recovery::lane_bit(&regions.bells.sleeping_producers, lane);
    if let Some((bell, bit)) = regions.bell(Role::Producer, lane).zip(sleepers) {
        park::ring(&bell, bit);
    }
}
