//! Making a live consumer lose its place, so that it holds up nobody any more.
//!
//! A consumer that reads in place cannot be robbed of its frames: it may be in the middle of one. On
//! a bus that evicts, consumers read copies and check them (`lane::lossy`), so that producers may go
//! on at any time; one word decides, the evicted one's seat.
//!
//! | who evicts | consumer |
//! |---|---|
//! | loads the seat's state: taken, epoch e | |
//! | sees that it gates, and where | |
//! | CAS of the state, from (e, taken) to (e, evicted) | copies frames |
//! | skips its cursor from now on, announces in `reserve`, overwrites | looks at `reserve`: the copy is good, or it may not be |
//! | | looks at its state: not evicted, and the copy is good; evicted, and it says how many frames it did not get |
//!
//! The state is loaded first. If its bit is seen set after that, the bit is this tenancy's, since the
//! tenant before cleared its own before it gave the seat back; so the cursor is this tenancy's too,
//! and the CAS fails for any other.

use super::{Cursors, Regions, Standings};
use crate::crash::crash_point;
use crate::layout::header::Evict;
use crate::layout::state::SeatState;
use crate::layout::words::{ControlWords, SeatWords};
use crate::shm::mapping::Shared;
use crate::sync::Ordering;

/// What evicting takes: on a bus that does, for whoever may store in its control region.
#[derive(Clone, Debug)]
pub(crate) struct Eviction {
    pub(crate) rule: Evict,
    words: Shared<ControlWords>,
    bells: Shared<ControlWords>,
    standings: Standings,
    cursors: Cursors,
}

impl Eviction {
    /// For a bus whose header has a rule.
    pub(super) fn of(regions: &Regions, rule: Evict) -> Self {
        let (words, bells) = (regions.words.clone(), regions.bells.clone());
        let (standings, cursors) = (regions.standings.clone(), regions.cursors.clone());
        Self { rule, words, bells, standings, cursors }
    }

    /// A consumer's state now; one that the bus does not have is nobody's.
    pub(crate) fn state(&self, consumer: u32) -> SeatState {
        self.standings.state(consumer)
    }

    /// Evicts a consumer that is too far behind a lane's `head`; whether it did.
    pub(super) fn evicts(&self, consumer: u32, lane: u32, head: u64) -> bool {
        if self.rule.lag == 0 {
            return false;
        }
        // The state comes first; see above.
        let state = self.state(consumer);
        let too_far = |cursor: u64| {
            let behind = head.wrapping_sub(cursor);
            behind >= self.rule.lag && behind < 1 << 63
        };
        self.gates(consumer)
            && self.cursor(consumer, lane).is_some_and(too_far)
            && self.evict(consumer, state)
    }

    /// Whether a consumer's bit is set.
    pub(crate) fn gates(&self, consumer: u32) -> bool {
        // ORDERING: acquire, pairs with the release of the bit in `Joining::begin`; makes the
        // consumer's first cursors visible.
        self.words.consumers.load(Ordering::Acquire) & (1 << (consumer & 63)) != 0
    }

    fn cursor(&self, consumer: u32, lane: u32) -> Option<u64> {
        let cursor = self.cursors.row(consumer)?.positions.get(usize::try_from(lane).ok()?)?;
        // ORDERING: acquire, pairs with the release store in `LaneReader::release`.
        Some(cursor.load(Ordering::Acquire))
    }

    /// Evicts a consumer whose state is still `state`. `false`: it is another by now.
    #[cold]
    pub(crate) fn evict(&self, consumer: u32, state: SeatState) -> bool {
        let seat = self.standings.seat(consumer);
        seat.is_some_and(|seat| evict_seat(seat, state, &self.words, &self.bells))
    }
}

/// Tells the holder of a seat to leave, if its state is still `state`, and counts it.
pub(super) fn evict_seat(
    seat: &SeatWords,
    state: SeatState,
    words: &ControlWords,
    bells: &ControlWords,
) -> bool {
    let Some(evicted) = state.evicted() else {
        return false;
    };
    let (old, new) = (state.word(), evicted.word());
    // ORDERING: acquire and release: whoever skips a cursor because of this state has seen what its
    // evicter saw. Failure needs nothing.
    if seat.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return false;
    }
    crash_point!(EvictionMarked);
    // ORDERING: relaxed; a statistic.
    words.evictions.fetch_add(1, Ordering::Relaxed);
    super::note_change(bells);
    true
}
