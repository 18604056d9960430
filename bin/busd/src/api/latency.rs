//! How long frames were under way to a consumer.

use busway::LatencyStat;
use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};

/// The highest value that is told apart: the segment's buckets go no further.
const HIGHEST_NS: u64 = (1 << 40) - 1;
/// Decimal digits that are told apart: the segment's buckets are 1/16 wide.
const DIGITS: u8 = 2;

/// How long frames were under way from publish to poll, at one consumer since it attached. One value
/// stands for a run: the frames that were taken together, of which the first counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Runs.
    pub count: u64,
    /// The sum of all values.
    pub sum_ns: u64,
    /// Half of the runs took no longer.
    pub p50_ns: u64,
    /// Nine of ten took no longer.
    pub p90_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1000 took no longer.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// The buckets that are not empty, in ascending order.
    pub buckets: Vec<LatencyBucket>,
}

/// How many runs took from `low_ns` to `high_ns`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBucket {
    /// The least value of it.
    pub low_ns: u64,
    /// The greatest.
    pub high_ns: u64,
    /// Runs.
    pub count: u64,
}

impl Latency {
    /// The quantiles of what a consumer booked; a value stands for its bucket's greatest, so that a
    /// quantile errs to the long side, by 1/16 at most.
    #[must_use]
    pub fn of(stat: &LatencyStat) -> Self {
        let histogram = histogram(stat);
        let quantile = |q: f64| {
            let value = histogram.as_ref().map_or(0, |histogram| histogram.value_at_quantile(q));
            value.min(stat.max_ns)
        };
        let bucket = |one: &busway::LatencyBucket| LatencyBucket {
            low_ns: one.low_ns,
            high_ns: one.high_ns,
            count: one.count,
        };
        Self {
            count: stat.count(),
            sum_ns: stat.sum_ns,
            p50_ns: quantile(0.5),
            p90_ns: quantile(0.9),
            p99_ns: quantile(0.99),
            p999_ns: quantile(0.999),
            max_ns: stat.max_ns,
            buckets: stat.buckets.iter().map(bucket).collect(),
        }
    }
}

/// What a consumer booked, as a histogram that can be added to others.
///
/// # Errors
/// None with these constants: the library's constructor has one.
pub fn histogram(stat: &LatencyStat) -> Result<Histogram<u64>, CreationError> {
    let mut histogram = Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS)?;
    for bucket in &stat.buckets {
        histogram.saturating_record_n(bucket.high_ns, bucket.count);
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(buckets: &[(u64, u64)]) -> LatencyStat {
        let bucket =
            |&(low_ns, count)| busway::LatencyBucket { low_ns, high_ns: low_ns + 1, count };
        let max_ns = buckets.last().map_or(0, |(low_ns, _)| low_ns + 1);
        LatencyStat { sum_ns: 7, max_ns, buckets: buckets.iter().map(bucket).collect() }
    }

    #[test]
    fn quantiles_are_those_of_the_buckets() {
        let latency = Latency::of(&stat(&[(100, 900), (200, 90), (400, 9), (800, 1)]));
        let Latency { count, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, .. } = latency;
        assert_eq!((count, p50_ns, p90_ns, p99_ns), (1000, 101, 101, 201));
        assert!((401..=403).contains(&p999_ns), "{p999_ns}");
        assert_eq!(max_ns, 801);
    }

    #[test]
    fn nothing_booked_is_all_zeros() {
        let latency = Latency::of(&LatencyStat::default());
        assert_eq!((latency.count, latency.p50_ns, latency.max_ns), (0, 0, 0));
    }

    #[test]
    fn what_no_consumer_books_is_bounded() {
        let most = 1 << 62;
        let latency = Latency::of(&stat(&[(7, most), (u64::MAX - 1, most)]));
        assert_eq!(latency.p50_ns, 8);
        let latency = Latency::of(&stat(&[(u64::MAX - 1, most), (u64::MAX - 1, most)]));
        assert!(latency.p50_ns >= HIGHEST_NS - HIGHEST_NS / 100, "{latency:?}");
    }
}
