//! Claiming with affinity: frames of a member's own shares, among those of others.
//!
//! A member looks at each frame's key, from where it looked last, and claims what is in its open
//! shares: fresh frames, and those that were put back unseen, in the order of the lane, up to a batch.
//! What it claimed it keeps if the shares are its own after that as well (`claims::shares`), and
//! copies. Frames that were tried before are claimed alone, as without affinity.

use super::engine::{Engine, copy};
use super::shares::Portion;
use crate::claims::Window;
use crate::claims::shares::store_then_look;
use crate::error::PollError;
use crate::fnv;
use crate::layout::claim::{ClaimWord, Stand, is_due, millis};
use crate::layout::share::{share_of, share_of_hash};
use crate::options::Affinity;
use crate::run;
use crate::sync::Ordering;

/// Frames that one visit to a lane goes by at most; the next goes on there.
const WORDS: u64 = 8 << 10;

/// A frame that was claimed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    position: u64,
    share: u8,
    claim: ClaimWord,
}

/// What a member found at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A frame, which it has claimed.
    One,
    /// The same, and it is to stay alone.
    Alone,
    /// Nothing for it.
    Nothing,
    /// Somebody has just changed the word: it is looked at once more.
    Change,
    /// A frame that is to be claimed alone, when a batch has begun.
    Later,
}

impl Engine {
    /// The share that the key of a frame is in, as it stands in its slot: to be believed if the frame's
    /// claim word is afterwards what it was before.
    #[inline]
    pub(super) fn share_at(&self, affinity: Affinity, index: usize, position: u64) -> u8 {
        let Some(lane) = self.lanes.get(index) else {
            return 0;
        };
        let words = lane.data.slots.words(position);
        // ORDERING: relaxed; after the acquire load of the claim word, and before the CAS or the fence that
        // shows that it has not changed, before which nobody overwrites the slot.
        let load = |word: usize| words.get(word).map_or(0, |word| word.load(Ordering::Relaxed));
        match affinity {
            Affinity::Off | Affinity::Lane => {
                share_of(&u32::try_from(index).unwrap_or(0).to_le_bytes())
            }
            Affinity::Kind => {
                let [_, _, _, _, low, high, _, _] = load(1).to_le_bytes();
                share_of(&[low, high])
            }
            Affinity::Payload { offset, len } => {
                let room = self.shape.payload_bytes() as u64;
                let is_event = self.shape.is_event();
                let used = if is_event { (load(1) & 0xffff_ffff).min(room) } else { room };
                let (offset, len) = (u64::from(offset), u64::from(len));
                let header = self.shape.header_bytes() as u64;
                let end = header + used.min(offset + len);
                let mut at = header + used.min(offset);
                let mut hash = fnv::OFFSET;
                while at < end {
                    let bytes = load(usize::try_from(at / 8).unwrap_or(usize::MAX)).to_le_bytes();
                    let stop = (end - at / 8 * 8).min(8);
                    let part = bytes.iter().take(usize::from(stop.to_le_bytes()[0]));
                    for byte in part.skip(usize::from(at.to_le_bytes()[0] % 8)) {
                        hash = fnv::fnv1a64(hash, &[*byte]);
                    }
                    at = at / 8 * 8 + stop;
                }
                share_of_hash(hash)
            }
        }
    }

    /// Whether a frame, as its claim word stands, is one that this member may claim.
    pub(super) fn is_open(&self, index: usize, position: u64) -> bool {
        self.portion.as_ref().is_none_or(|portion| {
            portion.open.has(self.share_at(portion.affinity, index, position))
        })
    }

    /// Claims frames of a lane that are this member's, in their order.
    pub(super) fn pick_from(&mut self, index: usize, now_ns: u64) -> Result<bool, PollError> {
        let Some(lane) = self.lanes.get(index) else {
            return Ok(false);
        };
        // ORDERING: relaxed; a hint. What is claimed is made sure of in `Window::look`.
        if lane.words.head.load(Ordering::Relaxed) == lane.looked {
            return Ok(false);
        }
        let window = self.settle(index)?;
        let Some(mut portion) = self.portion.take() else {
            return Ok(false);
        };
        portion.picked.clear();
        self.pick(&mut portion, index, window, now_ns);
        let kept = self.keep(&mut portion, index, now_ns);
        self.portion = Some(portion);
        Ok(kept && self.next_picked())
    }

    fn pick(&mut self, portion: &mut Portion, index: usize, window: Window, now_ns: u64) {
        let looked = self.lanes.get(index).map_or(window.gate, |lane| lane.looked);
        let reached = looked.wrapping_sub(window.gate);
        let mut next = if reached <= window.len() { reached } else { 0 };
        let mut words = WORDS;
        while next < window.len() && (portion.picked.len() as u64) < self.batch && words > 0 {
            words -= 1;
            let position = window.gate.wrapping_add(next);
            match self.look_for(portion, index, position, now_ns) {
                Found::One | Found::Nothing => next += 1,
                Found::Alone => {
                    next += 1;
                    break;
                }
                Found::Change => {}
                Found::Later => break,
            }
        }
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.looked = window.gate.wrapping_add(next);
        }
    }

    /// Looks at one frame, and claims it if it is this member's.
    #[inline]
    fn look_for(
        &mut self,
        portion: &mut Portion,
        index: usize,
        position: u64,
        now_ns: u64,
    ) -> Found {
        let Some(lane) = self.lanes.get(index) else {
            return Found::Nothing;
        };
        let claims = &lane.group.claims;
        let seen = claims.word(position);
        match claims.stand(position, seen) {
            Stand::Fresh => {}
            // One that was put back unseen is as good as fresh.
            Stand::Waiting { due_ms } if seen.attempts() == 0 || is_due(due_ms, millis(now_ns)) => {
            }
            Stand::Claimed { member, .. } if member != self.index => {
                let share = self.share_at(portion.affinity, index, position);
                if !portion.open.has(share) {
                    return Found::Nothing;
                }
                if !claims.holds(position, seen) {
                    return Found::Change;
                }
                // By who had the share before, and has not looked again yet.
                portion.close(share);
                return Found::Nothing;
            }
            _ => return Found::Nothing,
        }
        let share = self.share_at(portion.affinity, index, position);
        if !portion.open.has(share) {
            return Found::Nothing;
        }
        let is_alone = seen.attempts() > 0;
        if is_alone && !portion.picked.is_empty() {
            return Found::Later;
        }
        if self.has_had_its_attempts(seen) {
            self.bury(index, position, seen, now_ns);
            return Found::Nothing;
        }
        let due_ms = self.due_ms(now_ns);
        let Some(claim) = claims.claim(position, seen, self.index, due_ms) else {
            return Found::Change;
        };
        portion.picked.push(Pick { position, share, claim });
        if is_alone { Found::Alone } else { Found::One }
    }

    /// Claims one frame of an open share that is to be tried again. `true`: it is the run.
    pub(super) fn retry(
        &mut self,
        index: usize,
        position: u64,
        seen: ClaimWord,
        now_ns: u64,
    ) -> bool {
        let Some(mut portion) = self.portion.take() else {
            return false;
        };
        portion.picked.clear();
        let share = self.share_at(portion.affinity, index, position);
        if let Some(claim) = self.claim_one(index, position, seen, now_ns) {
            portion.picked.push(Pick { position, share, claim });
        }
        let kept = self.keep(&mut portion, index, now_ns);
        self.portion = Some(portion);
        kept && self.next_picked()
    }

    /// Looks again whose the shares are, puts back what is not this member's any more, and copies the rest.
    /// `false`: nothing is left.
    fn keep(&mut self, portion: &mut Portion, index: usize, now_ns: u64) -> bool {
        self.claims.clear();
        if portion.picked.is_empty() {
            return false;
        }
        store_then_look();
        let Some((lane, gate)) = self.lanes.get(index).zip(self.row.positions.get(index)) else {
            return false;
        };
        let claims = &lane.group.claims;
        let (shape, buffer, kept) = (self.shape, &mut self.buffer, &mut self.claims);
        let Portion { shares, own, open, picked, .. } = portion;
        self.claimed = self.claimed.wrapping_add(picked.len() as u64);
        picked.retain(|pick| {
            let Pick { position, share, claim } = *pick;
            let settled = claims.settled(position, gate);
            let is_mine = shares.is_kept(share, *own);
            // A claim that is another position's was made without a look at that one's key.
            if !is_mine || settled != position {
                let _held = claims.put_back(settled, claim, millis(now_ns));
            }
            if !is_mine {
                open.remove(share);
            }
            if !is_mine || settled != position {
                return false;
            }
            copy(&lane.data, shape, position, buffer, kept.len() * shape.stride());
            // Otherwise it was taken back while it was copied.
            let is_held = claims.holds(position, claim);
            if is_held {
                kept.push(claim);
            }
            is_held
        });
        self.handed = 0;
        self.outstanding += self.claims.len() as u64;
        portion.lane = index;
        self.note_counts();
        !self.claims.is_empty()
    }

    /// Makes the next of the frames that were picked the run. `false`: there is none.
    pub(super) fn next_picked(&mut self) -> bool {
        let next = self.portion.as_ref().and_then(|portion| {
            let pick = portion.picked.get(self.handed)?;
            let lane = self.lanes.get(portion.lane)?;
            let number = u32::try_from(portion.lane).ok()?;
            let skipped = u64::try_from(self.handed).ok()?;
            run::buffered(number, pick.position, skipped, 1, &lane.data, &self.buffer)
        });
        next.is_some_and(|run| {
            self.run = run;
            true
        })
    }

    /// Gives back what was picked and not handed out.
    pub(super) fn put_back_picked(&self, now_ms: u32) {
        let Some(portion) = &self.portion else {
            return;
        };
        if let Some(lane) = self.lanes.get(portion.lane) {
            for pick in portion.picked.iter().skip(self.handed) {
                let _held = lane.group.claims.put_back(pick.position, pick.claim, now_ms);
            }
        }
    }
}
