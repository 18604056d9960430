//! The untyped producer: room, bytes, commit.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use zerocopy::{FromBytes, IntoBytes};

use super::options::ProducerOptions;
use super::slow::SlowConsumers;
use crate::buffer::Buffer;
use crate::bus::Bus;
use crate::crash::crash_point;
use crate::error::{Error, PublishError};
use crate::lane::writer::LaneWriter;
use crate::lane::{Gates, bits};
use crate::layout::frame::FrameHeader;
use crate::layout::words::LaneWords;
use crate::options::{FrameLayout, OnFull, Timestamps, Topology, Wait};
use crate::order::{
    self,
    writer::{NotCommitted, OrderWriter},
};
use crate::park::{self, Step, Waiting};
use crate::participant::Role;
use crate::regions::{Cursors, LaneData, LaneGates, OrderMemory, Regions};
use crate::seat::{self, Seat, recovery};
use crate::shm::alarm;
use crate::shm::mapping::Shared;
use crate::sync::barrier::{self, Light};
use crate::sync::{Ordering, clock};
use crate::tie::{Berth, Tie};

/// How long a blocked producer waits before it asks the kernel whether who holds it up is alive,
/// and between asking again.
const PROBE: Duration = Duration::from_millis(2);

/// What to do when the lane is full.
#[derive(Clone, Copy, Debug)]
pub(super) enum Room {
    /// As the bus was created and the producer attached.
    ByPolicy,
    /// Refuse.
    Now,
    /// Wait for this long.
    Within(Duration),
}

/// What this producer has been through. The lane's shared counters are the sums over its tenants.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) rejected: u64,
    pub(super) blocked_count: u64,
    pub(super) blocked_ns: u64,
}

/// An attached producer without its type. Field order is drop order: mappings before the segment.
#[derive(Debug)]
pub(super) struct Engine {
    lane: LaneWriter<Shared<LaneWords>, LaneGates>,
    /// Positions before this are published the short way: there is credit for them, and the bus is
    /// one where that is all there is to ask. Never ahead of the first position on any other.
    short_limit: u64,
    /// The bus is one where it is: lossless, without an order and without a clock, on a kernel that
    /// has the light barrier.
    is_short: bool,
    data: LaneData,
    order: Option<OrderWriter<OrderMemory>>,
    /// Where lossy frames are written before they are copied to their slots word by word; what is
    /// claimed there is read by nobody.
    staging: Buffer,
    light: Light,
    lossless: bool,
    event: bool,
    timestamps: Timestamps,
    payload_max: usize,
    header_bytes: usize,
    batch_max: u64,
    capacity: u64,
    on_full: OnFull,
    wait: Wait,
    timeout: Option<Duration>,
    first: u64,
    /// When to ask whether who holds this producer up is alive; kept from one publish to the next,
    /// so that short waits and refusals come to it as well.
    probe_at: Option<Instant>,
    /// Frames for which there was no room at the last attempt; 0 when there was.
    wanted: u64,
    /// The watch on consumers that stand still, on a bus that evicts those.
    slow: Option<SlowConsumers>,
    pub(super) counters: Counters,
    regions: Regions,
    seat: Seat,
    pid: u32,
    /// When it was first seen, while waiting, that the broker is gone.
    gone_since: Option<Instant>,
    tie: Tie,
}

impl Engine {
    /// Takes a lane, maps the bus anew and sets up.
    pub(super) fn attach(bus: &Bus, options: &ProducerOptions<'_>) -> Result<Self, Error> {
        let header = bus.header();
        let geometry = header.geometry;
        let shape = geometry.shape;
        let name = options.name.clone().unwrap_or_else(seat::process_name);
        let Berth { tie, regions, seat, lanes, .. } = bus.tie().producer(header, &name)?;
        let memory = lanes.into_iter().next().ok_or_else(|| Error::Corrupt {
            name: bus.name().to_owned(),
            reason: format!("it has no lane {}", seat.index),
        })?;
        let (words, data) = (memory.words, memory.data);
        let gates = regions.gates(seat.index).with_data(&data);
        let lane = LaneWriter::resume(words, gates, shape.capacity);
        let lossless = shape.on_full.is_lossless();
        let order = match u8::try_from(seat.index) {
            Ok(index) if shape.topology == Topology::Ordered => {
                let (words, laps) = (regions.order(), regions.laps());
                Some(OrderWriter::new(words, laps, index, shape.lanes, lossless))
            }
            _ => None,
        };
        crash_point!(LaneNotOpen);
        tie.open_lane(&regions, seat.index)?;
        let stride = data.slots.stride();
        let small = |bytes: u32| usize::try_from(bytes).unwrap_or(0);
        let light = Light::register();
        let event = shape.frames == FrameLayout::Event;
        let is_short = lossless
            && order.is_none()
            && !light.needs_fence()
            && !(event && shape.timestamps != Timestamps::Off);
        let mut engine = Self {
            first: lane.head(),
            short_limit: lane.head(),
            is_short,
            lane,
            data,
            order,
            staging: Buffer::new(if lossless { 0 } else { stride }),
            light,
            lossless,
            event,
            timestamps: shape.timestamps,
            payload_max: small(shape.payload_bytes),
            header_bytes: small(geometry.header_bytes()),
            batch_max: geometry.batch_max(),
            capacity: shape.capacity,
            on_full: shape.on_full,
            wait: options.wait,
            timeout: options.timeout,
            probe_at: None,
            wanted: 0,
            slow: SlowConsumers::of(&regions),
            counters: Counters::default(),
            regions,
            seat,
            pid: std::process::id(),
            gone_since: None,
            tie,
        };
        // Of those who join from now on it is told.
        engine.fetch_cursors();
        Ok(engine)
    }

    pub(super) fn lane(&self) -> u32 {
        self.seat.index
    }

    pub(super) fn position(&self) -> u64 {
        self.lane.head()
    }

    pub(super) fn published(&self) -> u64 {
        self.lane.head().wrapping_sub(self.first)
    }

    /// Publishes one frame of bytes.
    #[inline]
    pub(super) fn publish(
        &mut self,
        kind: u16,
        bytes: &[u8],
        room: Room,
    ) -> Result<u64, PublishError> {
        self.check_len(bytes.len())?;
        // SAFETY: the length was checked just now.
        unsafe { self.publish_fitting(kind, bytes, room) }
    }

    /// The same for bytes of which it is known that they fit.
    ///
    /// # Safety
    /// There are no more of them than `payload_max`.
    #[inline]
    pub(super) unsafe fn publish_fitting(
        &mut self,
        kind: u16,
        bytes: &[u8],
        room: Room,
    ) -> Result<u64, PublishError> {
        if !self.is_short_way(1) {
            // SAFETY: by this function's contract.
            return unsafe { self.publish_the_long_way(kind, bytes, room) };
        }
        let position = self.lane.head();
        // SAFETY: there is credit for the position; the length by this function's contract.
        unsafe { self.put(position, kind, 0, bytes) };
        self.publish_the_short_way(1);
        Ok(position)
    }

    /// Whether the next `count` frames may be written and published with no more questions.
    #[inline]
    fn is_short_way(&self, count: u64) -> bool {
        // The last of them is before the limit, that is, their difference is negative; and no alarm:
        // one look at both.
        let last = self.lane.head().wrapping_add(count - 1);
        (last.wrapping_sub(self.short_limit) & alarm::calm()) >> 63 == 1
    }

    /// Makes frames visible that were written on the strength of `is_short_way`.
    #[inline]
    fn publish_the_short_way(&mut self, count: u64) {
        self.lane.publish(count);
        // The light barrier, of which `is_short` says that it needs no fence.
        barrier::compiler();
        self.wake_sleepers();
    }

    /// Publishes one frame on a bus that has more to ask, or that has no credit left. Cold only so that
    /// the short way is a straight line.
    ///
    /// # Safety
    /// As of `publish_fitting`.
    #[cold]
    #[inline(never)]
    unsafe fn publish_the_long_way(
        &mut self,
        kind: u16,
        bytes: &[u8],
        room: Room,
    ) -> Result<u64, PublishError> {
        self.reserve(1, room)?;
        // SAFETY: one frame is reserved; the length by this function's contract.
        unsafe { self.write(0, kind, bytes) };
        self.commit(1, room)
    }

    /// Publishes frames together.
    ///
    /// # Safety
    /// None of them has more bytes than `payload_max`.
    #[inline]
    pub(super) unsafe fn publish_all<'a>(
        &mut self,
        kind: u16,
        frames: impl ExactSizeIterator<Item = &'a [u8]>,
        room: Room,
    ) -> Result<u64, PublishError> {
        let count = u64::try_from(frames.len()).unwrap_or(u64::MAX);
        self.reserve(count, room)?;
        if self.is_short_way(count) {
            let first = self.lane.head();
            for (step, bytes) in (0..count).zip(frames) {
                // SAFETY: there is credit for `count` positions; the length by this function's contract.
                unsafe { self.put(first.wrapping_add(step), kind, 0, bytes) };
            }
            self.publish_the_short_way(count);
            return Ok(first);
        }
        for (index, bytes) in (0..count).zip(frames) {
            // SAFETY: `count` frames are reserved; the length by this function's contract.
            unsafe { self.write(index, kind, bytes) };
        }
        self.commit(count, room)
    }

    /// Writes a frame into its slot, on a lossless lane.
    ///
    /// # Safety
    /// There is credit for the position, which is not published, and no more bytes than `payload_max`.
    #[inline]
    unsafe fn put(&mut self, position: u64, kind: u16, time_ns: u64, bytes: &[u8]) {
        // The length is at most `payload_max`, which is a u32.
        #[allow(clippy::cast_possible_truncation)]
        let header = FrameHeader { time_ns, len: bytes.len() as u32, kind, flags: 0 };
        // SAFETY: this is the lane's only producer (it holds the seat's lock), and maps it for writing;
        // position and length by this function's contract; the borrow of self keeps any other borrow
        // of the slot away.
        unsafe { self.data.slots.put(position, header, bytes) };
    }

    /// Refuses a payload that a frame of this bus cannot have.
    #[inline]
    pub(super) fn check_len(&self, len: usize) -> Result<(), PublishError> {
        if len > self.payload_max {
            return Err(PublishError::TooLarge { len, max: self.payload_max });
        }
        if !self.event && len != self.payload_max {
            return Err(PublishError::WrongLength { len, want: self.payload_max });
        }
        Ok(())
    }

    /// Makes sure that the next `count` frames may be written.
    #[inline]
    pub(super) fn reserve(&mut self, count: u64, room: Room) -> Result<(), PublishError> {
        if count == 1 && self.is_short_way(1) {
            return Ok(());
        }
        self.check_process()?;
        if count == 0 || count > self.batch_max {
            return Err(PublishError::BatchSize { frames: count, max: self.batch_max });
        }
        if self.lossless {
            if !self.lane.has_room(count) {
                self.wait_for_room(count, room)?;
            }
            if self.is_short {
                self.short_limit = self.lane.limit();
            }
            return Ok(());
        }
        if !self.lane.may_overwrite(count) {
            self.check_standing()?;
        }
        self.grow_staging(count)
    }

    /// Refuses a forked child of the process that attached: it has no mapping.
    #[inline]
    fn check_process(&self) -> Result<(), PublishError> {
        if alarm::is_raised() && std::process::id() != self.pid {
            return Err(PublishError::Forked);
        }
        Ok(())
    }

    /// Makes room for a batch in the staging buffer; one frame always fits.
    #[inline]
    fn grow_staging(&mut self, count: u64) -> Result<(), PublishError> {
        if count > 1 {
            let too_many = PublishError::BatchSize { frames: count, max: self.batch_max };
            let frames = usize::try_from(count).map_err(|_| too_many)?;
            self.staging.grow(frames.checked_mul(self.data.slots.stride()).ok_or(too_many)?);
        }
        Ok(())
    }

    /// The bytes of the `index`-th reserved frame, header included.
    #[inline]
    fn frame(&mut self, index: u64) -> &mut [u8] {
        if self.lossless {
            let position = self.lane.head().wrapping_add(index);
            // SAFETY: this is the lane's only producer (it holds the seat's lock); the position is
            // below the credit that `reserve` made sure of and not published, since `index` is
            // below the count reserved; the borrow of self keeps any other borrow of it away.
            return unsafe { self.data.slots.write(position) };
        }
        let stride = self.data.slots.stride();
        let start = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(stride);
        self.staging.bytes_mut(start..start.saturating_add(stride))
    }

    /// Writes header and payload of the `index`-th reserved frame.
    ///
    /// # Safety
    /// `index` is below the count reserved, and there are no more bytes than `payload_max`.
    #[inline]
    unsafe fn write(&mut self, index: u64, kind: u16, bytes: &[u8]) {
        let (event, header_bytes) = (self.event, self.header_bytes);
        let time_ns = self.claim_time_ns();
        if self.lossless {
            // SAFETY: what is reserved on a lossless lane has credit; else by this function's contract.
            unsafe { self.put(self.lane.head().wrapping_add(index), kind, time_ns, bytes) };
            return;
        }
        let frame = self.frame(index);
        if event {
            // The length is at most `payload_max`, which is a u32.
            #[allow(clippy::cast_possible_truncation)]
            let header = FrameHeader { time_ns, len: bytes.len() as u32, kind, flags: 0 };
            let _fits = header.write_to_prefix(frame);
        }
        crash_point!(FrameHalfWritten);
        if let Some(to) = frame.get_mut(header_bytes..header_bytes + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        crash_point!(FrameWritten);
    }

    /// The time that a frame gets before commit: now, when every frame is stamped by itself.
    #[inline]
    pub(super) fn claim_time_ns(&self) -> u64 {
        match self.timestamps {
            Timestamps::Frame if self.event => clock::monotonic_ns(),
            _ => 0,
        }
    }

    /// The header and the payload of the `index`-th reserved frame, for writing.
    #[inline]
    pub(super) fn parts(&mut self, index: u64) -> (Option<&mut FrameHeader>, &mut [u8]) {
        if self.lossless {
            let position = self.lane.head().wrapping_add(index);
            // SAFETY: as in `frame`.
            return unsafe { self.data.slots.parts(position) };
        }
        let (event, header_bytes, payload_max) = (self.event, self.header_bytes, self.payload_max);
        let (head, rest) = self.frame(index).split_at_mut_checked(header_bytes).unwrap_or_default();
        let header = if event { FrameHeader::mut_from_bytes(head).ok() } else { None };
        (header, rest.get_mut(..payload_max).unwrap_or_default())
    }

    /// Publishes the `count` frames that were reserved and written. On failure nothing is visible.
    #[inline]
    pub(super) fn commit(&mut self, count: u64, room: Room) -> Result<u64, PublishError> {
        if self.is_short_way(count) {
            let first = self.lane.head();
            self.publish_the_short_way(count);
            return Ok(first);
        }
        self.check_process()?;
        if self.event && self.timestamps == Timestamps::Batch {
            self.stamp(count);
        }
        if !self.lossless {
            self.copy_staged(count);
        }
        let first = self.lane.head();
        if self.order.is_some() {
            self.commit_in_order(first, count, room)?;
        }
        self.lane.publish(count);
        self.wake();
        Ok(first)
    }

    /// One clock read for the whole batch.
    #[inline]
    fn stamp(&mut self, count: u64) {
        let now = clock::monotonic_ns();
        for index in 0..count {
            if let (Some(header), _) = self.parts(index) {
                header.time_ns = now;
            }
        }
    }

    /// Overwrites the slots of a lossy lane with what was staged.
    #[inline]
    fn copy_staged(&mut self, count: u64) {
        self.lane.overwrite(count);
        let stride = self.data.slots.stride();
        let mut start = 0_usize;
        for index in 0..count {
            let position = self.lane.head().wrapping_add(index);
            let frame = self.staging.words(start..start.saturating_add(stride));
            self.data.slots.store_words(position, frame);
            start = start.saturating_add(stride);
        }
    }

    fn commit_in_order(&mut self, first: u64, count: u64, room: Room) -> Result<(), PublishError> {
        let mut waiting = None;
        loop {
            match self.try_commit_in_order(first, count) {
                Ok(()) => return Ok(()),
                Err(NotCommitted::Contested) => return Err(PublishError::Contested),
                Err(NotCommitted::Full) => {}
            }
            let timeout = match (room, self.on_full) {
                (Room::Within(timeout), _) => Some(timeout),
                (Room::ByPolicy, OnFull::Block) => self.timeout,
                _ => {
                    self.probe();
                    return Err(reject(&mut self.counters, self.lane.words()));
                }
            };
            // The order ring is as long as twice all lanes: this is a consumer that stands still
            // before a flood of tombs. Parking is not worth its code here.
            let waiting = waiting.get_or_insert_with(|| Waiting::new(Wait::Yielding, timeout));
            if waiting.step() == Step::Over {
                return Err(PublishError::TimedOut);
            }
            self.check_standing()?;
            // The lane has room for the run: it is the order ring that is looked at.
            self.wanted = 0;
            self.probe();
        }
    }

    /// Takes tickets until one of them commits the run.
    #[inline]
    fn try_commit_in_order(&mut self, first: u64, count: u64) -> Result<(), NotCommitted> {
        let Some(order) = &mut self.order else {
            return Ok(());
        };
        let (words, tickets) = (self.lane.words(), &self.data.tickets);
        let mask = self.capacity - 1;
        // A consumer of a lossy bus may come back to a lane after any number of laps: the other
        // slots of the run must not show it tickets of an earlier one.
        let marked = if self.lossless { 1 } else { count };
        let record = |ticket: u64| {
            for step in 0..marked {
                let slot = usize::try_from(first.wrapping_add(step) & mask).unwrap_or(usize::MAX);
                // ORDERING: relaxed; published by the release CAS of the entry, which follows.
                if let Some(beside) = tickets.get(slot) {
                    let mark = if step == 0 { ticket } else { order::inside(ticket) };
                    beside.store(mark, Ordering::Relaxed);
                }
            }
            crash_point!(TicketMarked);
            words.ticket.store(ticket, Ordering::Relaxed);
            // ORDERING: release; whoever recovers this lane and sees the position sees the ticket.
            // Pairs as well with the acquire load in `locate_held` of a lossy consumer.
            words.ticket_at.store(first, Ordering::Release);
        };
        order.commit(count, record).map(drop)
    }

    /// Rings for consumers that sleep.
    #[inline]
    fn wake(&self) {
        self.light.barrier();
        self.wake_sleepers();
    }

    /// The same after the barrier.
    #[inline]
    fn wake_sleepers(&self) {
        // ORDERING: relaxed; the light barrier orders it after the store of head.
        let sleeping = self.regions.bells.sleeping_consumers.load(Ordering::Relaxed);
        if sleeping != 0 {
            self.ring(sleeping);
        }
    }

    #[cold]
    fn ring(&self, sleeping: u64) {
        let sleepers = &self.regions.bells.sleeping_consumers;
        for consumer in bits(sleeping) {
            if let Some(seat) = self.regions.bell(Role::Consumer, consumer) {
                park::ring(&seat, (sleepers, 1 << consumer));
            }
        }
    }

    /// The lane is full: refuses, or waits as asked.
    #[cold]
    fn wait_for_room(&mut self, count: u64, room: Room) -> Result<(), PublishError> {
        self.check_standing()?;
        // It may be closed only because somebody joined whose cursors are not here yet.
        if self.fetch_cursors() && self.lane.has_room(count) {
            return Ok(());
        }
        self.lane.note_full(count, clock::monotonic_ns());
        self.wanted = count;
        let timeout = match (room, self.on_full) {
            (Room::Within(timeout), _) => Some(timeout),
            (Room::ByPolicy, OnFull::Block) => self.timeout,
            _ => {
                self.probe();
                return Err(reject(&mut self.counters, self.lane.words()));
            }
        };
        let start = Instant::now();
        let result = self.wait_until(timeout, false, |lane| lane.has_room(count));
        self.wanted = 0;
        self.counters.blocked_count += 1;
        let waited = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.counters.blocked_ns = self.counters.blocked_ns.saturating_add(waited);
        let words = self.lane.words();
        add(&words.blocked_count, 1);
        add(&words.blocked_ns, waited);
        result
    }

    /// Whether there is any point in waiting.
    fn check_standing(&self) -> Result<(), PublishError> {
        if self.lane.gates().is_broken() {
            Err(PublishError::Truncated)
        } else if self.regions.is_removed() {
            Err(PublishError::Removed)
        } else if self.seat.is_evicted() {
            Err(PublishError::Evicted)
        } else {
            Ok(())
        }
    }

    /// Waits until `done` or the timeout, giving back the seats of dead consumers meanwhile.
    fn wait_until(
        &mut self,
        timeout: Option<Duration>,
        outlives_removal: bool,
        mut done: impl FnMut(&mut LaneWriter<Shared<LaneWords>, LaneGates>) -> bool,
    ) -> Result<(), PublishError> {
        let mut waiting = Waiting::new(self.wait, timeout);
        let mut steps = 0_u32;
        while !done(&mut self.lane) {
            if steps == 0 {
                self.probe();
            }
            if !outlives_removal {
                self.check_standing()?;
            }
            self.fetch_cursors();
            match waiting.step() {
                Step::Again => {}
                Step::Over => return Err(PublishError::TimedOut),
                Step::Park(longest) => {
                    let sleepers = &self.regions.bells.sleeping_producers;
                    if let Some(bit) = recovery::lane_bit(sleepers, self.seat.index) {
                        let lane = &mut self.lane;
                        park::park(&self.seat.bell, bit, longest.min(PROBE), || done(lane));
                    }
                }
            }
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(64) || self.wait != Wait::Busy {
                self.probe();
            }
            if steps.is_multiple_of(64) && self.tie.is_given_up(&mut self.gone_since) {
                return Err(PublishError::BrokerGone);
            }
        }
        self.gone_since = None;
        Ok(())
    }

    /// Fetches the cursors of consumers that this producer does not know yet, where they have
    /// memory of their own. `true`: there were some, and they are here now.
    fn fetch_cursors(&mut self) -> bool {
        let LaneGates { words, cursors, .. } = self.lane.gates_mut();
        let known = |cursors: &Cursors| {
            // ORDERING: acquire, as in `LaneWriter::gate`.
            bits(words.consumers.load(Ordering::Acquire)).all(|one| cursors.is_current(one))
        };
        if known(cursors) {
            return false;
        }
        // What is not what it should be keeps the lane closed, as what did not come does.
        let _all = self.tie.fetch_cursors(&words.consumers, cursors);
        known(cursors)
    }

    /// Asks after whoever holds this producer up, once in `PROBE`: are they alive, do they move?
    fn probe(&mut self) {
        let now = Instant::now();
        if now >= *self.probe_at.get_or_insert(now + PROBE) {
            self.give_back_dead_consumers();
            if let Some(slow) = &mut self.slow {
                slow.look(now, self.wanted, &self.lane, self.order.as_ref());
            }
            self.probe_at = Some(now + PROBE);
        }
    }

    /// Recovers consumers that hold this producer up and are provably dead.
    fn give_back_dead_consumers(&self) {
        // ORDERING: relaxed; only whom to ask about.
        let attached = self.lane.gates().attached().load(Ordering::Relaxed);
        self.tie.give_back_dead(&self.regions, Role::Consumer, bits(attached));
    }

    /// Waits until everything is read; returns how much is not.
    pub(super) fn drain(&mut self, timeout: Duration) -> u64 {
        if self.check_process().is_err() {
            return 0;
        }
        // What is left says whether it timed out. Who is attached reads on after a removal.
        let _result = self.wait_until(Some(timeout), true, |lane| lane.unread() == 0);
        self.lane.unread()
    }
}

/// Counts a refusal.
#[cold]
fn reject(counters: &mut Counters, words: &LaneWords) -> PublishError {
    counters.rejected += 1;
    add(&words.rejected, 1);
    PublishError::Full
}

/// Adds to a counter that only this lane's producer writes.
fn add(counter: &crate::sync::AtomicU64, amount: u64) {
    // ORDERING: relaxed; a statistic with one writer.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::process::id() != self.pid {
            // A forked child has no part in the parent's attachment: the mappings are not there.
            return;
        }
        self.tie.leave(&self.regions, &self.seat, Role::Producer);
        // Whoever sleeps learns that the lane is closed.
        self.wake();
    }
}
