//! The sweep: what no claim of a fresh frame comes to.
//!
//! Every member that asks for work looks, every few milliseconds, at the words between the gate and the
//! place where fresh frames begin:
//!
//! | the word says | then |
//! |---|---|
//! | waiting, and it is time | it is claimed, alone; or dead-lettered, if it has had its attempts |
//! | claimed, its time over | it is taken back, and claimed as above |
//! | claimed, its member dead | the same |
//! | fresh | its would-be claimant went by, or died before it came there: it is claimed |
//! | done | the gate passes it when it comes there |
//! | anything else | a word that nobody stores: an error |
//!
//! With affinity, claims of all members are taken back by whoever comes, and frames claimed only by who has
//! their share open; fresh ones before the place where a member looks next are others'.

use super::engine::Engine;
use super::letters::Sent;
use super::roster;
use crate::crash::crash_point;
use crate::error::PollError;
use crate::layout::claim::{ClaimWord, Stand, Why, is_due, millis};
use crate::sync::{Ordering, clock};

/// Time between two sweeps. With the time that a member sleeps at most while anything is claimed, it
/// bounds how long the dead keep what they had.
const INTERVAL_NS: u64 = 2_000_000;
/// Words that one call looks at, at most: some 30 us. Larger windows take several calls.
const WORDS: u64 = 32 << 10;
/// How long a frame waits whose dead letter found no room.
const HELD_UP_MS: u32 = 100;

/// Where a member's sweep stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// When the last one began.
    begun_ns: u64,
    /// The lane to go on in, and where; `None`: at its gate.
    lane: usize,
    at: Option<u64>,
    /// A sweep has begun and not come to its end.
    is_running: bool,
    /// Something has just been made ready to be tried again.
    is_hurried: bool,
    /// The last call found something, so it is the turn of fresh frames.
    had_turn: bool,
    /// Members that the kernel was asked about in this sweep, a bit each.
    asked: u64,
}

impl Sweep {
    /// Whether it is time to sweep.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        let since_ns = now_ns.wrapping_sub(self.begun_ns);
        self.is_running || self.is_hurried || since_ns >= INTERVAL_NS
    }

    /// The same for who has fresh frames to claim as well: every other time.
    pub(super) fn takes_turn(&mut self, now_ns: u64) -> bool {
        let turn = !self.had_turn && self.is_due(now_ns);
        self.had_turn = false;
        turn
    }

    /// Makes the next sweep come soon.
    pub(super) fn hurry(&mut self) {
        self.is_hurried = true;
    }

    fn begin(&mut self, now_ns: u64) {
        *self = Self { begun_ns: now_ns, is_running: true, ..Self::default() };
    }
}

impl Engine {
    /// Goes on with the sweep, or begins one. `true`: a frame was found and is the run.
    #[cold]
    pub(super) fn sweep(&mut self, now_ns: u64) -> Result<bool, PollError> {
        // One that is hurried comes after the one that is running, lest the last lanes never have a turn.
        if !self.sweep.is_running {
            self.sweep.begin(now_ns);
        }
        let mut left = WORDS;
        while self.sweep.lane < self.lanes.len() {
            let index = self.sweep.lane;
            if self.sweep_lane(index, now_ns, &mut left)? {
                self.sweep.had_turn = true;
                return Ok(true);
            }
            if left == 0 {
                return Ok(false);
            }
            (self.sweep.lane, self.sweep.at) = (index + 1, None);
        }
        self.sweep.is_running = false;
        self.pass_order();
        Ok(false)
    }

    fn sweep_lane(&mut self, index: usize, now_ns: u64, left: &mut u64) -> Result<bool, PollError> {
        let window = self.settle(index)?;
        let Some(lane) = self.lanes.get(index) else {
            return Ok(false);
        };
        // ORDERING: relaxed; a hint.
        let hint = lane.group.hint.next.load(Ordering::Relaxed);
        let offset = |position: u64| {
            let offset = position.wrapping_sub(window.gate);
            if offset <= window.len() { offset } else { 0 }
        };
        let end = match self.portion {
            None => offset(lane.looked).max(offset(hint)),
            Some(_) => offset(lane.looked),
        };
        let mut next = self.sweep.at.map_or(0, offset);
        while next < end {
            let position = window.gate.wrapping_add(next);
            next += 1;
            self.sweep.at = Some(position.wrapping_add(1));
            if self.look_at(index, position, now_ns)? {
                return Ok(true);
            }
            *left -= 1;
            if *left == 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Looks at one frame. `true`: it is this member's now, and the run.
    fn look_at(&mut self, index: usize, position: u64, now_ns: u64) -> Result<bool, PollError> {
        let Some(lane) = self.lanes.get(index) else {
            return Ok(false);
        };
        let now_ms = millis(now_ns);
        let mut seen = lane.group.claims.word(position);
        match lane.group.claims.stand(position, seen) {
            Stand::Fresh if self.portion.is_some() => return Ok(false),
            Stand::Fresh => {}
            Stand::Waiting { due_ms } if is_due(due_ms, now_ms) => {}
            Stand::Done | Stand::Waiting { .. } => return Ok(false),
            Stand::Claimed { member, due_ms } => {
                let mut asked = self.sweep.asked;
                let ended = self.has_ended(&mut asked, member, due_ms, now_ms);
                self.sweep.asked = asked;
                let Some(why) = ended else {
                    return Ok(false);
                };
                match self.take_back(index, position, seen, why, now_ms) {
                    Some(word) => seen = word,
                    None => return Ok(false),
                }
            }
            Stand::Alien => return self.meet_alien(index, position),
        }
        if !self.is_open(index, position) {
            return Ok(false);
        }
        if self.has_had_its_attempts(seen) {
            self.bury(index, position, seen, now_ns);
            return Ok(false);
        }
        if self.portion.is_some() {
            return Ok(self.retry(index, position, seen, now_ns));
        }
        Ok(self.claim_one(index, position, seen, now_ns).is_some()
            && self.take(index, position, now_ns))
    }

    /// Why a claim that was just loaded is over, if it is.
    pub(super) fn has_ended(
        &self,
        asked: &mut u64,
        member: u32,
        due_ms: u32,
        now_ms: u32,
    ) -> Option<Why> {
        if is_due(due_ms, now_ms) {
            return Some(Why::TimedOut);
        }
        let is_dead =
            member != self.index && roster::is_dead(&self.segment, &self.group, member, asked);
        is_dead.then_some(Why::Died)
    }

    /// Ends somebody's claim; returns the word that the frame has then. `None`: it ended otherwise.
    pub(super) fn take_back(
        &self,
        index: usize,
        position: u64,
        claim: ClaimWord,
        why: Why,
        now_ms: u32,
    ) -> Option<ClaimWord> {
        let lane = self.lanes.get(index)?;
        if !lane.group.claims.take_back(position, claim, why, now_ms) {
            return None;
        }
        let words = &self.group.words;
        roster::count(if why == Why::Died { &words.died } else { &words.timed_out }, 1);
        Some(claim.returned(why, now_ms))
    }

    pub(super) fn has_had_its_attempts(&self, word: ClaimWord) -> bool {
        self.header.attempts_max > 0 && word.attempts() >= self.header.attempts_max
    }

    /// Makes a frame that has had its attempts a dead letter.
    ///
    /// It is claimed for that like for any attempt, so that it is one member's, and done only when the
    /// letter is published: who dies between leaves it to be claimed, and its letter to be sent, again.
    pub(super) fn bury(&mut self, index: usize, position: u64, seen: ClaimWord, now_ns: u64) {
        let Some(claim) = self.claim_one(index, position, seen, now_ns) else {
            return;
        };
        let Some(gate) = self.row.positions.get(index) else {
            return;
        };
        let Some(lane) = self.lanes.get(index) else {
            return;
        };
        let position = lane.group.claims.settled(position, gate);
        let mut letters = std::mem::take(&mut self.letters);
        let producer = u32::try_from(index).ok().and_then(|lane| self.producer_of(lane));
        let attempts = claim.attempts().min(self.header.attempts_max);
        let sent = self
            .copy_one(index, position, claim)
            .map(|frame| letters.send(frame, claim.why(), attempts, producer.as_ref()));
        self.letters = letters;
        self.claims.clear();
        let Some(lane) = self.lanes.get(index) else {
            return;
        };
        // Without either it was taken back while it was copied.
        if sent == Some(Sent::Published) {
            crash_point!(GroupLetterSent);
            // Before it is done: who sees that it is sees that there are letters (`done`).
            roster::count(&self.group.words.dead_letters, 1);
            if !lane.group.claims.finish(position, claim) {
                roster::uncount(&self.group.words.dead_letters);
            }
        }
        if sent == Some(Sent::HeldUp) {
            let due_ms = millis(clock::monotonic_ns()).wrapping_add(HELD_UP_MS);
            // Otherwise somebody else has it by now, who does the same.
            let _waits = lane.group.claims.take_back(position, claim, claim.why(), due_ms);
            roster::count(&self.group.words.letters_held_up, 1);
        }
    }

    /// A word that is no word of this position: the position has been passed meanwhile, or somebody
    /// stores what no honest participant does.
    fn meet_alien(&self, index: usize, position: u64) -> Result<bool, PollError> {
        let window = self.window(index)?;
        let lane = self.lanes.get(index);
        let is_alien = |lane: &super::engine::MemberLane| {
            let word = lane.group.claims.word(position);
            lane.group.claims.stand(position, word) == Stand::Alien
        };
        // The window comes after the word: in it, the word that was loaded was this position's.
        if window.contains(position) && lane.is_some_and(is_alien) && self.window(index)? == window
        {
            self.regions.note_corruption();
            return Err(PollError::Corrupt { lane: u32::try_from(index).unwrap_or(u32::MAX) });
        }
        Ok(false)
    }

    /// On an `ordered` bus, stops holding up who waits for entries of the order ring: a group reads
    /// the lanes and never an entry.
    fn pass_order(&self) {
        if self.regions.geometry.order_capacity == 0 {
            return;
        }
        let cursor = &self.row.words.order_cursor;
        // ORDERING: relaxed; no entry was read that a later tenant of it would have to wait for.
        let (old, tail) =
            (cursor.load(Ordering::Relaxed), self.regions.words.order_tail.load(Ordering::Relaxed));
        let ahead = tail.wrapping_sub(old);
        if ahead > 0 && ahead < 1 << 63 {
            // ORDERING: release, as every store of a cursor. A failure means that another member has
            // moved it.
            let _moved = cursor.compare_exchange(old, tail, Ordering::Release, Ordering::Relaxed);
        }
    }
}
