//! Which shares of the keys a member owns: when it takes one, and when it may use it.
//!
//! Only with affinity. `claims::shares` has the protocol, and why it is safe to take a share from anybody
//! at any time; here is who does so, and when. A member that asks for work does two things now and then:
//!
//! **It reviews** who owns what, every 2 ms at most, and takes shares:
//!
//! | a share is | it is taken |
//! |---|---|
//! | nobody's, or a dead member's | by whoever comes, up to its part; what the next review still finds so, all |
//! | an absent member's | the same |
//! | somebody's who has more than its part | by who has less |
//!
//! A member's part is the 256th part of the shares for each share that is, divided by the members that are
//! neither dead nor absent: every member ends with that, rounded down or up, and then nothing moves. The
//! richest lose first. *Absent* is who has not asked for work for the processing timeout (20 ms at least)
//! while frames waited, as far as who looks has seen it: a member that is stopped, or at something else.
//! It takes shares again when it asks again.
//!
//! **It surveys** what others have claimed: shares that it has taken are *pending* until a look at all
//! claims in all lanes has found none by another member in them. Then they are *open*, and their frames are
//! looked for from the gates on. Who has frames of a taken share in hand keeps them until it is done.

#[cfg(test)]
mod tests;

use super::engine::Engine;
use super::pick::Pick;
use super::roster;
use super::segment::GroupRegions;
use crate::claims::shares::{ShareSet, Shares, store_then_look};
use crate::error::PollError;
use crate::layout::claim::{MEMBERS_MAX, Stand, millis};
use crate::layout::group::{GroupHeader, MemberWords};
use crate::layout::share::{OwnerWord, SHARES};
use crate::options::Affinity;
use crate::seat;
use crate::shm::mapping::SharedArray;
use crate::sync::{Ordering, clock};

/// Time between two reviews: as between two sweeps, since it is how soon the dead lose their shares.
const REVIEW_NS: u64 = 2_000_000;
/// Time from a survey that found claims to the next.
const SURVEY_NS: u64 = 1_000_000;
/// Words that one call surveys at most, as in a sweep.
const WORDS: u64 = 32 << 10;
/// Absence is not believed before this, however short the processing timeout is.
const PATIENCE_NS: u64 = 20_000_000;
/// How long an absence is looked at again: all sleep while nothing waits, and wake together.
const SUSPENSE_NS: u64 = 5_000_000;
/// A member says at most this often that it asks.
const NOTE_NS: u64 = 1_000_000;

/// What a member of a group with affinity knows of the shares.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) shares: Shares<SharedArray>,
    pub(super) affinity: Affinity,
    pub(super) own: OwnerWord,
    /// Owned, and no other's claims are left in them.
    pub(super) open: ShareSet,
    /// Owned, and others' claims may be left.
    pub(super) pending: ShareSet,
    /// Found to be nobody's by the last review, and left to others.
    left: ShareSet,
    survey: Survey,
    reviewed_ns: u64,
    noted_ns: u64,
    /// How each member was last seen.
    sightings: Vec<Sighting>,
    /// What is being handed out.
    pub(super) picked: Vec<Pick>,
    /// From which lane.
    pub(super) lane: usize,
}

/// Where a survey stands.
#[derive(Debug, Default)]
struct Survey {
    is_running: bool,
    ended_ns: u64,
    /// The shares that it is about: taken before it began.
    covers: ShareSet,
    /// Those of them in which it has met a claim by another.
    busy: ShareSet,
    lane: usize,
    at: Option<u64>,
    /// Members that the kernel was asked about, a bit each.
    asked: u64,
}

/// A member, as it was last seen to ask for work.
#[derive(Clone, Copy, Debug, Default)]
struct Sighting {
    epoch: u64,
    asked_ns: u64,
    /// Since when it has not asked again.
    since_ns: u64,
    /// Since when it is suspected of being absent.
    suspected_ns: Option<u64>,
}

impl Sighting {
    /// Whether the member is absent, as it is seen now. `waits`: there are frames that are not done.
    fn is_absent(
        &mut self,
        (epoch, asked_ns): (u64, u64),
        waits: bool,
        now_ns: u64,
        patience_ns: u64,
    ) -> bool {
        if !waits || (epoch, asked_ns) != (self.epoch, self.asked_ns) {
            *self = Self { epoch, asked_ns, since_ns: now_ns, suspected_ns: None };
            return false;
        }
        if now_ns.wrapping_sub(self.since_ns) < patience_ns {
            return false;
        }
        let suspected_ns = *self.suspected_ns.get_or_insert(now_ns);
        now_ns.wrapping_sub(suspected_ns) >= SUSPENSE_NS
    }
}

/// Who owns what, as a review found it.
struct Table {
    /// Epoch of each member that is present.
    present: [Option<u64>; MEMBERS_MAX as usize],
    /// How many shares each of them owns.
    counts: [u32; MEMBERS_MAX as usize],
    owners: [OwnerWord; SHARES as usize],
    /// Owned by nobody who is present.
    free: ShareSet,
    mine: u32,
}

impl Table {
    /// A member's part, rounded down and up.
    fn parts(&self) -> (u32, u32) {
        let present = self.present.iter().flatten().count();
        let present = u32::try_from(present).unwrap_or(1).max(1);
        (SHARES / present, SHARES.div_ceil(present))
    }

    /// The member that owns most, and how many.
    fn richest(&self) -> (usize, u32) {
        let counts = (0..).zip(self.counts);
        counts.max_by_key(|&(_, count)| count).unwrap_or((0, 0))
    }
}

impl Portion {
    /// Of a member that has just sat down. `None`: the group has no affinity.
    pub(super) fn of(
        group: &GroupRegions,
        header: &GroupHeader,
        index: u32,
        member: &MemberWords,
    ) -> Option<Box<Self>> {
        let shares = group.shares.clone()?;
        let mut portion = Self {
            shares,
            affinity: header.affinity,
            own: OwnerWord::of(index, seat::state(&member.seat).epoch()),
            open: ShareSet::default(),
            pending: ShareSet::default(),
            left: ShareSet::default(),
            survey: Survey::default(),
            reviewed_ns: 0,
            noted_ns: 0,
            sightings: vec![Sighting::default(); group.members.len()],
            picked: Vec::new(),
            lane: 0,
        };
        portion.note(member, clock::monotonic_ns());
        Some(Box::new(portion))
    }

    /// Says that this member asks for work.
    fn note(&mut self, member: &MemberWords, now_ns: u64) {
        if now_ns.wrapping_sub(self.noted_ns) >= NOTE_NS {
            self.noted_ns = now_ns;
            // ORDERING: relaxed; one writer, and who reads it looks whether it changes.
            member.asked_ns.store(now_ns, Ordering::Relaxed);
        }
    }

    /// Every share, each member beginning elsewhere, so that two that take at a time meet less.
    fn order(&self) -> impl Iterator<Item = u8> + use<> {
        let seat = u8::try_from(self.own.seat().unwrap_or(0)).unwrap_or(0);
        let first = seat.wrapping_mul(61);
        (0..=u8::MAX).map(move |step| first.wrapping_add(step))
    }

    fn take(&mut self, table: &mut Table, share: u8) -> bool {
        let Some(seen) = table.owners.get(usize::from(share)).copied() else {
            return false;
        };
        if !self.shares.take(share, seen, self.own) {
            return false;
        }
        self.pending.insert(share);
        // It is looked at at once, whatever was found before.
        self.survey.ended_ns = 0;
        table.mine += 1;
        true
    }

    /// Gives up everything, when the claims are given back.
    pub(super) fn give_up(&self) {
        for share in 0..=u8::MAX {
            if self.open.has(share) || self.pending.has(share) {
                self.shares.give_up(share, self.own);
            }
        }
    }

    /// Uses a share no longer until it was surveyed anew.
    pub(super) fn close(&mut self, share: u8) {
        if self.open.remove(share) {
            self.pending.insert(share);
        }
    }
}

impl Engine {
    /// What is due before a member with affinity looks for frames. Returns the time.
    pub(super) fn attend(&mut self, now_ns: u64) -> Result<u64, PollError> {
        let Some(mut portion) = self.portion.take() else {
            return Ok(now_ns);
        };
        portion.note(&self.member, now_ns);
        if now_ns.wrapping_sub(portion.reviewed_ns) >= REVIEW_NS {
            self.review(&mut portion, now_ns);
        }
        let opened = self.survey(&mut portion, now_ns);
        self.portion = Some(portion);
        // What was put back before the survey saw it is due by a clock that is read after.
        opened.map(|opened| if opened { clock::monotonic_ns() } else { now_ns })
    }

    #[cold]
    fn review(&self, portion: &mut Portion, now_ns: u64) {
        portion.reviewed_ns = now_ns;
        let mut table = self.look_around(portion, now_ns);
        let (low, high) = table.parts();
        let mut left = ShareSet::default();
        for share in portion.order() {
            if !table.free.has(share) {
                continue;
            }
            if table.mine < high || portion.left.has(share) {
                // Should it fail, it is nobody's no more.
                let _taken = portion.take(&mut table, share);
            } else {
                left.insert(share);
            }
        }
        portion.left = left;
        // Each turn makes the richest poorer by a share, or ends.
        for _ in 0..SHARES {
            let (seat, count) = table.richest();
            let is_due = (table.mine < low && count > low) || (table.mine < high && count > high);
            if !is_due {
                break;
            }
            let is_its = |share: &u8| {
                let owner = table.owners.get(usize::from(*share));
                owner.is_some_and(|owner| owner.seat() == Some(seat)) && !table.free.has(*share)
            };
            let Some(share) = portion.order().find(is_its) else {
                break;
            };
            // Should it be somebody else's by now, it is not the richest's either.
            let _taken = portion.take(&mut table, share);
            if let Some(count) = table.counts.get_mut(seat) {
                *count -= 1;
            }
            if let Some(owner) = table.owners.get_mut(usize::from(share)) {
                *owner = OwnerWord::NOBODY;
            }
        }
    }

    /// Looks who is present and who owns what, and takes note of what this member has lost.
    fn look_around(&self, portion: &mut Portion, now_ns: u64) -> Table {
        let mut table = Table {
            present: [None; MEMBERS_MAX as usize],
            counts: [0; MEMBERS_MAX as usize],
            owners: [OwnerWord::NOBODY; SHARES as usize],
            free: ShareSet::default(),
            mine: 0,
        };
        // Before the seats: an owner's seat is looked at after the word that names it.
        for (share, owner) in (0..=u8::MAX).zip(&mut table.owners) {
            *owner = portion.shares.owner(share);
        }
        let waits = self.has_unsettled();
        let patience_ns = (u64::from(self.header.timeout_ms) * 1_000_000).max(PATIENCE_NS);
        let mut asked = 0;
        let members = (0_u32..).zip(&self.group.members);
        let sighted = members.zip(&mut portion.sightings).zip(&mut table.present);
        for (((index, member), sighting), present) in sighted {
            let state = seat::state(&member.seat);
            let is_me = index == self.index;
            if !is_me && roster::is_dead(&self.segment, &self.group, index, &mut asked) {
                continue;
            }
            // ORDERING: relaxed; see `Portion::note`.
            let asked_ns = member.asked_ns.load(Ordering::Relaxed);
            let seen = (state.epoch(), asked_ns);
            if is_me || !sighting.is_absent(seen, waits, now_ns, patience_ns) {
                *present = Some(state.epoch());
            }
        }
        for (share, owner) in (0..=u8::MAX).zip(table.owners) {
            if owner == portion.own {
                table.mine += 1;
                continue;
            }
            portion.open.remove(share);
            portion.pending.remove(share);
            let seat = owner.seat().and_then(|seat| {
                let epoch = table.present.get(seat).copied().flatten()?;
                owner.is_of(epoch).then_some(seat)
            });
            match seat.and_then(|seat| table.counts.get_mut(seat)) {
                Some(count) => *count += 1,
                None => table.free.insert(share),
            }
        }
        table
    }

    /// Whether there are frames that are not done.
    fn has_unsettled(&self) -> bool {
        let mut ends = self.lanes.iter().zip(self.row.positions.iter());
        // ORDERING: relaxed for both; a hint.
        ends.any(|(lane, gate)| {
            lane.words.head.load(Ordering::Relaxed) != gate.load(Ordering::Relaxed)
        })
    }

    /// Goes on with the survey of what is pending, or begins one. `true`: shares have been opened.
    #[inline]
    fn survey(&mut self, portion: &mut Portion, now_ns: u64) -> Result<bool, PollError> {
        if portion.survey.is_running {
            return self.go_on_surveying(portion, now_ns);
        }
        let since_ns = now_ns.wrapping_sub(portion.survey.ended_ns);
        if portion.pending.is_empty() || since_ns < SURVEY_NS {
            return Ok(false);
        }
        portion.survey = Survey { is_running: true, covers: portion.pending, ..Survey::default() };
        store_then_look();
        self.go_on_surveying(portion, now_ns)
    }

    #[cold]
    fn go_on_surveying(&mut self, portion: &mut Portion, now_ns: u64) -> Result<bool, PollError> {
        let mut words = WORDS;
        while portion.survey.lane < self.lanes.len() {
            let index = portion.survey.lane;
            self.survey_lane(portion, index, now_ns, &mut words)?;
            if words == 0 {
                return Ok(false);
            }
            (portion.survey.lane, portion.survey.at) = (index + 1, None);
        }
        (portion.survey.is_running, portion.survey.ended_ns) = (false, now_ns);
        let found = portion.survey.covers.filter(&portion.survey.busy, false);
        let opened = found.filter(&portion.pending, true);
        if opened.is_empty() {
            return Ok(false);
        }
        portion.pending = portion.pending.filter(&opened, false);
        portion.open.extend(&opened);
        for (lane, gate) in self.lanes.iter_mut().zip(self.row.positions.iter()) {
            // ORDERING: relaxed; a lower bound of where frames are to be looked for.
            lane.looked = gate.load(Ordering::Relaxed);
        }
        Ok(true)
    }

    fn survey_lane(
        &self,
        portion: &mut Portion,
        index: usize,
        now_ns: u64,
        words: &mut u64,
    ) -> Result<(), PollError> {
        // After the fence, each time: a claim that the fence comes after is in this window.
        let window = self.settle(index)?;
        let Some(lane) = self.lanes.get(index) else {
            return Ok(());
        };
        let claims = &lane.group.claims;
        let reached = portion.survey.at.map_or(0, |at| at.wrapping_sub(window.gate));
        let mut next = if reached <= window.len() { reached } else { 0 };
        while next < window.len() && *words > 0 {
            *words -= 1;
            let position = window.gate.wrapping_add(next);
            let seen = claims.word(position);
            if let Stand::Claimed { member, due_ms } = claims.stand(position, seen)
                && member != self.index
            {
                let share = self.share_at(portion.affinity, index, position);
                if !claims.holds(position, seen) {
                    // It has changed: the key may be another frame's.
                    continue;
                }
                if portion.survey.covers.has(share) {
                    let now_ms = millis(now_ns);
                    match self.has_ended(&mut portion.survey.asked, member, due_ms, now_ms) {
                        Some(why) => {
                            if self.take_back(index, position, seen, why, now_ms).is_none() {
                                continue;
                            }
                        }
                        None => portion.survey.busy.insert(share),
                    }
                }
            }
            next += 1;
        }
        portion.survey.at = Some(window.gate.wrapping_add(next));
        Ok(())
    }
}
