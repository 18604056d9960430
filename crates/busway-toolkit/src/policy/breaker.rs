//! Not asking a handler that fails: a circuit breaker.
//!
//! ```text
//!            `failures` in a row                    `open_for` is over
//!   closed ──────────────────────► open ─────────────────────────────► half-open
//!     ▲                              ▲          one of them fails          │
//!     │                              └─────────────────────────────────────┤
//!     └────────────────────────────────────────────────────────────────────┘
//!                          `probes` in a row succeed
//! ```
//!
//! An attempt belongs to the period in which it began: what began while the breaker was closed and ends
//! when it is open or half-open says nothing about the handler now, and changes nothing.
//!
//! Own code, since of the kept crates none lets a test move its clock or bounds how many probes run at
//! once.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::nanoseconds;
use crate::duration;
use crate::error::BuildError;

/// When a handler is not asked any more, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Breaker {
    /// Failed attempts in a row that open it.
    pub failures: u32,
    /// How long it stays open.
    #[serde(deserialize_with = "duration::read")]
    pub open_for: Duration,
    /// Half-open: attempts let through at a time, and how many have to succeed, for it to close.
    pub probes: u32,
    /// What becomes of events meanwhile.
    pub while_open: WhileOpen,
}

/// What becomes of events while a breaker is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhileOpen {
    /// They wait, in order. When the dispatcher's buffer is full of them, it takes no more from the bus.
    Wait,
    /// They go to the dead-letter bus at once.
    DeadLetter,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything goes through.
    Closed,
    /// Nothing does.
    Open,
    /// A few are let through to see.
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            open_for: Duration::from_secs(10),
            probes: 1,
            while_open: WhileOpen::Wait,
        }
    }
}

impl Breaker {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        for (what, value) in [("breaker.failures", self.failures), ("breaker.probes", self.probes)]
        {
            if value == 0 {
                return Err(BuildError::limit(what, value, "1 or more".to_owned()));
            }
        }
        Ok(())
    }
}

/// Whether an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Yes,
    /// Not before this time.
    At(u64),
    /// Not before one that is under way has ended.
    Later,
}

/// A breaker at work.
#[derive(Debug)]
pub(crate) struct Circuit {
    breaker: Breaker,
    phase: Phase,
    /// Counts changes of phase: attempts of an earlier one do not count.
    period: u64,
}

#[derive(Debug)]
enum Phase {
    Closed { failures: u32 },
    Open { until_ns: u64 },
    HalfOpen { under_way: u32, succeeded: u32 },
}

impl Circuit {
    pub(crate) fn new(breaker: Breaker) -> Self {
        Self { breaker, phase: Phase::Closed { failures: 0 }, period: 0 }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether an attempt may begin. Changes nothing.
    pub(crate) fn admits(&self, now_ns: u64) -> Admission {
        match self.phase {
            Phase::Open { until_ns } if now_ns < until_ns => Admission::At(until_ns),
            Phase::Closed { .. } | Phase::Open { .. } => Admission::Yes,
            // So many succeed that no more is needed, or one fails: not more than needed are let through.
            Phase::HalfOpen { under_way, succeeded } => {
                if under_way + succeeded < self.breaker.probes {
                    Admission::Yes
                } else {
                    Admission::Later
                }
            }
        }
    }

    /// An attempt begins that was admitted. Returns its period.
    pub(crate) fn begin(&mut self) -> u64 {
        match &mut self.phase {
            Phase::Closed { .. } => {}
            Phase::Open { .. } => self.enter(Phase::HalfOpen { under_way: 1, succeeded: 0 }),
            Phase::HalfOpen { under_way, .. } => *under_way += 1,
        }
        self.period
    }

    /// An attempt of a period ended.
    pub(crate) fn end(&mut self, now_ns: u64, period: u64, succeeded: bool) {
        if period != self.period {
            return;
        }
        let opens =
            Phase::Open { until_ns: now_ns.saturating_add(nanoseconds(self.breaker.open_for)) };
        match &mut self.phase {
            Phase::Closed { failures } if succeeded => *failures = 0,
            Phase::Closed { failures } => {
                *failures += 1;
                if *failures >= self.breaker.failures {
                    self.enter(opens);
                }
            }
            Phase::Open { .. } => {}
            Phase::HalfOpen { .. } if !succeeded => self.enter(opens),
            Phase::HalfOpen { under_way, succeeded } => {
                *under_way = under_way.saturating_sub(1);
                *succeeded += 1;
                if *succeeded >= self.breaker.probes {
                    self.enter(Phase::Closed { failures: 0 });
                }
            }
        }
    }

    /// What becomes of those that are not admitted.
    pub(crate) fn while_open(&self) -> WhileOpen {
        self.breaker.while_open
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.period += 1;
    }
}
