//! Where a new consumer starts in the order, and from where on it reads each lane.
//!
//! The consumer is bound into the lanes first (`lane::join`), with an order cursor that is surely
//! not too late. Then it takes the tail and walks back from it, entry by entry, as far as it wants
//! and as the lanes still hold the frames.
//!
//! | frames of a lane | seen by the walk | so the lane's position is |
//! |---|---|---|
//! | below the head looked at | always: their entry came before that head | counted back from the head |
//! | committed, head not looked at yet | perhaps | too low by as many frames |
//! | committed later, with a ticket before the start | never | too low by as many frames |
//!
//! A position is therefore a lower bound until a run is found by the ticket beside it.

use std::cmp::Ordering::{Equal, Greater};

use super::{Laps, OrderWords};
use crate::lane::is_before;
use crate::lane::join::Held;
use crate::layout::entry::Entry;
use crate::sync::{AtomicU64, Ordering};

/// Stores a first order cursor that is surely not later than the one that will be settled on.
pub(crate) fn place(words: &impl OrderWords, laps: Laps, origin: u64, cursor: &AtomicU64) {
    // ORDERING: relaxed; published by the bit that `Joining::begin` sets.
    let tail = words.tail().load(Ordering::Relaxed);
    cursor.store(oldest(laps, tail, origin), Ordering::Relaxed);
}

/// The oldest ticket whose entry no producer overwrites before it sees a new consumer: producers
/// take at most a quarter of the ring as credit.
pub(crate) fn oldest(laps: Laps, tail: u64, origin: u64) -> u64 {
    let kept = laps.entries() - (laps.entries() / 4).max(1);
    tail.wrapping_sub(kept.min(tail.wrapping_sub(origin)))
}

/// Walks from `tail` back towards `target`, as long as every frame on the way is still held by its
/// lane. Returns the ticket reached, and for each lane how many frames lie between.
///
/// Bounded by the ring's length.
pub(crate) fn walk_back(
    words: &impl OrderWords,
    laps: Laps,
    held: &[Held],
    tail: u64,
    target: u64,
) -> (u64, Vec<u64>) {
    let mut back = vec![0_u64; held.len()];
    let mut ticket = tail;
    while is_before(target, ticket) {
        let before = ticket.wrapping_sub(1);
        let Some(slot) = laps.entry(words.entries(), before) else {
            break;
        };
        // ORDERING: acquire, pairs with the release CAS in `OrderWriter::decide`.
        let entry = Entry::from_word(slot.load(Ordering::Acquire));
        match entry.against(laps.lap(before)) {
            Greater => break,
            Equal if !entry.is_tomb() => {
                let Some(lane) = usize::try_from(entry.lane()).ok() else {
                    break;
                };
                let (Some(held), Some(back)) = (held.get(lane), back.get_mut(lane)) else {
                    break;
                };
                let frames = back.saturating_add(entry.run());
                if frames > held.head.wrapping_sub(held.oldest) {
                    break;
                }
                *back = frames;
            }
            // A tomb, or not decided yet.
            _ => {}
        }
        ticket = before;
    }
    (ticket, back)
}
