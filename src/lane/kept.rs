//! Where a tenancy of a lane ended, kept beyond the tenancies that follow it.
//!
//! A lane's next tenant goes on where the last one stopped, so that soon nobody can say from `head` how
//! many frames of a dead producer were published. A tenant that needs to be asked that after its death
//! says so when it comes (`announce`); whoever ends its tenancy, the tenant itself or the one that puts
//! a dead one's seat in order, notes `head` before the seat is free (`note`). It stays there until
//! another tenant announces the same.
//!
//! | the seat's state, loaded first | `kept_epoch` | answer for tenancy e |
//! |---|---|---|
//! | e, taken | any | it is not over |
//! | e, free; or a later one | e | it ended at `kept_end` |
//! | e, free; or a later one | another | not kept, or no longer |

use crate::layout::state::SeatState;
use crate::layout::words::LaneWords;
use crate::sync::Ordering;

/// How a tenancy of a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenancyEnd {
    /// Somebody sits there, or is dead and waits for [`Bus::reclaim`](crate::Bus::reclaim).
    NotYet,
    /// It is over: frames before this position of the lane are published, and none from it on is this
    /// tenant's.
    At(u64),
    /// Nobody knows: its producer did not ask for it, or another has asked since on the same lane.
    Unknown,
}

/// Says that the end of this tenancy is to be kept. Comes before its first frame.
pub(crate) fn announce(words: &LaneWords, epoch: u64) {
    // ORDERING: relaxed; who ends this tenancy is ordered after it by program order or by the seat's
    // lock, and who reads it does so after an acquire load, in `end_of`.
    words.kept_epoch.store(epoch, Ordering::Relaxed);
}

/// Notes where the lane's present tenancy ends, if that was announced. Its head is settled, and its
/// seat is not free yet. Doing it again changes nothing.
pub(crate) fn note(words: &LaneWords, epoch: u64) {
    // ORDERING: relaxed; stored by this tenant, whose end the caller is or has proven.
    if words.kept_epoch.load(Ordering::Relaxed) == epoch {
        // ORDERING: relaxed; as above.
        let head = words.head.load(Ordering::Relaxed);
        // ORDERING: release, pairs with the acquire load in `end_of`: who sees the end of a later tenancy
        // sees that it was announced as well.
        words.kept_end.store(head, Ordering::Release);
    }
}

/// How tenancy `epoch` ended, given its seat's state as it was loaded, with acquire, before.
pub(crate) fn end_of(words: &LaneWords, state: SeatState, epoch: u64) -> TenancyEnd {
    if state.epoch() < epoch {
        return TenancyEnd::Unknown;
    }
    if state.epoch() == epoch && state.is_taken() {
        return TenancyEnd::NotYet;
    }
    // The end first: if it is a later one's, its announcement is seen below.
    // ORDERING: acquire, pairs with the release store in `note`. That of this tenancy was stored before
    // its seat was freed, which the state shows.
    let end = words.kept_end.load(Ordering::Acquire);
    // ORDERING: relaxed; ordered after the load above by its acquire.
    if words.kept_epoch.load(Ordering::Relaxed) == epoch {
        TenancyEnd::At(end)
    } else {
        TenancyEnd::Unknown
    }
}
