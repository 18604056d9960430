//! How long frames were under way, as plain values.

use serde::{Deserialize, Serialize};

use super::stat::load;
use crate::layout::latency::{self, HEAD_WORDS, MAX, SUM};
use crate::shm::mapping::SharedArray;

/// How long frames were under way from publish to poll, at one consumer since it attached.
///
/// One value stands for a run: the frames that the consumer took together, of which the first, which had
/// waited longest, is the one that counts. In a flood one run in eight is looked at, by chance, and counts
/// for eight. Whoever wants quantiles takes the buckets, or feeds them to a histogram of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyStat {
    /// The sum of all values in nanoseconds; wraps after five centuries of waiting.
    pub sum_ns: u64,
    /// The greatest.
    pub max_ns: u64,
    /// The buckets that are not empty, in ascending order. Each is at most 1/16 of its values wide.
    pub buckets: Vec<LatencyBucket>,
}

/// How many runs took from `low_ns` to `high_ns`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyBucket {
    /// The least value of it.
    pub low_ns: u64,
    /// The greatest. What took longer than 18 minutes is in the last bucket.
    pub high_ns: u64,
    /// Runs.
    pub count: u64,
}

/// A count that a segment states, cut down to what the counts of all buckets may be for their sum to be a
/// `u64`: whoever spoils a segment does not make those overflow who add them up. No consumer counts so
/// far.
fn bounded(count: u64) -> u64 {
    const MOST: u64 = u64::MAX / latency::BUCKETS as u64;
    count.min(MOST)
}

impl LatencyStat {
    pub(super) fn of(words: &SharedArray) -> Self {
        let word = |index: usize| words.get(index).map_or(0, load);
        let buckets = words.iter().skip(HEAD_WORDS).map(load).enumerate();
        let buckets = buckets.filter(|&(_, count)| count > 0).map(|(index, count)| {
            let (low_ns, high_ns) = latency::bounds(index);
            LatencyBucket { low_ns, high_ns, count: bounded(count) }
        });
        Self { sum_ns: word(SUM), max_ns: word(MAX), buckets: buckets.collect() }
    }

    /// Runs in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| bucket.count.saturating_add(sum))
    }

    /// What came to it since an earlier look at the same consumer; all of it when that was at another,
    /// or later. The greatest value is that of the buckets then, as nobody knows it closer.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |low_ns: u64| {
            let place = earlier.buckets.binary_search_by_key(&low_ns, |bucket| bucket.low_ns);
            place.ok().and_then(|place| earlier.buckets.get(place)).map_or(0, |one| one.count)
        };
        let mut buckets = Vec::new();
        for bucket in &self.buckets {
            let Some(count) = bucket.count.checked_sub(before(bucket.low_ns)) else {
                return self.clone();
            };
            if count > 0 {
                buckets.push(LatencyBucket { count, ..*bucket });
            }
        }
        let sum_ns = self.sum_ns.wrapping_sub(earlier.sum_ns);
        let top = buckets.last().map_or(0, |bucket| bucket.high_ns);
        Self { sum_ns, max_ns: top.min(self.max_ns), buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(counts: &[(u64, u64)]) -> LatencyStat {
        let bucket =
            |&(low_ns, count): &(u64, u64)| LatencyBucket { low_ns, high_ns: low_ns, count };
        let sum_ns = counts.iter().map(|(low, count)| low * count).sum();
        let max_ns = counts.last().map_or(0, |(low, _)| *low);
        LatencyStat { sum_ns, max_ns, buckets: counts.iter().map(bucket).collect() }
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let (before, now) = (stat(&[(3, 2), (7, 1)]), stat(&[(3, 5), (5, 1), (7, 1)]));
        let since = now.since(&before);
        assert_eq!(since.count(), 4);
        assert_eq!((since.sum_ns, since.max_ns), (14, 5));
        assert_eq!(now.since(&now).buckets, []);
    }

    #[test]
    fn spoilt_counts_add_up() {
        let counts = std::iter::repeat_n(bounded(u64::MAX), latency::BUCKETS);
        assert!(counts.into_iter().try_fold(0_u64, u64::checked_add).is_some());
        assert_eq!(bounded(1 << 50), 1 << 50);
    }

    #[test]
    fn another_consumer_is_none_to_subtract() {
        let now = stat(&[(3, 1)]);
        assert_eq!(now.since(&stat(&[(3, 2)])), now);
    }
}
