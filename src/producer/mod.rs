//! What a publishing process holds.
//!
//! * `options`: attaching. * `engine`: reserve, write, commit. * `publish`: the short way to do that.
//! * `order`: tickets. * `claim`: frames handed out for writing in place. * `wait`: waiting for room.
//! * `transaction`: a batch that grows. * `slow`: the watch on consumers that stand still.
//! * `waits`: waiting for room together with others.

#![allow(unsafe_code)]

mod claim;
mod engine;
mod options;
mod order;
mod publish;
mod slow;
mod transaction;
mod wait;
mod waits;

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

pub use claim::{Batch, Claim, Slot};
pub use options::ProducerOptions;
pub use transaction::Transaction;

use zerocopy::IntoBytes;

use crate::error::PublishError;
use crate::frame::{Frame, Raw};
use engine::{Engine, Room};

/// One attached producer: the only writer of its lane.
///
/// It can be sent to another thread, not shared by two. Dropping it detaches: its lane is closed,
/// what it published stays readable, and another producer may take the lane and go on after it.
///
/// Every form of publishing returns the frame's position in its lane. `publish…` and `claim…` follow
/// the bus's policy when the lane is full: `block` waits for up to the timeout given at attach (no
/// timeout: for ever), `reject` returns [`PublishError::Full`] at once, `drop-oldest` never waits.
/// The `try_` forms never wait, and the `_timeout` forms wait for up to their own timeout, whatever
/// the policy.
///
/// Cost: publishing makes no system call unless somebody sleeps who must be woken, or it has to
/// wait itself. It stores to the lane's slots and to the lane's own line, and to nothing else; on
/// an `ordered` bus also to the order ring.
///
/// # Examples
/// ```
/// # let name = format!("doc-producer-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// # let bus = busway::Bus::options().create(&name)?;
/// let mut producer = bus.producer().name("imu").attach()?;
/// let mut claim = producer.claim()?;
/// claim.payload_mut()[..4].copy_from_slice(b"yaw ");
/// claim.set_len(4)?;
/// assert_eq!(claim.commit()?, 0);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct Producer<T = Raw> {
    engine: Engine,
    _frames: PhantomData<fn(T)>,
    /// Not `Sync`: one thread at a time.
    _one_thread: PhantomData<Cell<()>>,
}

/// What is left unread at the end of [`Producer::drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Frames of this lane that the slowest attached consumer has not read. 0: everything is read,
    /// or nobody is attached.
    pub left: u64,
}

impl<T> Producer<T> {
    fn new(engine: Engine) -> Self {
        Self { engine, _frames: PhantomData, _one_thread: PhantomData }
    }

    /// Publishes one frame. `kind` is kept by event frames only.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`], or [`PublishError::WrongLength`] on a bus of bare frames; when
    /// the lane is full, [`PublishError::Full`] or [`PublishError::TimedOut`];
    /// [`PublishError::Removed`] when waiting is in vain.
    #[inline]
    pub fn publish_bytes(&mut self, kind: u16, bytes: &[u8]) -> Result<u64, PublishError> {
        self.engine.publish(kind, bytes, Room::ByPolicy)
    }

    /// Publishes one frame, or returns [`PublishError::Full`] at once.
    ///
    /// # Errors
    /// As [`publish_bytes`](Self::publish_bytes).
    #[inline]
    pub fn try_publish_bytes(&mut self, kind: u16, bytes: &[u8]) -> Result<u64, PublishError> {
        self.engine.publish(kind, bytes, Room::Now)
    }

    /// Publishes one frame, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`publish_bytes`](Self::publish_bytes).
    pub fn publish_bytes_timeout(
        &mut self,
        kind: u16,
        bytes: &[u8],
        timeout: Duration,
    ) -> Result<u64, PublishError> {
        self.engine.publish(kind, bytes, Room::Within(timeout))
    }

    /// Hands out the next frame for writing in place.
    ///
    /// # Errors
    /// When the lane is full, as [`publish_bytes`](Self::publish_bytes).
    #[inline]
    pub fn claim(&mut self) -> Result<Claim<'_>, PublishError> {
        Claim::new(&mut self.engine, Room::ByPolicy)
    }

    /// Hands out the next frame, or returns [`PublishError::Full`] at once.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    #[inline]
    pub fn try_claim(&mut self) -> Result<Claim<'_>, PublishError> {
        Claim::new(&mut self.engine, Room::Now)
    }

    /// Hands out the next frame, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_timeout(&mut self, timeout: Duration) -> Result<Claim<'_>, PublishError> {
        Claim::new(&mut self.engine, Room::Within(timeout))
    }

    /// Hands out the next `frames` frames together: they become visible all at once or not at all.
    ///
    /// # Errors
    /// [`PublishError::BatchSize`] for none or more than the lane can hold; as
    /// [`claim`](Self::claim) otherwise.
    pub fn claim_batch(&mut self, frames: u32) -> Result<Batch<'_>, PublishError> {
        Batch::new(&mut self.engine, frames, Room::ByPolicy)
    }

    /// The same, or [`PublishError::Full`] at once.
    ///
    /// # Errors
    /// As [`claim_batch`](Self::claim_batch).
    pub fn try_claim_batch(&mut self, frames: u32) -> Result<Batch<'_>, PublishError> {
        Batch::new(&mut self.engine, frames, Room::Now)
    }

    /// The same, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`claim_batch`](Self::claim_batch).
    pub fn claim_batch_timeout(
        &mut self,
        frames: u32,
        timeout: Duration,
    ) -> Result<Batch<'_>, PublishError> {
        Batch::new(&mut self.engine, frames, Room::Within(timeout))
    }

    /// Begins a transaction: frames that become visible all at once, or not at all. Each waits for room
    /// as [`publish_bytes`](Self::publish_bytes) does.
    pub fn transaction(&mut self) -> Transaction<'_> {
        Transaction::new(&mut self.engine, Room::ByPolicy)
    }

    /// The same, whose frames are refused with [`PublishError::Full`] at once when there is no room.
    pub fn try_transaction(&mut self) -> Transaction<'_> {
        Transaction::new(&mut self.engine, Room::Now)
    }

    /// The lane that this producer writes.
    #[must_use]
    pub fn lane(&self) -> u32 {
        self.engine.lane()
    }

    /// Which tenancy of its lane this is: how often the lane was taken, this time included.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.engine.epoch()
    }

    /// The position that the next frame gets.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.engine.position()
    }

    /// Frames that this producer has published.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.engine.published()
    }

    /// Publishes of this producer that were refused because the lane was full.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.engine.counters.rejected
    }

    /// Publishes of this producer that had to wait.
    #[must_use]
    pub fn blocked_count(&self) -> u64 {
        self.engine.counters.blocked_count
    }

    /// Nanoseconds that this producer has waited for room.
    #[must_use]
    pub fn blocked_ns(&self) -> u64 {
        self.engine.counters.blocked_ns
    }

    /// Waits until every attached consumer has read all of this lane, for at most `timeout`.
    pub fn drain(&mut self, timeout: Duration) -> Drained {
        Drained { left: self.engine.drain(timeout) }
    }

    /// Detaches: closes the lane. The same as dropping.
    pub fn detach(self) {}
}

impl<T: Frame> Producer<T> {
    /// Publishes one frame, as [`publish_bytes`](Self::publish_bytes) with the type's kind.
    ///
    /// # Errors
    /// When the lane is full: [`PublishError::Full`], [`PublishError::TimedOut`] or
    /// [`PublishError::Removed`].
    #[inline]
    pub fn publish(&mut self, frame: &T) -> Result<u64, PublishError> {
        // SAFETY: `T` fits a frame of this bus: `attach_typed` checked that.
        unsafe { self.engine.publish_fitting(T::KIND, frame.as_bytes(), Room::ByPolicy) }
    }

    /// Publishes one frame, or returns [`PublishError::Full`] at once.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    #[inline]
    pub fn try_publish(&mut self, frame: &T) -> Result<u64, PublishError> {
        // SAFETY: `T` fits a frame of this bus: `attach_typed` checked that.
        unsafe { self.engine.publish_fitting(T::KIND, frame.as_bytes(), Room::Now) }
    }

    /// Publishes one frame, waiting for room for at most `timeout`.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_timeout(&mut self, frame: &T, timeout: Duration) -> Result<u64, PublishError> {
        // SAFETY: `T` fits a frame of this bus: `attach_typed` checked that.
        unsafe { self.engine.publish_fitting(T::KIND, frame.as_bytes(), Room::Within(timeout)) }
    }

    /// Publishes frames together, all or none. Returns the position of the first.
    ///
    /// # Errors
    /// [`PublishError::BatchSize`] for none or more than the lane can hold; as
    /// [`publish`](Self::publish) otherwise.
    pub fn publish_batch(&mut self, frames: &[T]) -> Result<u64, PublishError> {
        let frames = frames.iter().map(IntoBytes::as_bytes);
        // SAFETY: they are `T`s, which fit a frame of this bus: `attach_typed` checked that.
        unsafe { self.engine.publish_all(T::KIND, size_of::<T>(), frames, Room::ByPolicy) }
    }
}
