//! How the consumers' seats stand, for whoever is gated by them.
//!
//! A dead consumer must not gate, and its seat is put in order under the seat's write lock, by one
//! recoverer at a time. That one may be stopped in the middle. So death is declared without that lock:
//!
//! | who finds out | anybody else |
//! |---|---|
//! | loads the state: taken, epoch e | |
//! | asks the kernel: nobody has the seat's read lock | |
//! | CAS of the state, from epoch e to (e, dead) | the same, at the same time: one of them does it |
//! | | passes over the consumer's cursor |
//! | takes the write lock, clears the bits, frees the seat | waits for nothing |
//!
//! Who sits down has the read lock before the state says e, and gives it back after it said free. A
//! byte without that lock, after a state of epoch e was seen, proves, if the CAS succeeds, that e's
//! holder died in its seat: it will never read again, whatever bus this is. A write lock proves the
//! same: its holder recovers the seat, or will; nobody has to wait for it, be it stopped or slow.

use std::sync::Arc;

use crate::crash::crash_point;
use crate::layout::geometry::Geometry;
use crate::layout::state::SeatState;
use crate::layout::words::SeatWords;
use crate::shm::mapping::{Mapping, Shared};
use crate::sync::Ordering;

/// The states of the consumers' seats.
#[derive(Clone, Debug)]
pub(crate) struct Standings {
    seats: Arc<[Shared<SeatWords>]>,
}

impl Standings {
    /// Of the seats in a control region.
    pub(super) fn of(control: &Arc<Mapping>, geometry: &Geometry) -> Option<Self> {
        let seat =
            |seat| Shared::at(control, geometry.consumer_seat(seat) - geometry.control.offset);
        let seats = (0..geometry.shape.consumers).map(seat).collect::<Option<_>>()?;
        Some(Self { seats })
    }

    /// A consumer's seat; `None` when the bus has no such consumer.
    pub(super) fn seat(&self, consumer: u32) -> Option<&SeatWords> {
        self.seats.get(usize::try_from(consumer).ok()?).map(|seat| &**seat)
    }

    /// A consumer's state now; one that the bus does not have is nobody's.
    pub(crate) fn state(&self, consumer: u32) -> SeatState {
        self.seat(consumer).map_or(SeatState::from_word(0), |seat| {
            // ORDERING: acquire, pairs with the release in `seat::sit` and with the CASes of `bury`
            // and `evict::evict_seat`: what is seen of the bits and cursors after this belongs to
            // this tenancy or a later one.
            SeatState::from_word(seat.state.load(Ordering::Acquire))
        })
    }

    /// Whether a consumer is known to be dead, so that its cursor gates nobody.
    pub(crate) fn is_dead(&self, consumer: u32) -> bool {
        self.state(consumer).is_dead()
    }
}

/// Declares the holder of a seat dead, if its state is still `state`, after which nobody held its
/// lock.
pub(crate) fn bury(seat: &SeatWords, state: SeatState) {
    let Some(dead) = state.died() else {
        return;
    };
    // ORDERING: acquire and release: whoever passes over a cursor because of this has seen what its
    // finder saw. A failure means that the seat is somebody else's, or that it was said already.
    let exchanged =
        seat.state.compare_exchange(state.word(), dead.word(), Ordering::AcqRel, Ordering::Relaxed);
    if exchanged.is_ok() {
        crash_point!(DeathDeclared);
    }
}
