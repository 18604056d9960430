//! The header: the first 512 bytes of a segment, which never change once the bus has its name.
//!
//! ```text
//! offset size
//!      0    8  magic "BUSWAY\0\0"
//!      8    4  layout_version = 2
//!     12    4  fixed_bytes = 512
//!     16    8  features_incompat   a reader that knows not all of these bits must not attach;
//!                                  1 brokered: the regions after control are in memory of their own
//!                                  2 table: what follows at 48 is that of a table (`layout::table`)
//!     24    8  features_ro_compat  … may observe, must not attach
//!     32    8  features_compat     … may ignore them
//!     40    8  segment_bytes
//!     48    4  topology            0 single, 1 lanes, 2 ordered
//!     52    4  frames              0 event, 1 bare
//!     56    4  on_full             0 block, 1 reject, 2 drop-oldest
//!     60    4  timestamps          0 off, 1 batch, 2 frame
//!     64    4  payload_bytes       capacity of a frame
//!     68    4  align_bytes         8, 16 or 64
//!     72    4  stride_bytes        from one slot to the next
//!     76    4  lanes
//!     80    4  consumers
//!     84    4  clock               1 CLOCK_MONOTONIC, nanoseconds
//!     88    8  capacity            frames per lane, a power of two
//!     96    8  order_capacity      entries, a power of two; 0 unless ordered
//!    104    8  origin              first position of every lane and first ticket
//!    112    8  schema_hash         0 none
//!    120    4  schema_bytes        JSON document at offset 512
//!    124    4  (zero)
//!    128    8  created_unix_ns
//!    136    4  creator_pid
//!    140    4  creator_uid
//!    144    8  instance            random: tells two buses of one name apart
//!    152   64  name                NUL-padded
//!    216   96  regions             offset and bytes of header, control, cursors, heads, order, data
//!    312    8  row_bytes           from one consumer's row to the next: cursors, losses, latencies
//!    320    8  lane_bytes          from one lane's data to the next
//!    328    8  tickets_offset      of the tickets in a lane's data
//!    336    8  evict_lag           frames behind at which a consumer is evicted; 0 never
//!    344    8  evict_after_ns      standing still, in a producer's way; 0 never
//!    352  152  (zero)
//!    504    8  checksum            FNV-1a 64 of bytes 0..504, then of the schema document
//! ```

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::geometry::{Geometry, Region, Shape};
use crate::fnv;
use crate::options::{FrameLayout, OnFull, Timestamps, Topology};

/// What every segment starts with.
pub(crate) const MAGIC: [u8; 8] = *b"BUSWAY\0\0";
/// The layout that this build writes and reads.
pub(crate) const LAYOUT_VERSION: u32 = 2;
/// Bytes of the fixed part.
pub(crate) const FIXED_BYTES: u64 = 512;
/// `features_incompat`: what follows the control region is not in this file.
pub(crate) const BROKERED: u64 = 1;
/// `features_incompat`: the segment is a table's.
pub(crate) const TABLE: u64 = 2;
/// `features_ro_compat`: slow consumers are evicted, so that consumers have to read by checked copies
/// and producers to skip the cursors of the evicted.
pub(crate) const FEATURE_EVICTS: u64 = 1;
/// The features that who writes to a bus must know, and this build does.
pub(crate) const FEATURES_KNOWN: u64 = FEATURE_EVICTS;
/// `clock`: `CLOCK_MONOTONIC` in nanoseconds.
pub(crate) const CLOCK_MONOTONIC: u32 = 1;

/// The fixed part as it stands in memory.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct RawHeader {
    magic: [u8; 8],
    layout_version: u32,
    fixed_bytes: u32,
    features_incompat: u64,
    features_ro_compat: u64,
    features_compat: u64,
    segment_bytes: u64,
    topology: u32,
    frames: u32,
    on_full: u32,
    timestamps: u32,
    payload_bytes: u32,
    align_bytes: u32,
    stride_bytes: u32,
    lanes: u32,
    consumers: u32,
    clock: u32,
    capacity: u64,
    order_capacity: u64,
    origin: u64,
    schema_hash: u64,
    schema_bytes: u32,
    _zero0: u32,
    created_unix_ns: u64,
    creator_pid: u32,
    creator_uid: u32,
    instance: u64,
    name: [u8; 64],
    regions: [[u64; 2]; 6],
    row_bytes: u64,
    lane_bytes: u64,
    tickets_offset: u64,
    evict_lag: u64,
    evict_after_ns: u64,
    _zero1: [u64; 19],
    checksum: u64,
}

const _: () = {
    assert!(size_of::<RawHeader>() as u64 == FIXED_BYTES);
    assert!(offset_of!(RawHeader, segment_bytes) == 40);
    assert!(offset_of!(RawHeader, payload_bytes) == 64);
    assert!(offset_of!(RawHeader, clock) == 84);
    assert!(offset_of!(RawHeader, capacity) == 88);
    assert!(offset_of!(RawHeader, origin) == 104);
    assert!(offset_of!(RawHeader, schema_bytes) == 120);
    assert!(offset_of!(RawHeader, instance) == 144);
    assert!(offset_of!(RawHeader, name) == 152);
    assert!(offset_of!(RawHeader, regions) == 216);
    assert!(offset_of!(RawHeader, tickets_offset) == 328);
    assert!(offset_of!(RawHeader, evict_lag) == 336);
    assert!(offset_of!(RawHeader, evict_after_ns) == 344);
    assert!(offset_of!(RawHeader, checksum) == 504);
};

/// A header that has been checked: its geometry is the one its shape gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) geometry: Geometry,
    /// Whether this heads a board, which ends with the control region, and not a whole segment.
    pub(crate) brokered: bool,
    /// Features that whoever writes to the bus must know.
    pub(crate) features_ro_compat: u64,
    /// When a consumer that is slow has to go; `None`: never.
    pub(crate) evict: Option<Evict>,
    pub(crate) origin: u64,
    pub(crate) schema_hash: u64,
    pub(crate) created_unix_ns: u64,
    pub(crate) creator_pid: u32,
    pub(crate) creator_uid: u32,
    pub(crate) instance: u64,
}

/// When a live consumer that holds producers up loses its place. At least one of the two is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evict {
    /// So many frames behind on a lane; 0: however many.
    pub(crate) lag: u64,
    /// Standing still for so long while a producer waits for it; 0: however long.
    pub(crate) after_ns: u64,
}

/// Why bytes are not a header of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not a segment of busway, or a damaged one.
    Corrupt(String),
    /// A segment of another layout.
    Incompatible(String),
    /// A segment of the other kind: a table where a bus was looked for, or a bus where a table was.
    OtherKind,
}

impl Header {
    /// The fixed part as bytes, with its checksum.
    #[allow(clippy::cast_possible_truncation)] // 512
    pub(crate) fn encode(&self, name: &str, schema: &[u8]) -> RawHeader {
        let Geometry { shape, .. } = self.geometry;
        let mut raw = RawHeader {
            magic: MAGIC,
            layout_version: LAYOUT_VERSION,
            fixed_bytes: FIXED_BYTES as u32,
            features_incompat: if self.brokered { BROKERED } else { 0 },
            features_ro_compat: self.features_ro_compat,
            features_compat: 0,
            segment_bytes: self.geometry.segment_bytes,
            topology: shape.topology.number(),
            frames: shape.frames.number(),
            on_full: shape.on_full.number(),
            timestamps: shape.timestamps.number(),
            payload_bytes: shape.payload_bytes,
            align_bytes: shape.align_bytes,
            stride_bytes: self.geometry.stride_bytes,
            lanes: shape.lanes,
            consumers: shape.consumers,
            clock: CLOCK_MONOTONIC,
            capacity: shape.capacity,
            order_capacity: self.geometry.order_capacity,
            origin: self.origin,
            schema_hash: self.schema_hash,
            schema_bytes: shape.schema_bytes,
            _zero0: 0,
            created_unix_ns: self.created_unix_ns,
            creator_pid: self.creator_pid,
            creator_uid: self.creator_uid,
            instance: self.instance,
            name: [0; 64],
            regions: regions(&self.geometry),
            row_bytes: self.geometry.row_bytes,
            lane_bytes: self.geometry.lane_bytes,
            tickets_offset: self.geometry.tickets_offset,
            evict_lag: self.evict.map_or(0, |evict| evict.lag),
            evict_after_ns: self.evict.map_or(0, |evict| evict.after_ns),
            _zero1: [0; 19],
            checksum: 0,
        };
        for (byte, from) in raw.name.iter_mut().zip(name.bytes()) {
            *byte = from;
        }
        raw.checksum = checksum(&raw, schema);
        raw
    }
}

impl RawHeader {
    /// Makes the checksum right, whatever the rest says.
    #[cfg(fuzzing)]
    pub(crate) fn sum_up(&mut self, schema: &[u8]) {
        self.checksum = checksum(self, schema);
    }

    /// How many bytes of schema document follow, if the fixed part looks like one of ours at all
    /// and needs the very `features` that the caller is prepared for.
    ///
    /// # Errors
    /// Says what else the bytes are.
    pub(crate) fn schema_bytes(&self, features: u64) -> Result<u32, HeaderError> {
        if self.magic != MAGIC {
            return Err(HeaderError::Corrupt("it does not start with busway's magic".to_owned()));
        }
        if self.layout_version != LAYOUT_VERSION {
            return Err(HeaderError::Incompatible(format!(
                "segment layout {}, this build reads {LAYOUT_VERSION}",
                self.layout_version
            )));
        }
        if self.features_incompat == TABLE {
            return Err(HeaderError::OtherKind);
        }
        if self.features_incompat != features {
            return Err(HeaderError::Incompatible(format!(
                "it needs features {:#x}, expected here is {features:#x}",
                self.features_incompat
            )));
        }
        if u64::from(self.fixed_bytes) != FIXED_BYTES {
            return Err(HeaderError::Corrupt(format!(
                "a fixed part of {} bytes, layout {LAYOUT_VERSION} has {FIXED_BYTES}",
                self.fixed_bytes
            )));
        }
        if self.schema_bytes > super::geometry::SCHEMA_MAX {
            return Err(HeaderError::Corrupt(format!(
                "schema document of {} bytes",
                self.schema_bytes
            )));
        }
        Ok(self.schema_bytes)
    }

    /// Checks everything, against the bytes of the schema and the size of the file.
    ///
    /// # Errors
    /// Says what is wrong.
    pub(crate) fn check(
        &self,
        name: &str,
        schema: &[u8],
        file_bytes: u64,
        features: u64,
    ) -> Result<Header, HeaderError> {
        let corrupt = |what: &str| HeaderError::Corrupt(what.to_owned());
        let schema_bytes = self.schema_bytes(features)?;
        if self.checksum != checksum(self, schema) {
            return Err(corrupt("its header's checksum is wrong"));
        }
        let named = self.name.split(|&byte| byte == 0).next().unwrap_or_default();
        if named != name.as_bytes() {
            return Err(corrupt("its header has another bus's name"));
        }
        if self.clock != CLOCK_MONOTONIC {
            return Err(HeaderError::Incompatible(format!(
                "clock {}, this build knows {CLOCK_MONOTONIC}",
                self.clock
            )));
        }
        let shape = Shape {
            topology: Topology::from_number(self.topology).ok_or(corrupt("unknown topology"))?,
            on_full: OnFull::from_number(self.on_full).ok_or(corrupt("unknown on-full policy"))?,
            timestamps: Timestamps::from_number(self.timestamps)
                .ok_or(corrupt("unknown timestamps"))?,
            frames: FrameLayout::from_number(self.frames).ok_or(corrupt("unknown frame layout"))?,
            payload_bytes: self.payload_bytes,
            align_bytes: self.align_bytes,
            capacity: self.capacity,
            lanes: self.lanes,
            consumers: self.consumers,
            schema_bytes,
        };
        let geometry =
            Geometry::of(shape).map_err(|error| HeaderError::Corrupt(error.to_string()))?;
        let stated = (self.stride_bytes, self.order_capacity, self.regions, self.row_bytes);
        let computed = (
            geometry.stride_bytes,
            geometry.order_capacity,
            regions(&geometry),
            geometry.row_bytes,
        );
        let lanes_agree = (self.lane_bytes, self.tickets_offset)
            == (geometry.lane_bytes, geometry.tickets_offset);
        if stated != computed || !lanes_agree || self.segment_bytes != geometry.segment_bytes {
            return Err(corrupt("its regions are not where its shape puts them"));
        }
        let brokered = features == BROKERED;
        let bytes = if brokered { geometry.board_bytes() } else { geometry.segment_bytes };
        if file_bytes != bytes {
            return Err(HeaderError::Corrupt(format!(
                "the file has {file_bytes} bytes, its header says {bytes}"
            )));
        }
        let evict = Evict { lag: self.evict_lag, after_ns: self.evict_after_ns };
        let evicts = self.features_ro_compat & FEATURE_EVICTS != 0;
        let has_limit = evict.lag != 0 || evict.after_ns != 0;
        if evicts != has_limit || (evicts && !shape.on_full.is_lossless()) {
            return Err(corrupt("its rule for slow consumers contradicts itself"));
        }
        Ok(Header {
            geometry,
            brokered,
            features_ro_compat: self.features_ro_compat,
            evict: evicts.then_some(evict),
            origin: self.origin,
            schema_hash: self.schema_hash,
            created_unix_ns: self.created_unix_ns,
            creator_pid: self.creator_pid,
            creator_uid: self.creator_uid,
            instance: self.instance,
        })
    }
}

fn regions(geometry: &Geometry) -> [[u64; 2]; 6] {
    let Geometry { header, control, cursors, heads, order, data, .. } = *geometry;
    [header, control, cursors, heads, order, data].map(|Region { offset, bytes }| [offset, bytes])
}

fn checksum(raw: &RawHeader, schema: &[u8]) -> u64 {
    let fixed = raw.as_bytes();
    let summed = fixed.get(..offset_of!(RawHeader, checksum)).unwrap_or(fixed);
    fnv::fnv1a64(fnv::fnv1a64(fnv::OFFSET, summed), schema)
}
