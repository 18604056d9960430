//! Where the toolkit reads the time: the system, or a test's hand.
//!
//! Policies never read a clock of their own, so that a test moves time on instead of waiting for it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A clock that never goes back, in nanoseconds since a beginning of its own.
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now_ns(&self) -> u64;
}

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock that begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        nanoseconds(self.origin.elapsed())
    }
}

/// A clock that stands until it is moved. Its clones are the same clock.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use busway_toolkit::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// clock.advance(Duration::from_micros(3));
/// assert_eq!(clock.now_ns(), 3_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now_ns: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        // ORDERING: relaxed; the time makes nothing else visible.
        self.now_ns.fetch_add(nanoseconds(by), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        // ORDERING: as in `advance`.
        self.now_ns.load(Ordering::Relaxed)
    }
}

/// A duration in nanoseconds; what does not fit (584 years) is as long as fits.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
