//! The end of a tenancy, asked for while others come to the lane and leave it.

use std::sync::Arc;

use loom::thread;

use super::{explore, lane_words};
use crate::lane::kept::{self, TenancyEnd};
use crate::layout::state::SeatState;
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering};

/// A lane and the state of its seat.
struct Place {
    lane: LaneWords,
    state: AtomicU64,
}

impl Place {
    /// Comes, publishes `frames`, goes; gives the state that it leaves. Announces its end if it is `asked`.
    ///
    /// The state and the head that it finds are told and not loaded: it alone stores them, and a load of
    /// its own right before a store would hide from loom that others load the word.
    fn tenancy(&self, free: SeatState, head: u64, asked: bool) -> SeatState {
        let state = free.sat();
        self.state.store(state.word(), Ordering::Release);
        if asked {
            kept::announce(&self.lane, state.epoch());
        }
        self.lane.head.store(head, Ordering::Release);
        kept::note(&self.lane, state.epoch());
        self.state.store(state.freed().word(), Ordering::Release);
        state.freed()
    }

    fn end_of(&self, epoch: u64) -> TenancyEnd {
        let state = SeatState::from_word(self.state.load(Ordering::Acquire));
        kept::end_of(&self.lane, state, epoch)
    }
}

#[test]
fn end_of_a_tenancy_is_its_own_or_unknown_whoever_comes_after() {
    explore(Some(3), || {
        let place = Arc::new(Place { lane: lane_words(u64::MAX - 1), state: AtomicU64::new(0) });
        let tenants = Arc::clone(&place);
        let lives = thread::spawn(move || {
            let free = tenants.tenancy(SeatState::from_word(0), u64::MAX, true);
            let free = tenants.tenancy(free, 0, false);
            tenants.tenancy(free, 1, true);
        });
        let end = place.end_of(1);
        let allowed = [TenancyEnd::NotYet, TenancyEnd::At(u64::MAX), TenancyEnd::Unknown];
        assert!(allowed.contains(&end), "{end:?}");
        lives.join().unwrap();
        assert_eq!(place.end_of(1), TenancyEnd::Unknown, "the third took its place");
        assert_eq!(place.end_of(2), TenancyEnd::Unknown, "the second did not ask");
        assert_eq!(place.end_of(3), TenancyEnd::At(1), "across the wrap");
        assert_eq!(place.end_of(4), TenancyEnd::Unknown, "there was none");
    });
}

#[test]
fn end_is_known_from_the_moment_that_the_seat_is_free() {
    explore(None, || {
        let place = Arc::new(Place { lane: lane_words(0), state: AtomicU64::new(0) });
        let tenants = Arc::clone(&place);
        let lives = thread::spawn(move || {
            let free = tenants.tenancy(SeatState::from_word(0), 2, true);
            tenants.tenancy(free, 3, false);
        });
        let state = SeatState::from_word(place.state.load(Ordering::Acquire));
        let is_over = state.epoch() > 1 || (state.epoch() == 1 && !state.is_taken());
        if is_over {
            assert_eq!(kept::end_of(&place.lane, state, 1), TenancyEnd::At(2));
        }
        lives.join().unwrap();
        assert_eq!(place.end_of(1), TenancyEnd::At(2));
    });
}
