//! A producer, one access to shared memory at a time, as `src/lane/writer.rs`, `src/order/writer.rs`
//! and `src/producer/engine.rs` have it.

use zerocopy::FromZeros;

use crate::state::{
    CAPACITY, Entry, FREE, LANES, Order, Producer, Producing, Recovery, State, TAKEN, lowest, run,
    slot,
};
use crate::system::{Bus, Kind, Mutant};

impl Bus {
    /// Frames of the batch in hand.
    fn batch(&self, producer: usize, own: &Producer) -> Option<u8> {
        self.setup.producers[producer].batches.get(usize::from(own.batches)).copied()
    }

    /// The frame that a producer writes next but `ahead`: who, which, and whether it ends a batch.
    fn frame(&self, producer: usize, own: &Producer, ahead: u8) -> u8 {
        let last = self.batch(producer, own) == Some(ahead + 1);
        let who = u8::try_from(producer + 1).unwrap();
        who << 4 | (own.frames + ahead) << 1 | u8::from(last)
    }

    /// One step. `None`: it waits for somebody, or is at its end.
    pub fn producer(&self, state: &mut State, index: usize) -> Option<&'static str> {
        let mut own = state.producers[index];
        let lane = usize::from(self.setup.producers[index].lane);
        let process = Self::process(Kind::Producer, index);
        if let Some(what) = self.declare(state, &mut own.declaration) {
            state.producers[index] = own;
            return Some(what);
        }
        let what = match own.next {
            Producing::Lock => {
                if !state.try_lock(lane, process) {
                    return None;
                }
                let dead = state.seats[lane].state != FREE;
                own.next = if dead { Producing::Recover } else { Producing::Sit };
                "takes the seat's lock"
            }
            Producing::Recover => {
                let what = self.put_in_order(state, &mut own.recovery, lane);
                if own.recovery.at == Order::Over {
                    (own.recovery, own.next) = (Recovery::new_zeroed(), Producing::Sit);
                }
                what
            }
            Producing::Sit => {
                state.seats[lane].epoch += 1;
                (state.seats[lane].state, state.seats[lane].inhabited) = (TAKEN, 1);
                let words = state.lanes[lane];
                (own.head, own.limit, own.order_limit) = (words.head, words.head, state.tail);
                let forgets = self.is(Mutant::TenantForgetsReserve);
                own.announced = if forgets { words.head } else { words.reserve.max(words.head) };
                own.next = Producing::Room;
                "sits down"
            }
            Producing::Room if self.batch(index, &own).is_none() => {
                state.seats[lane].state = FREE;
                own.next = Producing::Unlock;
                "says that its seat is free"
            }
            Producing::Unlock => {
                state.unlock_all(process);
                own = FromZeros::new_zeroed();
                own.next = Producing::Done;
                "unlocks its seat"
            }
            Producing::Done | Producing::Dead | Producing::Stopped => return None,
            next if next <= Producing::Write => self.fill(state, &mut own, index, lane)?,
            Producing::Head => self.store_head(state, &mut own, index, lane),
            _ => self.order(state, &mut own, index, lane)?,
        };
        state.producers[index] = own;
        Some(what)
    }

    /// Room in the lane, and frames into it.
    fn fill(
        &self,
        state: &mut State,
        own: &mut Producer,
        index: usize,
        lane: usize,
    ) -> Option<&'static str> {
        let count = self.batch(index, own)?;
        let wanted = own.head + count;
        Some(match own.next {
            Producing::Room => {
                let gate = self.lane_gate(state, lane, own.head);
                if gate < wanted {
                    return None;
                }
                own.credit = gate.min(own.head + self.setup.credit.max(count));
                if self.is(Mutant::DeathRemembered) {
                    own.look = state.dead_consumers();
                }
                own.next = Producing::Announce;
                "looks for room"
            }
            Producing::Announce => {
                state.lanes[lane].reserve = own.credit.max(own.announced);
                own.next = Producing::Bits;
                if self.is(Mutant::SecondLookDropped) {
                    own.gate = own.credit;
                    self.settle_room(state, own, lane, wanted);
                }
                "announces how far it may write"
            }
            Producing::Bits => {
                // Only a mutant looks at fewer than are attached.
                (own.look, own.gate) = (state.attached & !own.look, own.head + CAPACITY);
                self.look_on(state, own, lane, wanted);
                "looks who is attached"
            }
            Producing::Cursor => {
                let (consumer, _) = lowest(own.look);
                own.allowed = state.cursors[consumer][lane] + CAPACITY;
                if self.is(Mutant::GateUnread) {
                    own.allowed = own.gate;
                }
                own.next = Producing::Seat;
                if !self.may_be_let_go(consumer) {
                    self.heed(state, own);
                    self.look_on(state, own, lane, wanted);
                }
                "looks at a cursor"
            }
            Producing::Seat => {
                self.heed(state, own);
                self.look_on(state, own, lane, wanted);
                "looks how a consumer stands"
            }
            Producing::TakeBack => {
                state.lanes[lane].reserve = own.announced;
                own.next = Producing::Room;
                "takes the announcement back"
            }
            _ => {
                let frame = self.frame(index, own, own.written);
                state.lanes[lane].slots[slot(own.head + own.written)] = frame;
                own.written += 1;
                if own.written == count {
                    let ordered = self.setup.ordered;
                    own.next = if ordered { Producing::Ticket } else { Producing::Head };
                    if self.is(Mutant::HeadBeforeFrames) {
                        self.finish(own, index, count);
                    }
                }
                "writes a frame"
            }
        })
    }

    /// Heeds the cursor in hand, unless its consumer is let go.
    fn heed(&self, state: &State, own: &mut Producer) {
        let (consumer, rest) = lowest(own.look);
        if !self.lets_go(state, consumer) {
            own.gate = own.gate.min(own.allowed);
        }
        (own.look, own.allowed) = (rest, 0);
    }

    /// What comes after a look at one consumer, for room in the lane.
    fn look_on(&self, state: &State, own: &mut Producer, lane: usize, wanted: u8) {
        if own.look != 0 {
            own.next = Producing::Cursor;
            return;
        }
        self.settle_room(state, own, lane, wanted);
    }

    fn settle_room(&self, state: &State, own: &mut Producer, lane: usize, wanted: u8) {
        let limit = own.credit.min(own.gate);
        if limit < wanted {
            own.next = Producing::TakeBack;
        } else {
            (own.limit, own.announced) = (limit, state.lanes[lane].reserve);
            let early = self.is(Mutant::HeadBeforeFrames);
            own.next = if early { Producing::Head } else { Producing::Write };
        }
        (own.credit, own.gate, own.look) = (0, 0, 0);
    }

    /// The batch in hand is published.
    fn finish(&self, own: &mut Producer, index: usize, count: u8) {
        own.batches += 1;
        own.frames += count;
        own.head += count;
        (own.written, own.ticket, own.old) = (0, 0, Entry::new_zeroed());
        own.next = match self.batch(index, own) {
            Some(more) if own.limit >= own.head + more => Producing::Write,
            _ => Producing::Room,
        };
    }

    fn store_head(
        &self,
        state: &mut State,
        own: &mut Producer,
        index: usize,
        lane: usize,
    ) -> &'static str {
        let count = self.batch(index, own).expect("there is a batch in hand");
        if !self.setup.ordered && self.is(Mutant::BatchByPieces) {
            let at = state.lanes[lane].head;
            let frame = self.frame(index, own, at - own.head);
            state.commit(lane, at, &[frame]);
            state.lanes[lane].head += 1;
            if state.lanes[lane].head == own.head + count {
                self.finish(own, index, count);
            }
            return "stores head for one frame";
        }
        if !self.setup.ordered {
            self.commit(state, own, index, lane, count);
        }
        state.lanes[lane].head = own.head + count;
        if self.setup.ordered && self.is(Mutant::HeadBeforeCommit) {
            own.next = Producing::Load;
        } else if self.is(Mutant::HeadBeforeFrames) {
            own.next = Producing::Write;
        } else {
            self.finish(own, index, count);
        }
        "stores head"
    }

    fn commit(&self, state: &mut State, own: &Producer, index: usize, lane: usize, count: u8) {
        let frames: Vec<u8> = (0..count).map(|ahead| self.frame(index, own, ahead)).collect();
        state.commit(lane, own.head, &frames);
    }

    /// A ticket, its record, and its entry.
    fn order(
        &self,
        state: &mut State,
        own: &mut Producer,
        index: usize,
        lane: usize,
    ) -> Option<&'static str> {
        let records_late = self.is(Mutant::RecordAfterCommit);
        Some(match own.next {
            Producing::Ticket => {
                own.ticket = state.tail;
                state.tail += 1;
                own.next = Producing::OrderBits;
                if own.ticket < own.order_limit {
                    own.next = if records_late { Producing::Load } else { Producing::Beside };
                }
                "takes a ticket"
            }
            Producing::OrderBits | Producing::OrderSeat | Producing::OrderCursor => {
                self.look_in_order(state, own)
            }
            Producing::LookFirst => {
                // The margin is a ticket and not one a lane, on rings of so few entries.
                if self.order_gate(state, state.tail) <= state.tail + 1 {
                    return None;
                }
                own.next = Producing::Ticket;
                "finds the ring not full any more"
            }
            Producing::Beside => {
                state.lanes[lane].beside[slot(own.head)] = own.ticket + 1;
                own.next = Producing::RecordTicket;
                "stores its ticket beside the slot"
            }
            Producing::RecordTicket => {
                state.lanes[lane].ticket = own.ticket;
                own.next = Producing::RecordAt;
                "stores its ticket"
            }
            Producing::RecordAt => {
                state.lanes[lane].ticket_at = own.head + 1;
                let early = records_late || self.is(Mutant::HeadBeforeCommit);
                own.next = if early { Producing::Head } else { Producing::Load };
                "stores the ticket's position"
            }
            Producing::Load => {
                own.old = state.entries[self.entry(own.ticket)];
                let lost = own.old.ticket > own.ticket;
                own.next = if lost { Producing::Ticket } else { Producing::Commit };
                "looks at its entry"
            }
            _ => self.decide(state, own, index, lane),
        })
    }

    /// A look, or a part of it, whether the ticket's entry is free.
    fn look_in_order(&self, state: &State, own: &mut Producer) -> &'static str {
        match own.next {
            Producing::OrderBits => {
                (own.look, own.gate) = (state.attached, own.ticket + self.setup.entries);
                self.look_on_in_order(own);
                "looks who is attached"
            }
            Producing::OrderCursor => {
                let (consumer, _) = lowest(own.look);
                own.allowed = state.order_cursors[consumer] + self.setup.entries;
                if self.is(Mutant::ReuseUngated) {
                    own.allowed = own.gate;
                }
                own.next = Producing::OrderSeat;
                if !self.may_be_let_go(consumer) {
                    self.heed(state, own);
                    self.look_on_in_order(own);
                }
                "looks at an order cursor"
            }
            _ => {
                self.heed(state, own);
                self.look_on_in_order(own);
                "looks how a consumer stands"
            }
        }
    }

    fn look_on_in_order(&self, own: &mut Producer) {
        if own.look != 0 {
            own.next = Producing::OrderCursor;
            return;
        }
        let credit = own.ticket + (self.setup.entries / 4).max(1);
        own.order_limit = credit.min(own.gate);
        own.gate = 0;
        own.next = if own.ticket >= own.order_limit {
            Producing::LookFirst
        } else if self.is(Mutant::RecordAfterCommit) {
            Producing::Load
        } else {
            Producing::Beside
        };
    }

    fn decide(
        &self,
        state: &mut State,
        own: &mut Producer,
        index: usize,
        lane: usize,
    ) -> &'static str {
        let count = self.batch(index, own).expect("there is a batch in hand");
        let entry = &mut state.entries[self.entry(own.ticket)];
        if *entry != own.old && !self.is(Mutant::CommitByStore) {
            own.next = Producing::Ticket;
            return "loses its entry";
        }
        let number = u8::try_from(lane).unwrap();
        *entry = Entry { ticket: own.ticket + 1, lane: number, run: count };
        state.decide(own.ticket, run(number, own.head, count));
        self.commit(state, own, index, lane, count);
        match self.mutant {
            Mutant::RecordAfterCommit => own.next = Producing::Beside,
            Mutant::HeadBeforeCommit => self.finish(own, index, count),
            _ => own.next = Producing::Head,
        }
        "commits its entry"
    }
}

const _: () = assert!(LANES == 2, "a run's lane is one bit of `State::decided`");
