//! How long frames were under way, written down for whoever looks.
//!
//! On a bus whose frames have timestamps a consumer asks the clock at the frames that it takes together
//! (a run) and books how long the first of them had waited, into a histogram of its own
//! (`layout::latency`) with plain stores. The clock costs as much as several frames, so that it is not
//! asked at each run of a flood:
//!
//! | a run that comes | is looked at | and counts for |
//! |---|---|---|
//! | after a look that found nothing | always: there was time to spare | 1 |
//! | right after another | one in [`SKIP`], by chance | [`SKIP`] |
//!
//! By chance and not in turn, so that what happens in turn is seen as it is: what is booked stands for all
//! runs, whatever their pattern.

use crate::layout::latency::{self, HEAD_WORDS, MAX, SUM};
use crate::shm::mapping::SharedArray;
use crate::sync::{AtomicU64, Ordering, clock};

/// Runs of a flood that one stands for; a power of two.
const SKIP: u64 = 8;

/// A consumer's own histogram.
#[derive(Debug)]
pub(super) struct Latencies {
    words: SharedArray,
    /// The last look found nothing.
    waited: bool,
    /// The state of a xorshift generator; never 0.
    random: u64,
}

impl Latencies {
    /// Begins anew.
    pub(super) fn start(words: SharedArray) -> Self {
        for word in words.iter() {
            // ORDERING: relaxed; a statistic with one writer.
            word.store(0, Ordering::Relaxed);
        }
        Self { words, waited: true, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A look found nothing.
    #[inline]
    pub(super) fn missed(&mut self) {
        self.waited = true;
    }

    /// Books a run, or not, whose first frame was stamped at that time.
    #[inline]
    pub(super) fn found(&mut self, time_ns: u64) {
        let weight = self.weight();
        if weight != 0 && time_ns != 0 {
            self.book(clock::monotonic_ns().saturating_sub(time_ns), weight);
        }
    }

    /// For how many runs this one stands; 0: it is not looked at.
    #[inline]
    fn weight(&mut self) -> u64 {
        if std::mem::take(&mut self.waited) {
            return 1;
        }
        // Marsaglia, "Xorshift RNGs", 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        if self.random & (SKIP - 1) == 0 { SKIP } else { 0 }
    }

    fn book(&self, took_ns: u64, weight: u64) {
        let word = |index: usize| self.words.get(index);
        let load = |word: &AtomicU64| {
            // ORDERING: relaxed; a statistic with one writer.
            word.load(Ordering::Relaxed)
        };
        let store = |word: &AtomicU64, value: u64| {
            // ORDERING: relaxed; as above.
            word.store(value, Ordering::Relaxed);
        };
        if let Some(count) = word(HEAD_WORDS + latency::bucket(took_ns)) {
            store(count, load(count).wrapping_add(weight));
        }
        if let Some((sum, max)) = word(SUM).zip(word(MAX)) {
            store(sum, load(sum).wrapping_add(took_ns.wrapping_mul(weight)));
            if took_ns > load(max) {
                store(max, took_ns);
            }
        }
    }
}
