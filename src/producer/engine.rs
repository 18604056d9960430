//! The untyped producer: room, bytes, commit.

#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use super::options::ProducerOptions;
use super::publish::Way;
use super::slow::SlowConsumers;
use crate::buffer::Buffer;
use crate::bus::Bus;
use crate::crash::crash_point;
use crate::error::{Error, PublishError};
use crate::lane::writer::LaneWriter;
use crate::lane::{bits, kept};
use crate::layout::frame::FrameHeader;
use crate::layout::words::LaneWords;
use crate::options::{OnFull, Timestamps, Topology, Wait};
use crate::order::writer::OrderWriter;
use crate::park::{self, Bed};
use crate::participant::Role;
use crate::regions::{LaneData, LaneGates, OrderMemory, Regions};
use crate::seat::{self, Seat};
use crate::shm::alarm;
use crate::shm::mapping::Shared;
use crate::shm::window::SlotMut;
use crate::sync::barrier::Light;
use crate::sync::{Ordering, clock};
use crate::tie::{Berth, Tie};

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
    pub(super) lane: LaneWriter<Shared<LaneWords>, LaneGates>,
    /// Positions before this are published the short way: there is credit for them. On a bus that has
    /// no short way, never ahead of the first position.
    pub(super) short_limit: u64,
    /// The same where it takes a ticket, or a look at the clock, besides.
    pub(super) other_limit: u64,
    /// What a frame takes on this bus.
    pub(super) way: Way,
    pub(super) data: LaneData,
    pub(super) order: Option<OrderWriter<OrderMemory>>,
    /// Where lossy frames are written before they are copied to their slots word by word; what is
    /// claimed there is read by nobody.
    pub(super) staging: Buffer,
    pub(super) light: Light,
    pub(super) lossless: bool,
    /// When frames are stamped; never where they have no header.
    pub(super) timestamps: Timestamps,
    pub(super) batch_max: u64,
    pub(super) on_full: OnFull,
    pub(super) wait: Wait,
    pub(super) timeout: Option<Duration>,
    pub(super) first: u64,
    /// When to ask whether who holds this producer up is alive; kept from one publish to the next,
    /// so that short waits and refusals come to it as well.
    pub(super) probe_at: Option<Instant>,
    /// Frames for which there was no room at the last attempt; 0 when there was.
    pub(super) wanted: u64,
    /// Frames for which there is to be room when it is waited for by a wait set or a task.
    pub(super) asked: u64,
    /// The watch on consumers that stand still, on a bus that evicts those.
    pub(super) slow: Option<SlowConsumers>,
    pub(super) counters: Counters,
    pub(super) regions: Regions,
    pub(super) seat: Seat,
    pub(super) bed: Bed,
    pub(super) pid: u32,
    /// When it was first seen, while waiting, that the broker is gone.
    pub(super) gone_since: Option<Instant>,
    pub(super) tie: Tie,
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
        if options.keep_end
            && let Some(words) = regions.lane(seat.index)
        {
            kept::announce(&words, seat.words.epoch());
        }
        crash_point!(LaneNotOpen);
        tie.open_lane(&regions, seat.index)?;
        let stride = data.slots.stride();
        let light = Light::register();
        let is_event = data.slots.shape().is_event();
        let timestamps = if is_event { shape.timestamps } else { Timestamps::Off };
        let way = match (lossless && !light.needs_fence(), timestamps) {
            (false, _) => Way::Long,
            (true, Timestamps::Batch | Timestamps::Frame) => Way::Stamped,
            (true, Timestamps::Off) if order.is_some() => Way::Ordered,
            (true, Timestamps::Off) => Way::Short,
        };
        let mut engine = Self {
            first: lane.head(),
            short_limit: lane.head(),
            other_limit: lane.head(),
            way,
            lane,
            data,
            order,
            staging: Buffer::new(if lossless { 0 } else { stride }),
            light,
            lossless,
            timestamps,
            batch_max: geometry.batch_max(),
            on_full: shape.on_full,
            wait: options.wait,
            timeout: options.timeout,
            probe_at: None,
            wanted: 0,
            asked: 1,
            slow: SlowConsumers::of(&regions),
            counters: Counters::default(),
            bed: Bed::new(&seat.bell, &regions.bells, Role::Producer, seat.index),
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

    pub(super) fn epoch(&self) -> u64 {
        self.seat.words.epoch()
    }

    pub(super) fn position(&self) -> u64 {
        self.lane.head()
    }

    pub(super) fn published(&self) -> u64 {
        self.lane.head().wrapping_sub(self.first)
    }

    /// Refuses a payload that a frame of this bus cannot have.
    #[inline]
    pub(super) fn check_len(&self, len: usize) -> Result<(), PublishError> {
        let shape = self.data.slots.shape();
        let max = shape.payload_bytes();
        if len == max || (len < max && shape.is_event()) {
            Ok(())
        } else if len > max {
            Err(PublishError::TooLarge { len, max })
        } else {
            Err(PublishError::WrongLength { len, want: max })
        }
    }

    /// Makes sure that the next `count` frames may be written.
    #[allow(clippy::inline_always)] // for one frame, much of it falls away
    #[inline(always)]
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
            match self.way {
                Way::Short => self.short_limit = self.lane.limit(),
                Way::Ordered | Way::Stamped => self.other_limit = self.lane.limit(),
                Way::Long => {}
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
    pub(super) fn check_process(&self) -> Result<(), PublishError> {
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

    /// The slot of the `index`-th reserved frame, for writing. `None`: there is no room to stage it in.
    ///
    /// # Safety
    /// `index` is below the count reserved; while `'a` lasts this engine lives, and nothing is asked of
    /// it but other slots, and the commit, after the slot's last use.
    #[inline]
    pub(super) unsafe fn slot<'a>(&mut self, index: u64) -> Option<SlotMut<'a>> {
        if self.lossless {
            let position = self.lane.head().wrapping_add(index);
            // SAFETY: this is the lane's only producer (it holds the seat's lock), and maps it for
            // writing; the position is below the credit that `reserve` made sure of. Else by this
            // function's contract.
            return Some(unsafe { self.data.slots.slot_mut(position) });
        }
        let shape = self.data.slots.shape();
        let start = usize::try_from(index).ok()?.saturating_mul(shape.stride());
        let bytes = self.staging.bytes_mut(start..start.saturating_add(shape.stride()));
        // SAFETY: by this function's contract: the staging buffer is not grown meanwhile, and each
        // frame of it is another slot.
        SlotMut::over(bytes, shape).map(|slot| unsafe { slot.extend() })
    }

    /// Writes header and payload of the `index`-th reserved frame.
    ///
    /// # Safety
    /// `index` is below the count reserved, and there are no more bytes than a payload has.
    #[inline]
    pub(super) unsafe fn write(&mut self, index: u64, kind: u16, bytes: &[u8]) {
        let time_ns = self.claim_time_ns();
        if self.lossless {
            // SAFETY: what is reserved on a lossless lane has credit; else by this function's contract.
            unsafe { self.put(self.lane.head().wrapping_add(index), kind, time_ns, bytes) };
            return;
        }
        // SAFETY: by this function's contract; it is used right here.
        let Some(mut slot) = (unsafe { self.slot(index) }) else {
            return;
        };
        if let Some(header) = slot.header_mut() {
            // The length is at most a payload's, which is a u32.
            #[allow(clippy::cast_possible_truncation)]
            let len = bytes.len() as u32;
            *header = FrameHeader { time_ns, len, kind, flags: 0 };
        }
        crash_point!(FrameHalfWritten);
        if let Some(to) = slot.payload_mut().get_mut(..bytes.len()) {
            to.copy_from_slice(bytes);
        }
        crash_point!(FrameWritten);
    }

    /// The time that a frame gets before commit: now, when every frame is stamped by itself.
    #[inline]
    pub(super) fn claim_time_ns(&self) -> u64 {
        match self.timestamps {
            Timestamps::Frame => clock::monotonic_ns(),
            _ => 0,
        }
    }

    /// Publishes the `count` frames that were reserved and written, with so many bytes unused. On failure
    /// nothing is visible.
    #[allow(clippy::inline_always)] // for one frame, much of it falls away
    #[inline(always)]
    pub(super) fn commit(
        &mut self,
        count: u64,
        unused: u64,
        room: Room,
    ) -> Result<u64, PublishError> {
        if self.is_short_way(count) {
            let first = self.lane.head();
            self.publish_the_short_way(count, unused);
            return Ok(first);
        }
        self.check_process()?;
        if self.timestamps == Timestamps::Batch {
            self.stamp(count);
        }
        if !self.lossless {
            self.copy_staged(count);
        }
        let first = self.lane.head();
        if self.order.is_some() {
            self.commit_in_order(first, count, room)?;
        }
        self.lane.count(count, unused);
        self.lane.publish(count);
        self.wake();
        Ok(first)
    }

    /// One clock read for the whole batch.
    #[inline]
    fn stamp(&mut self, count: u64) {
        let now = clock::monotonic_ns();
        for index in 0..count {
            // SAFETY: `count` frames are reserved, and none of their slots is borrowed any more.
            if let Some(mut slot) = unsafe { self.slot(index) }
                && let Some(header) = slot.header_mut()
            {
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

    /// Rings for consumers that sleep.
    #[inline]
    pub(super) fn wake(&self) {
        self.light.barrier();
        self.wake_sleepers();
    }

    /// The same after the barrier.
    #[inline]
    pub(super) fn wake_sleepers(&self) {
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
