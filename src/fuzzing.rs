//! The door of the fuzz targets to what is private: headers, from bytes and back to bytes.
//!
//! Built only with `--cfg fuzzing`, which cargo-fuzz sets. It decides nothing: `accept` is what
//! `Bus::open` does with the bytes of a file.

use zerocopy::{FromBytes, IntoBytes};

use crate::layout::geometry::{Geometry, Region, Shape};
use crate::layout::header::{FIXED_BYTES, Header, RawHeader};
use crate::layout::words::{CONTROL_WORDS_BYTES, LANE_WORDS_BYTES, SEAT_WORDS_BYTES};
use crate::options::{FrameLayout, OnFull, Timestamps, Topology};

/// The shape of a bus, as the header states it.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// `topology`, `on_full`, `timestamps`, `frames` by their header numbers.
    pub choices: [u32; 4],
    /// Payload bytes of a frame.
    pub payload_bytes: u32,
    /// Alignment of a slot.
    pub align_bytes: u32,
    /// Frames of a lane.
    pub capacity: u64,
    /// Lanes.
    pub lanes: u32,
    /// Consumers.
    pub consumers: u32,
    /// The first position.
    pub origin: u64,
}

/// What an accepted header leads to: every number that an address is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Header, control, cursors, heads, order, data: offset and bytes.
    pub regions: [(u64, u64); 6],
    /// Bytes of the whole segment.
    pub segment_bytes: u64,
    /// Bytes that control words and seats take.
    pub control_bytes: u64,
    /// Bytes that the lanes' words take.
    pub heads_bytes: u64,
    /// From one consumer's row to the next.
    pub row_bytes: u64,
    /// Where the last array of a row ends in it.
    pub row_end: u64,
    /// From one lane's data to the next.
    pub lane_bytes: u64,
    /// Where the slots of a lane end in its data.
    pub slots_end: u64,
    /// Where the tickets of a lane start in its data.
    pub tickets_offset: u64,
    /// Where they end.
    pub tickets_end: u64,
    /// From one slot to the next.
    pub stride_bytes: u64,
    /// What a frame takes of its slot.
    pub frame_bytes: u64,
    /// Entries of the order ring.
    pub order_entries: u64,
    /// Frames of a lane, lanes, consumers.
    pub counts: [u64; 3],
}

/// The bytes of a valid header with its schema document; `None` when no bus has such a shape.
#[must_use]
pub fn encode(asked: &Asked, name: &str, schema: &[u8]) -> Option<Vec<u8>> {
    let [topology, on_full, timestamps, frames] = asked.choices;
    let shape = Shape {
        topology: Topology::from_number(topology)?,
        on_full: OnFull::from_number(on_full)?,
        timestamps: Timestamps::from_number(timestamps)?,
        frames: FrameLayout::from_number(frames)?,
        payload_bytes: asked.payload_bytes,
        align_bytes: asked.align_bytes,
        capacity: asked.capacity,
        lanes: asked.lanes,
        consumers: asked.consumers,
        schema_bytes: u32::try_from(schema.len()).ok()?,
    };
    let header = Header {
        brokered: false,
        evict: None,
        geometry: Geometry::of(shape).ok()?,
        features_ro_compat: 0,
        origin: asked.origin,
        schema_hash: 0,
        created_unix_ns: 1,
        creator_pid: 1,
        creator_uid: 0,
        instance: 1,
    };
    let mut bytes = header.encode(name, schema).as_bytes().to_vec();
    bytes.extend_from_slice(schema);
    Some(bytes)
}

/// Puts the checksum that the bytes should have into them, if they are long enough to have one.
pub fn repair(file: &mut [u8]) {
    if let Ok((raw, rest)) = RawHeader::mut_from_prefix(file) {
        let bytes = usize::try_from(raw.schema_bytes(0).unwrap_or(0)).unwrap_or(0);
        raw.sum_up(rest.get(..bytes).unwrap_or_default());
    }
}

/// Whether a file that starts with `file` and has `file_bytes` bytes would be opened as `name`.
#[must_use]
pub fn accept(file: &[u8], name: &str, file_bytes: u64) -> Option<Accepted> {
    let (raw, rest) = RawHeader::read_from_prefix(file).ok()?;
    let schema = rest.get(..usize::try_from(raw.schema_bytes(0).ok()?).ok()?)?;
    let Header { geometry, .. } = raw.check(name, schema, file_bytes, 0).ok()?;
    let Geometry { shape, header, control, cursors, heads, order, data, .. } = geometry;
    let counts = [shape.capacity, shape.lanes.into(), shape.consumers.into()];
    let [capacity, lanes, consumers] = counts;
    let tickets = if geometry.order_capacity > 0 { capacity * 8 } else { 0 };
    let header_bytes = u64::try_from(geometry.frame_shape()?.header_bytes()).ok()?;
    Some(Accepted {
        regions: [header, control, cursors, heads, order, data]
            .map(|Region { offset, bytes }| (offset, bytes)),
        segment_bytes: geometry.segment_bytes,
        control_bytes: CONTROL_WORDS_BYTES + (lanes + consumers) * SEAT_WORDS_BYTES,
        heads_bytes: lanes * LANE_WORDS_BYTES,
        row_bytes: geometry.row_bytes,
        row_end: geometry.losses_offset() + lanes * 8,
        lane_bytes: geometry.lane_bytes,
        slots_end: capacity * u64::from(geometry.stride_bytes),
        tickets_offset: geometry.tickets_offset,
        tickets_end: geometry.tickets_offset + tickets,
        stride_bytes: geometry.stride_bytes.into(),
        frame_bytes: header_bytes + u64::from(shape.payload_bytes),
        order_entries: geometry.order_capacity,
        counts,
    })
}

/// Where the header's own fields end and the schema document begins.
pub const SCHEMA_OFFSET: u64 = FIXED_BYTES;
