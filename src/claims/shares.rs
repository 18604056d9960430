//! Shares: which member of a group with affinity the frames of a key go to.
//!
//! The keys are in 256 shares (`layout::share`), and each share has a word that says which member owns it.
//! A member claims frames of its own shares only. That alone would not keep two members from having
//! frames of one key at a time, since a share may change hands between a look at its word and a claim, or
//! while its former owner still works. So each end stores first and looks then, with a full fence between:
//!
//! | who claims (owner O) | who takes the share (T) |
//! |---|---|
//! | looks: the share is mine, and open | CAS of the share's word, from O's to T's |
//! | CAS of the frame's word: claimed by O | |
//! | full fence | full fence |
//! | looks: is the share still mine? | looks at all claims of the group's windows: whose, of which share? |
//! | yes: hands the frame out | none by others in this share: it is *open*, T claims |
//! | no: puts the frame back, unseen | some: T waits until they have ended, and looks again |
//!
//! Fences have one order. If O's comes first, T's look sees O's claim, or that it has ended. If T's comes
//! first, O's look sees that the share is T's. So:
//!
//! **A share's frames are in the hands of one member at a time**, whoever takes a share from whom, for
//! whatever reason: nobody has to agree to losing one, and no clock and no proof of death is needed for it
//! to be so. When a share may be taken is thereby a question of fairness and progress alone
//! (`group::shares`): nobody's, a dead or absent member's, one of who has more than its part.
//!
//! What ends a claim otherwise than by its member (its death, its time) ends it here as well: who takes
//! the share takes the claim back as any sweep does, so a share whose owner is dead or stopped is open to
//! the next as soon as the last claim of the former owner has ended.
//!
//! **First attempts of a share's frames are made in the order of their lane.** Who opens a share looks
//! for its frames from the gate on, and meets those that were put back unseen before those that follow.
//! A member goes by a frame of an open share only when it is claimed by itself, or put off to be tried
//! again. Should it meet another's claim there, of somebody who has not looked again yet, it closes the
//! share and looks for claims anew.
//!
//! An owner's word never comes back by itself: only O makes a share O's, a tenancy has an epoch, and O is
//! one thread. So what O's look sees is either its own word since its claim, or another.

#[cfg(all(test, loom))]
mod model;

use std::ops::Deref;

use crate::crash::crash_point;
use crate::layout::share::{OwnerWord, SHARES};
use crate::sync::{AtomicU64, Ordering, fence};

/// The words of a group's shares.
#[derive(Clone, Debug)]
pub(crate) struct Shares<W> {
    words: W,
}

/// What both ends put between their store and their look.
#[inline]
pub(crate) fn store_then_look() {
    // ORDERING: sequentially consistent, pairs with itself at the other end; see the table above. One
    // fence serves all claims of a batch, and all shares that are taken together.
    fence(Ordering::SeqCst);
}

impl<W: Deref<Target = [AtomicU64]>> Shares<W> {
    /// Over the words of a group.
    pub(crate) fn over(words: W) -> Self {
        Self { words }
    }

    /// Whose a share is.
    #[inline]
    pub(crate) fn owner(&self, share: u8) -> OwnerWord {
        self.words.get(usize::from(share)).map_or(OwnerWord::NOBODY, |word| {
            // ORDERING: acquire, pairs with the CAS in `change`: with an owner comes the seat that it has.
            OwnerWord::from_word(word.load(Ordering::Acquire))
        })
    }

    /// Takes a share that was `seen` to be somebody's, or nobody's. Whoever does that puts
    /// `store_then_look` after it and looks for others' claims before it claims. `false`: somebody was
    /// faster. Progress: wait-free, one CAS.
    pub(crate) fn take(&self, share: u8, seen: OwnerWord, own: OwnerWord) -> bool {
        let taken = self.change(share, seen, own);
        if taken {
            crash_point!(GroupShareTaken);
        }
        taken
    }

    /// Gives a share up, if it is this member's.
    pub(crate) fn give_up(&self, share: u8, own: OwnerWord) {
        if self.change(share, own, OwnerWord::NOBODY) {
            crash_point!(GroupShareGivenUp);
        }
    }

    fn change(&self, share: u8, old: OwnerWord, new: OwnerWord) -> bool {
        self.words.get(usize::from(share)).is_some_and(|word| {
            let (old, new) = (old.word(), new.word());
            // ORDERING: release, pairs with the acquire load in `owner`. What keeps claims and owners
            // apart is the fence. Failure needs nothing: nothing is done then.
            word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// Whether a share is still this member's, after its claim and `store_then_look`.
    #[inline]
    pub(crate) fn is_kept(&self, share: u8, own: OwnerWord) -> bool {
        let word = self.words.get(usize::from(share));
        // ORDERING: relaxed; by the fence.
        word.is_some_and(|word| word.load(Ordering::Relaxed) == own.word())
    }
}

/// Some of the shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShareSet([u64; SHARES as usize / 64]);

impl ShareSet {
    /// Whether a share is among them.
    #[inline]
    pub(crate) fn has(&self, share: u8) -> bool {
        self.0.get(usize::from(share / 64)).is_some_and(|word| word & 1 << (share % 64) != 0)
    }

    /// Adds a share.
    pub(crate) fn insert(&mut self, share: u8) {
        if let Some(word) = self.0.get_mut(usize::from(share / 64)) {
            *word |= 1 << (share % 64);
        }
    }

    /// Takes a share out. Whether it was among them.
    pub(crate) fn remove(&mut self, share: u8) -> bool {
        let had = self.has(share);
        if let Some(word) = self.0.get_mut(usize::from(share / 64)) {
            *word &= !(1 << (share % 64));
        }
        had
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0 == [0; SHARES as usize / 64]
    }

    /// Those of these that are among `others` as well, or those that are not.
    pub(crate) fn filter(mut self, others: &Self, are_in: bool) -> Self {
        for (word, other) in self.0.iter_mut().zip(&others.0) {
            *word &= if are_in { *other } else { !*other };
        }
        self
    }

    /// Adds all of `others`.
    pub(crate) fn extend(&mut self, others: &Self) {
        for (word, other) in self.0.iter_mut().zip(&others.0) {
            *word |= other;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn share_has_one_owner_and_goes_from_one_to_the_next_by_what_was_seen() {
        let words: Box<[AtomicU64]> = (0..SHARES).map(|_| AtomicU64::new(0)).collect();
        let shares = Shares::over(words);
        let (one, two) = (OwnerWord::of(0, 1), OwnerWord::of(1, 1));
        let seen = shares.owner(255);
        assert!(shares.take(255, seen, one) && !shares.take(255, seen, two));
        assert!(shares.is_kept(255, one) && !shares.is_kept(254, one));
        shares.give_up(255, two);
        assert_eq!(shares.owner(255), one, "not the other's to give up");
        assert!(shares.take(255, one, two) && !shares.is_kept(255, one));
        shares.give_up(255, two);
        assert_eq!(shares.owner(255), OwnerWord::NOBODY);
    }

    #[test]
    fn sets_keep_each_share_apart() {
        let mut set = ShareSet::default();
        for share in [0, 63, 64, 255] {
            set.insert(share);
        }
        assert!(set.remove(63) && !set.remove(63) && !set.is_empty());
        let mut other = ShareSet::default();
        other.insert(64);
        let has = |set: ShareSet| [0, 63, 64, 255].map(|share| set.has(share));
        assert_eq!(has(set.filter(&other, true)), [false, false, true, false]);
        assert_eq!(has(set.filter(&other, false)), [true, false, false, true]);
        other.extend(&set);
        assert_eq!(other, set);
    }
}
