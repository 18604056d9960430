//! Reading without being there: no seat, no gate, no store to the bus at all.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::broker::feed::Feed;
use crate::broker::memory::LaneMemory;
use crate::buffer::Buffer;
use crate::bus::Bus;
use crate::error::{Error, PollError};
use crate::lane::join::{self, Held};
use crate::lane::lossy;
use crate::lane::reader::LaneReader;
use crate::layout::frame::FrameShape;
use crate::options::{Start, Wait};
use crate::park::{Step, Waiting};
use crate::received::{FrameRef, Frames};
use crate::regions::{Health, Regions};
use crate::run::{self, Run};
use crate::shm::alarm;
use crate::tenancy::Lane;
use crate::tie::{Lookout, Tie};

/// How long an observer sleeps between looks: nobody rings for it, since nobody knows of it.
const NAP: Duration = Duration::from_millis(1);

impl Bus {
    /// Attaches an observer: reads without a seat and without gating anybody.
    pub fn observer(&self) -> ObserverOptions<'_> {
        ObserverOptions::new(self)
    }
}

/// How an observer attaches: from [`Bus::observer`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct ObserverOptions<'a> {
    bus: &'a Bus,
    start: Start,
}

impl<'a> ObserverOptions<'a> {
    fn new(bus: &'a Bus) -> Self {
        Self { bus, start: Start::Latest }
    }

    /// Where to start; at the latest by default.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Maps the bus read-only and starts to observe.
    ///
    /// # Errors
    /// [`Error::Permission`] without read permission, [`Error::NotFound`] when the bus has been
    /// removed.
    pub fn attach(self) -> Result<Observer, Error> {
        Observer::attach(self.bus, self.start)
    }
}

/// Reads any bus without gating anybody: for tools.
///
/// It takes no seat, needs read permission only, and costs producers nothing but the reading of
/// their lines. Frames are copied and checked; what was overwritten before it could be copied is
/// counted exactly. Lanes are visited in turn; each lane's frames come in order. On an `ordered`
/// bus it reads the lanes, not the total order.
///
/// # Examples
/// ```
/// # let name = format!("doc-observer-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let bus = busway::Bus::options().create(&name)?;
/// let mut producer = bus.producer().attach()?;
/// producer.publish_bytes(1, b"seen")?;
/// let mut observer = bus.observer().start(busway::Start::Oldest).attach()?;
/// assert_eq!(observer.poll()?.map(|frame| frame.payload().to_vec()), Some(b"seen".to_vec()));
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    run: Run,
    shape: FrameShape,
    lanes: Vec<Lane>,
    next_lane: usize,
    buffer: Buffer,
    capacity: u64,
    visit_frames: u64,
    read: u64,
    health: Health,
    regions: Regions,
    /// Keeps up with lanes that are let again, on a brokered bus.
    feed: Option<Feed>,
    /// When it was first seen, while waiting, that the broker is gone.
    gone_since: Option<Instant>,
    pid: u32,
    tie: Tie,
    /// Not `Sync`: one thread at a time.
    _one_thread: PhantomData<Cell<()>>,
}

impl Observer {
    fn attach(bus: &Bus, start: Start) -> Result<Self, Error> {
        let header = bus.header();
        let (geometry, origin) = (header.geometry, header.origin);
        let capacity = geometry.shape.capacity;
        let shape = geometry.frame_shape().ok_or_else(|| Error::Corrupt {
            name: bus.name().to_owned(),
            reason: "its frames do not fit their slots".to_owned(),
        })?;
        let Lookout { tie, regions, lanes: memory, feed } = bus.tie().observer(header)?;
        let mut lanes = Vec::new();
        for LaneMemory { words, data, start: first } in memory {
            let latest = LaneReader::new(words.clone(), 0).published();
            let oldest = lossy::oldest(&words, capacity, first);
            let (position, gone) = match start {
                Start::Latest => (latest, 0),
                Start::Oldest => (oldest, 0),
                Start::Position(wanted) => {
                    join::settle(Held { oldest, head: latest }, wanted, origin)
                }
            };
            let memory = LaneMemory { words, data, start: first };
            lanes.push(Lane::new(memory, position, gone));
        }
        let health = lanes.iter().fold(regions.health().clone(), |all, lane| all.and(&lane.data));
        let stride = usize::try_from(geometry.stride_bytes).unwrap_or(0);
        let visit_frames = run::visit_frames(geometry.stride_bytes.into(), capacity);
        Ok(Self {
            run: Run::default(),
            shape,
            lanes,
            next_lane: 0,
            buffer: Buffer::new(usize::try_from(visit_frames).unwrap_or(0).saturating_mul(stride)),
            capacity,
            visit_frames,
            read: 0,
            health,
            regions,
            feed,
            gone_since: None,
            pid: std::process::id(),
            tie,
            _one_thread: PhantomData,
        })
    }

    /// The next frame, if there is one. Never waits.
    ///
    /// # Errors
    /// [`PollError::Removed`] when the bus was removed and everything is read.
    pub fn poll(&mut self) -> Result<Option<FrameRef<'_>>, PollError> {
        Ok(self.next_frames(1)?.and_then(|mut frames| frames.next()))
    }

    /// Calls `read` with the next run of frames, at most `max` of one lane. Returns how many there
    /// were. Never waits.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn poll_batch(
        &mut self,
        max: usize,
        read: impl FnOnce(Frames<'_>),
    ) -> Result<usize, PollError> {
        let Some(frames) = self.next_frames(max)? else {
            return Ok(0);
        };
        let count = frames.len();
        read(frames);
        Ok(count)
    }

    /// The next frame, or `None` when there was none for `timeout`. Spins for a moment, then looks
    /// every millisecond.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<FrameRef<'_>>, PollError> {
        let mut waiting = Waiting::new(Wait::Adaptive, Some(timeout));
        while !self.advance()? {
            match waiting.step() {
                Step::Again => {}
                Step::Over => return Ok(None),
                // Here there is time to ask whether somebody removed the file by hand.
                Step::Park(_) if self.tie.segment().is_some_and(|segment| !segment.is_linked()) => {
                    return Err(PollError::Removed);
                }
                Step::Park(_) if self.tie.is_given_up(&mut self.gone_since) => {
                    return Err(PollError::BrokerGone);
                }
                Step::Park(longest) => std::thread::sleep(longest.min(NAP)),
            }
        }
        Ok(self.take(1).next())
    }

    /// Frames published and not yet polled, all lanes.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let behind = self.run.left();
        if self.is_cut_off() {
            return behind;
        }
        self.lanes
            .iter()
            .map(|Lane { reader, .. }| reader.published().wrapping_sub(reader.position()))
            .fold(behind, u64::saturating_add)
    }

    /// Frames lost since the attach, all lanes. Exact.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lanes.iter().fold(0, |sum, lane| lane.lost.saturating_add(sum))
    }

    /// Frames of one lane lost since the attach. 0 for a lane that the bus does not have.
    #[must_use]
    pub fn lane_lost(&self, lane: u32) -> u64 {
        let lane = usize::try_from(lane).ok().and_then(|lane| self.lanes.get(lane));
        lane.map_or(0, |lane| lane.lost)
    }

    /// Frames polled since the attach.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Makes sure that there is a frame to hand out. `false`: there is none.
    fn advance(&mut self) -> Result<bool, PollError> {
        Ok(!self.run.is_over() || self.visit()?)
    }

    /// The next frames of one lane, `max` at most. `None`: there are none.
    fn next_frames(&mut self, max: usize) -> Result<Option<Frames<'_>>, PollError> {
        if max == 0 || !self.advance()? {
            return Ok(None);
        }
        Ok(Some(self.take(u64::try_from(max).unwrap_or(u64::MAX))))
    }

    /// Hands out what is left of the run, `max` frames at most.
    fn take(&mut self, max: u64) -> Frames<'_> {
        let count = self.run.left().min(max);
        self.read = self.read.wrapping_add(count);
        // SAFETY: as many are left; they are copies, which only the next run overwrites, and that
        // takes `&mut self`.
        unsafe { self.run.take(self.shape, count) }
    }

    /// Whether this process is a forked child that did not inherit the memory. What is lent by a
    /// broker is not inherited; what was opened to be looked at is.
    fn is_cut_off(&self) -> bool {
        alarm::is_raised() && self.feed.is_some() && std::process::id() != self.pid
    }

    /// Copies the next run, from the lane after the one visited last.
    fn visit(&mut self) -> Result<bool, PollError> {
        if self.is_cut_off() {
            return Err(PollError::Forked);
        }
        if self.health.is_broken() {
            return Err(PollError::Truncated);
        }
        if self.feed.as_ref().is_some_and(|feed| feed.is_stale(&self.regions)) {
            self.follow_tenants()?;
        }
        for _ in 0..self.lanes.len() {
            let index = self.next_lane;
            self.next_lane = if index + 1 < self.lanes.len() { index + 1 } else { 0 };
            if self.copy_from(index) {
                self.gone_since = None;
                return Ok(true);
            }
        }
        if self.regions.is_removed() { Err(PollError::Removed) } else { Ok(false) }
    }

    /// Copies a run of a lane, going on in later tenancies of it when one is read.
    fn copy_from(&mut self, index: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(index) else {
            return false;
        };
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let (capacity, most) = (self.capacity, self.visit_frames);
        // Bounded: each turn takes a tenancy that has been fetched.
        loop {
            let Lane { reader, data, .. } = lane;
            let (run, lost) = run::copy(number, reader, data, capacity, most, &mut self.buffer);
            lane.lost = lane.lost.saturating_add(lost);
            if let Some(run) = run {
                // The copy is private: nothing is released later, so the lane moves on now.
                lane.reader.advance(run.left());
                self.run = run;
                return true;
            }
            if lane.reader.available() > 0 {
                return false;
            }
            let Some(lost) = lane.enter_next(None) else {
                return false;
            };
            lane.lost = lane.lost.saturating_add(lost);
        }
    }

    /// Fetches the memory of tenants that came since the last look.
    #[cold]
    fn follow_tenants(&mut self) -> Result<(), PollError> {
        let Some(feed) = &mut self.feed else {
            return Ok(());
        };
        let mut fetched = Vec::new();
        let mut done = feed.fetch(&self.regions, &mut fetched).map_err(|_| 0);
        for (index, memory) in fetched {
            if let Some(lane) = self.lanes.get_mut(index)
                && !lane.succeed(memory, None)
            {
                done = Err(u32::try_from(index).unwrap_or(u32::MAX));
            }
        }
        done.map_err(|lane| PollError::Corrupt { lane })
    }
}
