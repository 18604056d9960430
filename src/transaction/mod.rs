//! Transactions over several buses, told apart by a key, so that a half which is repeated can be dropped.
//!
//! Each bus's share is a transaction of its own, visible all or none. What does not exist is one moment in
//! which all buses' shares become visible: they are committed one after the other, and a process can die
//! between two. It, or who takes its place, then repeats the whole under the same key, and the consumers
//! of the buses that had it drop what they know ([`Deduplicator`]). docs/transactions.md has the table.
//!
//! * `head`: the frame that says which transaction follows. * `dedup`: the consumer's side.

mod dedup;
mod head;

use std::fmt;

pub use dedup::Deduplicator;

use crate::error::PublishError;
use crate::frame::Frame;
use crate::producer::{Producer, Transaction};
use head::Head;

/// A transaction over any number of buses, with an idempotence key.
///
/// Parts are committed in the order in which their producers were added. Everything that can fail has
/// failed before the first commit (the room is taken, the frames are written), except on `ordered` buses,
/// whose order ring can refuse: add those first.
///
/// # Examples
/// ```
/// use busway::{Bus, Deduplicator, KeyedTransaction};
///
/// # let names = ["a", "b"].map(|bus| format!("doc-keyed-{bus}-{}", std::process::id()));
/// # struct Guard<'a>(&'a [String]); // removes the buses whatever happens
/// # impl Drop for Guard<'_> {
/// #     fn drop(&mut self) { for name in self.0 { let _ = busway::Bus::remove(name); } }
/// # }
/// # let _guard = Guard(&names);
/// # let (orders, stock) = (Bus::options().create(&names[0])?, Bus::options().create(&names[1])?);
/// # let mut consumer = orders.consumer().attach()?;
/// # let (mut order_lane, mut stock_lane) = (orders.producer().attach()?, stock.producer().attach()?);
/// let order_number = 4711;
/// for _attempt in 0..2 {
///     let mut sale = KeyedTransaction::new(order_number);
///     let order = sale.join(&mut order_lane)?;
///     let goods = sale.join(&mut stock_lane)?;
///     sale.publish_bytes(order, 1, b"sold")?;
///     sale.publish_bytes(goods, 1, b"one less")?;
///     sale.commit()?;
/// }
/// let mut known = Deduplicator::new(1000);
/// let mut sold = 0;
/// while let Some(frame) = consumer.poll()? {
///     if known.admits(&frame) {
///         sold += 1;
///     }
/// }
/// assert_eq!((sold, known.repeated()), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is not committed is rolled back"]
pub struct KeyedTransaction<'a> {
    key: u128,
    parts: Vec<Transaction<'a>>,
}

impl<'a> KeyedTransaction<'a> {
    /// Parts that one transaction may have.
    pub const PARTS_MAX: usize = 64;

    /// A transaction without parts. The key says which it is: whoever repeats it uses the same, and no
    /// other transaction does for as long as consumers remember it.
    pub fn new(key: u128) -> Self {
        Self { key, parts: Vec::new() }
    }

    /// Adds a bus, by its producer; returns the part's index. The part takes one frame more than what is
    /// published in it.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] or [`PublishError::WrongLength`] when frames of this bus cannot hold the
    /// 32 bytes that say which transaction follows; [`PublishError::BatchSize`] for more than
    /// [`PARTS_MAX`](Self::PARTS_MAX) parts; otherwise as a claim.
    pub fn join<T>(&mut self, producer: &'a mut Producer<T>) -> Result<usize, PublishError> {
        let index = self.parts.len();
        if index >= Self::PARTS_MAX {
            let frames = Self::PARTS_MAX as u64;
            return Err(PublishError::BatchSize { frames: frames + 1, max: frames });
        }
        let mut part = producer.transaction();
        part.publish_bytes(head::KIND, Head::default().as_bytes())?;
        self.parts.push(part);
        Ok(index)
    }

    /// Adds a frame of bytes to a part.
    ///
    /// # Errors
    /// As [`Transaction::publish_bytes`]; [`PublishError::BatchSize`] for a part that there is not.
    pub fn publish_bytes(
        &mut self,
        part: usize,
        kind: u16,
        bytes: &[u8],
    ) -> Result<(), PublishError> {
        self.part(part)?.publish_bytes(kind, bytes)
    }

    /// Adds a frame of type `T` to a part.
    ///
    /// # Errors
    /// As [`publish_bytes`](Self::publish_bytes).
    pub fn publish<T: Frame>(&mut self, part: usize, frame: &T) -> Result<(), PublishError> {
        self.part(part)?.publish(frame)
    }

    fn part(&mut self, part: usize) -> Result<&mut Transaction<'a>, PublishError> {
        let max = self.parts.len() as u64;
        let none = PublishError::BatchSize { frames: part as u64 + 1, max };
        self.parts.get_mut(part).ok_or(none)
    }

    /// Commits the parts, one after the other.
    ///
    /// # Errors
    /// Says how many of them are committed. With none it is as if it had been rolled back; with some,
    /// repeat the transaction under the same key.
    pub fn commit(mut self) -> Result<(), CommitError> {
        let parts = self.parts.len();
        for (index, part) in self.parts.iter_mut().enumerate() {
            let head = Head::new(self.key, part.len().saturating_sub(1), index, parts);
            let written = part.slot(0).map(|mut slot| head.write(slot.payload_mut()));
            written.map_err(|error| CommitError { committed: 0, error })?;
        }
        for (committed, part) in self.parts.into_iter().enumerate() {
            part.commit().map_err(|error| CommitError { committed, error })?;
        }
        Ok(())
    }

    /// Forgets all of it. The same as dropping.
    pub fn rollback(self) {}
}

/// A transaction over several buses was not committed on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitError {
    /// Parts that are committed, the first ones.
    pub committed: usize,
    /// Why the next one was not.
    pub error: PublishError,
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, error } = self;
        write!(f, "{error}; {committed} parts of the transaction are committed")
    }
}

impl std::error::Error for CommitError {}
