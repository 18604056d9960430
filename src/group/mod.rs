//! Consumer groups: members share the work, each frame goes to one of them.
//!
//! A group holds one consumer's seat of its bus, in a standing of its own (`layout::state`): producers
//! wait for its cursors whether or not anybody is attached, and know nothing of groups. What the group
//! knows of each frame is in a segment of its own (`layout::group`), by the protocol of `claims`.
//!
//! ```text
//! create    making one: in which order, and what is left by who dies     segment   file and mappings
//! member    what a working process holds                                  engine    claims, runs, gates
//! sweep     frames whose time is over, whose member is dead, strays       roster    members' seats
//! shares    with affinity: which keys are whose                           pick      claiming those
//! letters   dead letters                                                  wait      sleeping, waking
//! reset     starting anew, and removing                                   waits     with others, in tasks
//! peek      looking at what is not done                                   stat      how it stands
//! settle    acknowledging, refusing                                       done      waiting for members
//! ```
//!
//! Nothing of this needs to know who is alive to go on: a claim ends with its time. Knowing it, by the
//! lock on the member's byte, only makes it end sooner.

mod create;
mod done;
mod engine;
mod letters;
mod member;
mod peek;
mod pick;
mod reset;
mod roster;
mod segment;
mod settle;
mod shares;
mod stat;
mod sweep;
#[cfg(test)]
mod tests;
mod wait;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use create::GroupOptions;
pub use letters::{Cause, DeadLetter, DeadLetters};
pub use member::{Delivered, GroupMember, MemberOptions, OwnedDelivered, Receipt};
pub use stat::{GroupLaneStat, GroupStat, MemberStat};

use crate::bus::Bus;
use crate::error::{Error, GroupFault, PollError};
use crate::layout::group::GroupHeader;
use crate::options::{Affinity, Delivery};
use crate::shm::mapping::Access;
use crate::shm::name;
use crate::shm::segment::{self as file, Segment};
use segment::{Berth, GroupRegions, fault};

/// A consumer group of a bus: looks at it, and makes members.
///
/// Cheap to clone. It holds no seat: the group is there until it is removed, whoever has it open.
///
/// # Examples
/// ```
/// use busway::{Bus, Start};
///
/// # let name = format!("doc-group-{}", std::process::id());
/// # struct Guard(String); // removes the buses whatever happens
/// # impl Drop for Guard { fn drop(&mut self) {
/// #     let _ = Bus::remove(&self.0);
/// #     let _ = Bus::remove(&format!("{}.work.dead", self.0));
/// # } }
/// # let _guard = Guard(name.clone());
/// let bus = Bus::options().create(&name)?;
/// let group = bus.group("work").create()?;
/// let mut producer = bus.producer().attach()?;
/// producer.publish_bytes(1, b"a task")?;
///
/// // In each working process:
/// let mut member = bus.open_group("work")?.member().attach()?;
/// if let Some(task) = member.poll()? {
///     assert_eq!(task.frame().payload(), b"a task");
///     let receipt = task.receipt();
///     member.ack(receipt)?;
/// }
/// assert_eq!(group.stat()?.backlog, 0);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bus: Bus,
    header: GroupHeader,
    info: GroupInfo,
    berth: Berth,
    regions: GroupRegions,
    segment: Segment,
}

/// What a group is: fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its bus.
    pub bus: String,
    /// Its name.
    pub name: String,
    /// What it promises.
    pub delivery: Delivery,
    /// Which frames go to the same member.
    pub affinity: Affinity,
    /// Members that can be attached at a time.
    pub members: u32,
    /// Attempts after which a frame is a dead letter; `None`: it never is.
    pub max_attempts: Option<u32>,
    /// How long a member may take for what it claims together.
    pub processing_timeout: Duration,
    /// The bus for dead letters; `None`: there are none.
    pub dead_letter_bus: Option<String>,
    /// The seat among the bus's consumers that it holds.
    pub seat: u32,
    /// Bytes of its segment.
    pub segment_bytes: u64,
    /// When it was made, nanoseconds since 1970 UTC.
    pub created_unix_ns: u64,
    /// By which process.
    pub creator_pid: u32,
}

impl Bus {
    /// Opens a group of this bus.
    ///
    /// # Errors
    /// [`Error::Group`] when there is none, or it is unfinished or damaged; [`Error::BadName`],
    /// [`Error::Permission`].
    pub fn open_group(&self, name: &str) -> Result<Group, Error> {
        Group::open(self, name)
    }

    /// The names of this bus's groups, sorted. Some may be unfinished, or of a bus of the same name that
    /// is gone; opening one tells.
    ///
    /// # Errors
    /// [`Error::Io`] when shared memory cannot be listed.
    pub fn groups(&self) -> Result<Vec<String>, Error> {
        let prefix = segment::segment_name(self.name(), "");
        let all = file::list_of(self.name())?;
        Ok(all.iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    /// Removes a group: producers wait for it no more, members learn it at their next call. Its dead
    /// letters stay, on their bus.
    ///
    /// # Errors
    /// [`Error::Group`] when there is none; [`Error::BadName`], [`Error::Permission`].
    pub fn remove_group(&self, name: &str) -> Result<(), Error> {
        reset::remove(self, name)
    }
}

impl Group {
    fn open(bus: &Bus, name: &str) -> Result<Self, Error> {
        name::check_name(name)?;
        segment::named(bus, name)?;
        let (segment, header) = segment::open(bus.name(), name, Access::Look)?;
        let info = bus.info();
        let is_of_bus = (header.bus_instance, header.lanes, header.capacity)
            == (info.instance, info.lanes, info.capacity_frames);
        let regions = GroupRegions::map(&segment, &header, Access::Look)?;
        let berth = Berth::of(&regions.words)
            .filter(|berth| is_of_bus && berth.is_held_in(&bus.looked_at()))
            .ok_or_else(|| fault(bus.name(), name, GroupFault::Unfinished))?;
        let info = GroupInfo {
            bus: header.bus.clone(),
            name: header.name.clone(),
            delivery: header.delivery,
            affinity: header.affinity,
            members: header.members,
            max_attempts: Some(header.attempts_max).filter(|&attempts| attempts > 0),
            processing_timeout: Duration::from_millis(header.timeout_ms.into()),
            dead_letter_bus: Some(header.dead_letters.clone()).filter(|name| !name.is_empty()),
            seat: berth.seat,
            segment_bytes: header.geometry().segment_bytes,
            created_unix_ns: header.created_unix_ns,
            creator_pid: header.creator_pid,
        };
        let bus = bus.clone();
        Ok(Self { inner: Arc::new(Inner { bus, header, info, berth, regions, segment }) })
    }

    /// What the group is; never changes.
    #[must_use]
    pub fn info(&self) -> &GroupInfo {
        &self.inner.info
    }

    /// Its bus.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// Whether it has been removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        !self.inner.berth.is_held_in(&self.inner.bus.looked_at())
    }

    /// What a head is that is further ahead of the gate than a ring: nobody waits for a group that is gone.
    fn impossible(&self, lane: u32) -> PollError {
        if self.is_removed() { PollError::Removed } else { PollError::Corrupt { lane } }
    }

    fn header(&self) -> &GroupHeader {
        &self.inner.header
    }
}
