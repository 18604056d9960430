//! Experiments one after the other, each with the next fault, and a table of what came of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::plan::{Fault, Hit, Moment};

/// Which of a window's calls are taken: all, or every k-th from a random one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stride {
    every: usize,
    seed: usize,
}

impl Stride {
    /// Every `every`-th call; all of them with `BUSWAY_FAULTS=all`. The first is chosen by the
    /// clock, or by `BUSWAY_FAULTS_SEED`.
    ///
    /// # Panics
    /// When the seed in the environment is no number.
    #[must_use]
    pub fn every(every: usize) -> Self {
        let all = std::env::var("BUSWAY_FAULTS").is_ok_and(|which| which == "all");
        let seed = match std::env::var("BUSWAY_FAULTS_SEED") {
            Ok(seed) => seed.parse().expect("BUSWAY_FAULTS_SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |age| age.subsec_millis()),
        };
        let seed = usize::try_from(seed).unwrap_or(0);
        Self { every: if all { 1 } else { every.max(1) }, seed }
    }
}

/// One operation under every fault.
#[derive(Debug)]
pub struct Sweep {
    stride: Stride,
}

/// Calls of a window at most; an operation of more does something else than it is meant to.
const CALLS_MAX: usize = 5_000;

impl Sweep {
    /// Over the calls that `stride` takes.
    #[must_use]
    pub fn new(stride: Stride) -> Self {
        Self { stride }
    }

    /// One experiment for every way in which each call may fail.
    ///
    /// # Panics
    /// When the window does not end.
    pub fn failures(&self, mut experiment: impl FnMut(Fault) -> Hit) {
        for nth in self.calls() {
            for variant in 0.. {
                match experiment(Fault::Fail { nth, variant }) {
                    Hit::NotReached => return,
                    Hit::NoVariant => break,
                    Hit::Done { .. } => {}
                }
            }
        }
        panic!("more than {CALLS_MAX} calls");
    }

    /// Two experiments for each call: killed before it, killed after it.
    ///
    /// # Panics
    /// When the window does not end.
    pub fn kills(&self, mut experiment: impl FnMut(Fault) -> Hit) {
        for nth in self.calls() {
            for moment in [Moment::Entry, Moment::Exit] {
                if experiment(Fault::Kill { nth, moment }) == Hit::NotReached {
                    return;
                }
            }
        }
        panic!("more than {CALLS_MAX} calls");
    }

    fn calls(&self) -> impl Iterator<Item = usize> {
        (self.stride.seed % self.stride.every..CALLS_MAX).step_by(self.stride.every)
    }
}

/// How often each fault of each call came to what.
#[derive(Debug)]
pub struct Tally {
    title: String,
    stride: Stride,
    rows: BTreeMap<(String, String, String), usize>,
}

impl Tally {
    /// An empty one.
    #[must_use]
    pub fn new(title: &str, stride: Stride) -> Self {
        Self { title: title.to_owned(), stride, rows: BTreeMap::new() }
    }

    /// Notes an experiment. One whose fault was not done counts for nothing.
    pub fn note(&mut self, hit: &Hit, outcome: impl fmt::Display) {
        if let Hit::Done { call, what } = hit {
            let key = (call.clone(), what.clone(), outcome.to_string());
            *self.rows.entry(key).or_default() += 1;
        }
    }

    /// Experiments noted.
    #[must_use]
    pub fn experiments(&self) -> usize {
        self.rows.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stride { every, seed } = self.stride;
        let count = self.experiments();
        let title = &self.title;
        writeln!(f, "{title}: {count} experiments (every {every}. call, seed {seed})")?;
        for ((call, what, outcome), count) in &self.rows {
            writeln!(f, "  {count:5} x {call:16} {what:12} {outcome}")?;
        }
        Ok(())
    }
}
