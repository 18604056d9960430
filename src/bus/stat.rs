//! The snapshot behind `Bus::stat`.
//!
//! All loads are relaxed: each number is one that the word had at about this time, and no two of
//! them promise to belong together.

use super::info::{BusStat, ConsumerStat, CursorStat, LaneStat, OrderStat};
use super::latency::LatencyStat;
use crate::lane::{Gates, bits, is_before};
use crate::layout::header::Header;
use crate::participant::Role;
use crate::regions::Regions;
use crate::seat;
use crate::shm::segment::Segment;
use crate::sync::{AtomicU64, Ordering};

pub(crate) fn snapshot(segment: Option<&Segment>, header: &Header, regions: &Regions) -> BusStat {
    let lanes: Vec<LaneStat> = (0..regions.geometry.shape.lanes)
        .filter_map(|lane| lane_stat(segment, header, regions, lane))
        .collect();
    let consumers = bits(load(&regions.words.consumers))
        .filter_map(|consumer| consumer_stat(segment, regions, &lanes, consumer))
        .collect();
    let ordered = regions.geometry.order_capacity > 0;
    BusStat {
        removed: regions.is_removed() || segment.is_some_and(|segment| !segment.is_linked()),
        published: lanes.iter().fold(0, |sum, lane| lane.published.saturating_add(sum)),
        recoveries: load(&regions.words.recoveries),
        punches: load(&regions.words.punches),
        evictions: load(&regions.words.evictions),
        corruptions: load(&regions.words.corruptions),
        lanes,
        consumers,
        order: ordered.then(|| OrderStat { tail: load(&regions.words.order_tail) }),
    }
}

fn lane_stat(
    segment: Option<&Segment>,
    header: &Header,
    regions: &Regions,
    lane: u32,
) -> Option<LaneStat> {
    let words = regions.lane(lane)?;
    let position = load(&words.head);
    let held_since_ns = load(&words.held_since_ns);
    // A lane that nobody was refused is held up when the next frame would be.
    let wanted = if held_since_ns == 0 { 1 } else { load(&words.held_frames) };
    let held_by = holders(regions, lane, position, wanted);
    Some(LaneStat {
        lane,
        position,
        published: position.wrapping_sub(header.origin),
        bytes: bytes(position.wrapping_sub(header.origin), regions, load(&words.unused_bytes)),
        batches: load(&words.batches),
        batched: load(&words.batched_frames),
        rejected: load(&words.rejected),
        blocked_count: load(&words.blocked_count),
        blocked_ns: load(&words.blocked_ns),
        held_since_ns: (held_since_ns != 0 && !held_by.is_empty()).then_some(held_since_ns),
        held_by,
        producer: seat::occupant(segment, regions, Role::Producer, lane),
    })
}

/// Payload bytes of `published` frames that left so many unused.
fn bytes(published: u64, regions: &Regions, unused: u64) -> u64 {
    let room = published.saturating_mul(regions.geometry.shape.payload_bytes.into());
    // The two were loaded one after the other, and a hostile peer may say anything.
    room.saturating_sub(unused)
}

/// The consumers that leave no room in a lane for `wanted` more frames.
fn holders(regions: &Regions, lane: u32, head: u64, wanted: u64) -> Vec<u32> {
    let gates = regions.gates(lane);
    let capacity = regions.geometry.shape.capacity;
    bits(load(gates.attached()))
        .filter(|&consumer| !regions.is_let_go(consumer))
        .filter_map(|consumer| Some((consumer, head.wrapping_sub(load(gates.cursor(consumer)?)))))
        // The head was loaded before the cursor, which may have passed it since.
        .filter(|&(_, unread)| unread < 1 << 63 && unread.saturating_add(wanted) > capacity)
        .map(|(consumer, _)| consumer)
        .collect()
}

fn consumer_stat(
    segment: Option<&Segment>,
    regions: &Regions,
    lanes: &[LaneStat],
    consumer: u32,
) -> Option<ConsumerStat> {
    let row = regions.cursors.row(consumer)?;
    let cursors: Vec<CursorStat> = lanes
        .iter()
        .zip(row.positions.iter().zip(row.losses.iter()))
        .map(|(lane, (position, lost))| {
            let position = load(position);
            // The head was loaded before the cursor, which may have passed it since.
            let lag = if is_before(lane.position, position) {
                0
            } else {
                lane.position.wrapping_sub(position)
            };
            CursorStat { lane: lane.lane, position, lag, lost: load(lost) }
        })
        .collect();
    let ordered = regions.geometry.order_capacity > 0;
    let participant = seat::occupant(segment, regions, Role::Consumer, consumer)?;
    // The members of a group poll, not the group.
    let latencies = row.latencies.as_ref().filter(|_| !participant.group);
    Some(ConsumerStat {
        read: load(&row.words.read),
        lag: cursors.iter().fold(0, |sum, cursor| cursor.lag.saturating_add(sum)),
        lost: load(&row.words.lost),
        order_position: ordered.then(|| load(&row.words.order_cursor)),
        latency: latencies.map(LatencyStat::of),
        lanes: cursors,
        participant,
    })
}

pub(super) fn load(word: &AtomicU64) -> u64 {
    // ORDERING: relaxed; statistics, see the top of this file.
    word.load(Ordering::Relaxed)
}
