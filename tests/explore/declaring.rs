//! Declaring a consumer dead, without its seat's lock, as `src/regions/standings.rs` and `declare` of
//! `src/seat/recovery.rs` do, by anybody who is held up, who comes to the seat, or who recovers it.

use zerocopy::FromZeros;

use crate::search::Step;
use crate::state::{DEAD, Declaration, Declare, EVICTED, LANES, Producing, State, TAKEN, lowest};
use crate::system::{Bus, Mutant};

impl Bus {
    /// Loads a consumer's seat's state.
    pub fn begin_to_declare(&self, state: &State, seat: usize) -> Declaration {
        let words = state.seats[LANES + seat];
        let nobody = Declaration::new_zeroed();
        let seen = Declaration { seat: u8::try_from(seat).unwrap(), ..nobody };
        let seen = Declaration { epoch: words.epoch, state: words.state, ..seen };
        match (words.state, self.mutant) {
            (DEAD, _) => self.known(words.epoch),
            (TAKEN | EVICTED, Mutant::DeclaredUnlooked) => {
                Declaration { at: Declare::Swap, ..seen }
            }
            (_, Mutant::LockLookedAtFirst) if words.lock == 0 => {
                Declaration { at: Declare::Load, ..seen }
            }
            (TAKEN | EVICTED, _) => Declaration { at: Declare::Look, ..seen },
            _ => nobody,
        }
    }

    /// What is remembered of a death that was declared; it matters only where somebody may stop.
    fn known(&self, epoch: u8) -> Declaration {
        let nothing = Declaration::new_zeroed();
        let remembers = self.setup.stops > 0;
        if remembers { Declaration { at: Declare::Known, epoch, ..nothing } } else { nothing }
    }

    /// Whether a process has the lock of a seat in which somebody died unnoticed: after the look at
    /// the lock, and before it was taken.
    pub fn holds_undeclared(state: &State, process: u8, own: Declaration) -> bool {
        let known = |epoch| own.at == Declare::Known && own.epoch == epoch;
        let undeclared = |state| matches!(state, TAKEN | EVICTED);
        let mut held = state.seats[LANES..].iter().filter(|seat| seat.lock == process);
        held.any(|seat| undeclared(seat.state) && !known(seat.epoch))
    }

    /// The next step of it. `None`: there is none.
    pub fn declare(&self, state: &mut State, own: &mut Declaration) -> Option<&'static str> {
        let seat = &mut state.seats[LANES + usize::from(own.seat)];
        Some(match own.at {
            Declare::No | Declare::Known => return None,
            Declare::Look => {
                own.at = Declare::Swap;
                if seat.lock != 0 {
                    *own = FromZeros::new_zeroed();
                }
                "looks whether the seat's lock is held"
            }
            Declare::Load => {
                (own.epoch, own.state, own.at) = (seat.epoch, seat.state, Declare::Swap);
                "loads the seat's state"
            }
            Declare::Swap => {
                let seen = (seat.epoch, seat.state) == (own.epoch, own.state);
                if (seen || self.is(Mutant::DeclaredByStore)) && !self.is(Mutant::DeathUndeclared) {
                    (seat.epoch, seat.state) = (own.epoch, DEAD);
                }
                *own = if seen { self.known(own.epoch) } else { FromZeros::new_zeroed() };
                "declares who sits there dead"
            }
        })
    }

    /// Everything that a producer can do which is held up by consumers: ask after each whose lock is
    /// free.
    pub fn held_up(&self, state: &State, index: usize, steps: &mut Vec<(Step, State)>) {
        if !matches!(state.producers[index].next, Producing::Room | Producing::LookFirst) {
            return;
        }
        let mut look = state.attached;
        while look != 0 {
            let (seat, rest) = lowest(look);
            look = rest;
            let declaration = self.begin_to_declare(state, seat);
            let dead = state.seats[LANES + seat].lock == 0;
            if dead && !matches!(declaration.at, Declare::No | Declare::Known) {
                let mut next = *state;
                next.producers[index].declaration = declaration;
                let actor = ("producer", u8::try_from(index).unwrap());
                let what = "loads a consumer's state";
                steps.push((Step { actor, what, fault: false }, next));
            }
        }
    }
}
