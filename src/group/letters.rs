//! Dead letters: frames that had their attempts, on a bus of their own.
//!
//! The bus is an ordinary one, on which the group `dead` holds what is published until it is replayed or
//! purged: a letter is never overwritten. When the bus is full, the frame stays in its group and is tried
//! again; so a bus of dead letters that nobody looks after ends in producers that wait, and in no loss.
//!
//! A letter's payload is a header, then the frame's payload:
//!
//! ```text
//!   0   8  position        of the frame in its lane
//!   8   8  time_ns         of the frame
//!  16   8  dead_unix_ns    when it became a dead letter
//!  24   4  lane
//!  28   4  producer_pid    of whoever had the lane then; 0: nobody
//!  32   4  attempts
//!  36   4  cause           0 returned, 1 refused, 2 timed out, 3 died: the last attempt's end
//!  40   4  len             bytes of the frame's payload
//!  44   2  kind            of the frame
//!  46   2  flags
//!  48  64  bus             NUL-padded
//! 112  64  group
//! 176  32  producer        its name
//! 208      the payload
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::engine::Engine;
use super::{Group, peek};
use crate::bus::{Bus, BusInfo};
use crate::error::{Error, PublishError};
use crate::layout::claim::Why;
use crate::layout::geometry::PAYLOAD_MAX;
use crate::layout::group::GroupHeader;
use crate::options::{FrameLayout, Start};
use crate::participant::{Participant, Role};
use crate::received::FrameRef;
use crate::seat;
use crate::shm::segment::Rights;
use crate::sync::clock;

/// The group that holds letters on their bus.
const HOLDER: &str = "dead";
/// Letters that a lane of their bus holds.
const CAPACITY: u64 = 1024;
/// The same where payloads are so long that those would take more than some megabytes a lane.
const CAPACITY_MIN: u64 = 16;
const LANE_BYTES: u64 = 4 << 20;
/// Members that send letters at a time.
const LANES: u32 = 4;
const HEADER_BYTES: usize = 208;
/// How long a letter is waited for that may be on its way back from somebody.
const PATIENCE: Duration = Duration::from_millis(10);

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct RawLetter {
    position: u64,
    time_ns: u64,
    dead_unix_ns: u64,
    lane: u32,
    producer_pid: u32,
    attempts: u32,
    cause: u32,
    len: u32,
    kind: u16,
    flags: u16,
    bus: [u8; 64],
    group: [u8; 64],
    producer: [u8; 32],
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<RawLetter>() == HEADER_BYTES);
    assert!(offset_of!(RawLetter, lane) == 24);
    assert!(offset_of!(RawLetter, len) == 40);
    assert!(offset_of!(RawLetter, bus) == 48);
    assert!(offset_of!(RawLetter, producer) == 176);
};

/// How a frame's last attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// Its member left with it.
    Returned,
    /// Its member refused it.
    Refused,
    /// It took longer than the group allows.
    TimedOut,
    /// Its member died.
    Died,
}

impl Cause {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::Died => "died",
        }
    }

    const fn of(why: Why) -> Self {
        match why {
            Why::Returned => Self::Returned,
            Why::Refused => Self::Refused,
            Why::TimedOut => Self::TimedOut,
            Why::Died => Self::Died,
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Returned => 0,
            Self::Refused => 1,
            Self::TimedOut => 2,
            Self::Died => 3,
        }
    }

    const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Returned),
            1 => Some(Self::Refused),
            2 => Some(Self::TimedOut),
            3 => Some(Self::Died),
            _ => None,
        }
    }
}

/// A frame that had its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The bus that it was published on.
    pub bus: String,
    /// The group that could not deal with it.
    pub group: String,
    /// Its lane there.
    pub lane: u32,
    /// Its position in that lane.
    pub position: u64,
    /// The name of whoever had that lane when it became a dead letter; empty: nobody.
    pub producer: String,
    /// The process of that producer.
    pub producer_pid: u32,
    /// How often it was tried.
    pub attempts: u32,
    /// How the last attempt ended.
    pub cause: Cause,
    /// When it was published, on the clock of [`Bus::now_ns`].
    pub time_ns: u64,
    /// When it became a dead letter, nanoseconds since 1970 UTC.
    pub dead_unix_ns: u64,
    /// The event type.
    pub kind: u16,
    /// The user's flags.
    pub flags: u16,
    /// The payload.
    pub payload: Vec<u8>,
}

impl DeadLetter {
    /// Reads a dead letter from the payload of a frame of a bus for them. `None`: it is none.
    #[must_use]
    pub fn from_payload(bytes: &[u8]) -> Option<Self> {
        let (raw, rest) = RawLetter::read_from_prefix(bytes).ok()?;
        let text = |bytes: &[u8]| {
            let used = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(used).into_owned()
        };
        Some(Self {
            bus: text(&raw.bus),
            group: text(&raw.group),
            lane: raw.lane,
            position: raw.position,
            producer: text(&raw.producer),
            producer_pid: raw.producer_pid,
            attempts: raw.attempts,
            cause: Cause::from_number(raw.cause)?,
            time_ns: raw.time_ns,
            dead_unix_ns: raw.dead_unix_ns,
            kind: raw.kind,
            flags: raw.flags,
            payload: rest.get(..usize::try_from(raw.len).ok()?)?.to_vec(),
        })
    }
}

/// Makes the bus for dead letters and the group that holds them, unless they are there.
pub(super) fn create_bus(
    header: &GroupHeader,
    bus: &BusInfo,
    rights: Rights,
) -> Result<Bus, Error> {
    let extra = u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX);
    let payload = bus.payload_bytes.saturating_add(extra);
    if payload > PAYLOAD_MAX {
        return Err(Error::BadGeometry {
            what: "payload of a bus with dead letters",
            value: bus.payload_bytes.into(),
            allowed: format!("at most {} bytes; or no limit of attempts", PAYLOAD_MAX - extra),
        });
    }
    let fitting = LANE_BYTES / u64::from(payload);
    let capacity = (1 << fitting.max(CAPACITY_MIN).ilog2()).min(CAPACITY);
    let mut options = Bus::options()
        .payload_bytes(payload)
        .capacity_frames(capacity)
        .lanes(LANES)
        .consumers(LANES)
        .mode(rights.mode | 0o600)
        .if_not_exists(true);
    if let Some(group) = rights.group {
        options = options.group(group);
    }
    let letters = options.create(&header.dead_letters)?;
    let holder = letters.group(HOLDER).max_attempts(0).start(Start::Oldest).if_not_exists(true);
    holder.create()?;
    Ok(letters)
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Published,
    /// There is no room, no free lane, or no bus.
    HeldUp,
}

/// What it takes to send letters.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// What a lost bus is made anew from.
    parts: Option<Box<(GroupHeader, Bus)>>,
    bytes: Vec<u8>,
}

impl Letters {
    /// For a member of a group.
    pub(super) fn new(bus: &Bus, header: &GroupHeader) -> Self {
        let has_any = !header.dead_letters.is_empty();
        let parts = has_any.then(|| Box::new((header.clone(), bus.clone())));
        Self { parts, bytes: Vec::new() }
    }

    /// Publishes a letter. Cost: an attach; letters are rare, and a lane that is kept would be one that
    /// the others do not have.
    pub(super) fn send(
        &mut self,
        frame: FrameRef<'_>,
        why: Why,
        attempts: u32,
        producer: Option<&Participant>,
    ) -> Sent {
        let Some(parts) = &self.parts else {
            return Sent::HeldUp;
        };
        let (header, bus) = &**parts;
        let raw = RawLetter {
            position: frame.position(),
            time_ns: frame.time_ns(),
            dead_unix_ns: clock::unix_ns(),
            lane: frame.lane(),
            producer_pid: producer.map_or(0, |producer| producer.pid),
            attempts,
            cause: Cause::of(why).number(),
            len: u32::try_from(frame.payload().len()).unwrap_or(0),
            kind: frame.kind(),
            flags: frame.flags(),
            bus: text(&header.bus),
            group: text(&header.name),
            producer: text(producer.map_or("", |producer| &producer.name)),
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(raw.as_bytes());
        self.bytes.extend_from_slice(frame.payload());
        let sent = publish(bus, header, frame.kind(), &self.bytes);
        if sent.is_ok() { Sent::Published } else { Sent::HeldUp }
    }
}

fn publish(bus: &Bus, header: &GroupHeader, kind: u16, bytes: &[u8]) -> Result<(), Error> {
    // Both have to be there: without the group that holds letters the next lap would overwrite them.
    let open = || {
        let letters = Bus::open(&header.dead_letters)?;
        letters.open_group(HOLDER).map(|_| letters)
    };
    let letters = if let Ok(letters) = open() {
        letters
    } else {
        let named = bus.tie().segment().ok_or(Error::Publish(PublishError::Removed))?;
        create_bus(header, bus.info(), named.rights())?
    };
    let name = format!("{}.{}", header.bus, header.name);
    // Whoever attaches gets the first lane that is free: those that are full are held meanwhile.
    let mut full = Vec::new();
    loop {
        let mut producer = letters.producer().name(&name).attach()?;
        match producer.try_publish_bytes(kind, bytes) {
            Err(PublishError::Full) if full.len() < LANES as usize => full.push(producer),
            published => return published.map(|_| ()).map_err(Error::from),
        }
    }
}

impl Engine {
    /// Who has a lane of the bus now.
    pub(super) fn producer_of(&self, lane: u32) -> Option<Participant> {
        let words = self.regions.seat(Role::Producer, lane)?;
        // Nobody asks whether it lives: it is named as whom it was.
        seat::occupant_of(&words, Role::Producer, lane, || true)
    }
}

/// The dead letters of a group: from [`Group::dead_letters`].
#[derive(Clone, Debug)]
pub struct DeadLetters {
    holder: Group,
    of: Group,
}

impl Group {
    /// The group's dead letters. `None`: it has none ever, being an at-most-once group or one without a
    /// limit of attempts.
    ///
    /// # Errors
    /// [`Error::NotFound`] when their bus was removed; as [`Bus::open`] and [`Bus::open_group`].
    pub fn dead_letters(&self) -> Result<Option<DeadLetters>, Error> {
        let Some(name) = &self.info().dead_letter_bus else {
            return Ok(None);
        };
        let holder = Bus::open(name)?.open_group(HOLDER)?;
        Ok(Some(DeadLetters { holder, of: self.clone() }))
    }
}

impl DeadLetters {
    /// The bus that they are on.
    #[must_use]
    pub fn bus(&self) -> &Bus {
        self.holder.bus()
    }

    /// Those of this group that have been neither replayed nor purged, lane by lane of their bus.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::Poll`] for words that no honest participant writes.
    pub fn list(&self) -> Result<Vec<DeadLetter>, Error> {
        let mut letters = Vec::new();
        peek::pending(&self.holder, |frame| {
            letters
                .extend(DeadLetter::from_payload(frame.payload()).filter(|one| self.is_ours(one)));
        })?;
        Ok(letters)
    }

    /// Publishes up to `most` of them again, on the bus that they come from, as frames with the same
    /// payload, kind and flags; each is then no dead letter any more. Returns how many.
    ///
    /// Who dies between the two leaves a letter that can be replayed again. Stops when there is no room.
    ///
    /// # Errors
    /// [`Error::Publish`] when there is no room for the first; [`Error::SeatsTaken`] when the bus has no
    /// free lane.
    pub fn replay(&self, most: u64) -> Result<u64, Error> {
        let mut producer = self.of.bus().producer().name("dlq replay").attach()?;
        let is_event = self.of.bus().info().frames == FrameLayout::Event;
        self.settle(most, |letter| {
            let mut claim = producer.try_claim()?;
            let (len, payload) = (letter.payload.len(), claim.payload_mut());
            let max = payload.len();
            let place = payload.get_mut(..len).ok_or(PublishError::TooLarge { len, max })?;
            place.copy_from_slice(&letter.payload);
            if is_event {
                claim.set_len(letter.payload.len())?;
                claim.set_kind(letter.kind);
                claim.set_flags(letter.flags);
            }
            claim.commit().map(|_| ())
        })
    }

    /// Drops up to `most` of them for good. Returns how many.
    ///
    /// # Errors
    /// [`Error::SeatsTaken`], [`Error::Permission`].
    pub fn purge(&self, most: u64) -> Result<u64, Error> {
        self.settle(most, |_| Ok(()))
    }

    /// Takes letters of this group, does something with each, and acknowledges it.
    fn settle(
        &self,
        most: u64,
        mut deal: impl FnMut(&DeadLetter) -> Result<(), PublishError>,
    ) -> Result<u64, Error> {
        let mut member = self.holder.member().name("dlq").batch(1).attach()?;
        let mut done = 0;
        let mut failed = None;
        while done < most && failed.is_none() {
            // A letter that another had and did not deal with comes by the sweep.
            let Some(taken) = member.receive(PATIENCE)? else {
                break;
            };
            let receipt = taken.receipt();
            let letter = DeadLetter::from_payload(taken.frame().payload());
            // Another group's, on a bus that both use, goes back when this member leaves.
            let Some(letter) = letter.filter(|letter| self.is_ours(letter)) else {
                continue;
            };
            match deal(&letter) {
                Ok(()) => {
                    member.ack(receipt)?;
                    done += 1;
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if done == 0 => Err(error.into()),
            _ => Ok(done),
        }
    }

    fn is_ours(&self, letter: &DeadLetter) -> bool {
        letter.bus == self.of.info().bus && letter.group == self.of.info().name
    }
}

/// A name in its place, cut to it.
fn text<const BYTES: usize>(name: &str) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (byte, from) in bytes.iter_mut().zip(name.bytes()) {
        *byte = from;
    }
    bytes
}
