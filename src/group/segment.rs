//! A group's segment: found, checked, mapped.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zerocopy::{FromZeros, IntoBytes};

use crate::bus::Bus;
use crate::claims::Claims;
use crate::claims::shares::Shares;
use crate::error::{Error, GroupFault};
use crate::layout::geometry::Region;
use crate::layout::group::{
    GROUP_WORDS_BYTES, GroupHeader, GroupWords, HINT_WORDS_BYTES, HintWords, MEMBER_WORDS_BYTES,
    MemberWords, RawGroup,
};
use crate::layout::state::SeatState;
use crate::layout::words::SeatWords;
use crate::participant::Role;
use crate::regions::Regions;
use crate::seat;
use crate::shm::lock;
use crate::shm::mapping::{Access, Mapping, Shared, SharedArray};
use crate::shm::name::OF_GROUP;
use crate::shm::segment::Segment;
use crate::sync::Ordering;

/// The byte of a group's segment that is locked for making or resetting it (write), and by who is
/// just becoming a member (read). Members' bytes start at 0 and there are at most 64.
const MAKER_BYTE: u64 = 256;
/// How long a lock that somebody holds for some microseconds is waited for.
const CHANGING: Duration = Duration::from_secs(1);

/// Says what is wrong with a group.
pub(super) fn fault(bus: &str, group: &str, fault: GroupFault) -> Error {
    Error::Group { bus: bus.to_owned(), group: group.to_owned(), fault }
}

/// The name of a group's segment.
pub(super) fn segment_name(bus: &str, group: &str) -> String {
    format!("{bus}{OF_GROUP}{group}")
}

/// Opens a group's segment and checks its header, whether or not the group has its seat.
///
/// # Errors
/// `Group` with `NotFound` or `Corrupt`; `Permission`, `Io`.
pub(super) fn open(
    bus: &str,
    group: &str,
    access: Access,
) -> Result<(Segment, GroupHeader), Error> {
    let corrupt = |reason| fault(bus, group, GroupFault::Corrupt { reason });
    let segment = Segment::open(&segment_name(bus, group), access)
        .map_err(|error| about_group(error, bus, group))?;
    let mut raw = RawGroup::new_zeroed();
    let read = segment.file.read_exact_at(raw.as_mut_bytes(), 0);
    read.map_err(|_| corrupt("the file is shorter than a header".to_owned()))?;
    let bytes = segment.file.metadata().map_or(0, |meta| meta.len());
    let header = GroupHeader::check(&raw, bus, group, bytes).map_err(corrupt)?;
    Ok((segment, header))
}

/// An error about the file of a group, in the group's words.
pub(super) fn about_group(error: Error, bus: &str, group: &str) -> Error {
    match error {
        Error::NotFound { .. } => fault(bus, group, GroupFault::NotFound),
        Error::AlreadyExists { .. } => fault(bus, group, GroupFault::Exists),
        Error::Corrupt { reason, .. } => fault(bus, group, GroupFault::Corrupt { reason }),
        error => error,
    }
}

/// A group's words in memory.
#[derive(Debug)]
pub(super) struct GroupRegions {
    pub(super) words: Shared<GroupWords>,
    pub(super) members: Vec<Shared<MemberWords>>,
    pub(super) lanes: Vec<LaneClaims>,
    /// With affinity.
    pub(super) shares: Option<Shares<SharedArray>>,
    mappings: Vec<Arc<Mapping>>,
}

/// What a group knows of one lane.
#[derive(Clone, Debug)]
pub(super) struct LaneClaims {
    pub(super) claims: Claims<SharedArray>,
    pub(super) hint: Shared<HintWords>,
}

impl GroupRegions {
    /// Maps them.
    ///
    /// # Errors
    /// `Io` when the system refuses a mapping.
    pub(super) fn map(
        segment: &Segment,
        header: &GroupHeader,
        access: Access,
    ) -> Result<Self, Error> {
        let geometry = header.geometry();
        let map = |region: Region| {
            Mapping::new(&segment.file, region, access)
                .map_err(|source| Error::Io { action: "map the segment of a group", source })
        };
        let control = map(geometry.control)?;
        let hints = map(geometry.hints)?;
        let words = map(geometry.words)?;
        let mut mappings = vec![Arc::clone(&control), Arc::clone(&hints), Arc::clone(&words)];
        let mut shares = None;
        if header.shares() > 0 {
            let mapping = map(geometry.shares)?;
            shares = SharedArray::at(&mapping, 0, header.shares().into()).map(Shares::over);
            mappings.push(mapping);
        }
        let member = |index: u32| {
            Shared::at(&control, GROUP_WORDS_BYTES + u64::from(index) * MEMBER_WORDS_BYTES)
        };
        let lane = |index: u32| {
            let offset = u64::from(index) * geometry.lane_bytes;
            let array = SharedArray::at(&words, offset, header.capacity)?;
            let hint = Shared::at(&hints, u64::from(index) * HINT_WORDS_BYTES)?;
            Some(LaneClaims { claims: Claims::over(array)?, hint })
        };
        let parts = Shared::at(&control, 0)
            .zip((0..header.members).map(member).collect::<Option<Vec<_>>>())
            .zip((0..header.lanes).map(lane).collect::<Option<Vec<_>>>());
        let Some(((group, members), lanes)) = parts else {
            let reason = "its words do not lie in its regions".to_owned();
            return Err(fault(&header.bus, &header.name, GroupFault::Corrupt { reason }));
        };
        Ok(Self { words: group, members, lanes, shares, mappings })
    }

    /// Whether a page of them was found missing.
    pub(super) fn is_broken(&self) -> bool {
        self.mappings.iter().any(|mapping| mapping.is_broken())
    }
}

/// A group's seat in its bus, in one tenancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Berth {
    pub(super) seat: u32,
    pub(super) epoch: u64,
}

impl Berth {
    /// As the group's word has it.
    pub(super) const fn word(self) -> u64 {
        (self.epoch << 8) | (self.seat as u64 + 1)
    }

    /// What a group's word says; `None`: it has no seat yet.
    pub(super) fn of(words: &GroupWords) -> Option<Self> {
        // ORDERING: acquire, pairs with the release store in `group::create`.
        let word = words.berth.load(Ordering::Acquire);
        let seat = u32::try_from(word & 0xff).ok()?.checked_sub(1)?;
        Some(Self { seat, epoch: word >> 8 })
    }

    /// Whether the seat is still the group's.
    #[inline]
    pub(super) fn is_held(self, seat: &SeatWords) -> bool {
        // ORDERING: acquire, pairs with the CAS in `group::create`; makes the group's words visible.
        let state = SeatState::from_word(seat.state.load(Ordering::Acquire));
        state.is_group() && state.epoch() == self.epoch
    }

    /// Whether the seat is the group's, asked of the bus.
    pub(super) fn is_held_in(self, regions: &Regions) -> bool {
        regions.seat(Role::Consumer, self.seat).is_some_and(|seat| self.is_held(&seat))
    }

    /// Takes the lock that keeps the group's seat from being let again as long as this description
    /// lives, and makes sure that it is the group's.
    ///
    /// # Errors
    /// `Group` when it is not; `Io`.
    pub(super) fn lock(self, bus: &Segment, regions: &Regions, group: &str) -> Result<(), Error> {
        let byte = seat::byte(Role::Consumer, self.seat);
        keep("hold a group's seat", || match lock::sit(&bus.file, byte) {
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(error),
            taken => Ok(taken.is_ok()),
        })
        .and_then(|taken| {
            if taken && self.is_held_in(regions) {
                Ok(())
            } else {
                Err(fault(&bus.name, group, GroupFault::NotFound))
            }
        })
    }
}

/// Tries to take a lock until it is there, or for as long as an honest holder keeps it.
fn keep(
    action: &'static str,
    mut take: impl FnMut() -> std::io::Result<bool>,
) -> Result<bool, Error> {
    let deadline = Instant::now() + CHANGING;
    loop {
        if take().map_err(|source| Error::Io { action, source })? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(CHANGING / 1000);
    }
}

/// Keeps everybody else from becoming a member, and from making or resetting the group, as long as
/// this description lives. `false`: somebody does one of these now.
pub(super) fn lock_alone(segment: &Segment) -> Result<bool, Error> {
    keep("lock a group", || lock::try_lock(&segment.file, MAKER_BYTE))
}

/// The same at once, without waiting.
pub(super) fn try_lock_alone(segment: &Segment) -> Result<bool, Error> {
    lock::try_lock(&segment.file, MAKER_BYTE)
        .map_err(|source| Error::Io { action: "lock a group", source })
}

/// Keeps the group from being reset while this process becomes a member.
pub(super) fn lock_together(segment: &Segment) -> Result<bool, Error> {
    keep("lock a group", || match lock::sit(&segment.file, MAKER_BYTE) {
        Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => Err(error),
        taken => Ok(taken.is_ok()),
    })
}

/// Gives that lock back.
pub(super) fn unlock(segment: &Segment) {
    // Should it fail, it goes with the description.
    let _unlocked = lock::unlock(&segment.file, MAKER_BYTE);
}

/// Refuses buses that have no groups.
pub(super) fn named(bus: &Bus, group: &str) -> Result<(), Error> {
    let unsupported = |reason| Err(fault(bus.name(), group, GroupFault::Unsupported { reason }));
    if bus.tie().segment().is_none() {
        return unsupported("the bus is brokered, and no member could store to a shared cursor");
    }
    if !bus.info().on_full.is_lossless() {
        return unsupported(
            "the bus drops its oldest frames; groups take one that blocks or rejects",
        );
    }
    Ok(())
}
