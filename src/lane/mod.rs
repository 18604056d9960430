//! The ring: one producer, any number of consumers.
//!
//! Position `p` lives in slot `p & (capacity - 1)`. One word makes frames visible: `head`, the count
//! published, stored by the one producer; a batch of n is one store, so it is all or none whatever
//! crash comes between. A second word, `reserve`, says how far the producer *may be writing*: slots
//! of positions below `reserve - capacity` hold newer things than their position says.
//!
//! ```text
//!        reserve - capacity                     head            reserve
//!   -----------+---------------------------------+----------------+-----------> position
//!    maybe     |  every frame stands here whole   | maybe being    |  never
//!    overwritten                                    written           touched
//! ```
//!
//! * `writer`: claims room and publishes. Lossless: stays below every attached consumer's cursor +
//!   capacity. Lossy: announces the overwrite, then overwrites.
//! * `reader`: finds out what is published, reads it in place, gives it back by its cursor.
//! * `lossy`: copies what may be overwritten meanwhile and finds out whether it was.
//! * `kept`: where a tenancy ended, for who asks long after.
//! * `join`: how a new consumer's cursor comes to bind a producer that is running.
//!
//! The code takes the words it works on from outside, so that threads over the heap and `loom` run
//! the very code that runs across processes.

pub(crate) mod join;
pub(crate) mod kept;
pub(crate) mod lossy;
pub(crate) mod reader;
pub(crate) mod writer;

#[cfg(all(test, loom))]
pub(crate) mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::sync::AtomicU64;

/// What a producer must look at before it overwrites: who is attached, and how far each has read.
pub(crate) trait Gates {
    /// The word of bits that says which consumers are attached.
    fn attached(&self) -> &AtomicU64;

    /// A consumer's cursor on this lane. `None` for a consumer that the bus does not have.
    fn cursor(&self, consumer: u32) -> Option<&AtomicU64>;

    /// Whether `cursor` leads to the words of whoever is that consumer now. Where each has words of
    /// its own, a new one's have to be fetched first; until then nothing may be overwritten.
    fn knows(&self, _consumer: u32) -> bool {
        true
    }

    /// Whether a consumer no longer counts: it is dead, or was evicted.
    fn lets_go(&self, _consumer: u32) -> bool {
        false
    }

    /// Evicts a consumer that is too far behind `head`, if the bus has such a rule; whether it did.
    /// Asked by who wants room, where the cursors are looked at anyway.
    fn evicts(&self, _consumer: u32, _head: u64) -> bool {
        false
    }

    /// Whether the lane's producer was told to leave, or its memory is gone.
    fn is_closed(&self) -> bool {
        false
    }
}

/// Whether position `a` is before `b`. Positions wrap at 2^64 and two that are ever compared are
/// less than 2^63 apart.
#[inline]
pub(crate) const fn is_before(a: u64, b: u64) -> bool {
    a.wrapping_sub(b) > 1 << 63
}

/// The later of two positions.
#[inline]
pub(crate) const fn later(a: u64, b: u64) -> u64 {
    if is_before(a, b) { b } else { a }
}

/// The earlier of two positions.
#[inline]
pub(crate) const fn earlier(a: u64, b: u64) -> u64 {
    if is_before(a, b) { a } else { b }
}

/// The bits that are set in a word, as numbers, lowest first. At most 64 steps.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}
