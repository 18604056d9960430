//! Giving back what a dead participant held.
//!
//! Death is proven by taking the seat's write lock: it was free although the seat says taken, so no
//! process can store on the strength of that seat any more. The lock is held throughout, so at
//! most one process recovers a seat at a time. Every step can be done twice: a recoverer that dies
//! half-way frees the lock and leaves the seat `taken`, and the next one starts again.
//!
//! A consumer is declared dead without the write lock and whoever has it (`regions::standings`), so
//! that nobody waits for a recoverer to be done.
//!
//! | role | steps, in this order |
//! |---|---|
//! | producer | settle the lane's head (`order::recover`) · note it, if asked (`lane::kept`) · patience back to normal · clear its bits · free |
//! | consumer | clear its bits: it gates nobody any more · free |

use crate::crash::crash_point;
use crate::error::Error;
use crate::lane::kept;
use crate::layout::words::SeatWords;
use crate::order;
use crate::participant::{Reclaimed, Role};
use crate::regions::{self, Regions, View};
use crate::shm::lock;
use crate::shm::mapping::Shared;
use crate::shm::segment::Segment;
use crate::sync::{AtomicU64, Ordering};

/// Gives back every seat of the bus whose holder is provably dead.
///
/// # Errors
/// `NotFound` when the bus has been removed, `Permission` when this user may not write to it.
pub(crate) fn reclaim(segment: &Segment) -> Result<Vec<Reclaimed>, Error> {
    // A description of its own: this process's own seats are then as locked as anybody's.
    let segment = segment.reopen(View::Recovery.file())?;
    let (header, _) = segment.header()?;
    let regions = Regions::map(&segment, &header, View::Recovery)?;
    let mut reclaimed = Vec::new();
    for role in [Role::Producer, Role::Consumer] {
        for index in 0..regions.seats(role) {
            reclaimed.extend(reclaim_seat(&segment, &regions, role, index)?);
        }
    }
    Ok(reclaimed)
}

fn reclaim_seat(
    segment: &Segment,
    regions: &Regions,
    role: Role,
    index: u32,
) -> Result<Option<Reclaimed>, Error> {
    let Some(occupant) = super::occupant(Some(segment), regions, role, index) else {
        return Ok(None);
    };
    if occupant.alive {
        return Ok(None);
    }
    if let Some(words) = regions.seat(role, index) {
        declare(segment, role, index, &words);
    }
    if !super::try_lock(&segment.file, role, index)? {
        return Ok(None);
    }
    let mut result = None;
    // Between the look and the lock the seat may have been recovered by somebody else, or even have
    // become a group's.
    let is_left = |words: &Shared<SeatWords>| {
        let state = super::state(words);
        state.is_taken() && !state.is_group()
    };
    if let Some(words) = regions.seat(role, index).filter(is_left) {
        let position = put_in_order(regions, role, index, &words);
        let (pid, uid, name) = (occupant.pid, occupant.uid, occupant.name);
        result = Some(Reclaimed { role, seat: index, pid, uid, name, position });
    }
    super::give_lock_back(&segment.file, role, index)?;
    Ok(result)
}

/// Declares a consumer dead if it is: from then on it gates nobody. `segment` is not the description
/// through which the seat was taken.
pub(crate) fn declare(segment: &Segment, role: Role, index: u32, words: &SeatWords) {
    // The state comes first; see `regions::standings`.
    let state = super::state(words);
    let byte = super::byte(role, index);
    if role == Role::Consumer
        && state.died().is_some()
        && lock::is_inhabited(&segment.file, byte).is_ok_and(|inhabited| !inhabited)
    {
        regions::bury(words, state);
    }
}

/// Recovers a seat whose lock the caller has just taken through `segment`.
pub(crate) fn recover(segment: &Segment, role: Role, index: u32) -> Result<(), Error> {
    let (header, _) = segment.header()?;
    let regions = Regions::map(segment, &header, View::Recovery)?;
    if let Some(words) = regions.seat(role, index) {
        put_in_order(&regions, role, index, &words);
    }
    Ok(())
}

/// The steps, in the order of the table above. Returns the position where a lane goes on.
fn put_in_order(regions: &Regions, role: Role, index: u32, words: &SeatWords) -> u64 {
    crash_point!(RecoveryBegun);
    let position = match role {
        Role::Producer => {
            let position = settle_lane(regions, index);
            crash_point!(LaneSettled);
            note_end(regions, index);
            clear_producer(regions, index);
            position
        }
        Role::Consumer => {
            clear_consumer(regions, index);
            0
        }
    };
    crash_point!(DeadCleared);
    // ORDERING: relaxed; a statistic.
    regions.words.recoveries.fetch_add(1, Ordering::Relaxed);
    super::set_free(words);
    crash_point!(DeadFreed);
    regions.note_change();
    position
}

fn settle_lane(regions: &Regions, lane: u32) -> u64 {
    let Some(words) = regions.lane(lane) else {
        return 0;
    };
    if regions.geometry.order_capacity == 0 {
        // ORDERING: relaxed; ordered by the seat's lock.
        return words.head.load(Ordering::Relaxed);
    }
    let gates = regions.gates(lane);
    let (order, laps) = (regions.order(), regions.laps());
    let batch_max = regions.geometry.batch_max();
    let cursor = |consumer| crate::lane::Gates::cursor(&gates, consumer);
    let head = order::recover::head(lane, &words, &order, laps, batch_max, cursor);
    // ORDERING: release, pairs with the acquire load of head in `LaneReader::published`.
    words.head.store(head, Ordering::Release);
    // ORDERING: relaxed; a hint. A producer that asked for patience and died needs none.
    regions.words.patience_ns.store(order::writer::PATIENCE_NS, Ordering::Relaxed);
    head
}

/// Notes where a lane's present tenancy ends, if its tenant asked for that, before its seat is free.
pub(crate) fn note_end(regions: &Regions, lane: u32) {
    if let Some((words, seat)) = regions.lane(lane).zip(regions.seat(Role::Producer, lane)) {
        kept::note(&words, seat.epoch());
    }
}

/// Says that a lane has no producer: what is published on it stays readable.
pub(crate) fn clear_producer(regions: &Regions, lane: u32) {
    clear_producer_bits(regions, lane);
    if let Some(words) = regions.lane(lane) {
        // ORDERING: relaxed; for display. Nobody is held up on a lane without a producer.
        words.held_since_ns.store(0, Ordering::Relaxed);
    }
}

/// The same where the lane's words are not this process's to store to.
pub(crate) fn clear_producer_bits(regions: &Regions, lane: u32) {
    clear_lane_bit(&regions.bells.sleeping_producers, lane);
    clear_lane_bit(&regions.words.producers, lane);
}

/// Stops a consumer from gating anybody.
pub(crate) fn clear_consumer(regions: &Regions, consumer: u32) {
    let bit = 1 << (consumer & 63);
    // ORDERING: release; the consumer's last reads come before a producer's overwriting, which
    // begins with an acquire load of the bits.
    regions.bells.sleeping_consumers.fetch_and(!bit, Ordering::Release);
    regions.words.consumers.fetch_and(!bit, Ordering::Release);
}

/// The word and the bit that stand for a lane in one of the four-word sets.
pub(crate) fn lane_bit(words: &[AtomicU64; 4], lane: u32) -> Option<(&AtomicU64, u64)> {
    Some((words.get(usize::try_from(lane / 64).ok()?)?, 1 << (lane % 64)))
}

fn clear_lane_bit(words: &[AtomicU64; 4], lane: u32) {
    if let Some((word, bit)) = lane_bit(words, lane) {
        // ORDERING: release, pairs with the acquire load in the consumer's look at who is gone:
        // whoever sees the bit clear sees the last head as well.
        word.fetch_and(!bit, Ordering::Release);
    }
}
