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

/// How far threads have come.
type Calls<'a, K, V, E> = State<Run<'a, K, V, E>, K, V, E>;

/// What never changes while a graph runs.
pub(super) struct Frame<K> {
    pub(super) keys: Vec<K>,
    pub(super) plan: Plan,
}

/// How far it has come. `R` is what a unit does.
pub(super) struct State<R, K, V, E> {
    runs: Vec<Option<R>>,
    outcomes: Vec<Option<Outcome<K, V, E>>>,
    /// How many of those that each needs are not done.
    open: Vec<usize>,
    ready: VecDeque<usize>,
    /// Units without outcome.
    left: usize,
}

/// What the threads share.
struct Shared<'a, 'c, K, V, E> {
    frame: Frame<K>,
    cancel: &'c Cancel,
    state: Mutex<Calls<'a, K, V, E>>,
    changed: Condvar,
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
    let (keys, runs) = units.into_iter().map(|unit| (unit.key, unit.run)).unzip();
    let frame = Frame { keys, plan };
    let state = Mutex::new(State::new(&frame, runs));
    let shared = Shared { frame, cancel, state, changed: Condvar::new() };
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
    state.into_outcomes(shared.frame)
}

impl<'a, K, V, E> Shared<'a, '_, K, V, E>
where
    K: Ord + Clone + fmt::Debug,
{
    fn state(&self) -> MutexGuard<'_, Calls<'a, K, V, E>> {
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
            self.state().note(&self.frame, index, outcome);
            self.changed.notify_all();
        }
    }

    /// The next unit to run; `None` when all have an outcome.
    fn next(&self) -> Option<Task<'a, '_, K, V, E>> {
        let mut state = self.state();
        loop {
            if let Some((index, run)) = state.next(&self.frame, self.cancel) {
                let values = state.inputs(&self.frame, index).collect();
                return Some((index, run, Inputs { values, cancel: self.cancel }));
            }
            if state.left == 0 {
                // The last may have been cancelled here.
                self.changed.notify_all();
                return None;
            }
            let waited = self.changed.wait_timeout(state, PARK_MAX);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<R, K: Ord + Clone, V, E> State<R, K, V, E> {
    pub(super) fn new(frame: &Frame<K>, runs: Vec<R>) -> Self {
        let open: Vec<usize> = frame.plan.needs.iter().map(Vec::len).collect();
        let count = runs.len();
        Self {
            runs: runs.into_iter().map(Some).collect(),
            outcomes: (0..count).map(|_| None).collect(),
            ready: (0..count).filter(|&index| open.get(index) == Some(&0)).collect(),
            open,
            left: count,
        }
    }

    /// The next unit that can be run, if there is one now.
    pub(super) fn next(&mut self, frame: &Frame<K>, cancel: &Cancel) -> Option<(usize, R)> {
        while let Some(index) = self.ready.pop_front() {
            if cancel.is_cancelled() {
                self.note(frame, index, Outcome::Cancelled);
            } else if let Some(run) = self.runs.get_mut(index).and_then(Option::take) {
                return Some((index, run));
            }
        }
        None
    }

    /// What those gave that a unit needs.
    pub(super) fn inputs<'i>(
        &self,
        frame: &'i Frame<K>,
        index: usize,
    ) -> impl Iterator<Item = (&'i K, Arc<V>)> {
        let needs = frame.plan.needs.get(index).into_iter().flatten();
        needs.filter_map(|&needed| match self.outcomes.get(needed) {
            Some(Some(Outcome::Done(value))) => Some((frame.keys.get(needed)?, Arc::clone(value))),
            _ => None,
        })
    }

    /// A unit has an outcome; so have, with one that is not good, all that need it.
    pub(super) fn note(&mut self, frame: &Frame<K>, index: usize, outcome: Outcome<K, V, E>) {
        let mut noted = vec![(index, outcome)];
        while let Some((index, outcome)) = noted.pop() {
            let Some(place) = self.outcomes.get_mut(index).filter(|place| place.is_none()) else {
                continue;
            };
            let key = frame.keys.get(index);
            let passed_on = match &outcome {
                Outcome::Done(_) => None,
                Outcome::Cancelled => Some(None),
                Outcome::Skipped { because } => Some(Some(because.clone())),
                Outcome::Failed(_) | Outcome::Panicked(_) => Some(key.cloned()),
            };
            *place = Some(outcome);
            self.left -= 1;
            for &dependent in frame.plan.needed_by.get(index).into_iter().flatten() {
                match &passed_on {
                    None => self.one_less(dependent),
                    Some(Some(because)) => {
                        noted.push((dependent, Outcome::Skipped { because: because.clone() }));
                    }
                    Some(None) => noted.push((dependent, Outcome::Cancelled)),
                }
            }
        }
    }

    /// One that this unit needs is done.
    fn one_less(&mut self, index: usize) {
        if let Some(open) = self.open.get_mut(index) {
            *open -= 1;
            if *open == 0 {
                self.ready.push_back(index);
            }
        }
    }

    pub(super) fn into_outcomes(self, frame: Frame<K>) -> Outcomes<K, V, E> {
        let outcomes = frame.keys.into_iter().zip(self.outcomes);
        let by_key = outcomes.map(|(key, outcome)| (key, outcome.unwrap_or(Outcome::Cancelled)));
        Outcomes { by_key: by_key.collect() }
    }
}
