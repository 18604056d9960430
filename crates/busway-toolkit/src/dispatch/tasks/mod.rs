//! A dispatcher whose handlers are futures: one task polls it, and them, on any executor.
//!
//! ```text
//!  bus ──► queue ──► a slot is free: the handler's future begins ──► done ──► as of any dispatcher
//!            ▲                                                        │
//!            └──── delays, gates: as of any dispatcher ◄──────────────┘
//! ```
//!
//! There is no thread: what a pool does, the task does that awaits [`AsyncDispatcher::run`]. It sleeps
//! until the source has something, a handler goes on, or the time has come for something. All handlers
//! share it, so they run at the same time and not in parallel.
//!
//! * `attempt`: a handler's future, its time and its panics. * `alarm`: the times of those that run.

mod alarm;
mod attempt;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskWaker, Poll};
use std::time::{Duration, Instant};

use busway::{Async, Frame, Timer};
use crossbeam_channel::{Receiver, bounded};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

pub(super) use attempt::Start;
pub use attempt::TaskContext;

use super::builder::{DispatcherBuilder, Given};
use super::core::Core;
use super::delay::Due;
use super::failure::Failure;
use super::job::{Job, Message};
use super::route::Handler;
use super::worker::Slot;
use super::{Monitor, PARK_MAX, Report};
use crate::cancel::Cancel;
use crate::error::BuildError;
use crate::source::{AsyncSource, OwnedEvent, Received, Source};
use alarm::Alarms;

/// The most handlers that run at a time.
const TASKS_MAX: usize = 65_536;
/// Rounds without a wait before the executor has a turn.
const ROUNDS: usize = 16;

/// What the task that awaits is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// To take events, and handle them.
    Take,
    /// To handle those that were taken, up to a time if there is one.
    Finish(Option<Instant>),
}

/// The end of a handler's future: the slot that it had.
type Running = Pin<Box<dyn Future<Output = Arc<Slot>> + Send>>;

impl<S: Source> DispatcherBuilder<S> {
    /// What handles events of a kind, as a future. It gets a copy of the event, and may be dropped where it
    /// awaits: when its time is over, which is a time-out, and when the dispatcher closes without waiting.
    pub fn on_async<F, Fut>(mut self, kind: u16, handler: F) -> Self
    where
        F: Fn(TaskContext, OwnedEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let start = move |context, event| -> attempt::Boxed { Box::pin(handler(context, event)) };
        let handler = Handler::Start(Box::new(start));
        self.handlers.push(Given { kind, name: format!("kind {kind}"), handler });
        self
    }

    /// The same for frames of a type, by the type's kind and name; see [`on_frame`](Self::on_frame).
    pub fn on_frame_async<T, F, Fut>(mut self, handler: F) -> Self
    where
        T: Frame,
        F: Fn(TaskContext, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let start = move |context, event: OwnedEvent| -> attempt::Boxed {
            match event.as_event().value::<T>() {
                Ok(value) => Box::pin(handler(context, value)),
                Err(error) => Box::pin(std::future::ready(Err(Failure::permanent(error)))),
            }
        };
        let handler = Handler::Start(Box::new(start));
        self.handlers.push(Given { kind: T::KIND, name: T::NAME.to_owned(), handler });
        self
    }

    /// Checks it all. Of the handlers, at most `tasks` run at a time, 1 to 65536; what was said of workers
    /// does not count. Handlers that are functions run in the task as well, and hold it up.
    ///
    /// # Errors
    /// What is wrong, by name.
    pub fn build_async(self, tasks: usize) -> Result<AsyncDispatcher<S>, BuildError>
    where
        S: AsyncSource,
    {
        if !(1..=TASKS_MAX).contains(&tasks) {
            return Err(BuildError::limit("tasks", tasks as u64, format!("1 to {TASKS_MAX}")));
        }
        let (sender, jobs) = bounded(self.buffer + 1);
        let batch = self.batch;
        let (source, core) = self.core(Some(sender))?;
        let idle: Vec<_> = (0..tasks).map(|_| Arc::new(Slot::default())).collect();
        core.watch_slots(&idle);
        Ok(AsyncDispatcher {
            source: Some(source),
            core,
            jobs,
            running: FuturesUnordered::new(),
            idle,
            alarms: Arc::default(),
            timer: Async::new(Timer::new()),
            batch,
        })
    }

    /// A dispatcher without tasks has nobody to await a handler.
    pub(super) fn check_no_futures(&self) -> Result<(), BuildError> {
        let is_future = |given: &&Given| matches!(given.handler, Handler::Start(_));
        match self.handlers.iter().find(is_future) {
            Some(given) => Err(BuildError::Future { kind: given.kind }),
            None => Ok(()),
        }
    }
}

/// Hands events to handlers that are futures, with everything that a [`Dispatcher`](super::Dispatcher) has:
/// retry, time-outs, breakers, limits, dead letters, middleware, and one count for every event.
///
/// It does nothing but in [`run`](Self::run), [`drain`](Self::drain) and [`close`](Self::close), which may
/// be awaited on any executor, one at a time. Dropping one of these futures loses nothing: handlers that
/// have begun are kept, and go on with the next call.
///
/// Handlers run at the same time, in the one task that awaits: one that computes for long holds the others
/// up, and should have that done elsewhere (`tokio::spawn`, `spawn_blocking`) and await it. To use
/// several cores, let several dispatchers be members of a group.
///
/// Dropping it ends as `close` without waiting, and logs what was not done.
///
/// # Examples
/// ```
/// # let name = format!("doc-async-dispatcher-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// use std::time::Duration;
/// use busway_toolkit::{BusSource, Dispatcher};
///
/// let bus = busway::Bus::options().create(&name)?;
/// let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus)?)
///     .on_async(7, |context, event| async move {
///         tokio::time::sleep(Duration::from_millis(1)).await; // whatever it waits for
///         println!("{}: {:?}", event.as_event().position, event.as_event().payload);
///         Ok(())
///     })
///     .build_async(16)?;
///
/// bus.producer().attach()?.publish_bytes(7, b"an order")?;
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// let report = runtime.block_on(async {
///     dispatcher.run_until_closed().await?; // or `run`
///     Ok::<_, busway::Error>(dispatcher.close(Duration::from_secs(1)).await)
/// })?;
/// assert_eq!(report.totals.processed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncDispatcher<S: AsyncSource> {
    /// `None` once closed.
    source: Option<S>,
    core: Arc<Core<S::Receipt>>,
    jobs: Receiver<Message<S::Receipt>>,
    running: FuturesUnordered<Running>,
    /// Slots of handlers that do not run.
    idle: Vec<Arc<Slot>>,
    alarms: Arc<Alarms>,
    timer: Async<Timer>,
    batch: usize,
}

impl<S: AsyncSource> std::fmt::Debug for AsyncDispatcher<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncDispatcher")
            .field("core", &self.core)
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

// Nothing in it is pinned.
impl<S: AsyncSource> Unpin for AsyncDispatcher<S> {}

impl<S: AsyncSource> AsyncDispatcher<S> {
    /// Takes events and handles them, until it is cancelled, or the bus is removed. A cancellation is seen
    /// within 100 ms; dropping the future instead is as good.
    ///
    /// # Errors
    /// What the bus reports. Whatever was taken before goes on with the next call.
    pub async fn run(&mut self, until: &Cancel) -> Result<(), busway::Error> {
        poll_fn(|context| {
            self.poll_until(context, What::Take, |dispatcher, received| {
                until.is_cancelled() || dispatcher.is_removed(received)
            })
        })
        .await
    }

    /// Takes events and handles them, until everything is read and handled, and no producer is left.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until_closed(&mut self) -> Result<(), busway::Error> {
        poll_fn(|context| {
            self.poll_until(context, What::Take, |dispatcher, received| {
                let ended = matches!(received, Received::Closed | Received::Removed);
                ended && dispatcher.core.held.count() == 0
            })
        })
        .await
    }

    /// Takes nothing more, and waits until everything that was taken has ended, at most for `timeout`.
    /// Returns how many have not ended. It may be run again afterwards.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn drain(&mut self, timeout: Duration) -> Result<usize, busway::Error> {
        // Longer than the clock reaches is without end.
        let until = Instant::now().checked_add(timeout);
        let is_over = |until: Instant| Instant::now() >= until;
        poll_fn(|context| {
            let stop = |dispatcher: &mut Self, _: Received| {
                dispatcher.core.held.count() == 0 || until.is_some_and(is_over)
            };
            self.poll_until(context, What::Finish(until), stop)
        })
        .await?;
        Ok(self.core.held.count())
    }

    /// Takes nothing more, [drains](Self::drain), detaches, and says what was not done.
    ///
    /// When the time is over, handlers that run are dropped where they await; what waits is not begun.
    pub async fn close(mut self, timeout: Duration) -> Report {
        if let Err(error) = self.drain(timeout).await {
            tracing::warn!(%error, "could not tell the source what became of events");
        }
        let source = self.source.take();
        self.end(source)
    }

    /// What has been counted so far, readable from any thread.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.core.monitor()
    }

    /// Handlers that have begun and not ended.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn end(&mut self, source: Option<S>) -> Report {
        let report = self.core.finish(Some(&self.jobs), source);
        // What comes of them counts no more.
        self.running.clear();
        if let Some(letters) = &self.core.letters {
            letters.detach();
        }
        report
    }

    fn is_removed(&self, received: Received) -> bool {
        received == Received::Removed || self.source.is_none()
    }

    /// Works until `stop` says so, which is told what the source said last.
    fn poll_until(
        &mut self,
        context: &mut TaskWaker<'_>,
        what: What,
        mut stop: impl FnMut(&mut Self, Received) -> bool,
    ) -> Poll<Result<(), busway::Error>> {
        // Bounded, so that under a flood the executor has its turn.
        for _ in 0..ROUNDS {
            let mut works = self.work(context)?;
            let received = if what == What::Take { self.take()? } else { Received::Nothing };
            works |= matches!(received, Received::Events(_));
            self.tell()?;
            if stop(self, received) {
                return Poll::Ready(Ok(()));
            }
            if !works && self.poll_something(context, what).is_pending() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Begins what can begin, and goes on with what runs. Whether anything began or ended.
    fn work(&mut self, context: &mut TaskWaker<'_>) -> Result<bool, busway::Error> {
        self.tell()?;
        self.alarms.ring(self.core.now_ns());
        let mut works = false;
        while !self.idle.is_empty()
            && let Some(job) = self.next_job()
        {
            works = true;
            self.begin(job);
        }
        while let Poll::Ready(Some(slot)) = self.running.poll_next_unpin(context) {
            works = true;
            self.idle.push(slot);
        }
        Ok(works)
    }

    /// What is to be begun next: what is due, then what came first.
    fn next_job(&mut self) -> Option<Job<S::Receipt>> {
        let core = &self.core;
        while let Some(due) = core.delays.pop(core.now_ns()) {
            match due {
                Due::Job(job) => return Some(job),
                Due::Gate(index) => core.look_at_gate(index),
            }
        }
        self.jobs.try_iter().find_map(|message| match message {
            Message::Job(job) => Some(job),
            // There is nobody else who would have to look.
            Message::Look => None,
        })
    }

    fn begin(&mut self, job: Job<S::Receipt>) {
        let Some(slot) = self.idle.pop() else {
            return;
        };
        match self.core.admit(job, &slot) {
            Some(admitted) => {
                let (core, alarms) = (Arc::clone(&self.core), Arc::clone(&self.alarms));
                self.running.push(Box::pin(attempt::run(core, alarms, admitted, slot)));
            }
            None => self.idle.push(slot),
        }
    }

    /// Takes the next events from the source, if there is room for any.
    fn take(&mut self) -> Result<Received, busway::Error> {
        let room = self.core.held.room().min(self.batch);
        let Some(source) = self.source.as_mut().filter(|_| room > 0) else {
            return Ok(Received::Nothing);
        };
        source.receive(room, Duration::ZERO, |event, receipt| self.core.take(event, receipt))
    }

    fn tell(&mut self) -> Result<(), busway::Error> {
        match &mut self.source {
            Some(source) => self.core.tell(source),
            None => Ok(()),
        }
    }

    /// Waits for the source, if there is room and it is asked at all, and for what is due. Handlers that
    /// run wake the task by themselves.
    fn poll_something(&mut self, context: &mut TaskWaker<'_>, what: What) -> Poll<()> {
        let asks = what == What::Take && self.core.held.room() > 0;
        if let Some(source) = self.source.as_mut().filter(|_| asks)
            && source.poll_ready(context).is_ready()
        {
            return Poll::Ready(());
        }
        let mut at_ns = self.alarms.next_ns();
        if !self.idle.is_empty() {
            at_ns = at_ns.min(self.core.delays.next_ns());
        }
        let left = Duration::from_nanos(at_ns.saturating_sub(self.core.now_ns()));
        if asks && left > PARK_MAX {
            // Who waits for a source is woken as often anyway.
            return Poll::Pending;
        }
        // A clock that is moved by hand does not wake anybody.
        let mut until = Instant::now() + left.min(PARK_MAX);
        if let What::Finish(Some(end)) = what {
            until = until.min(end);
        }
        self.timer.get_mut().set(Some(until));
        self.timer.poll_ready(context)
    }
}

impl<S: AsyncSource> Drop for AsyncDispatcher<S> {
    fn drop(&mut self) {
        if let Some(source) = self.source.take() {
            let report = self.end(Some(source));
            if report.totals.not_done > 0 {
                tracing::warn!(%report, "dropped with events that were not done");
            }
        }
    }
}
