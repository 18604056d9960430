//! What a bus is and how it stands, as plain values.

use serde::{Deserialize, Serialize};

use super::latency::LatencyStat;
use crate::layout::header::{Header, LAYOUT_VERSION};
use crate::options::{FrameLayout, OnFull, Timestamps, Topology};
use crate::participant::Participant;

/// What a bus is: fixed at create.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusInfo {
    /// Its name.
    pub name: String,
    /// How its lanes are used.
    pub topology: Topology,
    /// What a producer does when its lane is full.
    pub on_full: OnFull,
    /// When frames are stamped.
    pub timestamps: Timestamps,
    /// What a slot holds.
    pub frames: FrameLayout,
    /// Payload bytes that a frame can hold (event) or has (bare).
    pub payload_bytes: u32,
    /// What slots are aligned to.
    pub align_bytes: u32,
    /// From one slot to the next.
    pub stride_bytes: u32,
    /// Frames that a lane holds.
    pub capacity_frames: u64,
    /// Producers that can attach at a time.
    pub lanes: u32,
    /// Consumers that can attach at a time.
    pub consumers: u32,
    /// Entries of the order ring; 0 unless `ordered`.
    pub order_capacity_entries: u64,
    /// The first position of every lane.
    pub origin: u64,
    /// The most frames of one batch.
    pub batch_frames_max: u64,
    /// The whole segment; of a brokered bus, all its regions while each seat is held once.
    pub segment_bytes: u64,
    /// The hash of the frame type's layout; 0 without a schema.
    pub schema_hash: u64,
    /// When it was created, nanoseconds since 1970 UTC.
    pub created_unix_ns: u64,
    /// By which process.
    pub creator_pid: u32,
    /// By which user.
    pub creator_uid: u32,
    /// A random number that tells this bus from another of the same name.
    pub instance: u64,
    /// Frames behind on a lane at which a consumer is evicted; `None`: never for that.
    pub evict_lag_frames: Option<u64>,
    /// Standing still in a producer's way for which a consumer is evicted; `None`: never for that.
    pub evict_after_ns: Option<u64>,
    /// The layout version of its segment.
    pub layout_version: u32,
    /// Whether a broker hands out its memory; else it is a segment with a name.
    pub brokered: bool,
}

impl BusInfo {
    pub(crate) fn of(name: &str, header: &Header) -> Self {
        let geometry = &header.geometry;
        let shape = &geometry.shape;
        Self {
            name: name.to_owned(),
            topology: shape.topology,
            on_full: shape.on_full,
            timestamps: shape.timestamps,
            frames: shape.frames,
            payload_bytes: shape.payload_bytes,
            align_bytes: shape.align_bytes,
            stride_bytes: geometry.stride_bytes,
            capacity_frames: shape.capacity,
            lanes: shape.lanes,
            consumers: shape.consumers,
            order_capacity_entries: geometry.order_capacity,
            origin: header.origin,
            batch_frames_max: geometry.batch_max(),
            segment_bytes: if header.brokered {
                geometry.brokered_bytes()
            } else {
                geometry.segment_bytes
            },
            schema_hash: header.schema_hash,
            created_unix_ns: header.created_unix_ns,
            creator_pid: header.creator_pid,
            creator_uid: header.creator_uid,
            instance: header.instance,
            evict_lag_frames: header.evict.map(|evict| evict.lag).filter(|&lag| lag > 0),
            evict_after_ns: header.evict.map(|evict| evict.after_ns).filter(|&ns| ns > 0),
            layout_version: LAYOUT_VERSION,
            brokered: header.brokered,
        }
    }
}

/// How a bus stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusStat {
    /// Whether it has been removed.
    pub removed: bool,
    /// Frames ever published, all lanes.
    pub published: u64,
    /// Seats given back after their holder died.
    pub recoveries: u64,
    /// Order entries given up for a late producer.
    pub punches: u64,
    /// Live participants that were made to leave.
    pub evictions: u64,
    /// Impossible words that participants met in the segment. More than 0: somebody stores there
    /// what no honest program does.
    pub corruptions: u64,
    /// Every lane, with its producer if it has one.
    pub lanes: Vec<LaneStat>,
    /// The attached consumers.
    pub consumers: Vec<ConsumerStat>,
    /// The order ring, on an `ordered` bus.
    pub order: Option<OrderStat>,
}

/// How a lane stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStat {
    /// Its number.
    pub lane: u32,
    /// The position that the next frame gets.
    pub position: u64,
    /// Frames ever published on it.
    pub published: u64,
    /// Payload bytes of them.
    pub bytes: u64,
    /// Commits of more than one frame: batches and transactions.
    pub batches: u64,
    /// Frames in those.
    pub batched: u64,
    /// Publishes refused because it was full.
    pub rejected: u64,
    /// Publishes that had to wait.
    pub blocked_count: u64,
    /// Time that they waited.
    pub blocked_ns: u64,
    /// When its producer found the lane full, on the clock of `Bus::now_ns`; `None` while it has
    /// room.
    pub held_since_ns: Option<u64>,
    /// The consumers that leave it no room, by their seats.
    pub held_by: Vec<u32>,
    /// Its producer.
    pub producer: Option<Participant>,
}

/// How an attached consumer stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerStat {
    /// Who it is.
    pub participant: Participant,
    /// Frames read since it attached.
    pub read: u64,
    /// Frames published and not read yet, all lanes.
    pub lag: u64,
    /// Frames lost since it attached, all lanes.
    pub lost: u64,
    /// Its place in the total order, on an `ordered` bus.
    pub order_position: Option<u64>,
    /// How long frames were under way to it. `None` on a bus without timestamps, and for a group.
    pub latency: Option<LatencyStat>,
    /// Its cursors.
    pub lanes: Vec<CursorStat>,
}

/// How a consumer stands on one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorStat {
    /// The lane.
    pub lane: u32,
    /// The next position that it reads.
    pub position: u64,
    /// Frames published and not read yet.
    pub lag: u64,
    /// Frames lost since it attached.
    pub lost: u64,
}

/// How the order ring stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderStat {
    /// Tickets ever taken, as a position.
    pub tail: u64,
}
