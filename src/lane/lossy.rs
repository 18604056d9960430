//! Reading what may be overwritten meanwhile: copy first, then find out whether the copy is good.
//!
//! A seqlock whose sequence is the lane's `reserve`. The writer announces, then overwrites; the
//! reader copies, then looks at the announcement. Source: H.-J. Boehm, "Can Seqlocks Get Along With
//! Programming Language Memory Models?", MSPC 2012, section 4 (fences with relaxed data).

use super::{earlier, is_before, later};
use crate::layout::words::LaneWords;
use crate::sync::{Ordering, fence};

/// What a look at a lane after copying says about the copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// Copies of positions before this may be torn.
    first_whole: u64,
}

impl Check {
    /// Looks at the lane, after the words were copied and before they are believed.
    #[inline]
    pub(crate) fn after_copy(words: &LaneWords, capacity: u64) -> Self {
        // ORDERING: acquire fence, pairs with the release fence in `LaneWriter::overwrite` and the
        // SeqCst fence in `LaneWriter::renew`: if any relaxed load of a word above saw a store of
        // the next lap, the load below sees the `reserve` that announced it.
        fence(Ordering::Acquire);
        let reserve = words.reserve.load(Ordering::Relaxed);
        Self { first_whole: reserve.wrapping_sub(capacity) }
    }

    /// Whether the copy of this position is what was published there.
    #[inline]
    pub(crate) fn is_whole(self, position: u64) -> bool {
        !is_before(position, self.first_whole)
    }

    /// The first position of which a copy would have been whole.
    pub(crate) fn first_whole(self) -> u64 {
        self.first_whole
    }
}

/// The oldest position that a reader which does not gate can still hope to copy, given the lane's
/// `origin`: the first position that any lane of the bus ever had.
pub(crate) fn oldest(words: &LaneWords, capacity: u64, origin: u64) -> u64 {
    // ORDERING: acquire, pairs with the release store in `LaneWriter::publish`: `reserve` below is
    // at least as new as this head.
    let head = words.head.load(Ordering::Acquire);
    // ORDERING: relaxed; only a first guess, each copy is checked by `Check`.
    let reserve = words.reserve.load(Ordering::Relaxed);
    oldest_held(head, later(reserve, head), capacity, origin)
}

/// The oldest position whose slot is not and will not be written as long as the producer stays
/// below `reserve`.
pub(crate) fn oldest_held(head: u64, reserve: u64, capacity: u64, origin: u64) -> u64 {
    let published = head.wrapping_sub(origin);
    let spare = reserve.wrapping_sub(head);
    // What the announcement leaves of the last `capacity` positions, but nothing before the origin.
    // A reserve that no honest producer stores (more than a ring ahead) leaves nothing.
    let held = capacity.saturating_sub(spare).min(published);
    earlier(head.wrapping_sub(held), head)
}
