//! The ceiling of throughput: a lane stripped to what no lane can do without.
//!
//! One writer, one reader, 64-byte frames without a header, a head and a cursor. The writer stores
//! the payload and then `head` (release), once a batch; the reader loads `head` (acquire) when it
//! has used up what it saw, reads the run in place, and stores `cursor` (release) once a run. No
//! policies, no bounds, no waiting but spinning. The reader adds up all it reads, so that no read
//! is idle, and the sum is checked once at the end.

use super::board::{Board, Mapping, RING_FRAMES, sum_of_frames};
use crate::bench::pace::monotonic_ns;
use crate::bench::worker::Station;
use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::hint::spin_loop;
use std::sync::atomic::Ordering;

/// Frames, or spins on a full ring, between the writer's looks at the clock.
const STEPS_PER_LOOK: u64 = 1 << 13;

/// Spins of a reader between looks at the clock and offers of the core to others.
const SPINS_PER_LOOK: u64 = 1 << 14;

/// How long either end waits for the other before it gives up.
const PATIENCE_NS: u64 = 5_000_000_000;

/// What the writer is asked to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct WriteOrder {
    /// For how long; the first tenth is not counted.
    pub duration_ns: u64,
    /// Frames that each store of `head` makes visible.
    pub batch_frames: u64,
}

/// What the writer did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Written {
    /// All frames, for the check.
    pub frames: u64,
    /// Those after the warm-up.
    pub counted_frames: u64,
    /// The time they took.
    pub elapsed_ns: u64,
}

/// What the reader saw.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Read {
    /// All frames.
    pub frames: u64,
    /// Whether they add up to what was written.
    pub sum_right: bool,
}

/// The writer.
pub fn write(station: &mut Station, board: &Mapping) -> Result<(), Failure> {
    station.report(&())?;
    while let Some(order) = station.next_order::<WriteOrder>()? {
        let written = fill(board, order)?;
        // ORDERING: release, pairs with the reader's acquire of `end` in `drain`.
        board.end.0.store(written.frames + 1, Ordering::Release);
        station.report(&written)?;
    }
    Ok(())
}

fn fill(board: &Board, order: WriteOrder) -> Result<Written, Failure> {
    let begin_ns = monotonic_ns();
    let warm_ns = begin_ns + order.duration_ns / 10;
    let end_ns = begin_ns + order.duration_ns;
    let (mut position, mut limit) = (0_u64, RING_FRAMES);
    let mut counted_from: Option<(u64, u64)> = None;
    let mut steps = 0;
    loop {
        if position + order.batch_frames > limit {
            // ORDERING: acquire, pairs with the reader's release of `cursor` in `drain`; its reads
            // of the slots are over when this says so.
            limit = board.cursor.0.load(Ordering::Acquire) + RING_FRAMES;
            steps += 1;
            spin_loop();
        } else {
            for next in position..position + order.batch_frames {
                // SAFETY: the only writer, and `limit` keeps it off what the reader has not read.
                unsafe { board.write(next) };
            }
            position += order.batch_frames;
            // ORDERING: release, pairs with the reader's acquire of `head` in `drain`.
            board.head.0.store(position, Ordering::Release);
            steps += order.batch_frames;
        }
        if steps < STEPS_PER_LOOK {
            continue;
        }
        steps = 0;
        let now_ns = monotonic_ns();
        if now_ns >= end_ns {
            let Some((from, from_ns)) = counted_from else {
                return Err(Failure::failed(
                    "the ring's writer was not run often enough to be measured; stop what else runs, or try a \
                     longer --duration",
                ));
            };
            let (counted_frames, elapsed_ns) = (position - from, now_ns - from_ns);
            return Ok(Written { frames: position, counted_frames, elapsed_ns });
        }
        if counted_from.is_none() && now_ns >= warm_ns {
            counted_from = Some((position, now_ns));
        }
    }
}

/// The reader. After each look at an empty ring it pauses `pauses` times.
pub fn read(station: &mut Station, board: &Mapping, pauses: u32) -> Result<(), Failure> {
    station.report(&())?;
    let read = drain(board, pauses)?;
    station.report(&read)
}

fn drain(board: &Board, pauses: u32) -> Result<Read, Failure> {
    let (mut cursor, mut sum) = (0_u64, 0_u64);
    let mut spins = 0_u64;
    let mut empty_since_ns = 0;
    loop {
        // ORDERING: acquire, pairs with the writer's release of `head` in `fill`; makes the frames
        // visible.
        let head = board.head.0.load(Ordering::Acquire);
        if head != cursor {
            while cursor < head {
                // SAFETY: before `head`, and the cursor has not moved past it.
                sum = sum.wrapping_add(unsafe { board.read(cursor) });
                cursor += 1;
            }
            // ORDERING: release, pairs with the writer's acquire of `cursor` in `fill`.
            board.cursor.0.store(cursor, Ordering::Release);
            spins = 0;
            continue;
        }
        for _ in 0..pauses {
            spin_loop();
        }
        spins += 1;
        if !spins.is_multiple_of(SPINS_PER_LOOK) {
            continue;
        }
        // ORDERING: acquire, pairs with the writer's release of `end`, which follows its last
        // `head`.
        let end = board.end.0.load(Ordering::Acquire);
        if end == cursor + 1 {
            return Ok(Read { frames: cursor, sum_right: sum == sum_of_frames(cursor) });
        }
        std::thread::yield_now();
        let now_ns = monotonic_ns();
        if spins == SPINS_PER_LOOK {
            empty_since_ns = now_ns;
        } else if now_ns - empty_since_ns > 2 * PATIENCE_NS {
            return Err(Failure::failed("the ring's writer does not write"));
        }
    }
}
