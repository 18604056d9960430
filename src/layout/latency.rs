//! A consumer's latencies: how often a frame took how long from publish to poll.
//!
//! The buckets are log-linear: values below [`STEPS`] have one each, and from there every power of two is
//! cut into [`STEPS`] buckets of one width, so that a bucket is at most 1/16 of its values wide. (The
//! scheme of HdrHistogram and of Linux's io tools.)
//!
//! ```text
//!   0  sum_ns          of all of them, wrapping                 line 0
//!   8  max_ns          the longest
//!  16  (reserved)
//!  64  count[592]      bucket by bucket                         from line 1
//! ```
//!
//! Every word is its consumer's alone, and is set to zero when it attaches.

/// Buckets of a power of two.
pub(crate) const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 4;
/// Values have at most so many bits: 18 minutes. What took longer is counted as that.
const VALUE_BITS: u32 = 40;
/// Buckets in all.
pub(crate) const BUCKETS: usize = ((VALUE_BITS - STEP_BITS + 1) << STEP_BITS) as usize;
/// Index among the words of the sum, and of the longest.
pub(crate) const SUM: usize = 0;
pub(crate) const MAX: usize = 1;
/// Words before the buckets.
pub(crate) const HEAD_WORDS: usize = 8;
/// Words in all.
pub(crate) const WORDS: u64 = (HEAD_WORDS + BUCKETS) as u64;
/// Bytes in all.
pub(crate) const BYTES: u64 = WORDS * 8;

/// The bucket of a value.
#[inline]
pub(crate) fn bucket(value_ns: u64) -> usize {
    let value = value_ns.min((1 << VALUE_BITS) - 1);
    // The power of two that it lies in; 0 for all below `STEPS`, which have a bucket each.
    let power = (u64::BITS - (value | (STEPS - 1)).leading_zeros()) - STEP_BITS;
    let shift = power.saturating_sub(1);
    let step = value >> shift;
    let base = u64::from(shift) << STEP_BITS;
    usize::try_from(base + step).unwrap_or(BUCKETS - 1)
}

/// The least and the greatest value of a bucket.
pub(crate) fn bounds(bucket: usize) -> (u64, u64) {
    let bucket = bucket.min(BUCKETS - 1) as u64;
    if bucket < 2 * STEPS {
        return (bucket, bucket);
    }
    let shift = (bucket >> STEP_BITS) - 1;
    let low = (bucket - (shift << STEP_BITS)) << shift;
    (low, low + ((1 << shift) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        let mut next = 0;
        for index in 0..BUCKETS {
            let (low, high) = bounds(index);
            assert_eq!(low, next, "bucket {index}");
            assert!(high - low <= low / STEPS, "bucket {index} is wider than 1/16");
            assert_eq!((bucket(low), bucket(high)), (index, index));
            next = high + 1;
        }
        assert_eq!(next, 1 << VALUE_BITS);
    }

    #[test]
    fn what_took_too_long_is_in_the_last() {
        assert_eq!(bucket(1 << VALUE_BITS), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
