//! What a reading process holds.
//!
//! * `options`: attaching. * `engine`: runs of frames, cursors. * `ordered`: runs by the order ring.
//! * `scan`: which lane has something new. * `wait`: waiting; `waits`: with others, in a wait set.
//! * `evicted`: losing its place.

mod engine;
mod evicted;
mod latency;
mod options;
mod ordered;
mod pace;
mod scan;
#[cfg(test)]
mod tests;
mod wait;
mod waits;

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

pub use options::ConsumerOptions;

use crate::error::PollError;
use crate::frame::{Frame, Raw};
use crate::received::{FrameRef, Frames, OwnedFrame};
use engine::Engine;

/// One attached consumer: reads every frame of every lane.
///
/// On a lossless bus producers wait for it (or are refused) when it is a whole ring behind, and
/// frames are read in place. On a `drop-oldest` bus nobody waits for it; frames are copied, checked,
/// and handed out as copies, and what was overwritten before it could be read is counted exactly.
///
/// A lossless bus may evict a consumer that is too slow for it (`BusOptions::evict_after`,
/// `evict_lag_frames`); on such a bus frames are copied and checked as well. The evicted consumer is
/// handed what it had copied before, then gets [`PollError::Evicted`] with its loss.
///
/// Frames of one lane come in the order in which they were published. Lanes are visited in turn,
/// with a bound on each visit, so that a flooding producer cannot starve a slow one. On an `ordered`
/// bus every consumer sees the same order of all frames.
///
/// It can be sent to another thread, not shared by two. Dropping it detaches.
///
/// Cost: polling makes no system call. It loads one line per lane that has nothing new, and stores
/// its own cursor once a run.
///
/// # Examples
/// ```
/// # let name = format!("doc-consumer-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let bus = busway::Bus::options().create(&name)?;
/// let mut consumer = bus.consumer().name("logger").attach()?;
/// let mut producer = bus.producer().attach()?;
/// producer.publish_bytes(1, b"one")?;
/// producer.publish_bytes(2, b"two")?;
/// let mut kinds = Vec::new();
/// consumer.poll_batch(usize::MAX, |frames| kinds.extend(frames.map(|frame| frame.kind())))?;
/// assert_eq!(kinds, [1, 2]);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct Consumer<T = Raw> {
    engine: Engine,
    _frames: PhantomData<fn() -> T>,
    /// Not `Sync`: one thread at a time.
    _one_thread: PhantomData<Cell<()>>,
}

impl<T> Consumer<T> {
    fn new(engine: Engine) -> Self {
        Self { engine, _frames: PhantomData, _one_thread: PhantomData }
    }

    /// The next frame, if there is one. Never waits.
    ///
    /// The frame can be read until the next call on this consumer. Producers get it back when the
    /// visit to its lane is over (at most 256 frames, 16 KiB or a quarter of the ring), when
    /// nothing is left to read, or by [`release`](Self::release).
    ///
    /// # Errors
    /// [`PollError::Closed`] when every producer that was seen has detached and everything is read:
    /// polling goes on when another attaches. [`PollError::Removed`] when the bus was removed and
    /// everything is read. [`PollError::Corrupt`] for words that no honest producer writes.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<FrameRef<'_>>, PollError> {
        let ready = self.engine.advance()?;
        Ok(ready.map(|ready| self.engine.frame(ready)))
    }

    /// Calls `read` with the next run of frames, at most `max` of one lane. Returns how many there
    /// were; with none, `read` is not called. Never waits.
    ///
    /// The frames can be read until `read` returns. Producers get them back as those of
    /// [`poll`](Self::poll).
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    #[inline]
    pub fn poll_batch(
        &mut self,
        max: usize,
        read: impl FnOnce(Frames<'_>),
    ) -> Result<usize, PollError> {
        let Some(frames) = self.engine.frames(max)? else {
            return Ok(0);
        };
        let count = frames.len();
        read(frames);
        self.engine.finish_if_done();
        Ok(count)
    }

    /// The next frame; waits for it for ever, as the wait strategy says.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn recv(&mut self) -> Result<FrameRef<'_>, PollError> {
        let ready = loop {
            if let Some(ready) = self.engine.wait(None)? {
                break ready;
            }
        };
        Ok(self.engine.frame(ready))
    }

    /// The next frame, or `None` when there was none for `timeout`.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<FrameRef<'_>>, PollError> {
        let ready = self.engine.wait(Some(timeout))?;
        Ok(ready.map(|ready| self.engine.frame(ready)))
    }

    /// Frames as owned values, waiting for each as [`recv`](Self::recv) does; ends at
    /// [`PollError::Closed`] or [`PollError::Removed`].
    pub fn iter_mut(&mut self) -> Iter<'_, T> {
        Iter { consumer: self, failed: false }
    }

    /// Gives back everything polled so far, and tells producers now rather than at the end of the
    /// run. For a consumer that polled what it wanted and goes to do something else.
    pub fn release(&mut self) {
        self.engine.release();
    }

    /// Frames published and not yet polled, all lanes. Cost: one line per lane.
    #[must_use]
    pub fn lag(&self) -> u64 {
        (0..self.engine.lanes()).map(|lane| self.lane_lag(lane)).fold(0, u64::saturating_add)
    }

    /// Frames published on one lane and not yet polled. 0 for a lane that the bus does not have.
    #[must_use]
    pub fn lane_lag(&self, lane: u32) -> u64 {
        self.engine.lane_lag(lane)
    }

    /// Frames lost since the attach, all lanes: overwritten before they could be read, or asked for
    /// by [`Start::Position`](crate::Start) and gone. Exact. Always 0 on a lossless bus otherwise.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.engine.lost()
    }

    /// Frames of one lane lost since the attach.
    #[must_use]
    pub fn lane_lost(&self, lane: u32) -> u64 {
        self.engine.lane_lost(lane)
    }

    /// The position in a lane of the next frame to poll from it; `None` for a lane that the bus
    /// does not have.
    #[must_use]
    pub fn lane_position(&self, lane: u32) -> Option<u64> {
        self.engine.lane_position(lane)
    }

    /// The place in the total order, on an `ordered` bus: the ticket of the frame to poll next, which all
    /// frames of a batch share, or an earlier one that no frame has.
    #[must_use]
    pub fn order_position(&self) -> Option<u64> {
        self.engine.order_position()
    }

    /// Frames polled since the attach.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.engine.read()
    }

    /// The consumer's seat, as tools show it.
    #[must_use]
    pub fn seat(&self) -> u32 {
        self.engine.seat()
    }

    /// Detaches: gates nobody any more. The same as dropping.
    pub fn detach(self) {}
}

impl<T: Frame> Consumer<T> {
    /// The next frame's payload as a `T`, in place, if there is a frame. Never waits.
    ///
    /// # Errors
    /// [`PollError::WrongType`] for a frame of another size, published untyped; as
    /// [`poll`](Consumer::poll) otherwise.
    #[inline]
    pub fn poll_value(&mut self) -> Result<Option<&T>, PollError> {
        self.poll()?.map(|frame| frame.value()).transpose()
    }
}

/// Frames as owned values: from [`Consumer::iter_mut`].
#[derive(Debug)]
pub struct Iter<'a, T = Raw> {
    consumer: &'a mut Consumer<T>,
    /// An error was returned: there is nothing after it.
    failed: bool,
}

impl<T> Iterator for Iter<'_, T> {
    type Item = Result<OwnedFrame, PollError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.consumer.recv() {
            Ok(frame) => Some(Ok(frame.to_owned())),
            Err(PollError::Closed | PollError::Removed) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

impl<'a, T> IntoIterator for &'a mut Consumer<T> {
    type Item = Result<OwnedFrame, PollError>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter_mut()
    }
}
