//! So many a second: a token bucket, `governor`'s, on the toolkit's clock.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::Deserialize;

use crate::clock::{Clock, nanoseconds};
use crate::error::BuildError;

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rate {
    /// How many a second, in the long run; may be below 1.
    pub per_second: f64,
    /// How many at once when nothing came for some time: the size of the bucket.
    #[serde(default = "one")]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

impl Rate {
    /// So many a second, one by one.
    #[must_use]
    pub fn per_second(per_second: f64) -> Self {
        Self { per_second, burst: 1 }
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        self.quota().map(|_| ())
    }

    fn quota(&self) -> Result<Quota, BuildError> {
        let allowed = "more than 0, to 1e9, a second".to_owned();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for display")]
        let shown = self.per_second as u64;
        if !(self.per_second > 0.0 && self.per_second <= 1e9) {
            return Err(BuildError::limit("rate.per-second", shown, allowed));
        }
        let burst = NonZeroU32::new(self.burst)
            .ok_or_else(|| BuildError::limit("rate.burst", 0_u32, "1 or more".to_owned()))?;
        let period = Duration::try_from_secs_f64(1.0 / self.per_second).ok();
        let quota = period.and_then(Quota::with_period);
        let quota = quota.ok_or_else(|| BuildError::limit("rate.per-second", shown, allowed))?;
        Ok(quota.allow_burst(burst))
    }
}

/// A bucket at work.
#[derive(Debug)]
pub(crate) struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, Time, NoOpMiddleware<Duration>>,
    burst: u32,
}

/// The toolkit's clock as `governor` asks for it.
#[derive(Clone, Debug)]
struct Time(Arc<dyn Clock>);

impl GovernorClock for Time {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.now_ns())
    }
}

impl Bucket {
    pub(crate) fn new(rate: &Rate, clock: Arc<dyn Clock>) -> Result<Self, BuildError> {
        let limiter = RateLimiter::direct_with_clock(rate.quota()?, Time(clock));
        Ok(Self { limiter, burst: rate.burst })
    }

    /// Takes one token.
    ///
    /// # Errors
    /// When there is none: the time at which there will be.
    pub(crate) fn take(&self) -> Result<(), u64> {
        self.limiter.check().map_err(|later| nanoseconds(later.earliest_possible()))
    }

    /// Takes as many tokens, or as many as the bucket holds if that is fewer.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub(crate) fn take_many(&self, count: usize) -> Result<(), u64> {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.burst);
        let Some(count) = NonZeroU32::new(count) else {
            return Ok(());
        };
        // What never fits is more than the burst, and the count is not.
        let taken = self.limiter.check_n(count).unwrap_or(Ok(()));
        taken.map_err(|later| nanoseconds(later.earliest_possible()))
    }
}
