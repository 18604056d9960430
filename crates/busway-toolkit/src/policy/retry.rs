//! How often a failed event is tried again, and after how long.
//!
//! The delays are `backon`'s: the first, then each `factor` times the one before, up to the longest; with
//! jitter, up to as much again on top, so that what failed together is not tried again together.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::Deserialize;

use crate::duration;
use crate::error::BuildError;

/// More attempts than this are a loop.
pub const ATTEMPTS_MAX: u32 = 10_000;

/// How often, and after how long. By default an event is tried once.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Retry {
    /// Attempts in all, the first included; 1: never again.
    pub attempts: u32,
    /// How long to wait before the second attempt.
    #[serde(deserialize_with = "duration::read")]
    pub first: Duration,
    /// How many times longer each wait is than the one before.
    pub factor: f32,
    /// The longest wait, jitter not counted.
    #[serde(deserialize_with = "duration::read")]
    pub longest: Duration,
    /// Adds up to as much again, at random.
    pub jitter: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            first: Duration::from_millis(10),
            factor: 2.0,
            longest: Duration::from_secs(10),
            jitter: true,
        }
    }
}

/// The delays that one event has left.
pub(crate) type Delays = <ExponentialBuilder as BackoffBuilder>::Backoff;

impl Retry {
    /// So many attempts, with the delays that are the default.
    #[must_use]
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts, ..Self::default() }
    }

    /// The delays before the second attempt, the third, and so on: one fewer than attempts.
    pub(crate) fn delays(&self) -> Delays {
        let builder = ExponentialBuilder::new()
            .with_max_times(self.attempts.saturating_sub(1) as usize)
            .with_min_delay(self.first)
            .with_factor(self.factor)
            .with_max_delay(self.longest);
        if self.jitter { builder.with_jitter().build() } else { builder.build() }
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts) {
            let allowed = format!("1 to {ATTEMPTS_MAX}");
            return Err(BuildError::limit("retry.attempts", self.attempts, allowed));
        }
        if !(self.factor >= 1.0 && self.factor <= 1000.0) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "for display"
            )]
            let value = self.factor as u64;
            return Err(BuildError::limit("retry.factor", value, "1 to 1000".to_owned()));
        }
        Ok(())
    }
}
