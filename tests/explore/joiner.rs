//! A consumer that comes to its seat: first cursors, its bit, and then a look where it may start, as
//! `src/lane/join.rs`, `src/order/join.rs` and `Engine::join` of `src/consumer` have it.

use zerocopy::FromZeros;

use crate::setups::Arrival;
use crate::state::{CAPACITY, Consumer, FREE, LANES, Order, Reading, Recovery, State, TAKEN};
use crate::system::{Bus, Kind, Mutant};

impl Bus {
    /// One step of one that has no place to read from yet.
    pub fn join(
        &self,
        state: &mut State,
        own: &mut Consumer,
        index: usize,
    ) -> Option<&'static str> {
        let setup = self.setup.consumers[index];
        let seat = usize::from(setup.seat);
        let lane = usize::from(own.lane);
        let last = lane + 1 == LANES;
        Some(match own.next {
            next if next < Reading::Place => return self.arrive(state, own, index),
            Reading::Place => {
                own.position[lane] = held(state, lane);
                state.cursors[seat][lane] = own.position[lane];
                Self::next_lane(
                    own,
                    if self.setup.ordered { Reading::PlaceOrder } else { Reading::Bit },
                );
                if last && self.is(Mutant::JoinerLooksFirst) {
                    own.next = Reading::Look;
                }
                "stores a first cursor"
            }
            Reading::PlaceOrder => {
                state.order_cursors[seat] = self.oldest_ticket(state);
                own.next = Reading::Bit;
                "stores a first order cursor"
            }
            Reading::Bit => {
                state.attached |= 1 << seat;
                own.next = Reading::Look;
                if self.is(Mutant::JoinerLooksFirst) {
                    own.next = Reading::Store;
                }
                "sets its bit"
            }
            Reading::Look => {
                let oldest = held(state, lane).max(own.position[lane]);
                let head = state.lanes[lane].head;
                own.heads[lane] = head;
                let at_oldest = setup.arrival == Arrival::AtOldest || self.setup.ordered;
                own.position[lane] = if at_oldest { oldest } else { head };
                Self::next_lane(
                    own,
                    if self.setup.ordered { Reading::Tail } else { Reading::Store },
                );
                if last && self.is(Mutant::JoinerLooksFirst) {
                    own.next = Reading::Bit;
                }
                "looks what a lane holds"
            }
            Reading::Tail => {
                self.walk_back(state, own, setup.arrival == Arrival::AtOldest);
                own.next = Reading::StoreOrder;
                "looks where the order is"
            }
            Reading::StoreOrder => {
                state.order_cursors[seat] = own.ticket;
                own.next = Reading::Store;
                "stores its order cursor"
            }
            _ => {
                state.cursors[seat][lane] = own.position[lane];
                Self::next_lane(own, Reading::Poll);
                if last {
                    own.heads = [0; LANES];
                    own.located = if self.setup.ordered { 0 } else { 3 };
                }
                "stores a cursor"
            }
        })
    }

    /// Takes the seat, and puts it in order first if its last holder died in it.
    fn arrive(&self, state: &mut State, own: &mut Consumer, index: usize) -> Option<&'static str> {
        let seat = usize::from(self.setup.consumers[index].seat);
        Some(match own.next {
            Reading::Declare => {
                own.declaration = self.begin_to_declare(state, seat);
                own.next = Reading::Lock;
                "loads its seat's state"
            }
            Reading::Lock => {
                if !state.try_lock(LANES + seat, Self::process(Kind::Consumer, index)) {
                    own.next = Reading::Declare;
                    return Some("finds the seat's lock held");
                }
                let dead = state.seats[LANES + seat].state != FREE;
                own.next = if dead { Reading::Recover } else { self.takes_possession() };
                if self.is(Mutant::KeepsBeforeRecovery) {
                    state.seats[LANES + seat].inhabited = 1;
                }
                "takes the seat's lock"
            }
            Reading::Recover => {
                let what = self.put_in_order(state, &mut own.recovery, LANES + seat);
                if own.recovery.at == Order::Over {
                    (own.recovery, own.next) = (Recovery::new_zeroed(), self.takes_possession());
                }
                what
            }
            Reading::Keep => {
                state.seats[LANES + seat].inhabited = 1;
                own.next = Reading::Sit;
                if self.is(Mutant::SitsBeforeKeeping) {
                    own.next = Reading::Place;
                }
                "turns its lock into that of who sits there"
            }
            _ => {
                let words = &mut state.seats[LANES + seat];
                words.epoch += u8::from(!self.is(Mutant::EpochKept));
                words.state = TAKEN;
                (own.epoch, own.next) = (words.epoch, Reading::Place);
                if self.is(Mutant::SitsBeforeKeeping) {
                    own.next = Reading::Keep;
                }
                "sits down"
            }
        })
    }

    /// What a newcomer does with a seat that is in order.
    fn takes_possession(&self) -> Reading {
        if self.is(Mutant::SitsBeforeKeeping) { Reading::Sit } else { Reading::Keep }
    }

    /// Goes on with the next lane, or after the last of them with what comes `then`.
    fn next_lane(own: &mut Consumer, then: Reading) {
        own.lane += 1;
        if usize::from(own.lane) == LANES {
            (own.lane, own.next) = (0, then);
        }
    }

    /// The oldest ticket whose entry no producer overwrites before it sees a new consumer.
    fn oldest_ticket(&self, state: &State) -> u8 {
        let kept = self.setup.entries - (self.setup.entries / 4).max(1);
        state.tail.saturating_sub(kept)
    }

    /// Where to start in the order, and on each lane.
    fn walk_back(&self, state: &State, own: &mut Consumer, oldest: bool) {
        let target = if oldest { self.oldest_ticket(state) } else { state.tail };
        let mut back = [0; LANES];
        own.ticket = state.tail;
        while own.ticket > target {
            // Entries hold 1 + their ticket.
            let entry = state.entries[self.entry(own.ticket - 1)];
            if entry.ticket > own.ticket {
                break;
            }
            if entry.ticket == own.ticket && entry.run > 0 {
                let lane = usize::from(entry.lane);
                let frames = back[lane] + entry.run;
                if frames > own.heads[lane].saturating_sub(own.position[lane]) {
                    break;
                }
                back[lane] = frames;
            }
            own.ticket -= 1;
        }
        for ((position, head), back) in own.position.iter_mut().zip(own.heads).zip(back) {
            *position = (*position).max(head - back);
        }
    }
}

/// The oldest position that a lane holds for a newcomer.
fn held(state: &State, lane: usize) -> u8 {
    let words = &state.lanes[lane];
    let spare = words.reserve.saturating_sub(words.head);
    words.head - CAPACITY.saturating_sub(spare).min(words.head)
}
