//! Many callers, one call: requests to something slow are put together.
//!
//! ```text
//!  call ─┐                    ┌── gather ──┐                      ┌─► its caller
//!  call ─┼─► bounded queue ─► │ up to N, or │ ─► handler(items) ──┼─► its caller
//!  call ─┘   (full: wait)     │ T µs since  │    one result each  └─► its caller
//!                             │ the first   │
//!                             └─────────────┘
//! ```
//!
//! One worker at a time gathers; when its batch is whole, the next begins to gather while it runs the
//! handler. The linger counts from when the first item of the batch was submitted, not from when a
//! worker saw it: an item that waited for a free worker does not wait again. A stage with nothing to do
//! parks.
//!
//! Every item that was taken gets exactly one answer: its result, its error, or why there is none.

#[cfg(feature = "async")]
mod future;
mod options;
#[cfg(feature = "async")]
mod room;
mod stage;
#[cfg(test)]
mod tests;
mod ticket;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "async")]
pub use future::Answer;
pub use options::BatcherOptions;
pub use stage::BatcherStats;
pub use ticket::{CallError, SubmitError, Ticket};

use crossbeam_channel::{SendTimeoutError, Sender, TrySendError};
use stage::{Item, Stage};

/// The longest that a caller sleeps before it looks whether the batcher is closing.
const PARK_MAX: Duration = Duration::from_millis(50);

/// Puts the requests of concurrent callers together into batches. Its clones are the same one.
///
/// When the last clone is dropped, what was submitted is still done, and then the workers end.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use busway_toolkit::Batcher;
///
/// // What looks up many at once as fast as one.
/// let lookup = |ids: Vec<u32>| {
///     ids.into_iter().map(|id| if id < 100 { Ok(id * id) } else { Err("no such id") }).collect()
/// };
/// let batcher = Batcher::options().items(64).linger(Duration::from_micros(50)).build(lookup)?;
///
/// let tickets: Vec<_> = [3, 500, 4].map(|id| batcher.submit(id)).into_iter().collect::<Result<_, _>>()?;
/// let results: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait().ok()).collect();
/// assert_eq!(results, [Some(9), None, Some(16)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Batcher<T, R, E> {
    stage: Arc<Stage<T, R, E>>,
    queue: Sender<Item<T, R, E>>,
}

impl<T, R, E> Clone for Batcher<T, R, E> {
    fn clone(&self) -> Self {
        Self { stage: Arc::clone(&self.stage), queue: self.queue.clone() }
    }
}

impl<T, R, E> fmt::Debug for Batcher<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Batcher<(), (), ()> {
    /// How it is to batch.
    pub fn options() -> BatcherOptions {
        BatcherOptions::default()
    }
}

/// What became of all that was submitted, when a batcher was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatcherReport {
    /// Counts at the end.
    pub stats: BatcherStats,
    /// Items that waited and were not begun: their callers were told.
    pub not_begun: u64,
    /// Items whose handler was still running: their callers are answered when it returns.
    pub running: u64,
}

impl<T, R, E> Batcher<T, R, E>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    /// Submits an item and waits for its result.
    ///
    /// # Errors
    /// The item's own error, or why there is no result.
    pub fn call(&self, item: T) -> Result<R, CallError<E>> {
        self.submit(item).map_err(|_| CallError::Closed)?.wait()
    }

    /// Submits several items and waits for their results, in the same order. Cheaper than one by one: the
    /// caller mostly sleeps once.
    pub fn call_many(&self, items: impl IntoIterator<Item = T>) -> Vec<Result<R, CallError<E>>> {
        let tickets: Vec<_> = items.into_iter().map(|item| self.submit(item)).collect();
        let wait = |ticket: Result<Ticket<R, E>, SubmitError<T>>| match ticket {
            Ok(ticket) => ticket.wait(),
            Err(_) => Err(CallError::Closed),
        };
        tickets.into_iter().map(wait).collect()
    }

    /// Submits an item; waits while the queue is full.
    ///
    /// # Errors
    /// [`SubmitError::Closed`], with the item.
    pub fn submit(&self, item: T) -> Result<Ticket<R, E>, SubmitError<T>> {
        let (mut item, ticket) = self.stage.item(item, false);
        loop {
            if self.stage.is_closing() {
                return Err(SubmitError::Closed(item.value));
            }
            match self.queue.try_send(item) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(item)) => {
                    return Err(SubmitError::Closed(item.value));
                }
                Err(TrySendError::Full(back)) => item = back,
            }
            match self.queue.send_timeout(item, PARK_MAX) {
                Ok(()) => break,
                Err(SendTimeoutError::Timeout(back)) => item = back,
                Err(SendTimeoutError::Disconnected(item)) => {
                    return Err(SubmitError::Closed(item.value));
                }
            }
        }
        self.submitted();
        Ok(ticket)
    }

    /// Submits an item if there is room.
    ///
    /// # Errors
    /// [`SubmitError::Full`] or [`SubmitError::Closed`], with the item.
    pub fn try_submit(&self, item: T) -> Result<Ticket<R, E>, SubmitError<T>> {
        if self.stage.is_closing() {
            return Err(SubmitError::Closed(item));
        }
        let (item, ticket) = self.stage.item(item, false);
        match self.queue.try_send(item) {
            Ok(()) => {
                self.submitted();
                Ok(ticket)
            }
            Err(TrySendError::Full(item)) => Err(SubmitError::Full(item.value)),
            Err(TrySendError::Disconnected(item)) => Err(SubmitError::Closed(item.value)),
        }
    }

    fn submitted(&self) {
        self.stage.note_submitted();
        self.stage.grow_if_saturated(|| self.queue.len());
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> BatcherStats {
        self.stage.stats()
    }

    /// Takes no more items, finishes those that were taken, at most for `timeout`, ends the workers,
    /// and says what was not done. Items that were not begun are answered with [`CallError::Closed`].
    pub fn close(&self, timeout: Duration) -> BatcherReport {
        self.stage.close_begins();
        let began = Instant::now();
        while self.stage.in_flight() > 0 && began.elapsed() < timeout {
            std::thread::sleep(Duration::from_micros(100).min(timeout));
        }
        let not_begun = self.stage.close_ends();
        let stats = self.stage.stats();
        BatcherReport { stats, not_begun, running: self.stage.in_flight() }
    }
}
