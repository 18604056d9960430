//! The floor of every round trip: one cache line to the other core and one back, nothing else.
//!
//! The caller stores the number of the trip in `ping` and spins until `pong` shows it; the answerer
//! does the reverse. No system call, no instruction that locks.

use super::board::{Board, Mapping};
use crate::bench::latency::{Buckets, Latency};
use crate::bench::pace::monotonic_ns;
use crate::bench::ticks::Ticks;
use crate::bench::worker::Station;
use crate::exit::Failure;
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// Stored in `ping` when no trip follows.
const GOODBYE: u64 = u64::MAX;

/// Spins between looks at the clock, so that a peer that does not run cannot hold this one for
/// ever.
const SPINS_PER_LOOK: u32 = 1 << 14;

/// How long past its end a measurement waits for an answer, on a machine where the peer is not run.
const PATIENCE_NS: u64 = 5_000_000_000;

/// What the caller is asked to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PingOrder {
    /// For how long; the first tenth is not recorded.
    pub duration_ns: u64,
}

/// Measures round trips until the time is over.
pub fn call(station: &mut Station, board: &Mapping) -> Result<(), Failure> {
    let ticks = Ticks::calibrate();
    station.report(&())?;
    while let Some(order) = station.next_order::<PingOrder>()? {
        let report = measure(board, ticks, order);
        // ORDERING: release, pairs with the answerer's acquire of `ping` in `answer`.
        board.ping.0.store(GOODBYE, Ordering::Release);
        station.report(&report?)?;
    }
    Ok(())
}

fn measure(board: &Board, ticks: Ticks, order: PingOrder) -> Result<Buckets, Failure> {
    let mut latency = Latency::new();
    let begin = ticks.now();
    let warm = begin + ticks.ticks_of(order.duration_ns / 10);
    let end = begin + ticks.ticks_of(order.duration_ns);
    let mut trip = 0;
    let mut sent = begin;
    while sent < end {
        trip += 1;
        sent = ticks.now();
        // ORDERING: release, pairs with the answerer's acquire of `ping` in `answer`.
        board.ping.0.store(trip, Ordering::Release);
        let mut spins = 0_u32;
        // ORDERING: acquire, pairs with the answerer's release of `pong` in `answer`.
        while board.pong.0.load(Ordering::Acquire) != trip {
            spins += 1;
            if spins.is_multiple_of(SPINS_PER_LOOK) {
                std::thread::yield_now();
                if ticks.to_ns(ticks.now() - sent) > order.duration_ns + PATIENCE_NS {
                    return Err(Failure::failed("the other end of the ping-pong does not answer"));
                }
            }
        }
        let received = ticks.now();
        if sent >= warm {
            latency.record(ticks.to_ns(received - sent));
        }
    }
    Ok(latency.buckets())
}

/// Answers until the caller says goodbye.
pub fn answer(station: &mut Station, board: &Mapping) -> Result<(), Failure> {
    station.report(&())?;
    let mut answered = 0;
    let mut spins = 0_u32;
    let mut heard_ns = monotonic_ns();
    loop {
        // ORDERING: acquire, pairs with the caller's release of `ping` in `measure`.
        let trip = board.ping.0.load(Ordering::Acquire);
        if trip == GOODBYE {
            return station.report(&());
        }
        if trip != answered {
            // ORDERING: release, pairs with the caller's acquire of `pong` in `measure`.
            board.pong.0.store(trip, Ordering::Release);
            answered = trip;
            spins = 0;
            continue;
        }
        spins = spins.wrapping_add(1);
        if spins.is_multiple_of(SPINS_PER_LOOK) {
            std::thread::yield_now();
            let now_ns = monotonic_ns();
            if spins == SPINS_PER_LOOK {
                heard_ns = now_ns;
            } else if now_ns - heard_ns > 2 * PATIENCE_NS {
                return Err(Failure::failed("the other end of the ping-pong does not call"));
            }
        }
    }
}
