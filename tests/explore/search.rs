//! Breadth first through everything that a system can do, with a memory of what was seen.
//!
//! Finds the shortest way to a state that breaks an invariant, and states from which a goal cannot
//! be reached any more although nothing further goes wrong.

use std::fmt::Display;

use zerocopy::{Immutable, IntoBytes};

/// States of one exploration, at most: more do not fit into a test.
const STATES_MAX: usize = 20_000_000;

/// One step of a system: who does what.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub actor: (&'static str, u8),
    pub what: &'static str,
    /// Something that goes wrong, or that nobody may wait for.
    pub fault: bool,
}

/// A system with finitely many states.
pub trait System {
    type State: Copy + Eq + IntoBytes + Immutable;

    fn start(&self) -> Self::State;
    /// Everything that can happen next.
    fn next(&self, state: &Self::State, steps: &mut Vec<(Step, Self::State)>);
    /// What is wrong with a state, if anything.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
    /// Whether everybody who lives has come to the end of what they wanted.
    fn is_goal(&self, state: &Self::State) -> bool;
    /// A line about a state, for who reads a counterexample.
    fn show(&self, state: &Self::State) -> String;
}

/// How an exploration ended.
pub enum Outcome {
    /// Every state is well, and the goal can be reached from each.
    Holds { states: usize, steps: usize },
    /// A way to a state that is not.
    Broken { why: &'static str, trace: String },
}

/// Where each state is, by its bytes.
struct Index {
    /// 1 + the number of a state; 0: free. A power of two of them, at most half of them used.
    slots: Vec<u32>,
}

impl Index {
    fn hash(bytes: &[u8]) -> usize {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            hash = (hash ^ u64::from_le_bytes(*chunk)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        usize::try_from((hash ^ (hash >> 32)) & 0xffff_ffff).unwrap()
    }

    /// The number of `state` among `states`, or the slot where it belongs.
    fn find<S: Eq + IntoBytes + Immutable>(&self, states: &[S], state: &S) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let bytes = state.as_bytes();
        let mut slot = Self::hash(bytes) & mask;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                number if states[number as usize - 1].as_bytes() == bytes => return Ok(number - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow<S: Eq + IntoBytes + Immutable>(&mut self, states: &[S]) {
        self.slots = vec![0; self.slots.len() * 4];
        for (number, state) in (1..).zip(states) {
            if let Err(slot) = self.find(states, state) {
                self.slots[slot] = number;
            }
        }
    }
}

/// Explores all of a system.
pub fn explore<T: System>(system: &T) -> Outcome {
    let start = system.start();
    let (mut states, mut parents) = (vec![start], vec![0_u32]);
    let mut index = Index { slots: vec![0; 1 << 12] };
    let Err(slot) = index.find(&[], &start) else { unreachable!("nothing is known yet") };
    index.slots[slot] = 1;
    // From, to: the steps that are no faults.
    let mut ways: Vec<(u32, u32)> = Vec::new();
    let (mut steps, mut count) = (Vec::new(), 0);
    let mut at = 0;
    while at < states.len() {
        let state = states[at];
        if let Some(why) = system.broken(&state) {
            return Outcome::Broken { why, trace: trace(system, &states, &parents, at) };
        }
        let from = u32::try_from(at).unwrap();
        system.next(&state, &mut steps);
        count += steps.len();
        for (step, next) in steps.drain(..) {
            let to = match index.find(&states, &next) {
                Ok(known) => known,
                Err(slot) => {
                    states.push(next);
                    parents.push(from);
                    let number = u32::try_from(states.len()).unwrap();
                    index.slots[slot] = number;
                    if states.len() * 2 > index.slots.len() {
                        index.grow(&states);
                    }
                    number - 1
                }
            };
            if !step.fault {
                ways.push((from, to));
            }
        }
        assert!(states.len() < STATES_MAX, "too many states");
        at += 1;
    }
    match stuck(system, &states, &ways) {
        Some(at) => {
            let why = "somebody who lives can never come to an end";
            Outcome::Broken { why, trace: trace(system, &states, &parents, at) }
        }
        None => Outcome::Holds { states: states.len(), steps: count },
    }
}

/// A state from which no way leads to a goal; the first that was found.
fn stuck<T: System>(system: &T, states: &[T::State], ways: &[(u32, u32)]) -> Option<usize> {
    let mut ends: Vec<bool> = states.iter().map(|state| system.is_goal(state)).collect();
    loop {
        let mut changed = false;
        // Most ways lead from earlier states to later ones, so few rounds are enough.
        for &(from, to) in ways.iter().rev() {
            if ends[to as usize] && !ends[from as usize] {
                ends[from as usize] = true;
                changed = true;
            }
        }
        if !changed {
            return ends.iter().position(|ends| !ends);
        }
    }
}

/// The steps that lead to state `at`, one a line.
fn trace<T: System>(system: &T, states: &[T::State], parents: &[u32], at: usize) -> String {
    let mut way = vec![at];
    while let Some(&last) = way.last()
        && last != 0
    {
        way.push(parents[last] as usize);
    }
    way.reverse();
    let mut lines = Vec::new();
    let mut steps = Vec::new();
    for pair in way.windows(2) {
        steps.clear();
        system.next(&states[pair[0]], &mut steps);
        let taken = steps.iter().find(|(_, next)| *next == states[pair[1]]);
        let (step, _) = taken.expect("a state comes from its parent by a step");
        let (kind, number) = step.actor;
        let did: &dyn Display = &format!("{kind} {number} {}", step.what);
        lines.push(format!("{did:<48} {}", system.show(&states[pair[1]])));
    }
    lines.join("\n")
}
