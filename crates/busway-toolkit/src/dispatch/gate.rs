//! What has to wait before its attempt: for the rate, for the breaker, for others of its kind to end.
//!
//! Whoever waits does so in order, and only the first asks again: at a time that is set for the whole gate,
//! or when one of the kind ends. A hundred thousand that wait cost no more than one.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::{Job, Stage};
use crate::clock::Clock;
use crate::error::BuildError;
use crate::policy::breaker::{Admission, Circuit};
use crate::policy::rate::Bucket;
use crate::policy::{BreakerState, Policy, WhileOpen};

/// One kind's gate.
#[derive(Debug)]
pub(super) struct Gate<R> {
    concurrency: u32,
    bucket: Option<Bucket>,
    state: Mutex<State<R>>,
}

#[derive(Debug)]
struct State<R> {
    running: u32,
    circuit: Option<Circuit>,
    waiting: VecDeque<Job<R>>,
    /// A look is set for some time.
    timed: bool,
}

/// What becomes of one that comes to the gate.
#[derive(Debug)]
pub(super) enum Entry {
    /// It goes on, in this period of the breaker.
    Goes { period: u64 },
    /// It was made a job, and waits. Somebody has to look at this time.
    Waits { look_at_ns: Option<u64> },
    /// The breaker is open, and nobody waits for it.
    Refused,
}

/// What a gate lets go when it is looked at.
#[derive(Debug)]
pub(super) struct Next<R> {
    /// These go on; they have been counted as running.
    pub(super) go: Vec<Job<R>>,
    /// These are given up.
    pub(super) refused: Vec<Job<R>>,
    /// Somebody has to look at this time.
    pub(super) look_at_ns: Option<u64>,
}

enum Pass {
    Goes { period: u64 },
    Waits { until_ns: Option<u64> },
    Refused,
}

impl<R> Gate<R> {
    /// The gate that a policy asks for, if it asks for any.
    pub(super) fn new(policy: &Policy, clock: &Arc<dyn Clock>) -> Result<Option<Self>, BuildError> {
        if !policy.gates() {
            return Ok(None);
        }
        let bucket = policy.rate.map(|rate| Bucket::new(&rate, Arc::clone(clock))).transpose()?;
        let circuit = policy.breaker.map(Circuit::new);
        let state = State { running: 0, circuit, waiting: VecDeque::new(), timed: false };
        let concurrency = policy.concurrency.map_or(u32::MAX, u32::from);
        Ok(Some(Self { concurrency, bucket, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker(&self) -> Option<BreakerState> {
        self.state().circuit.as_ref().map(Circuit::state)
    }

    /// One comes. It is asked for as a job only if it has to wait.
    pub(super) fn enter(&self, now_ns: u64, job: impl FnOnce() -> Option<Job<R>>) -> Entry {
        let mut state = self.state();
        let pass = if state.waiting.is_empty() {
            self.pass(&mut state, now_ns)
        } else {
            // Behind those that wait already, unless waiting is of no use.
            Pass::Waits { until_ns: None }
        };
        match pass {
            Pass::Goes { period } => Entry::Goes { period },
            Pass::Refused => Entry::Refused,
            Pass::Waits { until_ns } => {
                state.waiting.extend(job());
                Entry::Waits { look_at_ns: state.time(until_ns) }
            }
        }
    }

    /// One that went through has ended: `succeeded` as the breaker sees it, `None` if nothing was tried.
    pub(super) fn leave(&self, now_ns: u64, period: u64, succeeded: Option<bool>) -> Next<R> {
        let mut state = self.state();
        state.running = state.running.saturating_sub(1);
        if let (Some(circuit), Some(succeeded)) = (&mut state.circuit, succeeded) {
            circuit.end(now_ns, period, succeeded);
        }
        self.next(&mut state, now_ns)
    }

    /// The time has come that was asked for.
    pub(super) fn look(&self, now_ns: u64) -> Next<R> {
        let mut state = self.state();
        state.timed = false;
        self.next(&mut state, now_ns)
    }

    /// Takes away all that wait.
    pub(super) fn give_up(&self) -> VecDeque<Job<R>> {
        mem::take(&mut self.state().waiting)
    }

    fn next(&self, state: &mut State<R>, now_ns: u64) -> Next<R> {
        let mut next = Next { go: Vec::new(), refused: Vec::new(), look_at_ns: None };
        while let Some(mut job) = state.waiting.pop_front() {
            match self.pass(state, now_ns) {
                Pass::Goes { period } => {
                    job.stage = Stage::Admitted { period };
                    next.go.push(job);
                }
                Pass::Refused => next.refused.push(job),
                Pass::Waits { until_ns } => {
                    state.waiting.push_front(job);
                    next.look_at_ns = state.time(until_ns);
                    break;
                }
            }
        }
        next
    }

    /// Whether the first one may go. What costs something, a token and a probe, is asked for last.
    fn pass(&self, state: &mut State<R>, now_ns: u64) -> Pass {
        if let Some(circuit) = &state.circuit {
            let admission = circuit.admits(now_ns);
            let refuses = circuit.while_open() == WhileOpen::DeadLetter;
            match admission {
                Admission::Yes => {}
                _ if refuses => return Pass::Refused,
                Admission::At(at) => return Pass::Waits { until_ns: Some(at) },
                Admission::Later => return Pass::Waits { until_ns: None },
            }
        }
        if state.running >= self.concurrency {
            return Pass::Waits { until_ns: None };
        }
        if let Some(Err(at)) = self.bucket.as_ref().map(Bucket::take) {
            return Pass::Waits { until_ns: Some(at) };
        }
        state.running += 1;
        Pass::Goes { period: state.circuit.as_mut().map_or(0, Circuit::begin) }
    }
}

impl<R> State<R> {
    /// The time at which to look, unless one is set already.
    fn time(&mut self, at_ns: Option<u64>) -> Option<u64> {
        let at = at_ns.filter(|_| !self.timed);
        self.timed |= at.is_some();
        at
    }
}
