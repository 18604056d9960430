//! A caller's claim on a result.

use std::fmt;
use std::time::Duration;

use oneshot::{Receiver, RecvTimeoutError};

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The item's own error, as the handler gave it.
    Item(E),
    /// The handler panicked over the batch that the item was in.
    Panicked,
    /// The handler gave fewer results than there were items, and none for this one.
    NoResult,
    /// The batcher closed before the item was begun.
    Closed,
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(error) => error.fmt(f),
            Self::Panicked => f.write_str("the handler panicked over the batch of this item"),
            Self::NoResult => f.write_str("the handler gave fewer results than there were items"),
            Self::Closed => f.write_str("the batcher closed before this item was begun"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}

/// Why an item was not taken; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError<T> {
    /// The queue is full.
    Full(T),
    /// The batcher takes no more.
    Closed(T),
}

impl<T> SubmitError<T> {
    /// The item.
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the batcher's queue is full",
            Self::Closed(_) => "the batcher is closed",
        })
    }
}

impl<T> fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> std::error::Error for SubmitError<T> {}

/// A result that is to come. Dropping it changes nothing for the item: its result is thrown away.
#[derive(Debug)]
#[must_use = "the result comes to who waits for it"]
pub struct Ticket<R, E> {
    pub(super) answer: Receiver<Result<R, CallError<E>>>,
}

impl<R, E> Ticket<R, E> {
    /// Waits for the result. It comes for sure: a batcher that closes or whose handler panics says so.
    ///
    /// # Errors
    /// The item's own error, or why there is no result.
    pub fn wait(self) -> Result<R, CallError<E>> {
        self.answer.recv().unwrap_or(Err(CallError::Closed))
    }

    /// Waits for the result for so long; gives the ticket back if it has not come.
    ///
    /// # Errors
    /// The ticket, when the time is over.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<R, CallError<E>>, Self> {
        match self.answer.recv_timeout(timeout) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Timeout) => Err(self),
            Err(RecvTimeoutError::Disconnected) => Ok(Err(CallError::Closed)),
        }
    }
}
