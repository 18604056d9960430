//! Putting a seat in order after its holder's death, as `src/seat/recovery.rs` and
//! `src/order/recover.rs` do, by whoever holds the seat's lock.

use std::cmp::Ordering::{Equal, Greater, Less};

use crate::setups::ConsumerSetup;
use crate::state::{Consumer, FREE, LANES, Order, Reading, Recovery, State, Wrong, lowest};
use crate::system::{Bus, Mutant};

impl Bus {
    /// One step of it.
    pub fn put_in_order(
        &self,
        state: &mut State,
        recovery: &mut Recovery,
        seat: usize,
    ) -> &'static str {
        let first = recovery.at == Order::Begin;
        if first && self.is(Mutant::RecoveryFreesFirst) && state.seats[seat].state != FREE {
            state.seats[seat].state = FREE;
            return "says that the seat is free";
        }
        match recovery.at {
            Order::Begin if seat >= LANES => {
                if !self.is(Mutant::RecoveryKeepsBit) {
                    state.attached &= !(1 << (seat - LANES));
                }
                recovery.at = Order::Free;
                "clears the dead consumer's bit"
            }
            Order::Begin if self.setup.ordered => {
                self.look_at_entry(state, recovery, seat);
                "looks at the dead producer's entry"
            }
            Order::Cursors => {
                recovery.head = furthest(state, recovery.head, seat);
                recovery.at = Order::Head;
                "looks how far the lane was read"
            }
            Order::Head => {
                self.check(state, *recovery, seat);
                state.lanes[seat].head = recovery.head;
                recovery.at = Order::Free;
                "stores the lane's head"
            }
            _ => {
                state.seats[seat].state = FREE;
                recovery.at = Order::Over;
                "says that the seat is free"
            }
        }
    }

    fn look_at_entry(&self, state: &State, recovery: &mut Recovery, seat: usize) {
        let lane = state.lanes[seat];
        recovery.head = lane.head;
        recovery.at = Order::Head;
        if lane.ticket_at != lane.head + 1 {
            return;
        }
        let entry = state.entries[self.entry(lane.ticket)];
        match entry.ticket.cmp(&(lane.ticket + 1)) {
            Equal if usize::from(entry.lane) == seat && !self.is(Mutant::RecoveryDropsRun) => {
                recovery.head += entry.run;
            }
            Less | Equal => {}
            Greater => (recovery.at, recovery.reused) = (Order::Cursors, 1),
        }
    }

    /// The head found must be the lane's end. One exception: when the entry of the last run is used
    /// again, and of those who had to pass it for that nobody is there any more, nobody knows of the
    /// run; then the lane goes on before it, and its positions are used again.
    fn check(&self, state: &mut State, recovery: Recovery, lane: usize) {
        let consumers = state.consumers.iter().zip(&self.setup.consumers);
        let knows = |(own, _): (&Consumer, &ConsumerSetup)| {
            let reads = (Reading::Poll..=Reading::Settle).contains(&own.next);
            reads && own.condemned == 0 && own.position[lane] > recovery.head
        };
        let forgotten = recovery.reused != 0 && !consumers.into_iter().any(knows);
        if forgotten && recovery.head < state.count[lane] {
            state.count[lane] = recovery.head;
            state.committed[lane][usize::from(recovery.head)..].fill(0);
        }
        if recovery.head != state.count[lane] {
            state.fail(Wrong::Recovered);
        }
    }
}

/// The furthest cursor on a lane, or its head.
fn furthest(state: &State, head: u8, lane: usize) -> u8 {
    let mut look = state.attached;
    let mut furthest = head;
    while look != 0 {
        let (consumer, rest) = lowest(look);
        look = rest;
        let cursor = state.cursors[consumer][lane];
        if cursor <= head + 2 {
            furthest = furthest.max(cursor);
        }
    }
    furthest
}
