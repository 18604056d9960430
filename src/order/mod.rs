//! The order ring: one total order over the frames of all lanes.
//!
//! Payload first, order second. A producer fills slots of its own lane, takes a ticket from the one
//! shared counter, records the ticket beside the slot, and commits the whole run with one CAS of
//! the ticket's entry. Nothing shared is held while it writes, so a claim may be held for as long
//! as it likes.
//!
//! A ticket that is taken and not committed is a hole. A consumer that has waited at a hole for
//! longer than the patience *punches* it: CAS to a tomb. Anybody may, at any time, without an idea
//! who is alive; a producer whose CAS loses takes a new ticket for the same frames. The entry's
//! word is decided exactly once per lap, so nothing is lost, doubled or torn whatever the patience.
//!
//! | entry of ticket t | meaning | may become |
//! |---|---|---|
//! | lap before t's | undecided | committed or tomb, by one CAS |
//! | t's lap, run > 0 | committed | a later lap, once every consumer has passed t |
//! | t's lap, run 0 | given up | a later lap, once every consumer has passed t |
//! | lap after t's | long decided | - |
//!
//! **Entry reuse.** Tombs are not bounded by the lanes, so entries have a gate of their own: ticket t
//! may be committed, and punched, only when every attached consumer's order cursor has passed
//! t - entries.
//!
//! **Which frames.** An entry names a lane and a count. A consumer that has followed the lane knows
//! the position; the ticket recorded beside the slot confirms it, and leads a consumer that has
//! just joined, or was lapped, to it.
//!
//! * `writer`: takes tickets and commits. * `reader`: follows the order and punches.
//! * `join`: where a new consumer starts.
//! * `recover`: how far the lane of a producer that died really is.

pub(crate) mod join;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod writer;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::lane::{bits, earlier};
use crate::sync::{AtomicU64, Ordering};

/// What a lossy bus keeps beside the slots of a run that are not its first: a ticket half of all
/// tickets away, which nobody looks for.
pub(crate) const fn inside(ticket: u64) -> u64 {
    ticket ^ (1 << 63)
}

/// The shared words of an order ring.
pub(crate) trait OrderWords {
    /// Tickets ever taken.
    fn tail(&self) -> &AtomicU64;
    /// The ring's entries; a power of two of them.
    fn entries(&self) -> &[AtomicU64];
    /// The word of bits that says which consumers are attached.
    fn attached(&self) -> &AtomicU64;
    /// A consumer's order cursor: it has passed every ticket before this.
    fn cursor(&self, consumer: u32) -> Option<&AtomicU64>;
    /// Whether a consumer no longer counts: it is dead, or was evicted.
    fn lets_go(&self, _consumer: u32) -> bool {
        false
    }
    /// How long a hole is waited for, in nanoseconds.
    fn patience_ns(&self) -> &AtomicU64;
    /// Holes punched so far, for display.
    fn punches(&self) -> &AtomicU64;
}

/// The geometry of a ring: turns tickets into entries and laps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Laps {
    /// Entries - 1.
    mask: u64,
    /// log2 of the number of entries.
    shift: u32,
    /// The first ticket ever.
    origin: u64,
}

impl Laps {
    /// The laps of a ring of `entries` entries, a power of two.
    pub(crate) fn new(entries: u64, origin: u64) -> Self {
        Self { mask: entries.wrapping_sub(1), shift: entries.trailing_zeros() & 63, origin }
    }

    /// Entries in the ring.
    pub(crate) fn entries(self) -> u64 {
        self.mask.wrapping_add(1)
    }

    /// The lap that a ticket belongs to, counted from 1.
    #[inline]
    pub(crate) fn lap(self, ticket: u64) -> u64 {
        (ticket.wrapping_sub(self.origin) >> self.shift).wrapping_add(1)
    }

    /// The entry of a ticket.
    #[inline]
    pub(crate) fn entry(self, entries: &[AtomicU64], ticket: u64) -> Option<&AtomicU64> {
        // Counted from the origin, so that a lap's tickets are one ring's worth even when the
        // origin is not a multiple of it.
        let index = usize::try_from(ticket.wrapping_sub(self.origin) & self.mask).ok()?;
        entries.get(index)
    }
}

/// The first ticket, none of them more than a ring after `ticket`, whose entry a consumer still
/// needs. With nobody attached, that is the one a ring after.
fn gate(words: &impl OrderWords, laps: Laps, ticket: u64) -> u64 {
    let entries = laps.entries();
    let mut gate = ticket.wrapping_add(entries);
    // ORDERING: acquire, pairs with the release of the bit in `Joining::begin`; makes the
    // joiner's cursor visible.
    for consumer in bits(words.attached().load(Ordering::Acquire)) {
        let Some(cursor) = words.cursor(consumer) else {
            continue;
        };
        // ORDERING: acquire, pairs with the release store in `OrderReader::release`; the
        // consumer's look at the entry comes before its reuse, and what it stored before (its
        // lanes' cursors) is visible to whoever acquires the entry that is set next.
        let cursor = cursor.load(Ordering::Acquire);
        if words.lets_go(consumer) {
            continue;
        }
        gate = earlier(gate, cursor.wrapping_add(entries));
    }
    gate
}
