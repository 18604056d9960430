//! A consumer's end of the order ring: what comes next, and when to give a ticket up.

use std::cmp;

use super::writer::{PATIENCE_MAX_NS, PATIENCE_NS};
use super::{Laps, OrderWords, gate};
use crate::crash::crash_point;
use crate::lane::{is_before, later};
use crate::layout::entry::Entry;
use crate::sync::{AtomicU64, Ordering, fence};

/// Tombs passed in one call at most, so that a poll stays short.
const TOMBS_MAX: u32 = 1024;

/// What stands at the consumer's place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A run of frames: `passed` it when it has been read.
    Run { ticket: u64, lane: u32, count: u64 },
    /// Everything is read.
    Empty,
    /// A ticket is taken and not yet committed.
    Hole,
    /// A later lap has overwritten the place: this consumer does not gate and was too slow.
    Lapped,
}

/// A consumer's state on the order ring.
#[derive(Debug)]
pub(crate) struct OrderReader<M> {
    words: M,
    laps: Laps,
    /// The next ticket to look at.
    next: u64,
    /// When the hole at `next` was first seen.
    hole_since_ns: Option<u64>,
    /// Whether consumers gate the reuse of entries; not in a lossy bus.
    gated: bool,
}

impl<M: OrderWords> OrderReader<M> {
    /// Reads from `ticket` on.
    pub(crate) fn new(words: M, laps: Laps, ticket: u64, gated: bool) -> Self {
        Self { words, laps, next: ticket, hole_since_ns: None, gated }
    }

    /// The next ticket to look at.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Looks at the next entries. `now_ns` is read only while there is a hole.
    ///
    /// Progress: bounded by `TOMBS_MAX` entries a call.
    #[inline]
    pub(crate) fn next(&mut self, now_ns: impl Fn() -> u64) -> Next {
        for _ in 0..TOMBS_MAX {
            let Some(slot) = self.laps.entry(self.words.entries(), self.next) else {
                return Next::Empty;
            };
            // ORDERING: acquire, pairs with the release CAS in `OrderWriter::decide`; makes the
            // run's frames and the ticket beside them visible.
            let word = slot.load(Ordering::Acquire);
            let entry = Entry::from_word(word);
            match entry.against(self.laps.lap(self.next)) {
                cmp::Ordering::Equal if entry.is_tomb() => self.passed(),
                cmp::Ordering::Equal => {
                    let (lane, count) = (entry.lane(), entry.run());
                    return Next::Run { ticket: self.next, lane, count };
                }
                cmp::Ordering::Greater => return Next::Lapped,
                cmp::Ordering::Less => {
                    if !self.is_taken() {
                        return Next::Empty;
                    }
                    if !self.is_out_of_patience(&now_ns) {
                        return Next::Hole;
                    }
                    if !self.is_free() {
                        return Next::Hole;
                    }
                    self.punch(word);
                }
            }
        }
        Next::Hole
    }

    /// The run that stands `ahead` entries after the one that `next` returned, if one is committed
    /// there.
    #[inline]
    pub(crate) fn run_ahead(&self, ahead: u64) -> Option<(u32, u64)> {
        let ticket = self.next.wrapping_add(ahead);
        let slot = self.laps.entry(self.words.entries(), ticket)?;
        // ORDERING: acquire, as in `next`.
        let entry = Entry::from_word(slot.load(Ordering::Acquire));
        let is_run = entry.against(self.laps.lap(ticket)).is_eq() && !entry.is_tomb();
        is_run.then(|| (entry.lane(), entry.run()))
    }

    /// Moves past the entry that `next` returned.
    #[inline]
    pub(crate) fn passed(&mut self) {
        self.pass(1);
    }

    /// Moves past `count` entries, which are committed.
    #[inline]
    pub(crate) fn pass(&mut self, count: u64) {
        self.next = self.next.wrapping_add(count);
        self.hole_since_ns = None;
    }

    /// Whether somebody holds the ticket at `next`.
    #[inline]
    fn is_taken(&self) -> bool {
        // ORDERING: relaxed; a stale value is an earlier one and means "not yet".
        let tail = self.words.tail().load(Ordering::Relaxed);
        is_before(self.next, tail)
    }

    #[cold]
    fn is_out_of_patience(&mut self, now_ns: &impl Fn() -> u64) -> bool {
        let now = now_ns();
        let since = *self.hole_since_ns.get_or_insert(now);
        // ORDERING: relaxed; a hint for how long to wait. Clamped, since anybody can store it.
        let patience = self.words.patience_ns().load(Ordering::Relaxed);
        now.saturating_sub(since) >= patience.clamp(PATIENCE_NS, PATIENCE_MAX_NS)
    }

    /// Whether the entry of `next`, which still holds what was decided a ring ago, may be set: not
    /// while another consumer has that before it. A producer that was refused for the same reason
    /// leaves its ticket as a hole, so a hole says nothing about the consumers behind it.
    #[cold]
    fn is_free(&self) -> bool {
        if !self.gated {
            return true;
        }
        // ORDERING: load→load across the joiner's store→load in `Joining::begin`: either the look
        // below sees the joiner's bit, or the joiner's look at the tail sees one at least as late
        // as `is_taken` saw, and it starts after what is overwritten here.
        fence(Ordering::SeqCst);
        is_before(self.next, gate(&self.words, self.laps, self.next))
    }

    /// Gives the ticket at `next` up, unless its producer commits first. The caller looks again.
    #[cold]
    fn punch(&self, old: u64) {
        let Some(slot) = self.laps.entry(self.words.entries(), self.next) else {
            return;
        };
        crash_point!(HoleFound);
        let tomb = Entry::tomb(self.laps.lap(self.next)).word();
        // ORDERING: release, pairs with the acquire load of the entry in `recover::head`; a tomb
        // carries no payload, but passes on the cursors that `is_free` looked at. The producer's
        // CAS and this one are on the same word, which alone decides.
        if slot.compare_exchange(old, tomb, Ordering::Release, Ordering::Relaxed).is_ok() {
            // ORDERING: relaxed; a statistic.
            self.words.punches().fetch_add(1, Ordering::Relaxed);
            crash_point!(HolePunched);
        }
    }

    /// Jumps ahead after being lapped, far enough not to be lapped again at once.
    pub(crate) fn catch_up(&mut self) {
        // ORDERING: relaxed; any value since is a place to go on from.
        let tail = self.words.tail().load(Ordering::Relaxed);
        let entries = self.laps.entries();
        let margin = entries / 8;
        let ahead = tail.wrapping_sub(entries).wrapping_add(margin);
        self.next = later(self.next.wrapping_add(1), ahead);
        self.hole_since_ns = None;
    }

    /// Lets producers reuse the entries that were passed. The lanes' cursors are stored before.
    #[inline]
    pub(crate) fn release(&self, cursor: &AtomicU64) {
        // ORDERING: release, pairs with the acquire load in `OrderWriter::gate`; this consumer's
        // looks at the entries, and its stores of the lanes' cursors, come before the reuse.
        cursor.store(self.next, Ordering::Release);
    }
}

/// Finds the position in a lane whose slot was recorded with `ticket`, among `count` positions from
/// `from`. Bounded by the capacity.
pub(crate) fn locate(tickets: &[AtomicU64], from: u64, count: u64, ticket: u64) -> Option<u64> {
    let mask = u64::try_from(tickets.len()).ok()?.wrapping_sub(1);
    (0..count)
        .map(|step| from.wrapping_add(step))
        .find(|position| recorded(tickets, position & mask) == Some(ticket))
}

/// The ticket recorded beside a slot.
#[inline]
pub(crate) fn recorded(tickets: &[AtomicU64], slot: u64) -> Option<u64> {
    // ORDERING: relaxed; made visible by the acquire load of the entry that names the ticket. In a
    // lossy bus a later lap may show; then it is another ticket.
    tickets.get(usize::try_from(slot).ok()?).map(|ticket| ticket.load(Ordering::Relaxed))
}
