//! How far the lane of a producer that died really is.
//!
//! On an `ordered` bus a run is committed by its entry, and the lane's `head` follows. A producer
//! that dies between the two leaves committed frames above `head`; the next producer of the lane
//! must not write over them, nor publish them twice. Called by whoever holds the dead one's seat
//! lock, so by one process at a time; dying in it changes nothing.

use std::cmp::Ordering::{Equal, Greater, Less};

use super::{Laps, OrderWords};
use crate::lane::{bits, is_before, later};
use crate::layout::entry::Entry;
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering};

/// The position where the lane goes on. `cursor` gives a consumer's cursor on this lane.
pub(crate) fn head<'a>(
    lane: u32,
    words: &LaneWords,
    order: &impl OrderWords,
    laps: Laps,
    batch_max: u64,
    cursor: impl Fn(u32) -> Option<&'a AtomicU64>,
) -> u64 {
    // ORDERING: relaxed; the seat's lock, released by the kernel when the last mapping of the dead
    // process went, orders all its stores before this.
    let head = words.head.load(Ordering::Relaxed);
    // `ticket_at` is stored after `ticket` and before the CAS. If it is not this head, the producer
    // died before the CAS of its last run or after storing the head that followed it.
    if words.ticket_at.load(Ordering::Relaxed) != head {
        return head;
    }
    let ticket = words.ticket.load(Ordering::Relaxed);
    let Some(slot) = laps.entry(order.entries(), ticket) else {
        return head;
    };
    // ORDERING: acquire, pairs with the release CAS of `OrderWriter::decide` or of
    // `OrderReader::punch` that reused the entry: whoever did it had acquired the order cursors
    // that let it, so the lanes' cursors stored before those are visible below.
    let entry = Entry::from_word(slot.load(Ordering::Acquire));
    match entry.against(laps.lap(ticket)) {
        // Not decided: nobody is left to commit it; consumers will punch it.
        Less => head,
        Equal if entry.is_tomb() || entry.lane() != lane => head,
        Equal => head.wrapping_add(entry.run().min(batch_max)),
        // Decided and reused since. If it was committed, every consumer that was attached has read
        // it and stored so, before it let the entry go; whoever attached later starts after it.
        // An evicted consumer let nothing go, and reads nothing any more: if there was no other,
        // nobody has seen the run and its positions may be used again.
        Greater => {
            let furthest = head.wrapping_add(batch_max);
            // ORDERING: acquire, pairs with the release of the bit in `Joining::begin`.
            bits(order.attached().load(Ordering::Acquire))
                .filter_map(cursor)
                // ORDERING: acquire, pairs with the release in `LaneReader::release`.
                .map(|cursor| cursor.load(Ordering::Acquire))
                .filter(|cursor| !is_before(furthest, *cursor))
                .fold(head, later)
        }
    }
}
