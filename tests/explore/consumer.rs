//! A consumer that reads, and leaves, one access to shared memory at a time, as `src/order/reader.rs`
//! and `src/consumer` have it.
//!
//! On an evicting bus it copies each frame out and believes the copy if the lane's `reserve`
//! says that the slot was not touched, or if its own seat says that it still gates.

use zerocopy::FromZeros;

use crate::search::Step;
use crate::state::{
    CAPACITY, Consumer, EVICTED, Entry, FREE, LANES, Reading, State, TOMB, Wrong, lowest, run_of,
    slot,
};
use crate::system::{Bus, Kind, Mutant};

impl Bus {
    /// Everything that it can do next.
    pub fn consumer(&self, state: &State, index: usize, steps: &mut Vec<(Step, State)>) {
        let actor = ("consumer", u8::try_from(index).unwrap());
        let own = state.consumers[index];
        let mut push = |what, fault, next: State| steps.push((Step { actor, what, fault }, next));
        let setup = self.setup.consumers[index];
        if own.next != Reading::Poll {
            let mut next = *state;
            let mut changed = own;
            if let Some(what) = self.consume(&mut next, &mut changed, index) {
                next.consumers[index] = changed;
                push(what, false, next);
            }
            return;
        }
        if setup.leaves {
            let mut next = *state;
            next.consumers[index].next = self.first_of_leaving();
            push("decides to leave", true, next);
        }
        if state.seats[LANES + usize::from(setup.seat)].state == EVICTED {
            let mut next = *state;
            next.consumers[index].next = Reading::Report;
            push("finds itself evicted", false, next);
        }
        if self.setup.ordered {
            let (mut next, mut changed) = (*state, own);
            if let Some(what) = self.poll_in_order(&mut next, &mut changed, index) {
                next.consumers[index] = changed;
                push(what, false, next);
            }
            return;
        }
        for lane in 0..LANES {
            let (mut next, mut changed) = (*state, own);
            if self.poll_lane(&mut next, &mut changed, usize::from(setup.seat), lane) {
                next.consumers[index] = changed;
                push("finds frames on a lane", false, next);
            }
        }
    }

    fn first_of_leaving(&self) -> Reading {
        if self.is(Mutant::VacatesBeforeBit) { Reading::Vacate } else { Reading::ClearBit }
    }

    /// One step of one that is not at its poll.
    fn consume(&self, state: &mut State, own: &mut Consumer, index: usize) -> Option<&'static str> {
        let seat = usize::from(self.setup.consumers[index].seat);
        if let Some(what) = self.declare(state, &mut own.declaration) {
            return Some(what);
        }
        Some(match own.next {
            Reading::Done | Reading::Dead | Reading::Stopped => return None,
            next if next < Reading::Poll => self.join(state, own, index)?,
            Reading::Copy | Reading::Check | Reading::OwnSeat => self.copy(state, own, seat),
            Reading::HoleBits | Reading::HoleSeat | Reading::HoleCursor | Reading::Punch => {
                self.punch(state, own)
            }
            Reading::Release => {
                let lane = usize::from(own.lane);
                if !self.setup.evicting {
                    Self::read(state, own, lane);
                }
                state.cursors[seat][lane] = own.position[lane];
                (own.lane, own.known) = (0, 0);
                let order_is_next = self.setup.ordered && !self.is(Mutant::OrderCursorFirst);
                own.next = if order_is_next { Reading::ReleaseOrder } else { Reading::Poll };
                own.ticket += u8::from(order_is_next);
                "stores a cursor"
            }
            Reading::ReleaseOrder => {
                let early = self.is(Mutant::OrderCursorFirst) && own.known != 0;
                own.ticket += u8::from(early);
                state.order_cursors[seat] = own.ticket;
                own.next = if early { Reading::Release } else { Reading::Poll };
                "stores its order cursor"
            }
            Reading::Settle => {
                Self::settle(state, own, seat);
                "settles the lanes that it did not find yet"
            }
            Reading::Report => {
                self.report(state, own, seat);
                "reports its loss"
            }
            Reading::ClearBit => {
                state.attached &= !(1 << seat);
                own.next = Reading::Vacate;
                if self.is(Mutant::VacatesBeforeBit) {
                    *own = ended();
                }
                "clears its bit"
            }
            Reading::Vacate => {
                state.seats[LANES + seat].state = FREE;
                own.next = Reading::Unlock;
                "says that its seat is free"
            }
            _ => {
                state.unlock_all(Self::process(Kind::Consumer, index));
                let late = self.is(Mutant::VacatesBeforeBit);
                *own = if late { Consumer { next: Reading::ClearBit, ..*own } } else { ended() };
                "unlocks its seat"
            }
        })
    }

    /// Looks for frames on a lane of a bus without an order.
    fn poll_lane(&self, state: &mut State, own: &mut Consumer, seat: usize, lane: usize) -> bool {
        let head = state.lanes[lane].head;
        if head <= own.position[lane] {
            return false;
        }
        (own.lane, own.known) = (u8::try_from(lane).unwrap(), head);
        if state.committed[lane][usize::from(head - 1)] & 1 == 0 {
            state.fail(Wrong::PartOfBatch);
        }
        if self.is(Mutant::CursorBeforeReading) {
            state.cursors[seat][lane] = head;
        }
        own.next = if self.setup.evicting { Reading::Copy } else { Reading::Release };
        true
    }

    /// Reads frames in place, all that are known of.
    fn read(state: &mut State, own: &mut Consumer, lane: usize) {
        for position in own.position[lane]..own.known {
            let frame = state.lanes[lane].slots[slot(position)];
            if frame != state.committed[lane][usize::from(position)] {
                state.fail(Wrong::Frame);
            }
        }
        own.position[lane] = own.known;
    }

    /// Copies a frame out, finds out whether the copy is good.
    fn copy(&self, state: &mut State, own: &mut Consumer, seat: usize) -> &'static str {
        let lane = usize::from(own.lane);
        let position = own.position[lane];
        match own.next {
            Reading::Copy => {
                own.copied = state.lanes[lane].slots[slot(position)];
                own.next = Reading::Check;
                "copies a frame"
            }
            Reading::Check => {
                let untouched = state.lanes[lane].reserve <= position + CAPACITY;
                if untouched || self.is(Mutant::CopyUnchecked) {
                    Self::believe(state, own, lane);
                } else if self.is(Mutant::ReserveAlone) {
                    (own.copied, own.next) = (0, Reading::Report);
                } else {
                    own.next = Reading::OwnSeat;
                }
                "looks whether the slot was announced"
            }
            _ => {
                if state.seats[LANES + seat].state == EVICTED {
                    (own.copied, own.next) = (0, Reading::Report);
                } else {
                    Self::believe(state, own, lane);
                }
                "looks whether it is evicted"
            }
        }
    }

    fn believe(state: &mut State, own: &mut Consumer, lane: usize) {
        let position = own.position[lane];
        if own.copied != state.committed[lane][usize::from(position)] {
            state.fail(Wrong::Frame);
        }
        own.copied = 0;
        own.position[lane] += 1;
        own.next = if own.position[lane] == own.known { Reading::Release } else { Reading::Copy };
    }

    /// Looks at the next entry. `None`: there is nothing to do.
    fn poll_in_order(
        &self,
        state: &mut State,
        own: &mut Consumer,
        index: usize,
    ) -> Option<&'static str> {
        let seat = usize::from(self.setup.consumers[index].seat);
        let entry = state.entries[self.entry(own.ticket)];
        if entry.ticket == own.ticket + 1 {
            return Some(self.enter(state, own, seat, entry));
        }
        if entry.ticket > own.ticket {
            if state.seats[LANES + seat].state != EVICTED {
                state.fail(Wrong::Lapped);
            }
            own.next = Reading::Report;
            return Some("finds its entry overwritten");
        }
        if own.ticket >= state.tail {
            let behind = |lane: usize| {
                own.located >> lane & 1 == 0 && own.position[lane] < state.lanes[lane].head
            };
            if !(0..LANES).any(behind) {
                return None;
            }
            own.heads = state.lanes.map(|lane| lane.head);
            own.next = Reading::Settle;
            return Some("looks at the heads");
        }
        if (Self::is_live(state, own.ticket) && state.punches == 0) || self.is(Mutant::PunchNever) {
            return None;
        }
        (own.old, own.next) = (entry, Reading::HoleBits);
        Some("loses patience with a hole")
    }

    /// Passes a tomb, or finds where a run's frames stand.
    fn enter(
        &self,
        state: &mut State,
        own: &mut Consumer,
        seat: usize,
        entry: Entry,
    ) -> &'static str {
        let decided = state.decided[usize::from(own.ticket)];
        if entry.run == 0 {
            if decided != TOMB {
                state.fail(Wrong::Skipped);
            }
            own.ticket += 1;
            own.next = Reading::ReleaseOrder;
            return "passes a tomb";
        }
        let lane = usize::from(entry.lane);
        let from = own.position[lane];
        let beside = |at: &u8| state.lanes[lane].beside[slot(*at)] == own.ticket + 1;
        let Some(first) = (from..from + CAPACITY).find(beside) else {
            if state.seats[LANES + seat].state != EVICTED {
                state.fail(Wrong::NotFound);
            }
            own.next = Reading::Report;
            return "does not find a run";
        };
        if run_of(decided) != Some((entry.lane, first, entry.run)) {
            // A copy of the ticket may be of a later lap; then the check of the frames tells.
            if state.seats[LANES + seat].state != EVICTED {
                state.fail(Wrong::Position);
            }
        }
        own.position[lane] = first;
        own.located |= 1 << lane;
        (own.lane, own.known) = (entry.lane, first + entry.run);
        own.next = if self.setup.evicting { Reading::Copy } else { Reading::Release };
        if self.is(Mutant::OrderCursorFirst) {
            Self::read(state, own, lane);
            own.next = Reading::ReleaseOrder;
        }
        "finds a run"
    }

    /// Gives a ticket up for its producer.
    fn punch(&self, state: &mut State, own: &mut Consumer) -> &'static str {
        match own.next {
            Reading::HoleBits => {
                (own.look, own.gate) = (state.attached, own.ticket + self.setup.entries);
                Self::look_on_at_hole(own);
                "looks who is attached"
            }
            Reading::HoleCursor => {
                let (consumer, _) = lowest(own.look);
                own.allowed = state.order_cursors[consumer] + self.setup.entries;
                if self.is(Mutant::PunchUngated) {
                    own.allowed = own.gate;
                }
                own.next = Reading::HoleSeat;
                if !self.may_be_let_go(consumer) {
                    self.heed_at_hole(state, own);
                }
                "looks at an order cursor"
            }
            Reading::HoleSeat => {
                self.heed_at_hole(state, own);
                "looks how a consumer stands"
            }
            _ => {
                let live = Self::is_live(state, own.ticket);
                let entry = &mut state.entries[self.entry(own.ticket)];
                if *entry == own.old || self.is(Mutant::PunchByStore) {
                    *entry = Entry { ticket: own.ticket + 1, ..Entry::new_zeroed() };
                    state.decide(own.ticket, TOMB);
                    state.punches = state.punches.saturating_sub(u8::from(live));
                }
                (own.old, own.next) = (Entry::new_zeroed(), Reading::Poll);
                "punches the hole"
            }
        }
    }

    /// Heeds the cursor in hand, unless its consumer is let go, and goes on.
    fn heed_at_hole(&self, state: &State, own: &mut Consumer) {
        let (consumer, rest) = lowest(own.look);
        if !self.lets_go(state, consumer) {
            own.gate = own.gate.min(own.allowed);
        }
        (own.look, own.allowed) = (rest, 0);
        Self::look_on_at_hole(own);
    }

    fn look_on_at_hole(own: &mut Consumer) {
        if own.look != 0 {
            own.next = Reading::HoleCursor;
            return;
        }
        let free = own.ticket < own.gate;
        own.gate = 0;
        own.next = if free { Reading::Punch } else { Reading::Poll };
        if !free {
            own.old = Entry::new_zeroed();
        }
    }

    /// Brings lanes on which nothing was found yet up to the heads seen, if the order is still read.
    fn settle(state: &mut State, own: &mut Consumer, seat: usize) {
        for lane in 0..LANES {
            let found = own.located >> lane & 1 != 0;
            if state.tail <= own.ticket && !found && own.position[lane] < own.heads[lane] {
                own.position[lane] = own.heads[lane];
                state.cursors[seat][lane] = own.heads[lane];
            }
        }
        (own.heads, own.next) = ([0; LANES], Reading::Poll);
    }

    fn report(&self, state: &mut State, own: &mut Consumer, seat: usize) {
        if own.condemned == 0 {
            state.fail(Wrong::FalseLoss);
        }
        for lane in 0..LANES {
            let head = state.lanes[lane].head;
            let from_cursor = self.is(Mutant::LossFromCursor);
            let at = if from_cursor { state.cursors[seat][lane] } else { own.position[lane] };
            let lost = head.saturating_sub(at);
            if own.position[lane] + lost != head.max(own.position[lane]) {
                state.fail(Wrong::Loss);
            }
        }
        own.next = self.first_of_leaving();
    }
}

fn ended() -> Consumer {
    Consumer { next: Reading::Done, ..Consumer::new_zeroed() }
}
