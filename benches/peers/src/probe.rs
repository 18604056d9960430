//! The probe: how far apart two cores are at the moment, by a bare cache line there and back.
//!
//! On virtual machines and large sockets the cores that one is given move near to and far from each
//! other within minutes, 80 ns or 430 ns a round trip; every figure between them moves along. So
//! each sample is measured between two probes by the same two processes on the same two cores.

use std::sync::atomic::Ordering;

use crate::board::{Board, Word};
use crate::clock::now_ns;

/// Trips between two looks at the clock; one of these groups is one measurement.
const TRIPS_PER_GROUP: u64 = 100;

/// Groups at most.
const GROUPS_MAX: usize = 200;

/// How long a probe takes at most, in nanoseconds, when the ends share a core.
const TIME_MAX_NS: u64 = 20_000_000;

/// Looks between two offers of the core to the other end.
const LOOKS_PER_YIELD: u32 = 1 << 10;

/// Stored in `Ping` when no trip follows.
const GOODBYE: u64 = u64::MAX;

/// Calls: returns nanoseconds of the median round trip.
pub fn call(board: &Board) -> f64 {
    let (there, back) = (board.word(Word::Ping), board.word(Word::Pong));
    let mut groups = Vec::with_capacity(GROUPS_MAX);
    let (begin_ns, mut trip) = (now_ns(), 0);
    let mut last_ns = begin_ns;
    while groups.len() < GROUPS_MAX && last_ns - begin_ns < TIME_MAX_NS {
        for _ in 0..TRIPS_PER_GROUP {
            trip += 1;
            // ORDERING: release and acquire on both words, as a ring's ends do; nothing else is
            // made visible.
            there.store(trip, Ordering::Release);
            spin_until(|| back.load(Ordering::Acquire) == trip);
        }
        let now_ns = now_ns();
        groups.push(now_ns - last_ns);
        last_ns = now_ns;
    }
    // ORDERING: as above. The answerer sets `Pong` back to 0 for the next probe.
    there.store(GOODBYE, Ordering::Release);
    spin_until(|| back.load(Ordering::Acquire) == 0);
    groups.sort_unstable();
    let median = groups.get(groups.len() / 2).copied().unwrap_or(0);
    to_f64(median) / to_f64(TRIPS_PER_GROUP)
}

/// Answers until the caller says goodbye.
pub fn answer(board: &Board) {
    let (there, back) = (board.word(Word::Ping), board.word(Word::Pong));
    let mut seen = 0;
    loop {
        // ORDERING: as in `call`.
        spin_until(|| there.load(Ordering::Acquire) != seen);
        seen = there.load(Ordering::Acquire);
        if seen == GOODBYE {
            there.store(0, Ordering::Release);
            back.store(0, Ordering::Release);
            return;
        }
        back.store(seen, Ordering::Release);
    }
}

/// Without spin hints: a hint takes up to 60 ns, and the trip is to be as short as it can be.
fn spin_until(mut done: impl FnMut() -> bool) {
    let mut looks = 0_u32;
    while !done() {
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_PER_YIELD) {
            std::thread::yield_now();
        }
    }
}

/// Counts and times as floating point; both stay far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn to_f64(number: u64) -> f64 {
    number as f64
}
