//! Which consumers stand still in this producer's way, and since when.
//!
//! A bus with `evict_after` gives a consumer so long to move its cursor while a producer is held up by
//! it. Each producer that is held up keeps its own watch; the first whose patience ends evicts.

use std::time::{Duration, Instant};

use crate::lane::Gates;
use crate::lane::writer::LaneWriter;
use crate::layout::state::SeatState;
use crate::layout::words::LaneWords;
use crate::order::writer::OrderWriter;
use crate::regions::{Eviction, LaneGates, OrderMemory, Regions};
use crate::shm::mapping::Shared;
use crate::sync::Ordering;

/// The watch of one producer.
#[derive(Debug)]
pub(super) struct SlowConsumers {
    eviction: Eviction,
    after: Duration,
    /// What was seen of each consumer that is in the way, and when first.
    seen: Vec<Option<Seen>>,
}

/// A consumer that was in the way.
#[derive(Clone, Copy, Debug)]
struct Seen {
    state: SeatState,
    /// Its cursor on this producer's lane, and its place in the order.
    place: (u64, u64),
    since: Instant,
}

impl SlowConsumers {
    /// `None` on a bus that waits for whoever stands still.
    pub(super) fn of(regions: &Regions) -> Option<Self> {
        let eviction = regions.eviction()?.clone();
        if eviction.rule.after_ns == 0 {
            return None;
        }
        let after = Duration::from_nanos(eviction.rule.after_ns);
        let consumers = usize::try_from(regions.geometry.shape.consumers).unwrap_or(0);
        Some(Self { eviction, after, seen: vec![None; consumers] })
    }

    /// Looks who is in the way of `wanted` more frames, and evicts whoever has stood there for too
    /// long.
    pub(super) fn look(
        &mut self,
        now: Instant,
        wanted: u64,
        lane: &LaneWriter<Shared<LaneWords>, LaneGates>,
        order: Option<&OrderWriter<OrderMemory>>,
    ) {
        // ORDERING: relaxed; only whom to look at.
        let attached = lane.gates().attached().load(Ordering::Relaxed);
        for (consumer, seen) in (0..).zip(&mut self.seen) {
            let before = seen.take();
            if attached & (1 << (consumer & 63)) == 0 {
                continue;
            }
            // The state comes first; see `regions::evict`.
            let state = self.eviction.state(consumer);
            if state.is_evicted() || !self.eviction.gates(consumer) {
                continue;
            }
            let Some((place, is_in_the_way)) = place(consumer, wanted, lane, order) else {
                continue;
            };
            if !is_in_the_way {
                continue;
            }
            let moved = before.is_none_or(|before| (before.state, before.place) != (state, place));
            let since = before.filter(|_| !moved).map_or(now, |before| before.since);
            if now.duration_since(since) < self.after {
                *seen = Some(Seen { state, place, since });
            } else {
                self.eviction.evict(consumer, state);
            }
        }
    }
}

/// Where a consumer stands, and whether that leaves no room for this producer.
fn place(
    consumer: u32,
    wanted: u64,
    lane: &LaneWriter<Shared<LaneWords>, LaneGates>,
    order: Option<&OrderWriter<OrderMemory>>,
) -> Option<((u64, u64), bool)> {
    // ORDERING: acquire, pairs with the release store in `LaneReader::release`.
    let cursor = lane.gates().cursor(consumer)?.load(Ordering::Acquire);
    let ticket = order.and_then(|order| order.cursor(consumer)).unwrap_or(0);
    let holds_lane = lane.is_held_at(cursor, wanted);
    let holds_order = order.is_some_and(|order| order.is_held_at(ticket));
    Some(((cursor, ticket), holds_lane || holds_order))
}
