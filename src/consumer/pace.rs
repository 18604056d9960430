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
//! | after a longer gap | do not pause | do not pause |
//!
//! The longest pause is one or two microseconds. It is taken once after frames, not again while nothing
//! comes, so that at most the first frame after a flood is late by it.

use std::hint::spin_loop;

/// Looks that may find nothing between two bursts of one flood.
const NEAR_LOOKS: u32 = 16;
/// Frames that a burst is to have, so that the lines' travels are shared among many.
const WANTED_FRAMES: u64 = 256;
/// Most pauses of the processor at a time: 20 ns each on the slowest.
const PAUSES_MAX: u32 = 128;

/// How the frames came so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Looks that found nothing since the last frame.
    misses: u32,
    /// Frames since the last such look.
    burst: u64,
    /// The burst came within a few looks of the one before.
    is_flood: bool,
    /// The present length of a pause.
    pauses: u32,
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
        let in_vain = self.pauses == PAUSES_MAX && self.burst < WANTED_FRAMES / 8;
        if !self.is_flood || in_vain {
            self.pauses = 0;
        } else if self.burst < WANTED_FRAMES {
            self.pauses = (2 * self.pauses + 1).min(PAUSES_MAX);
        } else if self.burst > 4 * WANTED_FRAMES {
            self.pauses -= self.pauses.div_ceil(4);
        }
    }
}
