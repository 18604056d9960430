//! Events to handlers, by kind.
//!
//! ```text
//!  bus ──► polling thread ──┬─ inline: the handler runs here, and reads the frame in place
//!          looks up the kind└─ pool: the event is copied, and goes ──► queue ──► workers
//!                                                                        ▲          │
//!          waits: back-off, rate, breaker, concurrency ──────────────────┘          ├ succeeds: processed
//!                  ▲                                                                │
//!                  └────────────────────────────────────────────────────────────────┤ fails, may try again
//!          dead-letter bus ◄────────────────────────────────────────────────────────┘ fails for good
//! ```
//!
//! **A frame that a worker handles is copied out of the bus before the consumer's cursor moves**, and
//! so is one that has to wait. Only a handler that runs inline reads the bus's own memory, and the
//! cursor moves after it.
//!
//! **Accounting.** Every event taken from the bus ends in exactly one of these counts, whatever fails:
//! received = processed + failed + dead-lettered + unhandled + not done. The last are listed in the
//! report of [`Dispatcher::close`]. What was still in the bus is reported as unread.
//!
//! **Order.** Inline and with a concurrency of 1, events of one kind and lane are begun in order, except
//! one that is tried again, which lets others pass.
//!
//! * `builder`: putting it together. * `attempt`: one attempt. * `core`: what comes before it, and follows.
//! * `gate`: what has to wait before its attempt. * `delay`: what waits for a time. * `worker`: the pool.
//! * `tasks`: handlers that are futures. * `close`: the end.

mod attempt;
mod builder;
mod close;
mod context;
mod core;
mod delay;
mod failure;
mod gate;
mod held;
mod job;
mod metrics;
mod route;
#[cfg(feature = "async")]
mod tasks;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use builder::{BATCH_DEFAULT, BUFFER_DEFAULT};
pub use builder::{DispatcherBuilder, Unhandled};
pub use close::{NotDone, Report, Whereabouts};
pub use context::{Context, Middleware};
pub use failure::Failure;
pub(crate) use failure::panic_text;
pub use metrics::{KindMetrics, Metrics, Monitor};
#[cfg(feature = "async")]
pub use tasks::{AsyncDispatcher, TaskContext};

use crate::cancel::Cancel;
use crate::source::{Received, Source};
use core::Core;
use crossbeam_channel::Receiver;
use job::Message;

/// The longest that the polling thread sleeps while events are under way.
const PARK_BUSY: Duration = Duration::from_millis(1);
/// The longest that it sleeps otherwise.
pub(crate) const PARK_MAX: Duration = Duration::from_millis(50);
/// How long it sleeps between looks at a bus without producers.
const PARK_CLOSED: Duration = Duration::from_millis(5);

/// What [`Dispatcher::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polled {
    /// Events taken from the source.
    pub events: usize,
    /// What the source said.
    pub received: Received,
}

/// Hands events to their handlers, with retry, time-outs, breakers, limits and dead letters.
///
/// One thread polls it, by [`poll`](Self::poll) or [`run`](Self::run); it can be sent to a thread of
/// its own. Handlers run in that thread, or on a pool of workers.
///
/// Dropping it ends as [`close`](Self::close) without waiting, and logs what was not done.
///
/// # Examples
/// ```
/// # let name = format!("doc-dispatcher-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// use std::time::Duration;
/// use busway_toolkit::{BusSource, Dispatcher, Policy, Retry};
///
/// let bus = busway::Bus::options().create(&name)?;
/// let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus)?)
///     .on(7, |context, event| {
///         if event.payload.is_empty() {
///             return Err("an order without content".into());
///         }
///         println!("{} {}: {:?}", context.source(), event.position, event.payload);
///         Ok(())
///     })
///     .policy(7, Policy { retry: Retry::attempts(3), ..Policy::default() })
///     .build()?;
///
/// let mut producer = bus.producer().attach()?;
/// producer.publish_bytes(7, b"an order")?;
/// producer.publish_bytes(8, b"nobody handles this")?;
/// dispatcher.poll(Duration::from_secs(1))?;
///
/// let report = dispatcher.close(Duration::from_secs(1));
/// assert_eq!((report.totals.processed, report.totals.unhandled), (1, 1));
/// assert!(report.is_complete());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dispatcher<S: Source> {
    /// `None` once closed.
    source: Option<S>,
    core: Arc<Core<S::Receipt>>,
    workers: Vec<JoinHandle<()>>,
    /// Of the pool, for its new workers; `None` inline.
    queue: Option<Receiver<Message<S::Receipt>>>,
    batch: usize,
}

impl<S: Source> Dispatcher<S> {
    /// Begins to put one together.
    pub fn builder(source: S) -> DispatcherBuilder<S> {
        DispatcherBuilder::new(source)
    }

    /// Takes the next events, at most a batch, and handles them or hands them to the workers. Waits at most
    /// `timeout` for the first; handlers that run inline may take longer. Also does what is due: retries,
    /// and telling the source what became of events.
    ///
    /// When the buffer is full, it takes nothing from the source, and waits for room instead.
    ///
    /// A consumer looks for producers that died while it waits: who only polls with a timeout of 0 does
    /// not hear from it that the last one has.
    ///
    /// # Errors
    /// What the bus reports. Whatever was taken before goes on.
    pub fn poll(&mut self, timeout: Duration) -> Result<Polled, busway::Error> {
        self.settle()?;
        let Some(source) = self.source.as_mut() else {
            return Ok(Polled { events: 0, received: Received::Removed });
        };
        let core = &self.core;
        let now = core.now_ns();
        core.run_due_inline(now);
        let room = core.held.room().min(self.batch);
        if room == 0 {
            core.held.wait(core.until_due(timeout.min(PARK_BUSY)));
            return Ok(Polled { events: 0, received: Received::Nothing });
        }
        let busy = core.held.count() > 0;
        let longest = if busy && S::SETTLES { timeout.min(PARK_BUSY) } else { timeout };
        let mut events = 0;
        let received = source.receive(room, core.until_due(longest), |event, receipt| {
            events += 1;
            core.take(event, receipt);
        });
        if events > 0 {
            self.grow();
        }
        self.settle()?;
        Ok(Polled { events, received: received? })
    }

    /// Polls until it is cancelled, or the bus is removed.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn run(&mut self, until: &Cancel) -> Result<(), busway::Error> {
        while !until.is_cancelled() {
            match self.poll(PARK_MAX)?.received {
                Received::Removed => break,
                Received::Closed => std::thread::sleep(self.core.until_due(PARK_CLOSED)),
                Received::Events(_) | Received::Nothing => {}
            }
        }
        Ok(())
    }

    /// Polls until everything is read and no producer is left, then finishes what is under way.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn run_until_closed(&mut self) -> Result<(), busway::Error> {
        loop {
            let polled = self.poll(PARK_MAX)?;
            let ended = matches!(polled.received, Received::Closed | Received::Removed);
            if ended && self.drain(PARK_MAX)? == 0 {
                return Ok(());
            }
        }
    }

    /// What has been counted so far, readable from any thread.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.core.monitor()
    }

    /// Workers at the moment; 0 when handlers run inline.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.core.crew.size()
    }

    /// Tells the source what became of events.
    fn settle(&mut self) -> Result<(), busway::Error> {
        match &mut self.source {
            Some(source) => self.core.tell(source),
            None => Ok(()),
        }
    }

    /// Starts one more worker if the pool is saturated.
    fn grow(&mut self) {
        let Some(queue) = &self.queue else {
            return;
        };
        if !self.core.crew.grows(|| queue.len(), || self.core.now_ns()) {
            return;
        }
        self.workers.retain(|worker| !worker.is_finished());
        match worker::start(&self.core, queue) {
            Ok(worker) => self.workers.push(worker),
            Err(error) => {
                self.core.crew.lost_one();
                tracing::warn!(%error, "no further worker could be started");
            }
        }
    }
}
