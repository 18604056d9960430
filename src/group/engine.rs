//! A member without its face: claims, copies, gates.

#![allow(unsafe_code)]

use std::time::Instant;

use super::Group;
use super::letters::Letters;
use super::member::{Delivered, MemberOptions, Receipt};
use super::roster::{self, Ends};
use super::segment::{self, Berth, GroupRegions, LaneClaims, fault};
use super::shares::Portion;
use super::sweep::Sweep;
use crate::buffer::Buffer;
use crate::claims::Window;
use crate::error::{Error, GroupFault, PollError};
use crate::layout::claim::{ClaimWord, Stand, Why, millis};
use crate::layout::frame::FrameShape;
use crate::layout::group::{GroupHeader, MemberWords};
use crate::layout::words::{LaneWords, SeatWords};
use crate::options::{Delivery, Wait};
use crate::park::Bed;
use crate::participant::Role;
use crate::received::FrameRef;
use crate::regions::{Health, LaneData, Regions, Row, View};
use crate::run::{self, Run};
use crate::seat;
use crate::shm::alarm;
use crate::shm::mapping::Shared;
use crate::shm::segment::Segment;
use crate::sync::barrier::Light;
use crate::sync::{Ordering, clock};
use crate::tie::{Lookout, Tie};

/// Frames that the gate is moved past at a time, at most.
const GATE_STEPS: u64 = 4096;
/// Says that there is a frame to hand out; made by `Engine::advance` alone, and used up at once.
#[derive(Debug)]
#[must_use = "a frame is ready, and is not handed out"]
pub(super) struct Ready(());

/// One lane, as a member sees it.
#[derive(Debug)]
pub(super) struct MemberLane {
    pub(super) words: Shared<LaneWords>,
    pub(super) data: LaneData,
    pub(super) group: LaneClaims,
    /// Positions before this are known to have been claimed by somebody; with affinity, or to have been
    /// others' to claim.
    pub(super) looked: u64,
}

/// An attached member. Field order is drop order: mappings before the segments.
#[derive(Debug)]
pub(super) struct Engine {
    /// Copies of what was claimed, being handed out.
    pub(super) run: Run,
    /// The claims of the run, from its first frame on.
    pub(super) claims: Vec<ClaimWord>,
    /// How many of them have been handed out.
    pub(super) handed: usize,
    /// With affinity: the shares of the keys that are this member's, and what it has claimed of them.
    pub(super) portion: Option<Box<Portion>>,
    pub(super) shape: FrameShape,
    pub(super) buffer: Buffer,
    pub(super) lanes: Vec<MemberLane>,
    next_lane: usize,
    pub(super) sweep: Sweep,
    pub(super) capacity: u64,
    pub(super) batch: u64,
    pub(super) header: GroupHeader,
    /// Frames claimed by this member and neither acknowledged, refused nor found to be lost.
    pub(super) outstanding: u64,
    pub(super) claimed: u64,
    pub(super) acknowledged: u64,
    pub(super) too_late: u64,
    /// What the counters in the member's seat stood at when it sat down.
    pub(super) before: [u64; 3],
    pub(super) member: Shared<MemberWords>,
    pub(super) letters: Letters,
    pub(super) wait: Wait,
    pub(super) probe_at: Option<Instant>,
    /// An error that a look came upon.
    pub(super) untold: Option<PollError>,
    pub(super) bed: Bed,
    pub(super) light: Light,
    pub(super) row: Row,
    pub(super) bus_seat: Shared<SeatWords>,
    pub(super) bell: Shared<SeatWords>,
    pub(super) berth: Berth,
    health: Health,
    pub(super) index: u32,
    pub(super) regions: Regions,
    pub(super) group: GroupRegions,
    pid: u32,
    pub(super) segment: Segment,
    pub(super) tie: Tie,
}

impl Engine {
    /// Opens bus and group anew, takes a member's seat.
    pub(super) fn attach(group: &Group, options: &MemberOptions<'_>) -> Result<Self, Error> {
        let (bus, header, berth) = (group.bus(), group.header().clone(), group.inner.berth);
        let not_found = || fault(bus.name(), &header.name, GroupFault::NotFound);
        let Lookout { tie, regions, lanes, .. } =
            bus.tie().member(bus.header())?.ok_or_else(not_found)?;
        berth.lock(tie.segment().ok_or_else(not_found)?, &regions, &header.name)?;
        let segment = group
            .inner
            .segment
            .reopen(View::Consumer.file())
            .map_err(|error| segment::about_group(error, bus.name(), &header.name))?;
        segment.check_owner_beside(tie.segment().ok_or_else(not_found)?)?;
        let words = GroupRegions::map(&segment, &header, View::Consumer.file())?;
        let seats = regions
            .seat(Role::Consumer, berth.seat)
            .zip(regions.bell(Role::Consumer, berth.seat))
            .zip(regions.cursors.row(berth.seat).cloned());
        let ((bus_seat, bell), row) = seats.ok_or_else(not_found)?;
        let shape = bus.header().geometry.frame_shape().ok_or_else(not_found)?;

        if !segment::lock_together(&segment)? {
            return Err(fault(bus.name(), &header.name, GroupFault::Busy));
        }
        let name = options.name.clone().unwrap_or_else(seat::process_name);
        let take_back = |index: u32| {
            for (lane, (memory, gate)) in
                words.lanes.iter().zip(lanes.iter().zip(row.positions.iter()))
            {
                let ends = Ends { head: &memory.words.head, gate };
                let count = roster::take_back_all(lane, ends, header.capacity, index, Why::Died);
                roster::count(&words.words.died, count);
            }
        };
        let index = roster::take(&segment, &words, &name, take_back)?;
        segment::unlock(&segment);

        let batch = if header.attempts_max == 1 { 1 } else { options.batch };
        let bytes = shape.stride().saturating_mul(usize::try_from(batch).unwrap_or(1));
        let lanes: Vec<MemberLane> = lanes
            .into_iter()
            .zip(words.lanes.iter().zip(row.positions.iter()))
            .map(|(memory, (claims, gate))| MemberLane {
                words: memory.words,
                data: memory.data,
                group: claims.clone(),
                // ORDERING: relaxed; a lower bound.
                looked: gate.load(Ordering::Relaxed),
            })
            .collect();
        let health = lanes.iter().fold(regions.health().clone(), |all, lane| all.and(&lane.data));
        // Members begin at different lanes, so that they meet less.
        let next_lane = usize::try_from(index).unwrap_or(0) % lanes.len().max(1);
        let member =
            usize::try_from(index).ok().and_then(|index| words.members.get(index)).cloned();
        let member = member.ok_or_else(not_found)?;
        // ORDERING: relaxed for all; statistics of this seat's holders.
        let before = [&member.claimed, &member.acknowledged, &member.too_late]
            .map(|counter| counter.load(Ordering::Relaxed));
        Ok(Self {
            run: Run::default(),
            claims: Vec::with_capacity(usize::try_from(batch).unwrap_or(1)),
            handed: 0,
            portion: Portion::of(&words, &header, index, &member),
            shape,
            buffer: Buffer::new(bytes),
            lanes,
            next_lane,
            sweep: Sweep::default(),
            capacity: header.capacity,
            batch: batch.into(),
            letters: Letters::new(bus, &header),
            header,
            outstanding: 0,
            claimed: 0,
            acknowledged: 0,
            too_late: 0,
            before,
            member,
            wait: options.wait,
            probe_at: None,
            untold: None,
            bed: Bed::together(&bell, &regions.bells, berth.seat),
            light: Light::register(),
            row,
            bus_seat,
            bell,
            berth,
            health,
            index,
            regions,
            group: words,
            pid: std::process::id(),
            segment,
            tie,
        })
    }

    /// Makes sure that there is a frame to hand out. `None`: there is none.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<Ready>, PollError> {
        if alarm::is_raised() {
            self.check_memory()?;
        }
        // Bounded: each turn takes frames that this member claims and that were taken from it before it
        // came to them, which takes as long as the group's timeout each time.
        loop {
            if self.run.is_over() && !self.next_run()? {
                return Ok(None);
            }
            if self.header.delivery == Delivery::AtLeastOnce || self.settle_next() {
                return Ok(Some(Ready(())));
            }
        }
    }

    /// Settles the frame that is handed out next, before it is. `false`: it is another's by now, and is
    /// passed over.
    fn settle_next(&mut self) -> bool {
        let lane = usize::try_from(self.run.lane).unwrap_or(usize::MAX);
        let claim = self.claims.get(self.handed).copied();
        let settled = claim
            .zip(self.lanes.get(lane))
            .is_some_and(|(claim, lane)| lane.group.claims.finish(self.run.position(), claim));
        self.end_one(lane, settled);
        if settled {
            self.acknowledged = self.acknowledged.wrapping_add(1);
            self.note_counts();
        } else {
            self.pass_over();
        }
        settled
    }

    /// Passes over the frame that would be handed out next.
    pub(super) fn pass_over(&mut self) {
        self.handed += 1;
        self.run.skip(self.shape);
    }

    #[cold]
    pub(super) fn check_memory(&self) -> Result<(), PollError> {
        if self.is_forked() {
            return Err(PollError::Forked);
        }
        let broken = self.health.is_broken() || self.group.is_broken();
        if broken { Err(PollError::Truncated) } else { Ok(()) }
    }

    fn is_forked(&self) -> bool {
        alarm::is_raised() && std::process::id() != self.pid
    }

    /// Hands out the frame that `advance` made sure of.
    #[inline]
    pub(super) fn hand_out(&mut self, _ready: Ready) -> Delivered<'_> {
        let claim = self.claims.get(self.handed).copied().unwrap_or(ClaimWord::from_word(0));
        self.handed += 1;
        // SAFETY: the run is not over, as whoever is ready says; its frames are copies, which only the
        // next run overwrites, and that takes `&mut self`.
        let frame = unsafe { self.run.next(self.shape) };
        let receipt = Receipt { lane: frame.lane(), position: frame.position(), claim };
        Delivered { frame, receipt }
    }

    /// Finds the next frames to work on.
    pub(super) fn next_run(&mut self) -> Result<bool, PollError> {
        if self.untold.is_some() {
            self.tell()?;
        }
        if !self.berth.is_held(&self.bus_seat) {
            return Err(PollError::Removed);
        }
        let mut now_ns = clock::monotonic_ns();
        if self.portion.is_some() {
            if self.next_picked() {
                return Ok(true);
            }
            now_ns = self.attend(now_ns)?;
        }
        // What has to be tried again comes before what is new, but not twice in a row.
        let first = self.sweep.takes_turn(now_ns);
        if first && self.sweep(now_ns)? {
            return Ok(true);
        }
        for _ in 0..self.lanes.len() {
            let index = self.next_lane;
            self.next_lane = if index + 1 < self.lanes.len() { index + 1 } else { 0 };
            let found = match &self.portion {
                None => self.claim_from(index, now_ns)?,
                Some(_) => self.pick_from(index, now_ns)?,
            };
            if found {
                return Ok(true);
            }
        }
        if !first && self.sweep.is_due(now_ns) && self.sweep(now_ns)? {
            return Ok(true);
        }
        if self.regions.is_removed() { Err(PollError::Removed) } else { Ok(false) }
    }

    /// Until when what is claimed now is this member's.
    pub(super) fn due_ms(&self, now_ns: u64) -> u32 {
        millis(now_ns).wrapping_add(self.header.timeout_ms)
    }

    /// A lane's positions that are published and not passed.
    pub(super) fn window(&self, index: usize) -> Result<Window, PollError> {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let ends = self.lanes.get(index).zip(self.row.positions.get(index));
        let Some((lane, gate)) = ends else {
            return Err(PollError::Corrupt { lane: number });
        };
        Window::look(&lane.words.head, gate, self.capacity).map_err(|_| {
            if !self.gates() {
                return PollError::Removed;
            }
            self.regions.note_corruption();
            PollError::Corrupt { lane: number }
        })
    }

    /// Whether producers wait for the group, and did until now. They do not when it was removed: then
    /// they overwrite what is claimed, whatever the claims say.
    ///
    /// After a look at the head, or a copy and `Claims::holds`: both acquire what the producer had seen
    /// before it went past the gate, the end of the group among it. So a head that is too far ahead, or
    /// a copy that was overwritten, comes with the end.
    fn gates(&self) -> bool {
        self.berth.is_held(&self.bus_seat)
    }

    /// Claims frames of a lane that nobody has claimed, as many as come one after the other.
    fn claim_from(&mut self, index: usize, now_ns: u64) -> Result<bool, PollError> {
        let Some(lane) = self.lanes.get(index) else {
            return Ok(false);
        };
        // ORDERING: relaxed; a hint. What is claimed is made sure of in `Window::look`.
        if lane.words.head.load(Ordering::Relaxed) == lane.looked {
            return Ok(false);
        }
        let window = self.settle(index)?;
        let due_ms = self.due_ms(now_ns);
        let Some(lane) = self.lanes.get_mut(index) else {
            return Ok(false);
        };
        let offset = |position: u64| {
            let offset = position.wrapping_sub(window.gate);
            if offset <= window.len() { offset } else { 0 }
        };
        // ORDERING: relaxed; a hint.
        let hint = lane.group.hint.next.load(Ordering::Relaxed);
        let mut next = offset(lane.looked).max(offset(hint));
        self.claims.clear();
        let mut first = 0;
        while next < window.len() && (self.claims.len() as u64) < self.batch {
            let position = window.gate.wrapping_add(next);
            let seen = lane.group.claims.word(position);
            let claim = match lane.group.claims.stand(position, seen) {
                Stand::Fresh => lane.group.claims.claim(position, seen, self.index, due_ms),
                _ => None,
            };
            match claim {
                Some(claim) => {
                    if self.claims.is_empty() {
                        first = position;
                    }
                    self.claims.push(claim);
                }
                None if !self.claims.is_empty() => break,
                None => {}
            }
            next += 1;
        }
        lane.looked = window.gate.wrapping_add(next);
        if self.claims.is_empty() {
            return Ok(false);
        }
        // ORDERING: relaxed; a hint. One that is set back makes others look at some words more.
        lane.group.hint.next.store(lane.looked, Ordering::Relaxed);
        Ok(self.take(index, first, now_ns))
    }

    /// Copies the frames of the claims just made, from position `first` on, and makes them the run.
    /// `false`: all of them were taken back meanwhile.
    pub(super) fn take(&mut self, index: usize, first: u64, now_ns: u64) -> bool {
        let Some((lane, gate)) = self.lanes.get(index).zip(self.row.positions.get(index)) else {
            return false;
        };
        let claims = &lane.group.claims;
        let first = claims.settled(first, gate);
        let count = self.claims.len();
        for (step, at) in (0_u64..).zip((0..count).map(|slot| slot * self.shape.stride())) {
            copy(&lane.data, self.shape, first.wrapping_add(step), &mut self.buffer, at);
        }
        self.claimed = self.claimed.wrapping_add(count as u64);
        let is_whole =
            |(step, claim): &(u64, &ClaimWord)| claims.holds(first.wrapping_add(*step), **claim);
        let mut whole = (0_u64..).zip(&self.claims).take_while(is_whole).count();
        if !self.gates() {
            whole = 0;
        }
        for (step, claim) in (0_u64..).zip(&self.claims).skip(whole + 1) {
            // What comes after one that was taken back may still be held.
            let _held = claims.put_back(first.wrapping_add(step), *claim, millis(now_ns));
        }
        self.claims.truncate(whole);
        self.handed = 0;
        self.outstanding += whole as u64;
        self.note_counts();
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let data = &lane.data;
        match run::buffered(number, first, 0, whole as u64, data, &self.buffer) {
            Some(run) if whole > 0 => {
                self.run = run;
                true
            }
            _ => false,
        }
    }

    /// A copy of one frame that was just claimed, at the buffer's start; `None` when the claim was taken
    /// back meanwhile.
    pub(super) fn copy_one(
        &mut self,
        index: usize,
        position: u64,
        claim: ClaimWord,
    ) -> Option<FrameRef<'_>> {
        let lane = self.lanes.get(index)?;
        copy(&lane.data, self.shape, position, &mut self.buffer, 0);
        if !lane.group.claims.holds(position, claim) || !self.gates() {
            return None;
        }
        let number = u32::try_from(index).ok()?;
        let mut run = run::buffered(number, position, 0, 1, &lane.data, &self.buffer)?;
        // SAFETY: a run of one frame, a copy in the buffer, which is borrowed with `self`.
        Some(unsafe { run.next(self.shape) })
    }

    /// Claims one frame that waits, or was passed over. `None`: somebody was faster.
    pub(super) fn claim_one(
        &mut self,
        index: usize,
        position: u64,
        seen: ClaimWord,
        now_ns: u64,
    ) -> Option<ClaimWord> {
        let due_ms = self.due_ms(now_ns);
        let claim =
            self.lanes.get(index)?.group.claims.claim(position, seen, self.index, due_ms)?;
        self.claims.clear();
        self.claims.push(claim);
        Some(claim)
    }

    /// Moves a lane's gate past what is done; returns what is left.
    pub(super) fn settle(&self, index: usize) -> Result<Window, PollError> {
        let mut window = self.window(index)?;
        let ends = self.lanes.get(index).zip(self.row.positions.get(index));
        if let Some((lane, gate)) = ends {
            let passed = lane.group.claims.advance(gate, window, GATE_STEPS);
            if passed > 0 {
                window.gate = window.gate.wrapping_add(passed);
                self.wake_lane(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        Ok(window)
    }

    pub(super) fn seat(&self) -> u32 {
        self.index
    }

    pub(super) fn claimed(&self) -> u64 {
        self.claimed
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Gives back everything that this member holds.
    fn let_go(&mut self) {
        let now_ms = millis(clock::monotonic_ns());
        self.put_back_picked(now_ms);
        let lane = usize::try_from(self.run.lane).ok().and_then(|lane| self.lanes.get(lane));
        if let Some(lane) = lane.filter(|_| self.portion.is_none()) {
            let next = self.run.position();
            for (step, claim) in (0_u64..).zip(self.claims.iter().skip(self.handed)) {
                let _held = lane.group.claims.put_back(next.wrapping_add(step), *claim, now_ms);
            }
        }
        for (lane, gate) in self.lanes.iter().zip(self.row.positions.iter()) {
            let ends = Ends { head: &lane.words.head, gate };
            roster::take_back_all(&lane.group, ends, self.capacity, self.index, Why::Returned);
        }
        if let Some(portion) = &self.portion {
            portion.give_up();
        }
        self.wake_members();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::process::id() != self.pid {
            // A forked child has no part in the parent's attachment: the mappings are not there.
            return;
        }
        self.let_go();
        for index in 0..self.lanes.len() {
            // A lane with impossible words stays as it is.
            let _window = self.settle(index);
        }
        roster::leave(&self.segment, &self.group, self.index);
    }
}

/// Copies a frame into the buffer, `at` so many bytes: of an event no more than it says it has.
#[inline]
pub(super) fn copy(
    data: &LaneData,
    shape: FrameShape,
    position: u64,
    buffer: &mut Buffer,
    at: usize,
) {
    let mut bytes = shape.stride();
    if shape.is_event() {
        let header = shape.header_bytes();
        data.slots.load_words(position, buffer.words_mut(at..at + header));
        // The second word's lower half; it may be torn, and then the copy is not believed.
        let word = buffer.words(at..at + header).get(1).copied().unwrap_or(0);
        let len = usize::try_from(word & 0xffff_ffff).unwrap_or(0).min(shape.payload_bytes());
        bytes = (header + len).next_multiple_of(8).min(bytes);
    }
    data.slots.load_words(position, buffer.words_mut(at..at + bytes));
}
