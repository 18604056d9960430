//! A consumer group's own segment: what it is, who its members are, and a word per frame.
//!
//! ```text
//! /dev/shm/busway.BUS@GROUP = header | control | lanes | words | shares   (each starts on a page)
//!
//! header   512 bytes of constants; never changes once linked to its name
//! control  128 bytes: the group's seat in the bus, counters; then 256 bytes per member
//! lanes    64 bytes per lane: where to look for frames that nobody has claimed
//! words    per lane: capacity × 8 bytes, one claim word (`layout::claim`) per slot
//! shares   with affinity: 256 × 8 bytes, whose each share of the keys is (`layout::share`)
//! ```
//!
//! ```text
//! offset size
//!      0    8  magic "BUSWAYG\0"
//!      8    4  layout_version = 1
//!     12    4  fixed_bytes = 512
//!     16    8  features_incompat   1 affinity; a reader that knows not all of these bits must not use it
//!     24    8  segment_bytes
//!     32    8  bus_instance        of the bus that it belongs to
//!     40    8  instance            random: tells two groups of one name apart
//!     48    8  capacity            frames per lane of that bus
//!     56    4  lanes               of that bus
//!     60    4  members             that can attach at a time
//!     64    4  timeout_ms          for a frame's processing
//!     68    4  attempts_max        before a frame is a dead letter; 0: it never is
//!     72    4  delivery            0 at least once, 1 at most once
//!     76    4  start               0 latest, 1 oldest
//!     80    8  created_unix_ns
//!     88    4  creator_pid
//!     92    4  creator_uid
//!     96   64  bus                 its name, NUL-padded
//!    160   64  name                the group's
//!    224   64  dead_letters        name of the bus for them; empty: none
//!    288    4  affinity            0 off, 1 kind, 2 lane, 3 bytes of the payload
//!    292    4  key_offset          of those bytes; else 0
//!    296    4  key_bytes           how many: 1 to 64; else 0
//!    300    4  shares              256 with affinity, else 0
//!    304  200  (zero)
//!    504    8  checksum            FNV-1a 64 of bytes 0..504
//! ```

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::PAGE_BYTES;
use super::claim::{AHEAD_MAX_MS, ATTEMPTS_MAX, MEMBERS_MAX};
use super::geometry::{CAPACITY_MAX, CAPACITY_MIN, LANES_MAX, Region};
use super::share::SHARES;
use super::words::SeatWords;
use crate::fnv;
use crate::options::{Affinity, Delivery};
use crate::sync::AtomicU64;

const MAGIC: [u8; 8] = *b"BUSWAYG\0";
const LAYOUT_VERSION: u32 = 1;
/// The group has shares, which every member must respect: set with affinity, and only then.
const AFFINITY: u64 = 1;
/// Bytes of the header.
pub(crate) const FIXED_BYTES: u64 = 512;
/// Bytes of the [`GroupWords`]; the members follow.
pub(crate) const GROUP_WORDS_BYTES: u64 = 128;
/// Bytes of a [`MemberWords`].
pub(crate) const MEMBER_WORDS_BYTES: u64 = 256;
/// Bytes of a [`HintWords`].
pub(crate) const HINT_WORDS_BYTES: u64 = 64;

/// The header as it stands in memory.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct RawGroup {
    magic: [u8; 8],
    layout_version: u32,
    fixed_bytes: u32,
    features_incompat: u64,
    segment_bytes: u64,
    bus_instance: u64,
    instance: u64,
    capacity: u64,
    lanes: u32,
    members: u32,
    timeout_ms: u32,
    attempts_max: u32,
    delivery: u32,
    start: u32,
    created_unix_ns: u64,
    creator_pid: u32,
    creator_uid: u32,
    bus: [u8; 64],
    name: [u8; 64],
    dead_letters: [u8; 64],
    affinity: u32,
    key_offset: u32,
    key_bytes: u32,
    shares: u32,
    _zero: [u64; 25],
    checksum: u64,
}

const _: () = {
    assert!(size_of::<RawGroup>() as u64 == FIXED_BYTES);
    assert!(offset_of!(RawGroup, segment_bytes) == 24);
    assert!(offset_of!(RawGroup, capacity) == 48);
    assert!(offset_of!(RawGroup, lanes) == 56);
    assert!(offset_of!(RawGroup, timeout_ms) == 64);
    assert!(offset_of!(RawGroup, created_unix_ns) == 80);
    assert!(offset_of!(RawGroup, bus) == 96);
    assert!(offset_of!(RawGroup, dead_letters) == 224);
    assert!(offset_of!(RawGroup, affinity) == 288);
    assert!(offset_of!(RawGroup, shares) == 300);
    assert!(offset_of!(RawGroup, checksum) == 504);
};

/// The words of a whole group.
///
/// ```text
///   0  berth             the group's seat in the bus: epoch << 8 | seat + 1; 0 not yet
///   8  refused           attempts that a member refused
///  16  timed_out         attempts that took too long
///  24  died              attempts whose member died
///  32  dead_letters      frames that were dead-lettered
///  40  letters_held_up   dead letters for which there was no room
///  48  (reserved)
/// 128
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct GroupWords {
    pub(crate) berth: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) died: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) letters_held_up: AtomicU64,
    pub(crate) _rest: [AtomicU64; 10],
}

/// A member's seat, and what its holders did: counters go on from one to the next.
///
/// ```text
///   0  seat              128 bytes, as a participant's of the bus
/// 128  claimed           frames claimed
/// 136  acknowledged      frames acknowledged
/// 144  too_late          acknowledgements that came too late
/// 152  asked_ns          with affinity: when it last asked for work, a millisecond less or more
/// 160  (reserved)
/// 256
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct MemberWords {
    pub(crate) seat: SeatWords,
    pub(crate) claimed: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) too_late: AtomicU64,
    pub(crate) asked_ns: AtomicU64,
    pub(crate) _rest: [AtomicU64; 12],
}

/// Where to look for frames of a lane that nobody has claimed. A hint: frames before it that are
/// fresh all the same are found by the sweep.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct HintWords {
    pub(crate) next: AtomicU64,
    pub(crate) _rest: [AtomicU64; 7],
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<GroupWords>() as u64 == GROUP_WORDS_BYTES);
    assert!(offset_of!(GroupWords, berth) == 0);
    assert!(offset_of!(GroupWords, letters_held_up) == 40);
    assert!(size_of::<MemberWords>() as u64 == MEMBER_WORDS_BYTES);
    assert!(offset_of!(MemberWords, claimed) == 128);
    assert!(offset_of!(MemberWords, too_late) == 144);
    assert!(offset_of!(MemberWords, asked_ns) == 152);
    assert!(size_of::<HintWords>() as u64 == HINT_WORDS_BYTES);
};

/// A group's constants, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    pub(crate) bus: String,
    pub(crate) name: String,
    /// The bus for dead letters; empty: there is none.
    pub(crate) dead_letters: String,
    pub(crate) bus_instance: u64,
    pub(crate) instance: u64,
    pub(crate) capacity: u64,
    pub(crate) lanes: u32,
    pub(crate) members: u32,
    pub(crate) timeout_ms: u32,
    pub(crate) attempts_max: u32,
    pub(crate) delivery: Delivery,
    pub(crate) affinity: Affinity,
    /// Whether it was to start at the oldest frames.
    pub(crate) from_oldest: bool,
    pub(crate) created_unix_ns: u64,
    pub(crate) creator_pid: u32,
    pub(crate) creator_uid: u32,
}

/// Where everything is in a group's segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupGeometry {
    pub(crate) control: Region,
    pub(crate) hints: Region,
    pub(crate) words: Region,
    /// Empty without affinity.
    pub(crate) shares: Region,
    /// Bytes from one lane's words to the next.
    pub(crate) lane_bytes: u64,
    pub(crate) segment_bytes: u64,
}

impl GroupHeader {
    /// Where everything is. The largest, 256 lanes of 2^24 words, is below 2^36 bytes.
    pub(crate) fn geometry(&self) -> GroupGeometry {
        let mut end = FIXED_BYTES.next_multiple_of(PAGE_BYTES);
        let mut region = |bytes: u64| {
            let offset = end;
            end = (offset + bytes).next_multiple_of(PAGE_BYTES);
            Region { offset, bytes }
        };
        let lane_bytes = (self.capacity * 8).next_multiple_of(64);
        let control = region(GROUP_WORDS_BYTES + u64::from(self.members) * MEMBER_WORDS_BYTES);
        let hints = region(u64::from(self.lanes) * HINT_WORDS_BYTES);
        let words = region(u64::from(self.lanes) * lane_bytes);
        let shares = region(u64::from(self.shares()) * 8);
        GroupGeometry { control, hints, words, shares, lane_bytes, segment_bytes: end }
    }

    /// How many shares its keys are in; 0 without affinity.
    pub(crate) fn shares(&self) -> u32 {
        if self.affinity == Affinity::Off { 0 } else { SHARES }
    }

    /// The header as bytes, with its checksum.
    #[allow(clippy::cast_possible_truncation)] // 512
    pub(crate) fn encode(&self) -> RawGroup {
        let [affinity, key_offset, key_bytes] = self.affinity.numbers();
        let mut raw = RawGroup {
            magic: MAGIC,
            layout_version: LAYOUT_VERSION,
            fixed_bytes: FIXED_BYTES as u32,
            features_incompat: if self.shares() > 0 { AFFINITY } else { 0 },
            segment_bytes: self.geometry().segment_bytes,
            bus_instance: self.bus_instance,
            instance: self.instance,
            capacity: self.capacity,
            lanes: self.lanes,
            members: self.members,
            timeout_ms: self.timeout_ms,
            attempts_max: self.attempts_max,
            delivery: self.delivery.number(),
            start: self.from_oldest.into(),
            created_unix_ns: self.created_unix_ns,
            creator_pid: self.creator_pid,
            creator_uid: self.creator_uid,
            bus: text(&self.bus),
            name: text(&self.name),
            dead_letters: text(&self.dead_letters),
            affinity,
            key_offset,
            key_bytes,
            shares: self.shares(),
            _zero: [0; 25],
            checksum: 0,
        };
        raw.checksum = checksum(&raw);
        raw
    }

    /// Checks a header as it was read, for the group `name` of `bus`, in a file of so many bytes.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn check(
        raw: &RawGroup,
        bus: &str,
        name: &str,
        file_bytes: u64,
    ) -> Result<Self, String> {
        if raw.magic != MAGIC {
            return Err("it does not start with the magic of a group".to_owned());
        }
        if raw.layout_version != LAYOUT_VERSION || raw.features_incompat & !AFFINITY != 0 {
            return Err(format!(
                "layout {} with features {:#x}, this build reads layout {LAYOUT_VERSION}",
                raw.layout_version, raw.features_incompat
            ));
        }
        if raw.checksum != checksum(raw) {
            return Err("its header's checksum is wrong".to_owned());
        }
        if named(&raw.bus) != bus.as_bytes() || named(&raw.name) != name.as_bytes() {
            return Err("its header has another group's name".to_owned());
        }
        let is_fit = (CAPACITY_MIN..=CAPACITY_MAX).contains(&raw.capacity)
            && raw.capacity.is_power_of_two()
            && (1..=LANES_MAX).contains(&raw.lanes)
            && (1..=MEMBERS_MAX).contains(&raw.members)
            && (1..=AHEAD_MAX_MS).contains(&raw.timeout_ms)
            && raw.attempts_max < ATTEMPTS_MAX
            && raw.start <= 1;
        let texts = std::str::from_utf8(named(&raw.dead_letters)).ok();
        let affinity = Affinity::from_numbers([raw.affinity, raw.key_offset, raw.key_bytes]);
        let parts = Delivery::from_number(raw.delivery).zip(affinity).zip(texts).filter(|_| is_fit);
        let Some(((delivery, affinity), dead_letters)) = parts else {
            return Err("its header has values that no group has".to_owned());
        };
        let header = Self {
            bus: bus.to_owned(),
            name: name.to_owned(),
            dead_letters: dead_letters.to_owned(),
            bus_instance: raw.bus_instance,
            instance: raw.instance,
            capacity: raw.capacity,
            lanes: raw.lanes,
            members: raw.members,
            timeout_ms: raw.timeout_ms,
            attempts_max: raw.attempts_max,
            delivery,
            affinity,
            from_oldest: raw.start == 1,
            created_unix_ns: raw.created_unix_ns,
            creator_pid: raw.creator_pid,
            creator_uid: raw.creator_uid,
        };
        let features = if header.shares() > 0 { AFFINITY } else { 0 };
        if (raw.shares, raw.features_incompat) != (header.shares(), features) {
            return Err("its header contradicts itself about affinity".to_owned());
        }
        let bytes = header.geometry().segment_bytes;
        if raw.segment_bytes != bytes || file_bytes != bytes {
            return Err(format!("a file of {file_bytes} bytes, its shape takes {bytes}"));
        }
        Ok(header)
    }
}

/// A name in its place. Names have been checked to fit.
fn text(name: &str) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (byte, from) in bytes.iter_mut().zip(name.bytes()) {
        *byte = from;
    }
    bytes
}

fn named(bytes: &[u8; 64]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn checksum(raw: &RawGroup) -> u64 {
    let bytes = raw.as_bytes();
    fnv::fnv1a64(fnv::OFFSET, bytes.get(..offset_of!(RawGroup, checksum)).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> GroupHeader {
        GroupHeader {
            bus: "b".to_owned(),
            name: "g".to_owned(),
            dead_letters: "b.g.dead".to_owned(),
            bus_instance: 7,
            instance: 8,
            capacity: 1024,
            lanes: 3,
            members: 16,
            timeout_ms: 30_000,
            attempts_max: 5,
            delivery: Delivery::AtLeastOnce,
            affinity: Affinity::Off,
            from_oldest: true,
            created_unix_ns: 9,
            creator_pid: 1,
            creator_uid: 2,
        }
    }

    #[test]
    fn header_comes_back_as_it_was_written() {
        let (header, raw) = (header(), header().encode());
        let bytes = header.geometry().segment_bytes;
        assert_eq!(GroupHeader::check(&raw, "b", "g", bytes), Ok(header));
        assert!(GroupHeader::check(&raw, "b", "h", bytes).is_err());
        assert!(GroupHeader::check(&raw, "b", "g", bytes - 1).is_err());
    }

    #[test]
    fn group_with_affinity_has_a_page_more_and_a_bit_that_older_builds_refuse() {
        let plain = header().geometry();
        let keyed = |affinity| GroupHeader { affinity, ..header() };
        let payload = Affinity::Payload { offset: 3, len: 8 };
        for keyed in [Affinity::Kind, Affinity::Lane, payload].map(keyed) {
            let (raw, geometry) = (keyed.encode(), keyed.geometry());
            assert_eq!((raw.features_incompat, header().encode().features_incompat), (1, 0));
            assert_eq!((geometry.words, geometry.shares.bytes), (plain.words, 2048));
            assert_eq!(geometry.segment_bytes, plain.segment_bytes + PAGE_BYTES);
            let bytes = geometry.segment_bytes;
            assert_eq!(GroupHeader::check(&raw, "b", "g", bytes), Ok(keyed));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_groups_header_is_noticed() {
        let bytes = header().geometry().segment_bytes;
        for bit in 0..size_of::<RawGroup>() * 8 {
            let mut raw = header().encode();
            raw.as_mut_bytes()[bit / 8] ^= 1 << (bit % 8);
            assert!(GroupHeader::check(&raw, "b", "g", bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_whatever_the_checksum_says() {
        let bytes = header().geometry().segment_bytes;
        let spoil: [fn(&mut RawGroup); 10] = [
            |raw| raw.members = 65,
            |raw| raw.lanes = 0,
            |raw| raw.capacity = 3,
            |raw| raw.timeout_ms = 0,
            |raw| raw.delivery = 2,
            |raw| raw.attempts_max = 255,
            |raw| raw.affinity = 1,
            |raw| raw.features_incompat = 1,
            |raw| raw.shares = 256,
            |raw| raw.key_bytes = 8,
        ];
        for spoil in spoil {
            let mut raw = header().encode();
            spoil(&mut raw);
            raw.checksum = checksum(&raw);
            assert!(GroupHeader::check(&raw, "b", "g", bytes).is_err());
        }
    }
}
