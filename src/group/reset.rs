//! Starting a group anew, and removing it.

use super::segment::{self, Berth, GroupRegions, fault, segment_name};
use super::{Group, roster};
use crate::bus::Bus;
use crate::crash::crash_point;
use crate::error::{Error, GroupFault};
use crate::lane::join::{self, Joining};
use crate::layout::state::SeatState;
use crate::options::Start;
use crate::park;
use crate::participant::Role;
use crate::regions::{Regions, View};
use crate::seat::{self, recovery};
use crate::shm::name;
use crate::shm::segment::{self as file, Segment};
use crate::sync::Ordering;
use crate::tie::Lookout;
use crate::wake;

impl Group {
    /// Starts the group anew: at the latest, giving up what it has not done with, or at the oldest frames
    /// that the bus still holds, including some that it had done with.
    ///
    /// Only while no member is attached. Who dies in the middle leaves a group that has been set back, or
    /// forward, in part of its frames; doing it again helps.
    ///
    /// # Errors
    /// [`Error::Group`] when members are attached, naming them, when somebody else does this, or when the
    /// group was removed; [`Error::BadOption`] for a start at a position; [`Error::Permission`].
    pub fn reset(&self, start: Start) -> Result<(), Error> {
        let (bus, name) = (self.bus(), &self.header().name);
        let fault = |what| fault(bus.name(), name, what);
        let from_oldest = match start {
            Start::Latest => false,
            Start::Oldest => true,
            Start::Position(position) => {
                return Err(Error::BadOption {
                    option: "start of a group at position",
                    value: position.to_string(),
                    allowed: "latest, oldest".to_owned(),
                });
            }
        };
        let not_found = || fault(GroupFault::NotFound);
        let Lookout { tie, regions, lanes, .. } =
            bus.tie().member(bus.header())?.ok_or_else(not_found)?;
        let berth = self.inner.berth;
        berth.lock(tie.segment().ok_or_else(not_found)?, &regions, name)?;
        let annex = self
            .inner
            .segment
            .reopen(View::Consumer.file())
            .map_err(|error| segment::about_group(error, bus.name(), name))?;
        let group = GroupRegions::map(&annex, self.header(), View::Consumer.file())?;
        if !segment::lock_alone(&annex)? {
            return Err(fault(GroupFault::Busy));
        }
        let mut holders = roster::members(&annex, &group);
        holders.retain(|member| member.alive);
        if !holders.is_empty() {
            return Err(fault(GroupFault::Members { holders }));
        }
        let row = regions.cursors.row(berth.seat).ok_or_else(not_found)?;
        let capacity = self.header().capacity;
        let mut placed = Vec::with_capacity(lanes.len());
        for (lane, cursor) in lanes.iter().zip(row.positions.iter()) {
            placed.push(if from_oldest {
                join::place(cursor, &lane.words, capacity, lane.start)
            } else {
                // ORDERING: relaxed; the start is not before it.
                cursor.load(Ordering::Relaxed)
            });
        }
        // The bit is set; what remains of joining is the fence, and the look.
        let joining = Joining::announced();
        for ((lane, placed), (cursor, group)) in
            lanes.iter().zip(placed).zip(row.positions.iter().zip(&group.lanes))
        {
            let held = joining.look(&lane.words, capacity, lane.start, placed);
            let start = if from_oldest { held.oldest } else { held.head };
            group.claims.begin(start);
            // ORDERING: relaxed; a hint.
            group.hint.next.store(start, Ordering::Relaxed);
            // ORDERING: release, pairs with the acquire load in `LaneWriter::gate`, and makes the words
            // visible to whoever loads it after.
            cursor.store(start, Ordering::Release);
        }
        wake::producers(&regions);
        Ok(())
    }
}

/// Removes a group, whatever is left of it.
///
/// Under the lock of who makes groups: nobody puts another group under the name between the end of this
/// one's seat and that of its name, which would then take the other's.
pub(super) fn remove(bus: &Bus, group: &str) -> Result<(), Error> {
    name::check_name(group)?;
    segment::named(bus, group)?;
    let (annex, header) = match segment::open(bus.name(), group, View::Consumer.file()) {
        // Nobody can say whose seat a damaged one has.
        Err(Error::Group { fault: GroupFault::Corrupt { .. }, .. }) => {
            disband(bus, |regions| seat_named(regions, group))?;
            return unlink(bus, group);
        }
        // Somebody removed its file by hand: its seat is there, and producers wait for it.
        Err(Error::Group { fault: GroupFault::NotFound, .. }) => {
            let found = disband(bus, |regions| seat_named(regions, group))?;
            let missing = || fault(bus.name(), group, GroupFault::NotFound);
            return found.then_some(()).ok_or_else(missing);
        }
        opened => opened?,
    };
    if !segment::lock_alone(&annex)? {
        return Err(fault(bus.name(), group, GroupFault::Busy));
    }
    let words = GroupRegions::map(&annex, &header, View::Consumer.file())?;
    let berth = Berth::of(&words.words).filter(|_| header.bus_instance == bus.info().instance);
    disband(bus, |regions| berth.filter(|berth| berth.is_held_in(regions)))?;
    crash_point!(GroupDisbanded);
    // Who had the lock before may have removed it and made another.
    match Segment::open(&segment_name(bus.name(), group), View::Observer.file()) {
        Ok(named) if named.is_same(&annex) => unlink(bus, group),
        _ => Err(fault(bus.name(), group, GroupFault::NotFound)),
    }
}

fn unlink(bus: &Bus, group: &str) -> Result<(), Error> {
    file::unlink(&segment_name(bus.name(), group))
        .map_err(|error| segment::about_group(error, bus.name(), group))
}

/// The seat of a group whose segment says nothing, by its name; of a name that is longer than a seat
/// keeps, none, since another group's could begin alike.
fn seat_named(regions: &Regions, group: &str) -> Option<Berth> {
    (0..regions.seats(Role::Consumer)).find_map(|index| {
        let one = seat::occupant(None, regions, Role::Consumer, index)?;
        let berth = Berth { seat: index, epoch: one.epoch };
        (one.group && one.name == group).then_some(berth)
    })
}

/// Ends the tenancy of a group's seat: it gates nobody any more, and is let again when none of its
/// members has the lock on its byte. `false`: there is none.
fn disband(bus: &Bus, find: impl FnOnce(&Regions) -> Option<Berth>) -> Result<bool, Error> {
    let Some(named) = bus.tie().segment() else {
        return Ok(false);
    };
    let segment: Segment = named.reopen(View::Recovery.file())?;
    let regions = Regions::map(&segment, bus.header(), View::Recovery)?;
    let Some(berth) = find(&regions) else {
        return Ok(false);
    };
    let Some(seat) = regions.seat(Role::Consumer, berth.seat) else {
        return Ok(false);
    };
    // ORDERING: acquire, pairs with the CAS in `group::create`.
    let state = SeatState::from_word(seat.state.load(Ordering::Acquire));
    if let Some(ended) = state.disbanded().filter(|_| state.epoch() == berth.epoch) {
        let (old, new) = (state.word(), ended.word());
        // ORDERING: acquire and release, as where a consumer is declared dead (`regions::standings`).
        // A failure means that somebody else has removed it.
        let _ended = seat.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed);
    }
    regions.note_change();
    // Members learn it, and whoever waited for the group goes on.
    let bit = (&regions.bells.sleeping_consumers, 1 << (berth.seat & 63));
    if let Some(bell) = regions.bell(Role::Consumer, berth.seat) {
        park::ring(&bell, bit);
    }
    wake::producers(&regions);
    // Should a member hold the seat's lock, whoever needs the seat later does this.
    let _given_back = recovery::reclaim(&segment);
    Ok(true)
}
