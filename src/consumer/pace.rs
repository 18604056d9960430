//! Keeping off a producer's heels.
//!
//! A consumer that looks at a head again and again takes the line away from the producer that is about
//! to write it. When frames come as fast as they can be written, it finds one or two at each look, and
//! both sides pay for the line's travels with most of their time. A pause after a look that found
//! nothing lets the producer get ahead; the next look finds many. When frames come one at a time, a
//! pause would only delay the next, so there is none:
//!
//! | frames came | few at a time | many at a time |
//! |---|---|---|
//! | within a few looks of each other | pause longer | leave it, or pause less |
//! | the same, and a pause brought hardly more | do not pause for a while | |
//! | after a longer gap | do not pause | do not pause |
//!
//! The longest pause is two or three microseconds. It is taken once after frames, not again while nothing
//! comes, so that at most the first frame after a flood is late by it. Two processes that answer each
//! other look like a flood until a pause has been tried: each answer comes within a few looks, but only
//! one, however long the pause. They pay for five short pauses among thousands of answers.

use std::hint::spin_loop;

/// Looks that may find nothing between two bursts of one flood.
const NEAR_LOOKS: u32 = 16;
/// Frames that a burst is to have, so that the lines' travels are shared among many.
const WANTED_FRAMES: u64 = 256;
/// Most pauses of the processor at a time: 20 ns each on the slowest.
const PAUSES_MAX: u32 = 128;
/// Pauses of the processor for which a frame is to come, at least; less is no flood.
const PAUSES_PER_FRAME: u32 = 8;
/// Bursts without a pause after one that brought hardly anything; doubled each time, up to the most.
const REST_BURSTS: u32 = 16;
const REST_BURSTS_MAX: u32 = 4096;

/// How the frames came so far.
#[derive(Debug)]
pub(super) struct Pace {
    /// Looks that found nothing since the last frame.
    misses: u32,
    /// Frames since the last such look.
    burst: u64,
    /// The burst came within a few looks of the one before.
    is_flood: bool,
    /// The present length of a pause.
    pauses: u32,
    /// Bursts to come before a pause is tried again.
    rest: u32,
    /// How many there will be the next time that one is in vain.
    next_rest: u32,
}

impl Default for Pace {
    fn default() -> Self {
        let (misses, burst, is_flood, pauses) = (0, 0, false, 0);
        Self { misses, burst, is_flood, pauses, rest: 0, next_rest: REST_BURSTS }
    }
}

impl Pace {
    /// A look found `frames` frames.
    #[inline]
    pub(super) fn found(&mut self, frames: u64) {
        if self.misses > 0 {
            self.is_flood = self.misses <= NEAR_LOOKS;
            (self.misses, self.burst) = (0, 0);
        }
        self.burst = self.burst.saturating_add(frames);
    }

    /// A look found nothing: pauses if it is worth it.
    #[inline]
    pub(super) fn missed(&mut self) {
        self.misses = self.misses.saturating_add(1);
        if self.misses == 1 {
            self.adapt();
            for _ in 0..self.pauses {
                spin_loop();
            }
        }
    }

    fn adapt(&mut self) {
        if !self.is_flood {
            self.pauses = 0;
        } else if self.burst < u64::from(self.pauses / PAUSES_PER_FRAME) {
            (self.pauses, self.rest) = (0, self.next_rest);
            self.next_rest = (2 * self.next_rest).min(REST_BURSTS_MAX);
        } else if self.rest > 0 {
            self.rest -= 1;
        } else if self.burst < WANTED_FRAMES {
            self.pauses = (2 * self.pauses + 1).min(PAUSES_MAX);
        } else {
            self.next_rest = REST_BURSTS;
            if self.burst > 4 * WANTED_FRAMES {
                self.pauses -= self.pauses.div_ceil(4);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after each of `bursts` bursts, which come `looks` looks after each other and of which
    /// the next one's length is told by the pause before it.
    fn pauses(bursts: u32, looks: u32, frames: impl Fn(u32) -> u64) -> Vec<u32> {
        let mut pace = Pace::default();
        let paused = (0..bursts).map(|_| {
            pace.found(frames(pace.pauses));
            (0..looks).for_each(|_| pace.missed());
            pace.pauses
        });
        paused.collect()
    }

    #[test]
    fn flood_is_let_ahead() {
        // Four frames for each pause of the processor.
        let paused = pauses(100, 2, |pauses| 1 + 4 * u64::from(pauses));
        assert_eq!(paused[99], 127, "as long as it takes for what is wanted");
    }

    #[test]
    fn slow_flood_is_let_ahead_as_far_as_may_be() {
        let paused = pauses(100, 2, |pauses| 1 + u64::from(pauses / 4));
        assert_eq!(paused[99], PAUSES_MAX);
    }

    #[test]
    fn answers_are_hardly_ever_paused_for() {
        let paused = pauses(100_000, 8, |_| 1);
        let often = paused.iter().filter(|&&pauses| pauses > 0).count();
        assert!(often < 250, "{often} of 100000");
        let longest = paused.iter().max();
        assert!(longest <= Some(&31), "{longest:?}");
    }

    #[test]
    fn frames_with_gaps_are_never_paused_for() {
        let paused = pauses(1000, NEAR_LOOKS + 1, |_| 1);
        assert!(paused.iter().all(|&pauses| pauses == 0));
    }
}
