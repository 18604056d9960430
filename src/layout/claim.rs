//! The word that says everything about one frame of a lane for one consumer group.
//!
//! ```text
//! bit 63 62 61 60 59        52 51    46 45                     14 13        0
//!     +-----+-----+------------+--------+-------------------------+-----------+
//!     |state| why | attempts   | member | due, in milliseconds    | lap       |
//!     +-----+-----+------------+--------+-------------------------+-----------+
//! ```
//!
//! | state | meaning | member | due |
//! |---|---|---|---|
//! | 1 claimed | a member works on it | which | until when |
//! | 2 waiting | for its next attempt | 0 | from when |
//! | 3 done | acknowledged, or dead-lettered | 0 | 0 |
//! | 0 | nobody stores it | | |
//!
//! `lap` is the low bits of position / capacity. "Done" of the lap before is what a frame that nobody has
//! claimed yet finds in its slot's word, so no word is ever reset. `attempts` counts claims, the
//! present one included, and stays at 255; `why` says what became of the attempt before.
//!
//! A due time is on the bus's clock modulo 2^32 ms (49 days), and nothing is ever due more than a day
//! ahead: what looks later than that has been due for long.

/// The longest that anything is put off or may take: a day.
pub(crate) const AHEAD_MAX_MS: u32 = 86_400_000;
/// Attempts are counted up to this.
pub(crate) const ATTEMPTS_MAX: u32 = 255;
/// Members of a group at most: a word has six bits for one.
pub(crate) const MEMBERS_MAX: u32 = 64;

const LAP_BITS: u32 = 14;
const LAP_MASK: u64 = (1 << LAP_BITS) - 1;
const DUE_SHIFT: u32 = LAP_BITS;
const MEMBER_SHIFT: u32 = 46;
const ATTEMPTS_SHIFT: u32 = 52;
const WHY_SHIFT: u32 = 60;
const STATE_SHIFT: u32 = 62;
const CLAIMED: u64 = 1;
const WAITING: u64 = 2;
const DONE: u64 = 3;

/// What became of a frame's last attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// There was none, or the member left in order.
    Returned,
    Refused,
    TimedOut,
    Died,
}

impl Why {
    const fn number(self) -> u64 {
        match self {
            Self::Returned => 0,
            Self::Refused => 1,
            Self::TimedOut => 2,
            Self::Died => 3,
        }
    }

    const fn of(number: u64) -> Self {
        match number & 3 {
            1 => Self::Refused,
            2 => Self::TimedOut,
            3 => Self::Died,
            _ => Self::Returned,
        }
    }
}

/// A frame's word, as it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimWord(u64);

/// What a word says about the frame of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Nobody has claimed it.
    Fresh,
    Claimed {
        member: u32,
        due_ms: u32,
    },
    Waiting {
        due_ms: u32,
    },
    Done,
    /// The word is another position's, or no honest participant's.
    Alien,
}

impl ClaimWord {
    /// Takes a word as it was loaded.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to store.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// A frame of this lap is done with.
    pub(crate) const fn done(lap: u64) -> Self {
        Self(DONE << STATE_SHIFT | lap & LAP_MASK)
    }

    /// A frame of this lap has not been claimed.
    pub(crate) const fn fresh(lap: u64) -> Self {
        Self::done(lap.wrapping_sub(1))
    }

    /// The claim that follows this word, for the frame of `lap`.
    pub(crate) const fn claimed(self, lap: u64, member: u32, due_ms: u32) -> Self {
        // A fresh frame's word is the one before it's, which has no attempts.
        let attempts =
            if self.attempts() < ATTEMPTS_MAX { self.attempts() + 1 } else { ATTEMPTS_MAX };
        Self(
            CLAIMED << STATE_SHIFT
                | self.why().number() << WHY_SHIFT
                | (attempts as u64) << ATTEMPTS_SHIFT
                | (member as u64 & 63) << MEMBER_SHIFT
                | (due_ms as u64) << DUE_SHIFT
                | lap & LAP_MASK,
        )
    }

    /// What is left of this claim when it ends without an acknowledgement.
    pub(crate) const fn returned(self, why: Why, due_ms: u32) -> Self {
        Self(
            WAITING << STATE_SHIFT
                | why.number() << WHY_SHIFT
                | (self.attempts() as u64) << ATTEMPTS_SHIFT
                | (due_ms as u64) << DUE_SHIFT
                | self.0 & LAP_MASK,
        )
    }

    /// What is left of this claim when its frame was not handed out: the attempt is not counted.
    pub(crate) const fn unused(self, due_ms: u32) -> Self {
        let returned = self.returned(self.why(), due_ms);
        if returned.attempts() > 0 { Self(returned.0 - (1 << ATTEMPTS_SHIFT)) } else { returned }
    }

    /// How often the frame was claimed.
    pub(crate) const fn attempts(self) -> u32 {
        ((self.0 >> ATTEMPTS_SHIFT) & 255) as u32
    }

    /// What became of the attempt before.
    pub(crate) const fn why(self) -> Why {
        Why::of(self.0 >> WHY_SHIFT)
    }

    /// The member that claims; nothing by itself.
    pub(crate) const fn member(self) -> u32 {
        ((self.0 >> MEMBER_SHIFT) & 63) as u32
    }

    const fn due_ms(self) -> u32 {
        ((self.0 >> DUE_SHIFT) & 0xffff_ffff) as u32
    }

    /// What the word says about the frame of `lap`.
    pub(crate) const fn stand(self, lap: u64) -> Stand {
        if self.0 == Self::fresh(lap).0 {
            return Stand::Fresh;
        }
        if self.0 & LAP_MASK != lap & LAP_MASK {
            return Stand::Alien;
        }
        match self.0 >> STATE_SHIFT {
            CLAIMED => Stand::Claimed { member: self.member(), due_ms: self.due_ms() },
            WAITING => Stand::Waiting { due_ms: self.due_ms() },
            DONE => Stand::Done,
            _ => Stand::Alien,
        }
    }
}

/// Milliseconds of the bus's clock, as words have them.
#[allow(clippy::cast_possible_truncation)] // modulo 2^32, by definition
pub(crate) const fn millis(time_ns: u64) -> u32 {
    (time_ns / 1_000_000) as u32
}

/// Whether a due time has come.
pub(crate) const fn is_due(due_ms: u32, now_ms: u32) -> bool {
    let ahead = due_ms.wrapping_sub(now_ms);
    ahead == 0 || ahead > AHEAD_MAX_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_goes_round_all_states_and_keeps_what_it_counts() {
        for lap in [0, 1, LAP_MASK, LAP_MASK + 1, u64::MAX] {
            let fresh = ClaimWord::fresh(lap);
            assert_eq!(fresh.stand(lap), Stand::Fresh);
            let claim = fresh.claimed(lap, 63, 7);
            assert_eq!(claim.stand(lap), Stand::Claimed { member: 63, due_ms: 7 });
            assert_eq!((claim.attempts(), claim.why()), (1, Why::Returned));
            let back = claim.returned(Why::Died, u32::MAX);
            assert_eq!(back.stand(lap), Stand::Waiting { due_ms: u32::MAX });
            let again = back.claimed(lap, 0, 9);
            assert_eq!((again.attempts(), again.why()), (2, Why::Died));
            assert_eq!((again.unused(3).attempts(), again.unused(3).why()), (1, Why::Died));
            assert_eq!(ClaimWord::done(lap).stand(lap), Stand::Done);
            assert_eq!(ClaimWord::done(lap), ClaimWord::fresh(lap.wrapping_add(1)));
            for other in [lap.wrapping_add(1), lap.wrapping_sub(1), lap.wrapping_add(2)] {
                assert_eq!(claim.stand(other), Stand::Alien);
            }
        }
        assert_eq!(ClaimWord::from_word(5).stand(5), Stand::Alien, "nobody stores state 0");
    }

    #[test]
    fn attempts_stop_at_their_most() {
        let mut word = ClaimWord::fresh(1);
        for _ in 0..300 {
            word = word.claimed(1, 1, 0).returned(Why::Refused, 0);
        }
        assert_eq!(word.attempts(), ATTEMPTS_MAX);
        assert_eq!(word.stand(1), Stand::Waiting { due_ms: 0 });
    }

    #[test]
    fn due_times_wrap_and_none_is_further_ahead_than_a_day() {
        assert!(is_due(5, 5) && is_due(5, 6) && !is_due(6, 5));
        assert!(!is_due(4, u32::MAX - 4) && is_due(u32::MAX - 4, 4));
        assert!(!is_due(AHEAD_MAX_MS, 0) && is_due(AHEAD_MAX_MS + 1, 0));
    }
}
