//! What happens around a handler, kind by kind: how long it may take, how many at a time, how often it is
//! tried again, when it is not asked at all, and where what failed goes.
//!
//! * `retry`: attempts and back-off. * `breaker`: closed, open, half-open. * `rate`: a token bucket.
//! * `dead_letter`: a bus for what failed for good.
//!
//! None of them reads a clock or sleeps: they are told the time and say how long to wait. An event whose
//! policy makes it wait is kept aside, copied, and its thread goes on with others.

pub(crate) mod breaker;
pub(crate) mod dead_letter;
pub(crate) mod rate;
pub(crate) mod retry;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

pub use breaker::{Breaker, BreakerState, WhileOpen};
pub use dead_letter::{DeadLetter, DeadLetters, LETTER_EXTRA_BYTES, Reason};
pub use rate::Rate;
pub use retry::Retry;

use crate::error::BuildError;

/// What happens around the handler of one kind. By default nothing: one attempt, no limit of time or
/// number, and what fails goes to the dead-letter bus if the dispatcher has one.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use busway_toolkit::{Breaker, Policy, Retry};
///
/// let policy = Policy {
///     timeout: Some(Duration::from_millis(100)),
///     retry: Retry { attempts: 5, ..Retry::default() },
///     breaker: Some(Breaker::default()),
///     ..Policy::default()
/// };
/// assert!(policy.dead_letter);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How long one attempt may take. The handler is told by its context; nothing is interrupted. An error
    /// that comes after this time is a time-out. A success that comes late is a success, since the work is
    /// done; it is counted as late, and the breaker sees a failure.
    pub timeout: Option<Duration>,
    /// How many events of this kind are handled at a time; the others wait, in order.
    pub concurrency: Option<NonZeroU32>,
    /// How often a failed event is tried.
    pub retry: Retry,
    /// When the handler is not asked any more for some time.
    pub breaker: Option<Breaker>,
    /// How many events a second.
    pub rate: Option<Rate>,
    /// Whether what failed for good goes to the dispatcher's dead-letter bus, if it has one.
    pub dead_letter: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: None,
            concurrency: None,
            retry: Retry::default(),
            breaker: None,
            rate: None,
            dead_letter: true,
        }
    }
}

impl Policy {
    /// Whether an event may have to wait before its first attempt.
    pub(crate) fn gates(&self) -> bool {
        self.concurrency.is_some() || self.breaker.is_some() || self.rate.is_some()
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return Err(BuildError::limit("timeout", 0_u32, "more than 0".to_owned()));
        }
        self.retry.check()?;
        self.breaker.as_ref().map_or(Ok(()), Breaker::check)?;
        self.rate.as_ref().map_or(Ok(()), Rate::check)
    }
}
