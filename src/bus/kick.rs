//! Telling participants to leave, for `Bus::kick`.

use crate::error::Error;
use crate::park;
use crate::participant::{Kicked, Participant, Role};
use crate::regions::{Regions, View};
use crate::seat::{self, recovery};
use crate::shm::segment::Segment;

/// Tells everybody with this pid to leave.
///
/// # Errors
/// `NotFound` when the bus has been removed, `Permission` when this user may not write to it.
pub(super) fn kick(segment: &Segment, pid: u32) -> Result<Vec<Kicked>, Error> {
    // A description of its own, as for recovery: this process's own seats count as anybody's.
    let segment = segment.reopen(View::Recovery.file())?;
    let (header, _) = segment.header()?;
    let regions = Regions::map(&segment, &header, View::Recovery)?;
    let mut kicked = Vec::new();
    for role in [Role::Producer, Role::Consumer] {
        let all = seat::participants(Some(&segment), &regions, role);
        for participant in all.into_iter().filter(|participant| participant.pid == pid) {
            kicked.extend(tell(&regions, participant));
        }
    }
    Ok(kicked)
}

/// Tells one participant to leave; `None` when it has left by itself since it was looked at, and its
/// seat is free or another's.
pub(super) fn tell(regions: &Regions, participant: Participant) -> Option<Kicked> {
    let (role, seat) = (participant.role, participant.seat);
    // The dead are given back, not told.
    let is_told = participant.alive && regions.evict(role, seat, participant.epoch);
    if participant.alive {
        wake(regions, role, seat);
    }
    let at_once = role == Role::Consumer && regions.is_let_go(seat);
    let state = seat::state(&*regions.seat(role, seat)?);
    let is_there = state.is_taken() && state.epoch() == participant.epoch;
    // Who was told may have left since.
    (is_told || is_there).then_some(Kicked { participant, at_once })
}

/// Wakes the holder of a seat, so that it learns now.
fn wake(regions: &Regions, role: Role, seat: u32) {
    let bells = &regions.bells;
    let sleepers = match role {
        Role::Producer => recovery::lane_bit(&bells.sleeping_producers, seat),
        Role::Consumer => Some((&bells.sleeping_consumers, 1 << (seat & 63))),
    };
    if let Some((bell, bit)) = regions.bell(role, seat).zip(sleepers) {
        park::ring(&bell, bit);
    }
}
