//! What is counted, kind by kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_utils::CachePadded;
use hdrhistogram::Histogram;

use crate::policy::BreakerState;

/// The longest time that a histogram tells apart from longer ones: one hour.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Times are kept to one part in a hundred.
const LATENCY_DIGITS: u8 = 2;

/// How events of one kind ended; what the polling thread counts lies apart from what workers count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) received: CachePadded<AtomicU64>,
    pub(super) ended: CachePadded<Ended>,
    /// `None` for a kind without handler: there may be many.
    latency: Option<Mutex<Histogram<u64>>>,
}

#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) processed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) dead_lettered: AtomicU64,
    pub(super) unhandled: AtomicU64,
    pub(super) not_done: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) letters_refused: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    // ORDERING: relaxed; what has to agree is read and written under a worker's slot.
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    // ORDERING: as in `count`.
    counter.load(Ordering::Relaxed)
}

impl Counts {
    /// Of a kind with a handler.
    pub(super) fn new() -> Self {
        Self { latency: Some(Mutex::new(new_histogram())), ..Self::default() }
    }

    pub(super) fn took(&self, ns: u64) {
        if let Some(latency) = &self.latency {
            latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(ns);
        }
    }

    pub(super) fn snapshot(
        &self,
        kind: u16,
        name: &str,
        breaker: Option<BreakerState>,
    ) -> KindMetrics {
        let ended = &self.ended;
        let copy = |latency: &Mutex<Histogram<u64>>| {
            latency.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let mut metrics = KindMetrics {
            kind,
            name: name.to_owned(),
            processed: read(&ended.processed),
            failed: read(&ended.failed),
            dead_lettered: read(&ended.dead_lettered),
            not_done: read(&ended.not_done),
            unhandled: read(&ended.unhandled),
            failures: read(&ended.failures),
            retried: read(&ended.retried),
            late: read(&ended.late),
            panicked: read(&ended.panicked),
            letters_refused: read(&ended.letters_refused),
            breaker,
            // Read after what ended, so that nothing has ended which was not received.
            received: read(&self.received),
            in_flight: 0,
            latency_ns: self.latency.as_ref().map(copy),
        };
        metrics.in_flight = metrics.received.saturating_sub(metrics.ended());
        metrics
    }
}

fn new_histogram() -> Histogram<u64> {
    // The bounds are constants that it accepts.
    Histogram::new_with_max(LATENCY_NS_MAX, LATENCY_DIGITS).unwrap_or_else(|_| unreachable!())
}

/// What was counted of one kind, or of all.
///
/// received = processed + failed + dead_lettered + unhandled + not_done + in_flight, always when
/// nothing is under way, and up to the events that are just being counted otherwise.
#[derive(Clone, Debug)]
pub struct KindMetrics {
    /// The kind; 0 in a total.
    pub kind: u16,
    /// What its handler is called; empty in a total and for a kind without handler.
    pub name: String,
    /// Events taken from the source.
    pub received: u64,
    /// Events whose handler succeeded.
    pub processed: u64,
    /// Events that failed for good and are not on a dead-letter bus.
    pub failed: u64,
    /// Events on the dead-letter bus, those without handler included.
    pub dead_lettered: u64,
    /// Events without handler that went nowhere.
    pub unhandled: u64,
    /// Events that the dispatcher closed on.
    pub not_done: u64,
    /// Events that are handled or wait.
    pub in_flight: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Attempts that were decided to be made after one that failed.
    pub retried: u64,
    /// Attempts that succeeded after their time.
    pub late: u64,
    /// Attempts that panicked; also among the failures.
    pub panicked: u64,
    /// Dead letters that their bus refused for good; the events are among `failed`.
    pub letters_refused: u64,
    /// Where its breaker stands, if it has one.
    pub breaker: Option<BreakerState>,
    /// How long attempts took, successful or not, in nanoseconds; `None` for a kind without handler.
    pub latency_ns: Option<Histogram<u64>>,
}

impl KindMetrics {
    /// Those that have ended.
    pub(super) fn ended(&self) -> u64 {
        self.processed + self.failed + self.dead_lettered + self.unhandled + self.not_done
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.processed += other.processed;
        self.failed += other.failed;
        self.dead_lettered += other.dead_lettered;
        self.unhandled += other.unhandled;
        self.not_done += other.not_done;
        self.in_flight += other.in_flight;
        self.failures += other.failures;
        self.retried += other.retried;
        self.late += other.late;
        self.panicked += other.panicked;
        self.letters_refused += other.letters_refused;
        if let (Some(own), Some(other)) = (&mut self.latency_ns, &other.latency_ns) {
            // Same bounds: it fits.
            let _ = own.add(other);
        }
    }
}

impl fmt::Display for KindMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "received {} = processed {} + failed {} + dead-lettered {} + unhandled {} + not done {} + in flight {}",
            self.received,
            self.processed,
            self.failed,
            self.dead_lettered,
            self.unhandled,
            self.not_done,
            self.in_flight
        )?;
        let latency = self.latency_ns.as_ref();
        let at = |quantile| latency.map_or(0, |latency| latency.value_at_quantile(quantile));
        write!(f, "; retried {}; attempts p50 {} ns, p99 {} ns", self.retried, at(0.5), at(0.99))
    }
}

/// What was counted at one moment: each kind that has a handler or was seen, by number.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Kind by kind.
    pub kinds: Vec<KindMetrics>,
}

impl Metrics {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> KindMetrics {
        let mut total = Counts::new().snapshot(0, "", None);
        for kind in &self.kinds {
            total.add(kind);
        }
        total
    }

    /// One kind, if it has a handler or was seen.
    #[must_use]
    pub fn kind(&self, kind: u16) -> Option<&KindMetrics> {
        self.kinds.iter().find(|metrics| metrics.kind == kind)
    }
}

/// Kinds without handler, as they are seen.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<BTreeMap<u16, Arc<Counts>>>);

impl Strangers {
    pub(super) fn of(&self, kind: u16) -> Arc<Counts> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kinds.entry(kind).or_default())
    }

    pub(super) fn snapshots(&self) -> Vec<KindMetrics> {
        let kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().map(|(&kind, counts)| counts.snapshot(kind, "", None)).collect()
    }
}

/// Reads a dispatcher's counts from any thread, also after the dispatcher is gone.
#[derive(Clone)]
pub struct Monitor {
    read: Arc<dyn Fn() -> Metrics + Send + Sync>,
}

impl Monitor {
    pub(super) fn new(read: Arc<dyn Fn() -> Metrics + Send + Sync>) -> Self {
        Self { read }
    }

    /// The counts now.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        (self.read)()
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
