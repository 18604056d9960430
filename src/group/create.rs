//! Making a group, in an order in which whoever dies leaves a group, or none.
//!
//! | step | who dies after it leaves |
//! |---|---|
//! | 1 the group's segment, with no name | nothing |
//! | 2 it is locked, then named | a segment without a seat: the next maker, finding the lock free, removes it |
//! | 3 a consumer's seat, cursors placed, bit set: as any consumer joins | the same, and a dead consumer |
//! | 4 the words, then which seat it is | the same |
//! | 5 the seat's state, by CAS from "taken" to "group" | the group |
//!
//! So a group is there if the seat that its segment names is a group's, in the epoch that it names.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use nix::unistd::Uid;
use zerocopy::IntoBytes;

use super::segment::{self, Berth, GroupRegions, fault, segment_name};
use super::{Group, letters};
use crate::bus::Bus;
use crate::crash::crash_point;
use crate::error::{Error, GroupFault};
use crate::lane::join;
use crate::layout::claim::{AHEAD_MAX_MS, ATTEMPTS_MAX, MEMBERS_MAX};
use crate::layout::group::GroupHeader;
use crate::layout::state::SeatState;
use crate::options::{Affinity, Delivery, FrameLayout, Start};
use crate::order;
use crate::participant::Role;
use crate::regions::{Regions, Row};
use crate::shm::mapping::Access;
use crate::shm::name;
use crate::shm::segment::{self as file, Image, Segment};
use crate::sync::{Ordering, clock};
use crate::tie::Berth as Seated;

/// Members unless asked otherwise.
const MEMBERS: u32 = 16;
/// Attempts unless asked otherwise.
const ATTEMPTS: u32 = 5;
/// Time for a frame unless asked otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often a maker that meets others starts over.
const ROUNDS: u32 = 8;

/// The options of a group that is to be made: from [`Bus::group`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use busway::{Bus, Start};
///
/// # let name = format!("doc-group-options-{}", std::process::id());
/// # struct Guard(String); // removes the buses whatever happens
/// # impl Drop for Guard { fn drop(&mut self) {
/// #     let _ = Bus::remove(&self.0);
/// #     let _ = Bus::remove(&format!("{}.work.dead", self.0));
/// # } }
/// # let _guard = Guard(name.clone());
/// let bus = Bus::options().create(&name)?;
/// let group = bus
///     .group("work")
///     .start(Start::Oldest)
///     .max_attempts(3)
///     .processing_timeout(Duration::from_secs(5))
///     .create()?;
/// assert_eq!(group.info().max_attempts, Some(3));
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct GroupOptions<'a> {
    bus: &'a Bus,
    name: String,
    start: Start,
    delivery: Delivery,
    affinity: Affinity,
    members: u32,
    max_attempts: u32,
    timeout: Duration,
    dead_letters: Option<String>,
    if_not_exists: bool,
}

impl Bus {
    /// The options of a consumer group of this bus that is to be made.
    pub fn group(&self, name: impl Into<String>) -> GroupOptions<'_> {
        GroupOptions {
            bus: self,
            name: name.into(),
            start: Start::Latest,
            delivery: Delivery::AtLeastOnce,
            affinity: Affinity::Off,
            members: MEMBERS,
            max_attempts: ATTEMPTS,
            timeout: TIMEOUT,
            dead_letters: None,
            if_not_exists: false,
        }
    }
}

impl GroupOptions<'_> {
    /// Where it starts: at the latest, the default, or at the oldest frames that the bus still holds.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// What it promises; at least once by default.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Which frames go to the same member as long as that lives: those of one key. Off by default.
    ///
    /// Keys are in 256 shares, which the members divide evenly among themselves; a share changes hands when
    /// members come, go, die, or stop asking for work. Frames of one key are in the hands of one member
    /// at a time. `docs/groups.md` says what that costs and what order it gives.
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = affinity;
        self
    }

    /// Members that can be attached at a time: 1 to 64, 16 by default.
    pub fn members(mut self, members: u32) -> Self {
        self.members = members;
        self
    }

    /// Attempts after which a frame is a dead letter: 1 to 254, 5 by default; 0: it is tried for ever.
    ///
    /// A frame's attempt begins when a member claims it. Members claim several frames together
    /// ([`MemberOptions::batch`](crate::MemberOptions::batch)); one that dies takes an attempt from all
    /// that it had claimed. From the second attempt on frames are claimed alone, so that no frame becomes
    /// a dead letter for the company that it was in; with 1 all are.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// How long a member may take for what it claims together, before it goes to another: 1 ms to a
    /// day, 30 s by default.
    pub fn processing_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The bus that dead letters go to; `BUS.GROUP.dead` by default. It is created unless it exists.
    pub fn dead_letter_bus(mut self, name: impl Into<String>) -> Self {
        self.dead_letters = Some(name.into());
        self
    }

    /// Opens the group if it exists already and is what these options ask for.
    pub fn if_not_exists(mut self, if_not_exists: bool) -> Self {
        self.if_not_exists = if_not_exists;
        self
    }

    /// Makes the group, and the bus for its dead letters.
    ///
    /// From the moment that this returns producers wait for the group, whether or not it has members,
    /// until it is removed.
    ///
    /// # Errors
    /// [`Error::Group`] when it exists, differs (`if_not_exists`), is being made, or the bus has no
    /// groups; [`Error::BadName`], [`Error::BadOption`], [`Error::BadGeometry`];
    /// [`Error::SeatsTaken`] when every consumer's seat of the bus is taken: a group needs one;
    /// [`Error::NoSpace`], [`Error::Permission`], [`Error::Untrusted`], [`Error::NotFound`].
    pub fn create(self) -> Result<Group, Error> {
        let header = self.header()?;
        for _ in 0..ROUNDS {
            match Group::open(self.bus, &self.name) {
                Ok(group) => return self.accept(group, &header),
                Err(Error::Group { fault: GroupFault::NotFound, .. }) => {}
                Err(Error::Group { fault: GroupFault::Unfinished, .. }) => {
                    remove_unfinished(self.bus, &self.name)?;
                }
                Err(error) => return Err(error),
            }
            match self.make(&header) {
                // Somebody else was faster: it is looked at once more.
                Err(Error::AlreadyExists { .. }) => {}
                made => return made,
            }
        }
        Err(fault(self.bus.name(), &self.name, GroupFault::Busy))
    }

    fn accept(&self, group: Group, wanted: &GroupHeader) -> Result<Group, Error> {
        if !self.if_not_exists {
            return Err(fault(self.bus.name(), &self.name, GroupFault::Exists));
        }
        match difference(group.header(), wanted) {
            None => Ok(group),
            Some(difference) => {
                Err(fault(self.bus.name(), &self.name, GroupFault::Differs { difference }))
            }
        }
    }

    /// The constants of the group that these options ask for.
    fn header(&self) -> Result<GroupHeader, Error> {
        name::check_name(&self.name)?;
        segment::named(self.bus, &self.name)?;
        let number = |what, value: u32, allowed: &str| {
            Err(Error::BadGeometry { what, value: value.into(), allowed: allowed.to_owned() })
        };
        if !(1..=MEMBERS_MAX).contains(&self.members) {
            return number("members", self.members, "1 to 64");
        }
        if self.max_attempts >= ATTEMPTS_MAX {
            return number("max-attempts", self.max_attempts, "1 to 254, or 0 for without end");
        }
        let from_oldest = match self.start {
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
        let timeout_ms = u32::try_from(self.timeout.as_millis())
            .ok()
            .filter(|ms| (1..=AHEAD_MAX_MS).contains(ms))
            .ok_or_else(|| Error::BadOption {
                option: "processing-timeout",
                value: format!("{:?}", self.timeout),
                allowed: "1 ms to 24 h".to_owned(),
            })?;
        let has_letters = self.delivery == Delivery::AtLeastOnce && self.max_attempts > 0;
        let own = || format!("{}.{}.dead", self.bus.name(), self.name);
        let dead_letters = match &self.dead_letters {
            _ if !has_letters => String::new(),
            Some(given) => given.clone(),
            None => own(),
        };
        if has_letters {
            name::check_name(&dead_letters)?;
        }
        let info = self.bus.info();
        let affinity = self.checked_affinity()?;
        Ok(GroupHeader {
            bus: info.name.clone(),
            name: self.name.clone(),
            dead_letters,
            bus_instance: info.instance,
            instance: RandomState::new().build_hasher().finish(),
            capacity: info.capacity_frames,
            lanes: info.lanes,
            members: self.members,
            timeout_ms,
            attempts_max: if has_letters { self.max_attempts } else { 0 },
            delivery: self.delivery,
            affinity,
            from_oldest,
            created_unix_ns: clock::unix_ns(),
            creator_pid: std::process::id(),
            creator_uid: Uid::effective().as_raw(),
        })
    }

    /// A key that frames of this bus have.
    fn checked_affinity(&self) -> Result<Affinity, Error> {
        let info = self.bus.info();
        let refused = |allowed| {
            let value = self.affinity.to_string();
            Err(Error::BadOption { option: "affinity", value, allowed })
        };
        match self.affinity {
            Affinity::Kind if info.frames == FrameLayout::Bare => refused(
                "off, lane or payload: frames of this bus are bare and have no kind".to_owned(),
            ),
            Affinity::Payload { offset, len }
                if Affinity::from_numbers(self.affinity.numbers()).is_none()
                    || offset.checked_add(len).is_none_or(|end| end > info.payload_bytes) =>
            {
                refused(format!(
                    "1 to 64 bytes of a payload, which has {} on this bus",
                    info.payload_bytes
                ))
            }
            affinity => Ok(affinity),
        }
    }

    /// The steps of the table above.
    fn make(&self, header: &GroupHeader) -> Result<Group, Error> {
        let bus = self.bus;
        let Some(rights) = bus.tie().segment().map(Segment::rights) else {
            return segment::named(bus, &self.name)
                .and(Err(Error::NotFound { name: bus.name().to_owned() }));
        };
        if !header.dead_letters.is_empty() {
            letters::create_bus(header, bus.info(), rights)?;
        }
        let (name, bytes) = (segment_name(bus.name(), &self.name), header.geometry().segment_bytes);
        let encoded = header.encode();
        let image = Image { bytes, header: encoded.as_bytes(), schema: &[], words: &[] };
        let annex = Segment::unnamed(&name, &image, rights)?;
        if !segment::try_lock_alone(&annex)? {
            return Err(fault(bus.name(), &self.name, GroupFault::Busy));
        }
        let groups = GroupRegions::map(&annex, header, Access::ReadWrite)?;
        annex.link()?;
        crash_point!(GroupNamed);
        let made = self.seat(header, &groups);
        if made.is_err() {
            // Ours still: nobody removes what is locked.
            let _gone = file::unlink(&name);
        }
        made?;
        Group::open(bus, &self.name)
    }

    fn seat(&self, header: &GroupHeader, groups: &GroupRegions) -> Result<(), Error> {
        let bus = self.bus;
        let Seated { tie, regions, seat, lanes, .. } =
            bus.tie().consumer(bus.header(), &self.name)?;
        let Some(row) = regions.cursors.row(seat.index) else {
            return Err(fault(bus.name(), &self.name, GroupFault::Busy));
        };
        let capacity = header.capacity;
        let placed: Vec<u64> = lanes
            .iter()
            .zip(row.positions.iter())
            .map(|(lane, cursor)| {
                if header.from_oldest {
                    join::place(cursor, &lane.words, capacity, lane.start)
                } else {
                    join::place_latest(cursor, &lane.words)
                }
            })
            .collect();
        clear_counters(row);
        if regions.geometry.order_capacity > 0 {
            let order = regions.order();
            order::join::place(&order, regions.laps(), regions.origin, &row.words.order_cursor);
        }
        let joining = tie.join(&regions, seat.index)?;
        for ((lane, placed), (cursor, group)) in
            lanes.iter().zip(placed).zip(row.positions.iter().zip(&groups.lanes))
        {
            let held = joining.look(&lane.words, capacity, lane.start, placed);
            let start = if header.from_oldest { held.oldest } else { held.head };
            group.claims.begin(start);
            // ORDERING: relaxed; published with the words, by the CAS below.
            group.hint.next.store(start, Ordering::Relaxed);
            // ORDERING: release, pairs with the acquire load in `LaneWriter::gate`.
            cursor.store(start, Ordering::Release);
        }
        // ORDERING: relaxed; this seat's words are its holder's.
        let state = SeatState::from_word(seat.words.state.load(Ordering::Relaxed));
        let berth = Berth { seat: seat.index, epoch: state.epoch() };
        // ORDERING: release, pairs with the acquire load in `Berth::of`.
        groups.words.berth.store(berth.word(), Ordering::Release);
        crash_point!(GroupNotSeated);
        if !give_to_group(&regions, seat.index, state) {
            tie.leave(&regions, &seat, Role::Consumer);
            return Err(fault(bus.name(), &self.name, GroupFault::Busy));
        }
        crash_point!(GroupSeated);
        regions.note_change();
        Ok(())
    }
}

/// Makes this process's seat the group's. `false`: it was evicted.
fn give_to_group(regions: &Regions, seat: u32, state: SeatState) -> bool {
    let Some((words, group)) = regions.seat(Role::Consumer, seat).zip(state.grouped()) else {
        return false;
    };
    // ORDERING: relaxed; for display, published by the CAS below. Nobody's process.
    words.pid.store(0, Ordering::Relaxed);
    let (old, new) = (state.word(), group.word());
    // ORDERING: release, pairs with the acquire load in `Berth::is_held`; makes the group's words and
    // cursors visible to its members.
    words.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

fn clear_counters(row: &Row) {
    // ORDERING: relaxed for all; statistics, published with the seat.
    row.words.read.store(0, Ordering::Relaxed);
    row.words.lost.store(0, Ordering::Relaxed);
    row.losses.iter().for_each(|lost| lost.store(0, Ordering::Relaxed));
}

/// Removes the segment of a group that has no seat, unless somebody is just giving it one.
fn remove_unfinished(bus: &Bus, group: &str) -> Result<(), Error> {
    let name = segment_name(bus.name(), group);
    let left = match Segment::open(&name, Access::ReadWrite) {
        Ok(left) => left,
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    if !segment::lock_alone(&left)? {
        return Err(fault(bus.name(), group, GroupFault::Busy));
    }
    // With the lock: what the name stands for now is what was locked, and still without a seat, or
    // another's, which is not touched.
    let again = Segment::open(&name, Access::Look);
    if again.is_ok_and(|again| again.is_same(&left)) && Group::open(bus, group).is_err() {
        file::unlink(&name)?;
    }
    Ok(())
}

/// The first thing in which a group is not what is asked for, in words.
fn difference(have: &GroupHeader, want: &GroupHeader) -> Option<String> {
    let pairs = [
        ("delivery", have.delivery.to_string(), want.delivery.to_string()),
        ("affinity", have.affinity.to_string(), want.affinity.to_string()),
        ("members", have.members.to_string(), want.members.to_string()),
        ("max-attempts", have.attempts_max.to_string(), want.attempts_max.to_string()),
        ("processing-timeout in ms", have.timeout_ms.to_string(), want.timeout_ms.to_string()),
        ("dead-letter bus", have.dead_letters.clone(), want.dead_letters.clone()),
    ];
    pairs
        .into_iter()
        .find(|(_, have, want)| have != want)
        .map(|(what, have, want)| format!("{what} is {have}, asked for is {want}"))
}
