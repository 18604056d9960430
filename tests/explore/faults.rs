//! What happens to those on the bus: who is evicted, who dies, who stops for ever.

use zerocopy::FromZeros;

use crate::search::Step;
use crate::setups::ConsumerSetup;
use crate::state::{
    Consumer, Declare, EVICTED, Evictor, LANES, Producer, Producing, Reading, Recoverer,
    Recovering, State, TAKEN,
};
use crate::system::{Bus, Kind, Mutant};

impl Bus {
    pub fn evictor(&self, state: &State, steps: &mut Vec<(Step, State)>) {
        let actor = ("evictor", 0);
        let own = state.evictor;
        if own.seat == 0 {
            for (seat, words) in (1..).zip(&state.seats[LANES..]) {
                if words.state == TAKEN && state.evictions > 0 {
                    let mut next = *state;
                    next.evictions -= 1;
                    let meant = self.sitting(state, seat - 1);
                    next.evictor = Evictor { seat, epoch: words.epoch, meant };
                    let what = "decides to evict who sits there";
                    steps.push((Step { actor, what, fault: true }, next));
                }
            }
            return;
        }
        let mut next = *state;
        next.evictor = FromZeros::new_zeroed();
        let seat = &mut next.seats[LANES + usize::from(own.seat - 1)];
        if (seat.epoch, seat.state) == (own.epoch, TAKEN) {
            seat.state = EVICTED;
            if own.meant != 0 && own.meant == self.sitting(&next, own.seat - 1) {
                next.consumers[usize::from(own.meant - 1)].condemned = 1;
            }
        } else if self.is(Mutant::EvictByStore) {
            (seat.epoch, seat.state) = (own.epoch, EVICTED);
        }
        steps.push((Step { actor, what: "swaps the seat's state", fault: false }, next));
    }

    /// 1 + the living consumer that sits in a seat; 0: none.
    fn sitting(&self, state: &State, seat: u8) -> u8 {
        let consumers = state.consumers.iter().zip(&self.setup.consumers);
        let sits = |(consumer, setup): (&Consumer, &ConsumerSetup)| {
            setup.seat == seat && (Reading::Place..=Reading::Vacate).contains(&consumer.next)
        };
        (1..).zip(consumers).find_map(|(number, one)| sits(one).then_some(number)).unwrap_or(0)
    }

    pub fn crashes(&self, state: &State, steps: &mut Vec<(Step, State)>) {
        if state.crashes == 0 {
            return;
        }
        let mut push = |kind: Kind, index: usize, mut next: State| {
            next.crashes -= 1;
            next.unlock_all(Self::process(kind, index));
            let actor = (kind.name(), u8::try_from(index).unwrap());
            steps.push((Step { actor, what: "dies", fault: true }, next));
        };
        for (index, setup) in self.setup.producers.iter().enumerate() {
            let at = state.producers[index].next;
            if setup.mortal && (Producing::Recover..=Producing::Unlock).contains(&at) {
                let mut next = *state;
                next.producers[index] = FromZeros::new_zeroed();
                next.producers[index].next = Producing::Dead;
                push(Kind::Producer, index, next);
            }
        }
        for (index, setup) in self.setup.consumers.iter().enumerate() {
            let at = state.consumers[index].next;
            if setup.mortal && (Reading::Recover..=Reading::Unlock).contains(&at) {
                let mut next = *state;
                next.consumers[index] = FromZeros::new_zeroed();
                next.consumers[index].next = Reading::Dead;
                push(Kind::Consumer, index, next);
            }
        }
        for index in 0..usize::from(self.setup.recoverers.saturating_sub(1)) {
            let at = state.recoverers[index].next;
            if (Recovering::Lock..=Recovering::Unlock).contains(&at) {
                let mut next = *state;
                next.recoverers[index] = FromZeros::new_zeroed();
                next.recoverers[index].next = Recovering::Dead;
                push(Kind::Recoverer, index, next);
            }
        }
    }

    /// Somebody stops for ever while declaring or recovering; what it holds stays held. One that
    /// goes on after all is only slow.
    pub fn stops(state: &State, steps: &mut Vec<(Step, State)>) {
        if state.stops == 0 {
            return;
        }
        let mut push = |kind: Kind, index: usize, mut next: State| {
            next.stops -= 1;
            let actor = (kind.name(), u8::try_from(index).unwrap());
            steps.push((Step { actor, what: "stops", fault: true }, next));
        };
        for (index, own) in state.producers.iter().enumerate() {
            let recovers = (Producing::Recover..=Producing::Sit).contains(&own.next);
            if recovers || own.declaration.at != Declare::No {
                let mut next = *state;
                let stopped = Producing::Stopped;
                next.producers[index] = Producer { next: stopped, ..FromZeros::new_zeroed() };
                push(Kind::Producer, index, next);
            }
        }
        for (index, own) in state.consumers.iter().enumerate() {
            let recovers = (Reading::Recover..=Reading::Sit).contains(&own.next);
            if recovers || own.declaration.at != Declare::No {
                let mut next = *state;
                let stopped = Reading::Stopped;
                next.consumers[index] = Consumer { next: stopped, ..FromZeros::new_zeroed() };
                push(Kind::Consumer, index, next);
            }
        }
        for (index, own) in state.recoverers.iter().enumerate() {
            if (Recovering::Lock..=Recovering::Unlock).contains(&own.next) {
                let mut next = *state;
                let stopped = Recovering::Stopped;
                next.recoverers[index] = Recoverer { next: stopped, ..FromZeros::new_zeroed() };
                push(Kind::Recoverer, index, next);
            }
        }
    }

    /// Whether a process, as locks know it, is stopped.
    pub fn is_stopped(state: &State, process: u8) -> bool {
        let is = |kind, index| Self::process(kind, index) == process;
        let producers = state.producers.iter().map(|own| own.next == Producing::Stopped);
        let consumers = state.consumers.iter().map(|own| own.next == Reading::Stopped);
        let recoverers = state.recoverers.iter().map(|own| own.next == Recovering::Stopped);
        producers.enumerate().any(|(index, stopped)| stopped && is(Kind::Producer, index))
            || consumers.enumerate().any(|(index, stopped)| stopped && is(Kind::Consumer, index))
            || recoverers.enumerate().any(|(index, stopped)| stopped && is(Kind::Recoverer, index))
    }
}
