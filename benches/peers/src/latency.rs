//! Latencies: a histogram with three significant digits and the percentiles that are reported.

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

    /// The percentiles; an error without a sample.
    ///
    /// # Errors
    /// That nothing was recorded.
    pub fn percentiles(&self) -> Result<Percentiles, String> {
        if self.0.is_empty() {
            return Err(String::from("no latency was recorded"));
        }
        let at = |quantile| self.0.value_at_quantile(quantile);
        Ok(Percentiles {
            samples: self.0.len(),
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            max_ns: self.0.max(),
        })
    }
}

/// What a report says of many latencies. Values are exact to three significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were recorded.
    pub samples: u64,
    /// Half were at most this long.
    pub p50_ns: u64,
    /// 99 of 100 were at most this long.
    pub p99_ns: u64,
    /// 999 of 1000 were at most this long.
    pub p99_9_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latency = Latency::new();
        assert!(latency.percentiles().is_err());
        for ns in 1..=1000 {
            latency.record(ns);
        }
        let percentiles = latency.percentiles().expect("samples");
        assert_eq!(percentiles.samples, 1000);
        assert_eq!(percentiles.p50_ns, 500);
        assert_eq!(percentiles.p99_9_ns, 999);
        assert_eq!(percentiles.max_ns, 1000);
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latency = Latency::new();
        latency.record(u64::MAX);
        assert_eq!(latency.percentiles().expect("a sample").samples, 1);
    }
}
