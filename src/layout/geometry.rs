//! From the shape that a bus is asked for to the offset of everything in its segment.
//!
//! The one place where counts, indexes and bytes turn into each other, always with checked
//! arithmetic. A header is believed only if computing the geometry from its shape gives the very
//! offsets that it states: regions that overlap or leave the segment cannot pass.

use super::frame::FrameShape;
use super::words::{CONTROL_WORDS_BYTES, CURSOR_WORDS_BYTES, LANE_WORDS_BYTES, SEAT_WORDS_BYTES};
use super::{PAGE_BYTES, entry, header, latency};
use crate::error::Error;
use crate::options::{FrameLayout, OnFull, Timestamps, Topology};

/// Frames a lane can hold at least: a ring of one could never be full and readable at once.
pub(crate) const CAPACITY_MIN: u64 = 2;
/// Frames a lane can hold at most: 16 Mi frames are a second of history at full speed.
pub(crate) const CAPACITY_MAX: u64 = 1 << 24;
/// Payload bytes of a frame at most; larger things belong in a segment of their own.
pub(crate) const PAYLOAD_MAX: u32 = 1 << 20;
/// Lanes at most: an order entry has eight bits for the lane.
pub(crate) const LANES_MAX: u32 = 256;
/// Consumers at most: who gates is one word of bits.
pub(crate) const CONSUMERS_MAX: u32 = 64;
/// Entries an order ring has at least, so that laps stay long (see `entry`).
const ORDER_CAPACITY_MIN: u64 = 1024;
/// Bytes of schema document that a header carries at most.
pub(crate) const SCHEMA_MAX: u32 = 16 << 10;
/// Bytes of an event frame's header.
pub(crate) const EVENT_HEADER_BYTES: u32 = 16;
/// Bytes of one order entry or ticket.
const WORD_BYTES: u64 = 8;

/// The choices that decide a segment's layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) topology: Topology,
    pub(crate) on_full: OnFull,
    pub(crate) timestamps: Timestamps,
    pub(crate) frames: FrameLayout,
    pub(crate) payload_bytes: u32,
    pub(crate) align_bytes: u32,
    pub(crate) capacity: u64,
    pub(crate) lanes: u32,
    pub(crate) consumers: u32,
    pub(crate) schema_bytes: u32,
}

impl Shape {
    /// Whether consumers keep how long frames were under way: where frames say when they set out.
    const fn keeps_latencies(self) -> bool {
        matches!(self.frames, FrameLayout::Event) && !matches!(self.timestamps, Timestamps::Off)
    }
}

/// A part of the segment: where it starts and how long it is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Region {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) shape: Shape,
    /// Bytes from one slot to the next.
    pub(crate) stride_bytes: u32,
    /// Bytes from one consumer's row of cursors to the next.
    pub(crate) row_bytes: u64,
    /// Bytes from one lane's data to the next.
    pub(crate) lane_bytes: u64,
    /// Offset of the tickets in a lane's data.
    pub(crate) tickets_offset: u64,
    /// Entries of the order ring; 0 unless `ordered`.
    pub(crate) order_capacity: u64,
    pub(crate) header: Region,
    pub(crate) control: Region,
    pub(crate) cursors: Region,
    pub(crate) heads: Region,
    pub(crate) order: Region,
    pub(crate) data: Region,
    pub(crate) segment_bytes: u64,
}

impl Geometry {
    /// Checks a shape and lays it out.
    ///
    /// # Errors
    /// `BadGeometry` naming the first size or count that is out of range.
    pub(crate) fn of(shape: Shape) -> Result<Self, Error> {
        check(shape)?;
        // Every factor is bounded by `check`, so the largest product, 256 lanes of 2^24 slots of
        // 2^20 + 80 bytes, is below 2^53; the arithmetic is checked all the same.
        layout(shape).ok_or_else(|| bad("segment size", u64::MAX, "at most 2^63 bytes"))
    }

    /// How a frame lies in its slot.
    pub(crate) fn frame_shape(&self) -> Option<FrameShape> {
        let event = self.shape.frames == FrameLayout::Event;
        FrameShape::new(event, self.shape.payload_bytes, self.stride_bytes)
    }

    /// The largest power of two that every payload's address is a multiple of, up to 64.
    pub(crate) const fn payload_align_bytes(&self) -> u32 {
        match self.shape.frames {
            FrameLayout::Event if self.shape.align_bytes > EVENT_HEADER_BYTES => EVENT_HEADER_BYTES,
            _ => self.shape.align_bytes,
        }
    }

    /// The most frames of one batch.
    pub(crate) const fn batch_max(&self) -> u64 {
        match self.shape.topology {
            Topology::Ordered if self.shape.capacity > entry::RUN_MAX => entry::RUN_MAX,
            _ => self.shape.capacity,
        }
    }

    /// Offset in the segment of a producer's seat.
    pub(crate) const fn producer_seat(&self, lane: u32) -> u64 {
        self.control.offset + CONTROL_WORDS_BYTES + lane as u64 * SEAT_WORDS_BYTES
    }

    /// Offset in the segment of a consumer's seat.
    pub(crate) const fn consumer_seat(&self, consumer: u32) -> u64 {
        self.producer_seat(self.shape.lanes) + consumer as u64 * SEAT_WORDS_BYTES
    }

    /// Bytes of a brokered bus's board: the segment up to the end of its control region.
    pub(crate) const fn board_bytes(&self) -> u64 {
        self.cursors.offset
    }

    /// Bytes of a brokered bus's bells: a control region by itself.
    pub(crate) const fn bells_bytes(&self) -> u64 {
        self.cursors.offset - self.control.offset
    }

    /// Bytes of one consumer's row where it has memory of its own.
    pub(crate) const fn own_row_bytes(&self) -> u64 {
        self.row_bytes.next_multiple_of(PAGE_BYTES)
    }

    /// Bytes of one lane where it has memory of its own: a page that begins with its words, then
    /// its slots.
    pub(crate) const fn own_lane_bytes(&self) -> u64 {
        PAGE_BYTES + self.lane_bytes
    }

    /// What a brokered bus takes at most while each seat is held once.
    pub(crate) const fn brokered_bytes(&self) -> u64 {
        let rows = self.shape.consumers as u64 * self.own_row_bytes();
        let lanes = self.shape.lanes as u64 * self.own_lane_bytes();
        self.board_bytes() + self.bells_bytes() + rows + lanes
    }

    /// Bytes from the start of a row to its array of losses.
    pub(crate) const fn losses_offset(&self) -> u64 {
        CURSOR_WORDS_BYTES + cursor_array_bytes(self.shape.lanes)
    }

    /// Bytes from the start of a row to its latencies; `None` where none are kept.
    pub(crate) const fn latencies_offset(&self) -> Option<u64> {
        if self.shape.keeps_latencies() { Some(cursors_bytes(self.shape.lanes)) } else { None }
    }
}

/// Bytes of one array of a word per lane, in whole lines.
const fn cursor_array_bytes(lanes: u32) -> u64 {
    (lanes as u64 * WORD_BYTES).next_multiple_of(64)
}

/// Bytes of a row's cursors and losses.
const fn cursors_bytes(lanes: u32) -> u64 {
    CURSOR_WORDS_BYTES + 2 * cursor_array_bytes(lanes)
}

fn bad(what: &'static str, value: u64, allowed: &str) -> Error {
    Error::BadGeometry { what, value, allowed: allowed.to_owned() }
}

fn check(shape: Shape) -> Result<(), Error> {
    let Shape { payload_bytes, align_bytes, capacity, lanes, consumers, .. } = shape;
    if !(CAPACITY_MIN..=CAPACITY_MAX).contains(&capacity) || !capacity.is_power_of_two() {
        return Err(bad("capacity", capacity, "a power of two from 2 to 16777216 frames"));
    }
    if !(1..=PAYLOAD_MAX).contains(&payload_bytes) {
        return Err(bad("payload", payload_bytes.into(), "1 to 1048576 bytes"));
    }
    if !(1..=LANES_MAX).contains(&lanes) {
        return Err(bad("lanes", lanes.into(), "1 to 256"));
    }
    if shape.topology == Topology::Single && lanes != 1 {
        return Err(bad("lanes", lanes.into(), "1 on a bus of topology single"));
    }
    if !(1..=CONSUMERS_MAX).contains(&consumers) {
        return Err(bad("consumers", consumers.into(), "1 to 64"));
    }
    if !matches!(align_bytes, 8 | 16 | 64) {
        return Err(bad("alignment", align_bytes.into(), "8, 16 or 64 bytes"));
    }
    if shape.schema_bytes > SCHEMA_MAX {
        return Err(bad("schema document", shape.schema_bytes.into(), "at most 16384 bytes"));
    }
    Ok(())
}

fn layout(shape: Shape) -> Option<Geometry> {
    let header_bytes = match shape.frames {
        FrameLayout::Event => EVENT_HEADER_BYTES,
        FrameLayout::Bare => 0,
    };
    let stride_bytes = header_bytes
        .checked_add(shape.payload_bytes)?
        .checked_next_multiple_of(shape.align_bytes)?;
    let lanes = u64::from(shape.lanes);
    let consumers = u64::from(shape.consumers);
    let ordered = shape.topology == Topology::Ordered;
    let order_capacity = if ordered {
        // Twice as many entries as frames can be unread: full lanes stop producers long before a
        // full order ring does, even while as many entries again are tombs.
        lanes
            .checked_mul(shape.capacity)?
            .checked_mul(2)?
            .checked_next_power_of_two()?
            .max(ORDER_CAPACITY_MIN)
    } else {
        0
    };
    let latencies_bytes = if shape.keeps_latencies() { latency::BYTES } else { 0 };
    let row_bytes = (cursors_bytes(shape.lanes) + latencies_bytes).next_multiple_of(128);
    let tickets_offset = shape.capacity.checked_mul(stride_bytes.into())?.next_multiple_of(64);
    let tickets_bytes = if ordered { shape.capacity.checked_mul(WORD_BYTES)? } else { 0 };
    let lane_bytes =
        tickets_offset.checked_add(tickets_bytes)?.checked_next_multiple_of(PAGE_BYTES)?;

    let mut end = 0_u64;
    let mut region = |bytes: u64| -> Option<Region> {
        let offset = end;
        end = end.checked_add(bytes)?.checked_next_multiple_of(PAGE_BYTES)?;
        Some(Region { offset, bytes })
    };
    let header = region(header::FIXED_BYTES + u64::from(shape.schema_bytes))?;
    let control = region(CONTROL_WORDS_BYTES + (lanes + consumers) * SEAT_WORDS_BYTES)?;
    let cursors = region(consumers.checked_mul(row_bytes)?)?;
    let heads = region(lanes.checked_mul(LANE_WORDS_BYTES)?)?;
    let order = region(order_capacity.checked_mul(WORD_BYTES)?)?;
    let data = region(lanes.checked_mul(lane_bytes)?)?;
    i64::try_from(end).ok()?;
    Some(Geometry {
        shape,
        stride_bytes,
        row_bytes,
        lane_bytes,
        tickets_offset,
        order_capacity,
        header,
        control,
        cursors,
        heads,
        order,
        data,
        segment_bytes: end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape {
            topology: Topology::Lanes,
            on_full: OnFull::Block,
            timestamps: Timestamps::Batch,
            frames: FrameLayout::Event,
            payload_bytes: 48,
            align_bytes: 8,
            capacity: 4096,
            lanes: 8,
            consumers: 8,
            schema_bytes: 0,
        }
    }

    #[test]
    fn default_frame_is_one_cache_line() {
        assert_eq!(Geometry::of(shape()).unwrap().stride_bytes, 64);
    }

    #[test]
    fn regions_are_page_aligned_and_disjoint() {
        let shape = Shape { topology: Topology::Ordered, schema_bytes: 5000, ..shape() };
        let geometry = Geometry::of(shape).unwrap();
        let Geometry { header, control, cursors, heads, order, data, .. } = geometry;
        let mut end = 0;
        for region in [header, control, cursors, heads, order, data] {
            assert_eq!(region.offset % PAGE_BYTES, 0);
            assert!(region.offset >= end, "{geometry:?}");
            end = region.offset + region.bytes;
        }
        assert!(geometry.segment_bytes >= end);
        assert_eq!(geometry.order_capacity, 2 * 8 * 4096);
    }

    #[test]
    fn largest_shape_fits_the_arithmetic() {
        let shape = Shape {
            topology: Topology::Ordered,
            payload_bytes: PAYLOAD_MAX,
            align_bytes: 64,
            capacity: CAPACITY_MAX,
            lanes: LANES_MAX,
            consumers: CONSUMERS_MAX,
            schema_bytes: SCHEMA_MAX,
            ..shape()
        };
        assert!(Geometry::of(shape).is_ok());
    }

    #[test]
    fn every_limit_is_named_in_its_error() {
        let cases = [
            (Shape { capacity: 3, ..shape() }, "capacity 3"),
            (Shape { capacity: 1, ..shape() }, "capacity 1"),
            (Shape { capacity: 1 << 25, ..shape() }, "capacity 33554432"),
            (Shape { payload_bytes: 0, ..shape() }, "payload 0"),
            (Shape { payload_bytes: PAYLOAD_MAX + 1, ..shape() }, "payload 1048577"),
            (Shape { lanes: 0, ..shape() }, "lanes 0"),
            (Shape { lanes: 257, ..shape() }, "lanes 257"),
            (Shape { topology: Topology::Single, ..shape() }, "lanes 8"),
            (Shape { consumers: 65, ..shape() }, "consumers 65"),
            (Shape { align_bytes: 32, ..shape() }, "alignment 32"),
            (Shape { schema_bytes: SCHEMA_MAX + 1, ..shape() }, "schema document 16385"),
        ];
        for (shape, want) in cases {
            let text = Geometry::of(shape).unwrap_err().to_string();
            assert!(text.contains(want) && text.contains("allowed"), "{text}");
        }
    }
}
