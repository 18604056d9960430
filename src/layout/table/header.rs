//! The header of a table: the first 512 bytes of its segment, which never change once it has its name.
//!
//! ```text
//! offset size
//!      0   48  as in the header of a bus; features_incompat = 2, segment_bytes at 40
//!     48    4  key_kind            1 u64, 2 text
//!     52    4  timestamps          0 off, 1 on
//!     56    4  value_bytes         that a value has at most
//!     60    4  slot_bytes          from one slot to the next
//!     64    4  writers             that can attach at a time
//!     68    4  clock               1 CLOCK_MONOTONIC, nanoseconds
//!     72    8  keys                that the table holds at least
//!     80    8  cells               a power of two
//!     88    8  slots
//!     96   16  (zero)
//!    112  104  schema_hash to name, as in the header of a bus
//!    216   80  regions             offset and bytes of header, control, desks, cells, slots
//!    296  208  (zero)
//!    504    8  checksum            FNV-1a 64 of bytes 0..504, then of the schema document
//! ```

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::geometry::{Geometry, Shape};
use crate::fnv;
use crate::layout::geometry::{Region, SCHEMA_MAX};
use crate::layout::header::{
    CLOCK_MONOTONIC, FIXED_BYTES, HeaderError, LAYOUT_VERSION, MAGIC, TABLE,
};
use crate::options::KeyKind;

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
    key_kind: u32,
    timestamps: u32,
    value_bytes: u32,
    slot_bytes: u32,
    writers: u32,
    clock: u32,
    keys: u64,
    cells: u64,
    slots: u64,
    _zero0: [u64; 2],
    schema_hash: u64,
    schema_bytes: u32,
    _zero1: u32,
    created_unix_ns: u64,
    creator_pid: u32,
    creator_uid: u32,
    instance: u64,
    name: [u8; 64],
    regions: [[u64; 2]; 5],
    _zero2: [u64; 26],
    checksum: u64,
}

const _: () = {
    assert!(size_of::<RawHeader>() as u64 == FIXED_BYTES);
    assert!(offset_of!(RawHeader, segment_bytes) == 40);
    assert!(offset_of!(RawHeader, key_kind) == 48);
    assert!(offset_of!(RawHeader, writers) == 64);
    assert!(offset_of!(RawHeader, keys) == 72);
    assert!(offset_of!(RawHeader, slots) == 88);
    assert!(offset_of!(RawHeader, schema_hash) == 112);
    assert!(offset_of!(RawHeader, instance) == 144);
    assert!(offset_of!(RawHeader, name) == 152);
    assert!(offset_of!(RawHeader, regions) == 216);
    assert!(offset_of!(RawHeader, checksum) == 504);
};

/// A header that has been checked: its geometry is the one its shape gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) geometry: Geometry,
    /// Features that whoever writes to the table must know.
    pub(crate) features_ro_compat: u64,
    pub(crate) schema_hash: u64,
    pub(crate) created_unix_ns: u64,
    pub(crate) creator_pid: u32,
    pub(crate) creator_uid: u32,
    pub(crate) instance: u64,
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
            features_incompat: TABLE,
            features_ro_compat: self.features_ro_compat,
            features_compat: 0,
            segment_bytes: self.geometry.segment_bytes,
            key_kind: shape.key_kind.number(),
            timestamps: shape.timestamps.into(),
            value_bytes: shape.value_bytes,
            slot_bytes: self.geometry.slot_bytes,
            writers: shape.writers,
            clock: CLOCK_MONOTONIC,
            keys: shape.keys,
            cells: self.geometry.cells,
            slots: self.geometry.slots,
            _zero0: [0; 2],
            schema_hash: self.schema_hash,
            schema_bytes: shape.schema_bytes,
            _zero1: 0,
            created_unix_ns: self.created_unix_ns,
            creator_pid: self.creator_pid,
            creator_uid: self.creator_uid,
            instance: self.instance,
            name: [0; 64],
            regions: regions(&self.geometry),
            _zero2: [0; 26],
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
    /// How many bytes of schema document follow, if the fixed part looks like that of a table at all.
    ///
    /// # Errors
    /// Says what else the bytes are.
    pub(crate) fn schema_bytes(&self) -> Result<u32, HeaderError> {
        if self.magic != MAGIC {
            return Err(HeaderError::Corrupt("it does not start with busway's magic".to_owned()));
        }
        if self.layout_version != LAYOUT_VERSION {
            return Err(HeaderError::Incompatible(format!(
                "segment layout {}, this build reads {LAYOUT_VERSION}",
                self.layout_version
            )));
        }
        if self.features_incompat & TABLE == 0 {
            return Err(HeaderError::OtherKind);
        }
        if self.features_incompat != TABLE {
            return Err(HeaderError::Incompatible(format!(
                "it needs features {:#x}, expected here is {TABLE:#x}",
                self.features_incompat
            )));
        }
        if u64::from(self.fixed_bytes) != FIXED_BYTES {
            return Err(HeaderError::Corrupt(format!(
                "a fixed part of {} bytes, layout {LAYOUT_VERSION} has {FIXED_BYTES}",
                self.fixed_bytes
            )));
        }
        if self.schema_bytes > SCHEMA_MAX {
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
    ) -> Result<Header, HeaderError> {
        let corrupt = |what: &str| HeaderError::Corrupt(what.to_owned());
        let schema_bytes = self.schema_bytes()?;
        if self.checksum != checksum(self, schema) {
            return Err(corrupt("its header's checksum is wrong"));
        }
        let named = self.name.split(|&byte| byte == 0).next().unwrap_or_default();
        if named != name.as_bytes() {
            return Err(corrupt("its header has another table's name"));
        }
        if self.clock != CLOCK_MONOTONIC {
            return Err(HeaderError::Incompatible(format!(
                "clock {}, this build knows {CLOCK_MONOTONIC}",
                self.clock
            )));
        }
        let timestamps = match self.timestamps {
            0 => false,
            1 => true,
            _ => return Err(corrupt("unknown timestamps")),
        };
        let shape = Shape {
            key_kind: KeyKind::from_number(self.key_kind).ok_or(corrupt("unknown kind of keys"))?,
            timestamps,
            value_bytes: self.value_bytes,
            keys: self.keys,
            writers: self.writers,
            schema_bytes,
        };
        let geometry =
            Geometry::of(shape).map_err(|error| HeaderError::Corrupt(error.to_string()))?;
        let stated = (self.slot_bytes, self.cells, self.slots, self.regions, self.segment_bytes);
        let computed = (
            geometry.slot_bytes,
            geometry.cells,
            geometry.slots,
            regions(&geometry),
            geometry.segment_bytes,
        );
        if stated != computed {
            return Err(corrupt("its regions are not where its shape puts them"));
        }
        if file_bytes != geometry.segment_bytes {
            return Err(HeaderError::Corrupt(format!(
                "the file has {file_bytes} bytes, its header says {}",
                geometry.segment_bytes
            )));
        }
        Ok(Header {
            geometry,
            features_ro_compat: self.features_ro_compat,
            schema_hash: self.schema_hash,
            created_unix_ns: self.created_unix_ns,
            creator_pid: self.creator_pid,
            creator_uid: self.creator_uid,
            instance: self.instance,
        })
    }
}

fn regions(geometry: &Geometry) -> [[u64; 2]; 5] {
    let Geometry { header, control, desks, cell_region, slot_region, .. } = *geometry;
    [header, control, desks, cell_region, slot_region]
        .map(|Region { offset, bytes }| [offset, bytes])
}

fn checksum(raw: &RawHeader, schema: &[u8]) -> u64 {
    let fixed = raw.as_bytes();
    let summed = fixed.get(..offset_of!(RawHeader, checksum)).unwrap_or(fixed);
    fnv::fnv1a64(fnv::fnv1a64(fnv::OFFSET, summed), schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let geometry = Geometry::of(Shape {
            key_kind: KeyKind::Text,
            timestamps: true,
            value_bytes: 24,
            keys: 100,
            writers: 4,
            schema_bytes: 0,
        });
        Header {
            geometry: geometry.unwrap(),
            features_ro_compat: 0,
            schema_hash: 0,
            created_unix_ns: 1,
            creator_pid: 2,
            creator_uid: 3,
            instance: 4,
        }
    }

    #[test]
    fn every_flipped_bit_of_a_tables_header_is_noticed() {
        let header = header();
        let bytes = header.geometry.segment_bytes;
        let raw = header.encode("t", b"");
        assert_eq!(raw.check("t", b"", bytes).unwrap().geometry, header.geometry);
        for bit in 0..FIXED_BYTES * 8 {
            let mut flipped = raw;
            let (byte, bit) = (usize::try_from(bit / 8).unwrap(), bit % 8);
            flipped.as_mut_bytes()[byte] ^= 1 << bit;
            assert!(flipped.check("t", b"", bytes).is_err(), "byte {byte}, bit {bit}");
        }
    }

    #[test]
    fn header_that_contradicts_itself_is_refused_whatever_its_checksum() {
        let header = header();
        let bytes = header.geometry.segment_bytes;
        let changes: [fn(&mut RawHeader); 9] = [
            |raw| raw.key_kind = 0,
            |raw| raw.timestamps = 2,
            |raw| raw.value_bytes += 64,
            |raw| raw.keys = 0,
            |raw| raw.cells *= 2,
            |raw| raw.slots += 1,
            |raw| raw.slot_bytes = 64,
            |raw| raw.regions[4][0] = 0,
            |raw| raw.writers = u32::MAX,
        ];
        for change in changes {
            let mut raw = header.encode("t", b"");
            change(&mut raw);
            raw.checksum = checksum(&raw, b"");
            assert!(raw.check("t", b"", bytes).is_err());
        }
        assert!(header.encode("t", b"").check("other", b"", bytes).is_err());
        assert!(header.encode("t", b"").check("t", b"", bytes - 1).is_err());
    }
}
