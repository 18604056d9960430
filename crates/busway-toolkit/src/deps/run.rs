//! Running a plan on threads.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::sort::Plan;
use super::{Inputs, Outcome, Outcomes, Run, Unit};
use crate::cancel::Cancel;
use crate::dispatch::{PARK_MAX, panic_text};

/// A unit to run: its index, what it does, and what it gets.
type Task<'a, 'i, K, V, E> = (usize, Run<'a, K, V, E>, Inputs<'i, K, V>);

/// What the threads share.
struct Shared<'a, 'c, K, V, E> {
    keys: Vec<K>,
    plan: Plan,
    cancel: &'c Cancel,
    state: Mutex<State<'a, K, V, E>>,
    changed: Condvar,
}

struct State<'a, K, V, E> {
    runs: Vec<Option<Run<'a, K, V, E>>>,
    outcomes: Vec<Option<Outcome<K, V, E>>>,
    /// How many of those that each needs are not done.
    open: Vec<usize>,
    ready: VecDeque<usize>,
    /// Units without outcome.
    left: usize,
}

pub(super) fn run<K, V, E>(
    units: Vec<Unit<'_, K, V, E>>,
    plan: Plan,
    threads: usize,
    cancel: &Cancel,
) -> Outcomes<K, V, E>
where
    K: Ord + Clone + fmt::Debug + Send + Sync,
    V: Send + Sync,
    E: Send,
{
    let count = units.len();
    let open: Vec<usize> = plan.needs.iter().map(Vec::len).collect();
    let ready = (0..count).filter(|&index| open.get(index) == Some(&0)).collect();
    let (keys, runs) = units.into_iter().map(|unit| (unit.key, Some(unit.run))).unzip();
    let outcomes = (0..count).map(|_| None).collect();
    let state = Mutex::new(State { runs, outcomes, open, ready, left: count });
    let shared = Shared { keys, plan, cancel, state, changed: Condvar::new() };
    thread::scope(|scope| {
        // This thread works as well, also if no other can be started.
        for _ in 1..threads.min(count) {
            let started = thread::Builder::new().spawn_scoped(scope, || shared.work());
            if let Err(error) = started {
                tracing::warn!(%error, "no further thread for a graph could be started");
                break;
            }
        }
        shared.work();
    });
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcomes = shared.keys.into_iter().zip(state.outcomes);
    let by_key = outcomes.map(|(key, outcome)| (key, outcome.unwrap_or(Outcome::Cancelled)));
    Outcomes { by_key: by_key.collect() }
}

impl<'a, K, V, E> Shared<'a, '_, K, V, E>
where
    K: Ord + Clone + fmt::Debug,
{
    fn state(&self) -> MutexGuard<'_, State<'a, K, V, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((index, run, inputs)) = self.next() {
            let outcome = match catch_unwind(AssertUnwindSafe(|| run(&inputs))) {
                Ok(Ok(value)) => Outcome::Done(Arc::new(value)),
                Ok(Err(error)) => Outcome::Failed(error),
                Err(panic) => Outcome::Panicked(panic_text(&*panic)),
            };
            drop(inputs);
            self.note(&mut self.state(), index, outcome);
        }
    }

    /// The next unit to run; `None` when all have an outcome.
    fn next(&self) -> Option<Task<'a, '_, K, V, E>> {
        let mut state = self.state();
        loop {
            while let Some(index) = state.ready.pop_front() {
                if self.cancel.is_cancelled() {
                    self.note(&mut state, index, Outcome::Cancelled);
                    continue;
                }
                if let Some(run) = state.runs.get_mut(index).and_then(Option::take) {
                    let inputs = self.inputs(&state, index);
                    return Some((index, run, inputs));
                }
            }
            if state.left == 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(state, PARK_MAX);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn inputs(&self, state: &State<'a, K, V, E>, index: usize) -> Inputs<'_, K, V> {
        let needs = self.plan.needs.get(index).into_iter().flatten();
        let values = needs.filter_map(|&needed| match state.outcomes.get(needed) {
            Some(Some(Outcome::Done(value))) => Some((self.keys.get(needed)?, Arc::clone(value))),
            _ => None,
        });
        Inputs { values: values.collect(), cancel: self.cancel }
    }

    /// A unit has an outcome; so have, with one that is not good, all that need it.
    fn note(&self, state: &mut State<'a, K, V, E>, index: usize, outcome: Outcome<K, V, E>) {
        let mut noted = vec![(index, outcome)];
        while let Some((index, outcome)) = noted.pop() {
            let Some(place) = state.outcomes.get_mut(index).filter(|place| place.is_none()) else {
                continue;
            };
            let key = self.keys.get(index);
            let passed_on = match &outcome {
                Outcome::Done(_) => None,
                Outcome::Cancelled => Some(None),
                Outcome::Skipped { because } => Some(Some(because.clone())),
                Outcome::Failed(_) | Outcome::Panicked(_) => Some(key.cloned()),
            };
            *place = Some(outcome);
            state.left -= 1;
            for &dependent in self.plan.needed_by.get(index).into_iter().flatten() {
                match &passed_on {
                    None => state.one_less(dependent),
                    Some(Some(because)) => {
                        noted.push((dependent, Outcome::Skipped { because: because.clone() }));
                    }
                    Some(None) => noted.push((dependent, Outcome::Cancelled)),
                }
            }
        }
        self.changed.notify_all();
    }
}

impl<K, V, E> State<'_, K, V, E> {
    /// One that this unit needs is done.
    fn one_less(&mut self, index: usize) {
        if let Some(open) = self.open.get_mut(index) {
            *open -= 1;
            if *open == 0 {
                self.ready.push_back(index);
            }
        }
    }
}
