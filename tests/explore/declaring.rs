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
            (TAKEN | EVICTED, Mutant::DeclaredUnlooked) => {
                Declaration { at: Declare::Swap, ..seen }
            }
            (_, Mutant::LockLookedAtFirst) if words.inhabited == 0 => {
                Declaration { at: Declare::Load, ..seen }
            }
            (TAKEN | EVICTED, _) => Declaration { at: Declare::Look, ..seen },
            _ => nobody,
        }
    }

    /// The next step of it. `None`: there is none.
    pub fn declare(&self, state: &mut State, own: &mut Declaration) -> Option<&'static str> {
        let seat = &mut state.seats[LANES + usize::from(own.seat)];
        Some(match own.at {
            Declare::No => return None,
            Declare::Look => {
                own.at = Declare::Swap;
                let lives = if self.is(Mutant::AnyLockIsLife) { seat.lock } else { seat.inhabited };
                if lives != 0 {
                    *own = FromZeros::new_zeroed();
                }
                "looks whether somebody has the lock of who sits there"
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
                *own = FromZeros::new_zeroed();
                "declares who sits there dead"
            }
        })
    }

    /// Everything that a producer can do which is held up by consumers: ask after each in whose seat
    /// nobody lives.
    pub fn held_up(&self, state: &State, index: usize, steps: &mut Vec<(Step, State)>) {
        if !matches!(state.producers[index].next, Producing::Room | Producing::LookFirst) {
            return;
        }
        let mut look = state.attached;
        while look != 0 {
            let (seat, rest) = lowest(look);
            look = rest;
            let declaration = self.begin_to_declare(state, seat);
            let dead = state.seats[LANES + seat].inhabited == 0;
            if dead && declaration.at != Declare::No {
                let mut next = *state;
                next.producers[index].declaration = declaration;
                let actor = ("producer", u8::try_from(index).unwrap());
                let what = "loads a consumer's state";
                steps.push((Step { actor, what, fault: false }, next));
            }
        }
    }
}
