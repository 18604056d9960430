//! A bus in a setup, and what can happen to it next.

use zerocopy::FromZeros;

use crate::search::{Step, System};
use crate::setups::{Arrival, ConsumerSetup, Setup};
use crate::state::{
    CAPACITY, CONSUMERS, DEAD, EVICTED, Entry, FREE, LANES, Order, PRODUCERS, Producing, Reading,
    Recoverer, Recovering, State, TAKEN, Wrong, lowest, run_of, slot,
};

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    Nothing,
    GateUnread,
    SecondLookDropped,
    JoinerLooksFirst,
    HeadBeforeFrames,
    BatchByPieces,
    CursorBeforeReading,
    TenantForgetsReserve,
    EvictByStore,
    EpochKept,
    CopyUnchecked,
    ReserveAlone,
    LossFromCursor,
    VacatesBeforeBit,
    RecoveryUnlocked,
    RecoveryFreesFirst,
    RecoveryKeepsBit,
    RecoveryDropsRun,
    DeclaredByStore,
    DeclaredUnlooked,
    LockLookedAtFirst,
    DeathUndeclared,
    DeathUnheeded,
    DeathRemembered,
    AnyLockIsLife,
    KeepsBeforeRecovery,
    SitsBeforeKeeping,
    CommitByStore,
    PunchByStore,
    PunchUngated,
    PunchNever,
    ReuseUngated,
    HeadBeforeCommit,
    RecordAfterCommit,
    OrderCursorFirst,
}

/// A setup, and what is wrong with the protocol in it.
pub struct Bus {
    pub setup: Setup,
    pub mutant: Mutant,
}

impl Bus {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == mutant
    }

    /// The process that is a producer, a consumer or a recoverer, as locks know it.
    pub fn process(kind: Kind, index: usize) -> u8 {
        let base = match kind {
            Kind::Producer => 0,
            Kind::Consumer => PRODUCERS,
            Kind::Recoverer => PRODUCERS + CONSUMERS,
        };
        u8::try_from(1 + base + index).unwrap()
    }

    pub fn entry(&self, ticket: u8) -> usize {
        usize::from(ticket % self.setup.entries)
    }

    /// The first position of a lane that must not be written, all looked at in one step.
    pub fn lane_gate(&self, state: &State, lane: usize, head: u8) -> u8 {
        self.gate(state, head + CAPACITY, |consumer| state.cursors[consumer][lane] + CAPACITY)
    }

    /// The first ticket that must not be committed, all looked at in one step.
    pub fn order_gate(&self, state: &State, ticket: u8) -> u8 {
        let entries = self.setup.entries;
        self.gate(state, ticket + entries, |consumer| state.order_cursors[consumer] + entries)
    }

    fn gate(&self, state: &State, free: u8, of: impl Fn(usize) -> u8) -> u8 {
        let mut look = state.attached;
        let mut gate = free;
        while look != 0 {
            let (consumer, rest) = lowest(look);
            look = rest;
            if !self.lets_go(state, consumer) && !self.is(Mutant::GateUnread) {
                gate = gate.min(of(consumer));
            }
        }
        gate
    }

    /// What a producer's gate asks about a consumer's seat.
    pub fn lets_go(&self, state: &State, consumer: usize) -> bool {
        match state.seats[LANES + consumer].state {
            EVICTED => self.setup.evicting,
            DEAD => !self.is(Mutant::DeathUnheeded),
            _ => false,
        }
    }

    /// Whether a consumer's seat may ever stand so. (Else a look at it is no step.)
    pub fn may_be_let_go(&self, seat: usize) -> bool {
        let dies = |one: &ConsumerSetup| one.mortal && usize::from(one.seat) == seat;
        self.setup.evicting || self.setup.consumers.iter().any(dies)
    }

    /// Whether a producer is about to commit a ticket.
    pub fn is_live(state: &State, ticket: u8) -> bool {
        state.producers.iter().any(|producer| {
            let holds = Producing::OrderBits..=Producing::Commit;
            producer.ticket == ticket && holds.contains(&producer.next)
        })
    }

    fn recoverer(&self, state: &State, index: usize, steps: &mut Vec<(Step, State)>) {
        let actor = ("recoverer", u8::try_from(index).unwrap());
        let mut push = |what, next| steps.push((Step { actor, what, fault: false }, next));
        let process = Self::process(Kind::Recoverer, index);
        let own = state.recoverers[index];
        let seat = usize::from(own.seat);
        let mut next = *state;
        let mut declaration = own.declaration;
        if let Some(what) = self.declare(&mut next, &mut declaration) {
            next.recoverers[index].declaration = declaration;
            push(what, next);
            return;
        }
        let me = &mut next.recoverers[index];
        match own.next {
            Recovering::Idle => {
                for (seat, words) in (0..).zip(&state.seats) {
                    if words.state != FREE && words.inhabited == 0 {
                        let mut next = *state;
                        let acts_at_once = self.is(Mutant::RecoveryUnlocked);
                        let then = if acts_at_once { Recovering::Steps } else { Recovering::Lock };
                        let me = &mut next.recoverers[index];
                        *me = Recoverer { next: then, seat, ..Recoverer::new_zeroed() };
                        let consumer = usize::from(seat).checked_sub(LANES);
                        if let Some(consumer) = consumer {
                            me.declaration = self.begin_to_declare(state, consumer);
                        }
                        push("finds a seat taken and nobody living there", next);
                    }
                }
            }
            Recovering::Lock => {
                me.next = Recovering::Check;
                if !next.try_lock(seat, process) {
                    next.recoverers[index] = Recoverer::new_zeroed();
                }
                push("tries the seat's lock", next);
            }
            Recovering::Check => {
                let dead = state.seats[seat].state != FREE;
                me.next = if dead { Recovering::Steps } else { Recovering::Unlock };
                push("looks at the seat again", next);
            }
            Recovering::Steps => {
                let mut recovery = own.recovery;
                let what = self.put_in_order(&mut next, &mut recovery, seat);
                let me = &mut next.recoverers[index];
                me.recovery = recovery;
                if recovery.at == Order::Over {
                    *me = Recoverer { next: Recovering::Unlock, ..Recoverer::new_zeroed() };
                    me.seat = own.seat;
                }
                push(what, next);
            }
            Recovering::Unlock => {
                *me = Recoverer::new_zeroed();
                next.unlock_all(process);
                push("unlocks the seat", next);
            }
            Recovering::Dead | Recovering::Stopped => {}
        }
    }

    /// Whether an attached consumer has come to the end of everything that is there.
    fn has_read_all(&self, state: &State, consumer: usize) -> bool {
        let own = &state.consumers[consumer];
        let reads = own.next == Reading::Poll && own.condemned == 0;
        let all =
            if self.setup.ordered { own.ticket == state.tail } else { own.position == state.count };
        reads && all
    }

    /// Whether a consumer that sits in its seat is declared dead.
    fn is_buried_alive(&self, state: &State, consumer: usize) -> bool {
        let sits = (Reading::Place..=Reading::Vacate).contains(&state.consumers[consumer].next);
        let seat = state.seats[LANES + usize::from(self.setup.consumers[consumer].seat)];
        sits && seat.lock == Self::process(Kind::Consumer, consumer) && seat.state == DEAD
    }

    /// A slot, or an entry, that a consumer still needs and does not have any more.
    fn is_robbed(&self, state: &State, consumer: usize) -> bool {
        let own = &state.consumers[consumer];
        if !(Reading::StoreOrder..=Reading::Settle).contains(&own.next) || own.condemned != 0 {
            return false;
        }
        let kept = |lane: usize, position: u8| {
            let committed = state.committed[lane][usize::from(position)];
            state.lanes[lane].slots[slot(position)] == committed
        };
        if !self.setup.ordered {
            let lost = |lane: usize| {
                (own.position[lane]..state.count[lane]).any(|position| !kept(lane, position))
            };
            return (0..LANES).any(lost);
        }
        (own.ticket..state.tail).any(|ticket| {
            let decided = state.decided[usize::from(ticket)];
            let entry: Entry = state.entries[self.entry(ticket)];
            if decided != 0 && entry.ticket != ticket + 1 {
                return true;
            }
            run_of(decided).is_some_and(|(lane, first, frames)| {
                let lane = usize::from(lane);
                let beside = state.lanes[lane].beside[slot(first)];
                let all = (first..first + frames).all(|position| kept(lane, position));
                beside != ticket + 1 || !all
            })
        })
    }
}

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Producer,
    Consumer,
    Recoverer,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Recoverer => "recoverer",
        }
    }
}

impl System for Bus {
    type State = State;

    fn start(&self) -> State {
        let mut state = State::new_zeroed();
        (state.crashes, state.evictions) = (self.setup.crashes, self.setup.evictions);
        state.stops = self.setup.stops;
        state.punches = self.setup.punches;
        for (index, setup) in self.setup.producers.iter().enumerate() {
            state.producers[index].next = Producing::Lock;
            if setup.seated {
                let seat = &mut state.seats[usize::from(setup.lane)];
                (seat.epoch, seat.state) = (1, TAKEN);
                (seat.lock, seat.inhabited) = (Self::process(Kind::Producer, index), 1);
                let producer = &mut state.producers[index];
                producer.next = Producing::Room;
                if setup.credited {
                    (producer.limit, producer.announced) = (CAPACITY, CAPACITY);
                    state.lanes[usize::from(setup.lane)].reserve = CAPACITY;
                    producer.next = Producing::Write;
                }
            }
        }
        for (index, setup) in self.setup.consumers.iter().enumerate() {
            if setup.arrival == Arrival::Seated {
                let seat = &mut state.seats[LANES + usize::from(setup.seat)];
                (seat.epoch, seat.state) = (1, TAKEN);
                (seat.lock, seat.inhabited) = (Self::process(Kind::Consumer, index), 1);
                state.attached |= 1 << setup.seat;
                let consumer = &mut state.consumers[index];
                (consumer.next, consumer.epoch, consumer.located) = (Reading::Poll, 1, 3);
            } else {
                state.consumers[index].next = Reading::Declare;
            }
        }
        for (index, recoverer) in state.recoverers.iter_mut().enumerate() {
            let there = index < usize::from(self.setup.recoverers);
            recoverer.next = if there { Recovering::Idle } else { Recovering::Dead };
        }
        state
    }

    fn next(&self, state: &State, steps: &mut Vec<(Step, State)>) {
        for index in 0..self.setup.producers.len() {
            let mut next = *state;
            if let Some(what) = self.producer(&mut next, index) {
                let actor = ("producer", u8::try_from(index).unwrap());
                steps.push((Step { actor, what, fault: false }, next));
            } else {
                self.held_up(state, index, steps);
            }
        }
        for index in 0..self.setup.consumers.len() {
            self.consumer(state, index, steps);
        }
        for index in 0..usize::from(self.setup.recoverers) {
            self.recoverer(state, index, steps);
        }
        self.evictor(state, steps);
        self.crashes(state, steps);
        Self::stops(state, steps);
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        if let Some(why) = state.wrong.why() {
            return Some(why);
        }
        if (0..LANES).any(|lane| state.lanes[lane].head > state.count[lane]) {
            return Some("a head is beyond what was committed");
        }
        if (0..self.setup.consumers.len()).any(|consumer| self.is_buried_alive(state, consumer)) {
            return Some("a live consumer is declared dead");
        }
        (0..self.setup.consumers.len())
            .any(|consumer| self.is_robbed(state, consumer))
            .then_some("what a consumer still needs was overwritten")
    }

    fn is_goal(&self, state: &State) -> bool {
        let producers = state.producers.iter().zip(&self.setup.producers);
        let consumers = state.consumers.iter().zip(&self.setup.consumers).enumerate();
        let over = |at| matches!(at, Producing::Done | Producing::Dead | Producing::Stopped);
        let recovers =
            |own: &Recoverer| !matches!(own.next, Recovering::Dead | Recovering::Stopped);
        producers.into_iter().all(|(producer, setup)| match producer.next {
            // Waits for a seat of which one who is stopped has the lock.
            Producing::Lock => Self::is_stopped(state, state.seats[usize::from(setup.lane)].lock),
            at => over(at),
        }) && consumers.into_iter().all(|(index, (consumer, setup))| match consumer.next {
            Reading::Done | Reading::Dead | Reading::Stopped => true,
            // Waits for a seat in which somebody lives.
            Reading::Declare | Reading::Lock => {
                state.seats[LANES + usize::from(setup.seat)].lock != 0
            }
            _ => self.has_read_all(state, index),
        }) && state.recoverers.iter().all(|own| own.next == Recovering::Idle || !recovers(own))
            && (state.seats.iter().all(|seat| seat.state == FREE || seat.lock != 0)
                || !state.recoverers.iter().any(recovers))
    }

    fn show(&self, state: &State) -> String {
        let lanes = state.lanes.iter().map(|lane| {
            let slots: Vec<_> = lane.slots.iter().map(|slot| format!("{slot:02x}")).collect();
            format!("head {} reserve {} [{}]", lane.head, lane.reserve, slots.join(" "))
        });
        let mut parts: Vec<String> = lanes.collect();
        if self.setup.ordered {
            let used = &state.entries[..usize::from(self.setup.entries)];
            let entries = used.iter().map(|entry| match (entry.ticket, entry.run) {
                (0, _) => "-".to_owned(),
                (ticket, 0) => format!("{}:tomb", ticket - 1),
                (ticket, run) => format!("{}:lane {}+{run}", ticket - 1, entry.lane),
            });
            let entries: Vec<_> = entries.collect();
            parts.push(format!("tail {} ({})", state.tail, entries.join(", ")));
            parts.push(format!("passed {:?}", state.order_cursors));
        }
        parts.push(format!("attached {:02b} cursors {:?}", state.attached, state.cursors));
        parts.join(" | ")
    }
}

impl Wrong {
    fn why(self) -> Option<&'static str> {
        Some(match self {
            Self::Nothing => return None,
            Self::Frame => "a consumer believes a frame that is not the one committed there",
            Self::PartOfBatch => "a consumer sees part of a batch",
            Self::NotFound => "a run is not where its entry says",
            Self::Lapped => "an entry was overwritten before it was passed",
            Self::Skipped => "a consumer passes what was committed",
            Self::DecidedTwice => "a ticket is decided twice",
            Self::Position => "a run is committed at a position that is not the lane's next",
            Self::Recovered => "a lane is recovered to a head that is not its end",
            Self::Loss => "an evicted consumer reports a loss that is not the exact one",
            Self::FalseLoss => "a consumer that nobody evicted reports a loss",
        })
    }
}
