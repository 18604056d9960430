//! The untyped consumer: runs, cursors, waiting.

#![allow(unsafe_code)]

use std::time::Instant;

use super::latency::Latencies;
use super::options::ConsumerOptions;
use super::ordered::Ordered;
use super::pace::Pace;
use super::scan::Scan;
use super::waits::News;
use crate::broker::feed::Feed;
use crate::broker::memory::LaneMemory;
use crate::buffer::Buffer;
use crate::bus::Bus;
use crate::crash::crash_point;
use crate::error::{Error, PollError};
use crate::lane::join;
use crate::layout::frame::FrameShape;
use crate::options::{Start, Topology, Wait};
use crate::park::Bed;
use crate::participant::Role;
use crate::received::{FrameRef, Frames};
use crate::regions::{Health, Regions, Row};
use crate::run::{self, Run};
use crate::seat::{self, Seat};
use crate::shm::alarm;
use crate::sync::Ordering;
use crate::sync::barrier::Light;
use crate::tenancy::Lane;
use crate::tie::{Berth, Tie};
use crate::wake;

/// Says that there is a frame to hand out; made by `Engine::advance` alone, and used up by `frame`
/// before anything else is asked of the engine.
#[derive(Debug)]
#[must_use = "a frame is ready, and is not handed out"]
pub(super) struct Ready(());

/// An attached consumer without its type. Field order is drop order: mappings before the segment.
#[derive(Debug)]
pub(super) struct Engine {
    /// What is being handed out.
    pub(super) run: Run,
    shape: FrameShape,
    pub(super) lanes: Vec<Lane>,
    /// Finds lanes to visit, on a bus without an order.
    scan: Scan,
    pub(super) ordered: Option<Ordered>,
    pace: Pace,
    /// Where it books how long frames took, on a bus whose frames have timestamps.
    latencies: Option<Latencies>,
    pub(super) buffer: Buffer,
    health: Health,
    pub(super) lossless: bool,
    /// Frames are read where they stand; otherwise they are copied and the copies checked.
    pub(super) in_place: bool,
    pub(super) capacity: u64,
    pub(super) visit_frames: u64,
    /// Frames that were handed out and given back.
    read: u64,
    lost: u64,
    /// Set once this consumer knows that it was evicted: how many frames that cost.
    pub(super) evicted: Option<u64>,
    /// Frames of it that were overwritten before this consumer knew.
    pub(super) torn: u64,
    /// What a look on behalf of a wait set found out.
    pub(super) news: News,
    /// A producer has been seen, so that the absence of any means closed.
    pub(super) met: bool,
    pub(super) wait: Wait,
    /// When to ask whether the producers that this consumer waits for are alive.
    pub(super) probe_at: Option<Instant>,
    light: Light,
    pub(super) row: Row,
    pub(super) regions: Regions,
    pub(super) seat: Seat,
    pub(super) bed: Bed,
    pid: u32,
    /// Keeps up with lanes that are let again, on a brokered bus.
    pub(super) feed: Option<Feed>,
    /// When it was first seen, while waiting, that the broker is gone.
    pub(super) gone_since: Option<Instant>,
    pub(super) tie: Tie,
}

impl Engine {
    /// Takes a seat, maps the bus anew, and joins.
    pub(super) fn attach(bus: &Bus, options: &ConsumerOptions<'_>) -> Result<Self, Error> {
        let header = bus.header();
        let geometry = header.geometry;
        let shape = geometry.shape;
        let name = options.name.clone().unwrap_or_else(seat::process_name);
        let Berth { tie, regions, seat, lanes, feed } = bus.tie().consumer(header, &name)?;
        let outside = || Error::Corrupt {
            name: bus.name().to_owned(),
            reason: format!("it has no consumer {}", seat.index),
        };
        let row = regions.cursors.row(seat.index).ok_or_else(outside)?.clone();
        let stride = usize::try_from(geometry.stride_bytes).unwrap_or(0);
        let visit_frames = run::visit_frames(geometry.stride_bytes.into(), shape.capacity);
        let lossless = shape.on_full.is_lossless();
        // A tenant gone hostile may store while its frames are being read: what is handed out is a copy.
        let in_place = lossless && regions.eviction().is_none() && feed.is_none();
        let buffered = usize::try_from(visit_frames).unwrap_or(0).saturating_mul(stride);
        let mut engine = Self {
            run: Run::default(),
            shape: geometry.frame_shape().ok_or_else(outside)?,
            scan: Scan::new(std::iter::empty()),
            lanes: Vec::with_capacity(lanes.len()),
            ordered: None,
            pace: Pace::default(),
            latencies: row.latencies.clone().map(Latencies::start),
            buffer: Buffer::new(if in_place { 0 } else { buffered }),
            lossless,
            health: lanes.iter().fold(regions.health().clone(), |all, lane| all.and(&lane.data)),
            in_place,
            capacity: shape.capacity,
            visit_frames,
            read: 0,
            lost: 0,
            evicted: None,
            torn: 0,
            news: News::default(),
            met: false,
            wait: options.wait,
            probe_at: None,
            light: Light::register(),
            bed: Bed::new(&seat.bell, &regions.bells, Role::Consumer, seat.index),
            row,
            regions,
            seat,
            pid: std::process::id(),
            feed,
            gone_since: None,
            tie,
        };
        engine.join(lanes, options.start, shape.topology)?;
        Ok(engine)
    }

    /// Makes the producers respect this consumer's cursors, and settles where it starts.
    fn join(
        &mut self,
        mut lanes: Vec<LaneMemory>,
        start: Start,
        topology: Topology,
    ) -> Result<(), Error> {
        let (capacity, origin) = (self.capacity, self.regions.origin);
        // ORDERING: relaxed; published by the bit that `Tie::join` sets.
        self.row.words.read.store(0, Ordering::Relaxed);
        self.row.words.lost.store(0, Ordering::Relaxed);
        self.row.losses.iter().for_each(|lost| lost.store(0, Ordering::Relaxed));
        let placed: Vec<u64> = lanes
            .iter()
            .zip(self.row.positions.iter())
            .map(|(lane, cursor)| match start {
                Start::Latest => join::place_latest(cursor, &lane.words),
                Start::Oldest | Start::Position(_) => {
                    join::place(cursor, &lane.words, capacity, lane.start)
                }
            })
            .collect();
        if topology == Topology::Ordered {
            Ordered::place(&self.regions, &self.row);
        }
        crash_point!(CursorsPlaced);
        let mut all_held = Vec::with_capacity(lanes.len());
        let joining = self.tie.join(&self.regions, self.seat.index)?;
        crash_point!(JoinBegun);
        if let Some(feed) = &mut self.feed {
            // A lane that was let since it was fetched has a producer that may not have seen this
            // consumer; one that is let from now on has one that does.
            let mut fetched = Vec::new();
            feed.fetch(&self.regions, &mut fetched)?;
            for (index, memory) in fetched {
                if let Some(lane) = lanes.get_mut(index) {
                    *lane = memory;
                }
            }
        }
        for (lane, placed) in lanes.into_iter().zip(placed) {
            let held = joining.look(&lane.words, capacity, lane.start, placed);
            let (position, lost) = match start {
                Start::Latest => (held.head, 0),
                Start::Oldest => (held.oldest, 0),
                Start::Position(wanted) => join::settle(held, wanted, origin),
            };
            all_held.push(held);
            self.lanes.push(Lane::new(lane, position, lost));
        }
        if topology == Topology::Ordered {
            // Here the order ring says where to start; the lanes follow.
            self.ordered = Some(Ordered::join(self, &all_held, start));
        }
        let eye = |lane: &Lane| (lane.reader.shared_words(), lane.reader.position());
        self.scan = Scan::new(self.lanes.iter().map(eye));
        for (lane, held) in self.lanes.iter().zip(&all_held) {
            self.met |= lane.reader.position() != held.head;
            self.lost = self.lost.saturating_add(lane.lost);
        }
        for (lane, cursor) in self.lanes.iter().zip(self.row.positions.iter()) {
            lane.reader.release(cursor);
        }
        self.store_counters();
        self.met |= self.has_producers();
        Ok(())
    }

    /// Makes sure that there is a frame to hand out. `None`: there is none.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<Ready>, PollError> {
        if alarm::is_raised() {
            self.check_memory()?;
        }
        let ready = !self.run.is_over() || self.next_run()?;
        Ok(ready.then_some(Ready(())))
    }

    /// Whether what is read is there, and this process's to read.
    #[cold]
    fn check_memory(&self) -> Result<(), PollError> {
        if self.is_forked() {
            return Err(PollError::Forked);
        }
        if self.health.is_broken() { Err(PollError::Truncated) } else { Ok(()) }
    }

    /// Whether this process is a forked child of the one that attached: it has no mapping.
    fn is_forked(&self) -> bool {
        alarm::is_raised() && std::process::id() != self.pid
    }

    /// Hands out the frame that `advance` made sure of.
    #[inline]
    pub(super) fn frame(&mut self, _ready: Ready) -> FrameRef<'_> {
        // SAFETY: the run is not over, as whoever is ready says. Its frames were made sure of: they
        // are copies that only the next run overwrites, or they are published and not before this
        // consumer's cursor, which is stored past them only by calls that take `&mut self` and so end
        // this borrow; until then the protocol keeps the producer from writing them.
        unsafe { self.run.next(self.shape) }
    }

    /// The next frames that stand one after the other, `max` at most. `None`: there are none.
    #[inline]
    pub(super) fn frames(&mut self, max: usize) -> Result<Option<Frames<'_>>, PollError> {
        if max == 0 {
            return Ok(None);
        }
        let Some(Ready(())) = self.advance()? else {
            return Ok(None);
        };
        let count = self.run.left().min(u64::try_from(max).unwrap_or(u64::MAX));
        // SAFETY: as many are left; else as in `frame`.
        Ok(Some(unsafe { self.run.take(self.shape, count) }))
    }

    /// Ends the run before and finds the next.
    fn next_run(&mut self) -> Result<bool, PollError> {
        self.finish();
        if self.seat.is_evicted() {
            return Err(self.leave_evicted());
        }
        if self.feed.as_ref().is_some_and(|feed| feed.is_stale(&self.regions)) {
            self.follow_tenants()?;
        }
        let found = if self.ordered.is_some() { self.next_in_order() } else { self.visit() };
        let found = found.map_err(|error| self.explain(error))?;
        self.met |= found;
        if found {
            self.pace.found(self.run.left());
            self.book_latency();
            return Ok(true);
        }
        if let Some(latencies) = &mut self.latencies {
            latencies.missed();
        }
        let nothing = self.nothing();
        self.expect();
        nothing
    }

    /// Books how long the first frame of a run took that was found just now.
    #[inline]
    fn book_latency(&mut self) {
        if let Some(latencies) = &mut self.latencies {
            let mut run = self.run;
            // SAFETY: a run that was found is not over; else as in `frame`.
            let first = unsafe { run.next(self.shape) };
            latencies.found(first.time_ns());
        }
    }

    /// Visits lanes that have something new in turn, starting after the one visited last.
    #[inline]
    fn visit(&mut self) -> Result<bool, PollError> {
        for _ in 0..self.lanes.len() {
            let Some(index) = self.scan.find() else {
                return Ok(false);
            };
            let found = self.take_from(index, self.visit_frames);
            self.look_on(index);
            if found? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells the scan where reading of a lane goes on.
    #[inline]
    fn look_on(&mut self, index: usize) {
        let Some(lane) = self.lanes.get(index) else {
            return;
        };
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let left = if self.run.lane == number { self.run.left() } else { 0 };
        let position = lane.reader.position().wrapping_add(left);
        if self.feed.is_none() {
            self.scan.set(index, position);
            return;
        }
        // The lane may have another tenancy's words by now, or another to come.
        self.scan.replace(index, lane.reader.shared_words(), position);
        if lane.is_followed() {
            self.scan.stir(index);
        }
    }

    /// Starts a run of up to `most` frames of a lane.
    #[inline]
    fn take_from(&mut self, index: usize, most: u64) -> Result<bool, PollError> {
        if self.in_place
            && let Some(lane) = self.lanes.get_mut(index)
            && let Ok(available @ 1..) = lane.reader.available_gated(self.capacity)
        {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let count = available.min(most);
            self.run = run::in_place(number, &lane.reader, &lane.data, count);
            return Ok(true);
        }
        self.take_with_care(index, most)
    }

    /// The same where frames have to be copied, or there is none, or something is wrong.
    #[inline(never)]
    fn take_with_care(&mut self, index: usize, most: u64) -> Result<bool, PollError> {
        let Some(lane) = self.lanes.get_mut(index) else {
            return Ok(false);
        };
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        if self.lossless {
            let Ok(available) = lane.reader.available_gated(self.capacity) else {
                if self.feed.is_some() {
                    lane.give_up();
                }
                return Err(PollError::Corrupt { lane: number });
            };
            if available == 0 {
                return Ok(self.enter_next(index) && self.take_from(index, most)?);
            }
            if self.in_place {
                // Published since the look that found nothing; the next visit takes it.
                return Ok(false);
            }
            return self.copy_gated(index, available.min(most));
        }
        let (run, lost) =
            run::copy(number, &mut lane.reader, &lane.data, self.capacity, most, &mut self.buffer);
        let is_read = run.is_none() && lane.reader.available() == 0;
        if lost > 0 {
            self.count_lost(index, lost);
        }
        if let Some(run) = run {
            self.run = run;
        }
        Ok(run.is_some() || (is_read && self.enter_next(index) && self.take_from(index, most)?))
    }

    /// Goes on in a lane's next tenancy, if it has been let again since what is read.
    #[inline]
    fn enter_next(&mut self, index: usize) -> bool {
        let cursor = self.row.positions.get(index).filter(|_| self.lossless);
        let gate = cursor.map(|cursor| (cursor, self.capacity));
        let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.is_followed()) else {
            return false;
        };
        let lost = lane.enter_next(gate);
        if let Some(lost) = lost.filter(|lost| *lost > 0) {
            self.count_lost(index, lost);
        }
        lost.is_some()
    }

    /// Fetches the memory of tenants that came since the last look.
    #[cold]
    fn follow_tenants(&mut self) -> Result<(), PollError> {
        let Some(feed) = &mut self.feed else {
            return Ok(());
        };
        let mut fetched = Vec::new();
        let mut done = feed.fetch(&self.regions, &mut fetched).map_err(|_| 0);
        let capacity = self.lossless.then_some(self.capacity);
        for (index, memory) in fetched {
            if let Some(lane) = self.lanes.get_mut(index)
                && !lane.succeed(memory, capacity)
            {
                done = Err(u32::try_from(index).unwrap_or(u32::MAX));
            }
            self.look_on(index);
        }
        done.map_err(|lane| PollError::Corrupt { lane })
    }

    /// Books frames as lost.
    #[cold]
    pub(super) fn count_lost(&mut self, index: usize, lost: u64) {
        // Somebody published them.
        self.met = true;
        self.lost = self.lost.saturating_add(lost);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.lost = lane.lost.saturating_add(lost);
        }
        self.store_counters();
    }

    fn store_counters(&self) {
        // ORDERING: relaxed; statistics with one writer.
        self.row.words.lost.store(self.lost, Ordering::Relaxed);
        for (lane, lost) in self.lanes.iter().zip(self.row.losses.iter()) {
            lost.store(lane.lost, Ordering::Relaxed);
        }
    }

    /// Gives the run back that was handed out to its end. No frame of it is borrowed any more.
    #[inline]
    pub(super) fn finish(&mut self) {
        let count = self.run.handed();
        if count == 0 {
            return;
        }
        let lane = self.run.lane;
        self.run.give_back();
        self.read = self.read.wrapping_add(count);
        // ORDERING: relaxed; a statistic with one writer.
        self.row.words.read.store(self.read, Ordering::Relaxed);
        let Some(index) = usize::try_from(lane).ok() else {
            return;
        };
        let Some(state) = self.lanes.get_mut(index) else {
            return;
        };
        state.reader.advance(count);
        if self.ordered.is_some() {
            self.finish_in_order(index, count);
        } else if let Some(cursor) = self.row.positions.get(index) {
            state.reader.release(cursor);
            self.light.barrier();
            wake::producer(&self.regions, lane);
        }
    }

    /// Gives the run back if it was handed out to its end.
    #[inline]
    pub(super) fn finish_if_done(&mut self) {
        if self.run.is_over() {
            self.finish();
        }
    }

    /// Gives back all that was handed out, now.
    pub(super) fn release(&mut self) {
        if !self.is_forked() {
            self.finish();
            self.release_in_order();
        }
    }

    /// Rings for every producer that sleeps.
    pub(super) fn wake_all(&self) {
        self.light.barrier();
        wake::producers(&self.regions);
    }

    /// There is nothing to read: for now, or for good?
    fn nothing(&mut self) -> Result<bool, PollError> {
        // The order matters: who is gone first, what they left behind second.
        let gone = !self.has_producers();
        self.met |= !gone;
        let removed = self.regions.is_removed();
        let over = removed || (gone && self.met);
        if let Some(error) = self.news.untold.take() {
            return Err(error);
        }
        if !over {
            return Ok(false);
        }
        if self.has_more() {
            return Ok(false);
        }
        if gone && self.met { Err(PollError::Closed) } else { Err(PollError::Removed) }
    }

    /// Nothing was found: asks for the slot that the next frame will probably stand in, so that it
    /// comes together with the head, and lets the producer get ahead if it is one that floods.
    #[inline]
    fn expect(&mut self) {
        if let Some(lane) = self.lane(self.run.lane).filter(|_| self.in_place) {
            lane.data.slots.expect_read(lane.reader.position());
        }
        self.pace.missed();
    }

    pub(super) fn has_producers(&self) -> bool {
        // ORDERING: acquire, pairs with the release of the bit's clearing in
        // `recovery::clear_producer`: whoever sees it clear sees the last head as well.
        self.regions.words.producers.iter().any(|word| word.load(Ordering::Acquire) != 0)
    }

    /// Whether anything is published that this consumer has not come to.
    pub(super) fn has_more(&self) -> bool {
        if self.feed.as_ref().is_some_and(|feed| feed.is_stale(&self.regions)) {
            return true;
        }
        match &self.ordered {
            Some(ordered) => ordered.has_more(),
            None => self.lanes.iter().any(|lane| {
                lane.reader.published() != lane.reader.position() || lane.is_followed()
            }),
        }
    }

    #[inline]
    fn lane(&self, lane: u32) -> Option<&Lane> {
        self.lanes.get(usize::try_from(lane).ok()?)
    }

    fn lane_count(&self) -> u32 {
        self.regions.geometry.shape.lanes
    }

    pub(super) fn lanes(&self) -> u32 {
        self.lane_count()
    }

    pub(super) fn lane_position(&self, lane: u32) -> Option<u64> {
        let position = self.lane(lane)?.reader.position();
        let polled = if self.run.lane == lane { self.run.handed() } else { 0 };
        Some(position.wrapping_add(polled))
    }

    pub(super) fn lane_lag(&self, lane: u32) -> u64 {
        let lag = |state: &Lane| {
            let polled = self.lane_position(lane).unwrap_or_default();
            let behind = state.reader.published().wrapping_sub(polled);
            // On an ordered bus a committed frame can be polled just before head follows.
            if behind > 1 << 63 { 0 } else { behind }
        };
        if self.is_forked() { 0 } else { self.lane(lane).map_or(0, lag) }
    }

    pub(super) fn lane_lost(&self, lane: u32) -> u64 {
        self.lane(lane).map_or(0, |lane| lane.lost)
    }

    pub(super) fn order_position(&self) -> Option<u64> {
        Some(self.ordered.as_ref()?.position(self.run.handed()))
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn read(&self) -> u64 {
        self.read.wrapping_add(self.run.handed())
    }

    pub(super) fn seat(&self) -> u32 {
        self.seat.index
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::process::id() != self.pid {
            // A forked child has no part in the parent's attachment: the mappings are not there.
            return;
        }
        self.release();
        self.tie.leave(&self.regions, &self.seat, Role::Consumer);
        // Whoever slept because of this consumer need not any more.
        self.wake_all();
    }
}
