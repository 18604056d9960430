//! Latencies: a histogram with three significant digits, its percentiles, and its form on the wire
//! between a worker and the process that reports.

use crate::exit::Failure;
use crate::output::Out;
use crate::table::{Side, Table};
use crate::units::{format_count, format_ns};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest latency that is told apart; longer ones count as this.
const LATENCY_MAX_NS: u64 = 100_000_000_000;

/// Recorded latencies in nanoseconds.
pub struct Latency(Histogram<u64>);

impl Latency {
    /// Without a sample.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NS, 3);
        // The bounds and the precision are constants within what the crate documents.
        Self(histogram.expect("constant bounds are valid"))
    }

    /// Adds a sample. Cost: about 5 ns; no allocation.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Adds every sample that a worker sent.
    pub fn add(&mut self, buckets: &Buckets) {
        for &(ns, count) in &buckets.0 {
            self.0.saturating_record_n(ns, count);
        }
    }

    /// Forgets every sample.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// What crosses the pipe to the reporting process.
    pub fn buckets(&self) -> Buckets {
        let recorded = self.0.iter_recorded();
        Buckets(recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// The percentiles; `None` without a sample.
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.0.is_empty() {
            return None;
        }
        let at = |quantile| self.0.value_at_quantile(quantile);
        Some(Percentiles {
            samples: self.0.len(),
            min_ns: self.0.min(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            max_ns: self.0.max(),
        })
    }
}

/// A histogram as pairs of value and count.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Buckets(Vec<(u64, u64)>);

/// What a report says of many latencies. Values are exact to three significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were recorded.
    pub samples: u64,
    /// The shortest.
    pub min_ns: u64,
    /// Half were at most this long.
    pub p50_ns: u64,
    /// Nine of ten were at most this long.
    pub p90_ns: u64,
    /// 99 of 100 were at most this long.
    pub p99_ns: u64,
    /// 999 of 1000 were at most this long.
    pub p99_9_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl Percentiles {
    /// The middle of each figure over several runs, and the samples of all; `None` without a run.
    pub fn median_of(runs: &[Self]) -> Option<Self> {
        let middle = |figure: fn(&Self) -> u64| Spread::of(runs.iter().map(figure)).median;
        (!runs.is_empty()).then(|| Self {
            samples: runs.iter().map(|run| run.samples).sum(),
            min_ns: middle(|run| run.min_ns),
            p50_ns: middle(|run| run.p50_ns),
            p90_ns: middle(|run| run.p90_ns),
            p99_ns: middle(|run| run.p99_ns),
            p99_9_ns: middle(|run| run.p99_9_ns),
            max_ns: middle(|run| run.max_ns),
        })
    }

    /// The cells of a table: p50, p90, p99, p99.9, max.
    pub fn cells(&self) -> [String; 5] {
        [self.p50_ns, self.p90_ns, self.p99_ns, self.p99_9_ns, self.max_ns].map(format_ns)
    }
}

/// Prints a table of one line of percentiles.
pub fn print(out: &Out, name: &'static str, latency: Percentiles) -> Result<(), Failure> {
    let [p50, p90, p99, p99_9, max] = latency.cells();
    let mut table = Table::new([
        (name, Side::Left),
        ("P50", Side::Right),
        ("P90", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
        ("MAX", Side::Right),
    ]);
    let samples = format!("{} samples", format_count(latency.samples));
    table.row([samples, p50, p90, p99, p99_9, max]);
    table.print(out)
}

/// Middle, least and greatest of the same figure over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the lower of the two.
    pub median: u64,
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
}

impl Spread {
    /// Of at least one figure; all zero without any.
    pub fn of(figures: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = figures.into_iter().collect();
        sorted.sort_unstable();
        let at = |index: usize| sorted.get(index).copied().unwrap_or(0);
        let last = sorted.len().saturating_sub(1);
        Self { median: at(last / 2), min: at(0), max: at(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_survive_the_pipe() {
        let mut latency = Latency::new();
        for ns in 1..=1000 {
            latency.record(ns);
        }
        let wire = serde_json::to_string(&latency.buckets()).expect("serializable");
        let mut other = Latency::new();
        other.add(&serde_json::from_str(&wire).expect("readable"));
        assert_eq!(other.percentiles(), latency.percentiles());
        let percentiles = other.percentiles().expect("samples");
        assert_eq!(percentiles.samples, 1000);
        assert_eq!(percentiles.p50_ns, 500);
        assert_eq!(percentiles.p99_9_ns, 999);
        assert_eq!(percentiles.max_ns, 1000);
    }

    #[test]
    fn no_sample_has_no_percentiles() {
        assert_eq!(Latency::new().percentiles(), None);
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latency = Latency::new();
        latency.record(u64::MAX);
        assert_eq!(latency.percentiles().expect("a sample").samples, 1);
    }

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        assert_eq!(Spread::of([3, 1, 2]), Spread { median: 2, min: 1, max: 3 });
        assert_eq!(Spread::of([4, 1, 2, 3]).median, 2);
        assert_eq!(Spread::of([]), Spread { median: 0, min: 0, max: 0 });
    }
}
