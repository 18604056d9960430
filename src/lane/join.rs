//! How a new consumer's cursors come to bind producers that are running.
//!
//! The consumer stores a cursor on every lane, sets its bit, and then looks how far each producer
//! may write already:
//!
//! | producer looked at the bits | consumer looked at `reserve` | outcome |
//! |---|---|---|
//! | after the bit was set | any time | the producer obeys the cursor |
//! | before the bit was set | after the announcement | the consumer starts where the announced writes do not reach |
//! | before | before the announcement | impossible: both fences are SeqCst |
//!
//! Either way no slot at or after the consumer's start is overwritten before it is released.

use super::lossy::oldest_held;
use super::{earlier, is_before, later};
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering, fence};

/// A consumer between its first store and the moment when its start is settled.
#[derive(Debug)]
pub(crate) struct Joining(());

/// Where one lane stands when a consumer joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The oldest position that the consumer may read.
    pub(crate) oldest: u64,
    /// The lane's head: what is published from here on must not be missed.
    pub(crate) head: u64,
}

impl Joining {
    /// Makes the consumer count: sets its bit, after its cursors were stored (`place`).
    pub(crate) fn begin(attached: &AtomicU64, consumer: u32) -> Self {
        // ORDERING: release, pairs with the acquire load of the bits in `LaneWriter::gate`; makes
        // the cursors stored by `place` visible to whoever sees the bit.
        attached.fetch_or(1 << (consumer & 63), Ordering::Release);
        Self::announced()
    }

    /// The same for a consumer whose bit somebody else has set, on its request and after its cursors
    /// were stored; their exchange by socket orders the three.
    pub(crate) fn announced() -> Self {
        // ORDERING: store→load, the joiner's half of the Dekker pair with `LaneWriter::renew`.
        fence(Ordering::SeqCst);
        Self(())
    }

    /// What a lane holds for this consumer, whatever its producer does from now on. `placed` is what
    /// `place` returned for the lane: the producer may have acted on it already.
    #[allow(clippy::unused_self)] // the value is the proof that `begin` came first
    pub(crate) fn look(&self, words: &LaneWords, capacity: u64, origin: u64, placed: u64) -> Held {
        // ORDERING: acquire, pairs with the release store of head in `LaneWriter::publish`.
        let head = words.head.load(Ordering::Acquire);
        // ORDERING: relaxed; the fence in `begin` makes it at least as new as the last renewal that
        // did not see this consumer.
        let reserve = words.reserve.load(Ordering::Relaxed);
        let held = oldest_held(head, later(reserve, head), capacity, origin);
        // An announcement that was taken back can make `held` earlier than the cursor placed.
        Held { oldest: later(held, placed), head }
    }
}

/// Stores a first cursor, at the oldest that may be held, and returns it: the start that is settled
/// on is never before it. It may stop the producer for as long as the join takes, nothing worse.
pub(crate) fn place(cursor: &AtomicU64, words: &LaneWords, capacity: u64, origin: u64) -> u64 {
    // ORDERING: relaxed; a guess that only has to be a lower bound of the start.
    let head = words.head.load(Ordering::Relaxed);
    let reserve = words.reserve.load(Ordering::Relaxed);
    let oldest = oldest_held(head, later(reserve, head), capacity, origin);
    // ORDERING: relaxed; published by the release of the bit in `Joining::begin`.
    cursor.store(oldest, Ordering::Relaxed);
    oldest
}

/// The same for who starts at the head: nobody waits for it to join, or takes it for one that is far
/// behind.
pub(crate) fn place_latest(cursor: &AtomicU64, words: &LaneWords) -> u64 {
    // ORDERING: relaxed; heads only rise, so it is a lower bound of the one that `look` sees.
    let head = words.head.load(Ordering::Relaxed);
    // ORDERING: relaxed; published by the release of the bit in `Joining::begin`.
    cursor.store(head, Ordering::Relaxed);
    head
}

/// Where to start when `wanted` is asked for: not before what is held, not after what is published.
/// The second value counts the frames asked for that are gone.
pub(crate) fn settle(held: Held, wanted: u64, origin: u64) -> (u64, u64) {
    // A position that is not one of those from the origin to the head was never published.
    if wanted.wrapping_sub(origin) > held.head.wrapping_sub(origin) {
        return (held.head, 0);
    }
    let start = earlier(later(wanted, held.oldest), held.head);
    let gone = if is_before(wanted, start) { start.wrapping_sub(wanted) } else { 0 };
    (start, gone)
}
