//! Claims: which member of a consumer group works on which frame of a lane.
//!
//! A frame has one 64-bit word (`layout::claim`), and everything about the frame is in it: who claims it,
//! until when, how often that was tried. Every step is one CAS, so a member that dies or stops anywhere
//! leaves a word that is true:
//!
//! ```text
//!            claim                    acknowledge
//!   fresh ──────────────▶ claimed ──────────────▶ done  =  fresh, for the position a lap later
//!                         ▲     │
//!                   claim │     │ refuse · time over · member dead · member leaves
//!                         │     ▼
//!                        waiting
//! ```
//!
//! | who | step | order |
//! |---|---|---|
//! | producer | stores the payload, then `head` | release |
//! | member | sees `head`; claims by CAS; copies the frame; looks whether the word is still its claim | acquire |
//! | member | acknowledges: CAS from its claim to "done" | release |
//! | any member | sees "done" at the gate; moves the gate past it, by CAS | acquire, release |
//! | producer | sees the gate; overwrites the slot | acquire |
//!
//! The gate is the group's cursor in the bus, which producers respect like any consumer's. It passes a
//! position only when the word says done for it, and a slot is overwritten, and its word claimed for the
//! next lap, only after that. So a word belongs to the one position of its slot that is not yet passed.
//!
//! A member whose claim was taken from it (it was too slow) may be copying while the slot is
//! overwritten: somebody else has acknowledged, the gate has passed, the producer has come round. Then
//! its word is no longer its claim, and that is what it looks at after the copy, before it believes
//! it; its acknowledgement, a CAS from its own claim, fails as well. Nobody else ever makes the word
//! equal to its claim again: a claim has its member's number, and a member's number is let again only
//! when all its claims have been taken back.
//!
//! Which frames a member may claim is not asked here; with affinity, `shares` says.

#[cfg(all(test, loom))]
mod model;
pub(crate) mod shares;
#[cfg(all(test, not(loom)))]
mod tests;

use std::ops::Deref;

use crate::crash::crash_point;
use crate::lane::is_before;
use crate::layout::claim::{ClaimWord, Stand, Why};
use crate::sync::{AtomicU64, Ordering, fence};

/// A lane's claim words: as many as the lane has slots.
#[derive(Clone, Debug)]
pub(crate) struct Claims<W> {
    words: W,
    /// Capacity − 1; the capacity is a power of two.
    mask: u64,
    /// The capacity's logarithm.
    shift: u32,
}

/// The positions of a lane that are published and that the gate has not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) gate: u64,
    pub(crate) head: u64,
}

/// A head that no honest producer stores: further ahead of the gate than the ring is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Impossible;

impl Window {
    /// Looks at both ends.
    pub(crate) fn look(
        head: &AtomicU64,
        gate: &AtomicU64,
        capacity: u64,
    ) -> Result<Self, Impossible> {
        // ORDERING: acquire, pairs with the release store of head in `LaneWriter::publish`; makes the
        // payloads visible, and a gate that is at least the one which allowed this head.
        let head = head.load(Ordering::Acquire);
        // ORDERING: acquire, pairs with the CAS in `Claims::advance`.
        let gate = gate.load(Ordering::Acquire);
        if is_before(head, gate) {
            // Both have moved since the head was loaded.
            return Ok(Self { gate, head: gate });
        }
        if head.wrapping_sub(gate) > capacity { Err(Impossible) } else { Ok(Self { gate, head }) }
    }

    /// How many positions.
    #[inline]
    pub(crate) fn len(self) -> u64 {
        self.head.wrapping_sub(self.gate)
    }

    /// Whether it has the position.
    #[inline]
    pub(crate) fn contains(self, position: u64) -> bool {
        position.wrapping_sub(self.gate) < self.len()
    }
}

impl<W: Deref<Target = [AtomicU64]>> Claims<W> {
    /// Over the words of a lane. `None` when there are not as many as a power of two.
    pub(crate) fn over(words: W) -> Option<Self> {
        let capacity = u64::try_from(words.len()).ok().filter(|count| count.is_power_of_two())?;
        Some(Self { words, mask: capacity - 1, shift: capacity.trailing_zeros() })
    }

    fn lap(&self, position: u64) -> u64 {
        position >> self.shift
    }

    fn at(&self, position: u64) -> Option<&AtomicU64> {
        self.words.get(usize::try_from(position & self.mask).ok()?)
    }

    /// Makes the words what they have to be for a group that starts at `start`: frames before it are
    /// done, those after it fresh. Nobody else is at the words.
    pub(crate) fn begin(&self, start: u64) {
        for step in 0..=self.mask {
            let position = start.wrapping_add(step);
            if let Some(word) = self.at(position) {
                // ORDERING: relaxed; published by the release of the seat's state in `group::create`, or
                // through the lock under which a group is reset.
                word.store(ClaimWord::fresh(self.lap(position)).word(), Ordering::Relaxed);
            }
        }
    }

    /// The word of a position.
    #[inline]
    pub(crate) fn word(&self, position: u64) -> ClaimWord {
        self.at(position).map_or(ClaimWord::from_word(0), |word| {
            // ORDERING: acquire, pairs with the CAS in `exchange`: with "done" come the reads of who
            // acknowledged, with a claim the seat of who made it.
            ClaimWord::from_word(word.load(Ordering::Acquire))
        })
    }

    /// What a word says about the frame of a position.
    #[inline]
    pub(crate) fn stand(&self, position: u64, word: ClaimWord) -> Stand {
        word.stand(self.lap(position))
    }

    /// Changes a word, if it is still `old`. Progress: wait-free, one CAS.
    #[inline]
    fn exchange(&self, position: u64, old: ClaimWord, new: ClaimWord) -> bool {
        self.at(position).is_some_and(|word| {
            let (old, new) = (old.word(), new.word());
            // ORDERING: acquire and release: what the frame's member before has read comes before
            // what its member after does, and both before the gate passes it (`advance`). Failure
            // needs nothing: nothing is done then.
            word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// Claims the frame of a position, of which the word was `seen` fresh or waiting. `None`: somebody
    /// was faster.
    #[inline]
    pub(crate) fn claim(
        &self,
        position: u64,
        seen: ClaimWord,
        member: u32,
        due_ms: u32,
    ) -> Option<ClaimWord> {
        let claim = seen.claimed(self.lap(position), member, due_ms);
        let claimed = self.exchange(position, seen, claim);
        if claimed {
            crash_point!(GroupClaimed);
        }
        claimed.then_some(claim)
    }

    /// The position that a claim just made is really for.
    ///
    /// The CAS compares a lap of 14 bits: who was stopped before it, for a multiple of 16384 laps to a
    /// frame, has claimed the frame that stands there now. The claim keeps the gate from passing that.
    #[inline]
    pub(crate) fn settled(&self, position: u64, gate: &AtomicU64) -> u64 {
        // ORDERING: acquire; after the claim's CAS, so it is a gate that the claim holds back.
        let gate = gate.load(Ordering::Acquire);
        gate.wrapping_add(position.wrapping_sub(gate) & self.mask)
    }

    /// Whether a frame's word is still this claim, after the frame was copied: then the copy is whole.
    #[inline]
    pub(crate) fn holds(&self, position: u64, claim: ClaimWord) -> bool {
        // ORDERING: acquire fence, pairs with the SeqCst fence in `LaneWriter::renew`, which comes
        // before any overwriting and after the gate that allowed it: if the copy saw a word of the
        // next lap, the load below sees that this claim has ended.
        fence(Ordering::Acquire);
        // ORDERING: relaxed; by the fence.
        self.at(position).is_some_and(|word| word.load(Ordering::Relaxed) == claim.word())
    }

    /// Acknowledges. `false`: the frame is not this claim's any more.
    #[inline]
    pub(crate) fn finish(&self, position: u64, claim: ClaimWord) -> bool {
        crash_point!(GroupAckNotMade);
        let finished = self.exchange(position, claim, ClaimWord::done(self.lap(position)));
        if finished {
            crash_point!(GroupAckMade);
        }
        finished
    }

    /// Ends a claim without an acknowledgement: the frame is to be tried again, not before `due_ms`.
    /// `false`: it is not this claim's any more.
    pub(crate) fn take_back(&self, position: u64, claim: ClaimWord, why: Why, due_ms: u32) -> bool {
        let taken = self.exchange(position, claim, claim.returned(why, due_ms));
        if taken {
            crash_point!(GroupClaimEnded);
        }
        taken
    }

    /// The same for a frame that was not handed out: the attempt does not count.
    pub(crate) fn put_back(&self, position: u64, claim: ClaimWord, due_ms: u32) -> bool {
        self.exchange(position, claim, claim.unused(due_ms))
    }

    /// Moves the gate past the frames that are done, `most` of them at most. Returns how many.
    ///
    /// Progress: wait-free. Whoever else does the same at the same time does this one's work.
    pub(crate) fn advance(&self, gate: &AtomicU64, window: Window, most: u64) -> u64 {
        let mut passed = 0;
        while passed < window.len().min(most) {
            let position = window.gate.wrapping_add(passed);
            if self.stand(position, self.word(position)) != Stand::Done {
                break;
            }
            passed += 1;
        }
        if passed == 0 {
            return 0;
        }
        crash_point!(GroupGateNotMoved);
        let (old, new) = (window.gate, window.gate.wrapping_add(passed));
        // ORDERING: release, pairs with the acquire load of the cursor in `LaneWriter::gate`: the reads
        // of everybody who acknowledged, acquired with the words above, come before the overwriting.
        // The gate only rises, so one that is still `old` has not been moved. Failure: somebody else
        // moved it.
        let moved = gate.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if moved {
            crash_point!(GroupGateMoved);
        }
        if moved { passed } else { 0 }
    }
}
