//! The end: finishing what is under way, and saying what was not done.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::core::Core;
use super::job::{Job, Message};
use super::metrics::{KindMetrics, Metrics, count};
use super::worker::Held;
use super::{Dispatcher, PARK_BUSY};
use crate::source::{Settled, Source};

/// How long closing waits for workers that have nothing to do any more, and for jobs that are between two
/// places: some instructions of a thread that runs.
const GRACE: Duration = Duration::from_secs(1);

/// Where a job was when the dispatcher closed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// It waited: in the queue, for its time, or for others of its kind.
    Waiting,
    /// Its handler was running, and may still be. What comes of it is not counted.
    Running,
}

/// An event that was taken from the bus and not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDone {
    /// Its kind.
    pub kind: u16,
    /// The lane that it was published on.
    pub lane: u32,
    /// Its position in that lane.
    pub position: u64,
    /// Attempts that were made, all of them failed.
    pub attempts: u32,
    /// Where it was.
    pub was: Whereabouts,
}

impl NotDone {
    fn of(held: &Held, was: Whereabouts) -> Self {
        let Held { kind, lane, position, attempts, .. } = *held;
        Self { kind, lane, position, attempts, was }
    }
}

/// What a dispatcher did in its life, and what it did not.
#[derive(Clone, Debug)]
pub struct Report {
    /// All kinds together.
    pub totals: KindMetrics,
    /// Kind by kind.
    pub metrics: Metrics,
    /// Events that were taken from the bus and not done, each once.
    pub not_done: Vec<NotDone>,
    /// Events that were published and not taken from the bus.
    pub unread: u64,
    /// Events that the bus dropped before they could be taken.
    pub lost: u64,
}

impl Report {
    /// Whether everything that was published was taken, and everything taken has ended.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.not_done.is_empty() && self.totals.not_done == 0 && self.unread == 0 && self.lost == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; unread {}, lost {}", self.totals, self.unread, self.lost)
    }
}

impl<S: Source> Dispatcher<S> {
    /// Waits until everything that was taken has ended, at most for `timeout`, and takes nothing meanwhile.
    /// Returns how many have not ended. It may be polled again afterwards.
    ///
    /// # Errors
    /// What the bus reports.
    pub fn drain(&mut self, timeout: Duration) -> Result<usize, busway::Error> {
        let began = Instant::now();
        loop {
            let now = self.core.now_ns();
            self.core.run_due_inline(now);
            self.settle()?;
            let left = self.core.held.count();
            let over = timeout.saturating_sub(began.elapsed());
            if left == 0 || over.is_zero() {
                return Ok(left);
            }
            self.core.held.wait(self.core.until_due(over.min(PARK_BUSY)));
        }
    }

    /// Takes nothing more, [drains](Self::drain), detaches, and says what was not done.
    ///
    /// When the time is over, what runs is told so by its context and not waited for; what waits is not
    /// begun. Workers whose handler does not return keep their thread until it does.
    pub fn close(mut self, timeout: Duration) -> Report {
        self.end(timeout)
    }

    fn end(&mut self, timeout: Duration) -> Report {
        if let Err(error) = self.drain(timeout) {
            tracing::warn!(%error, "could not tell the source what became of events");
        }
        let source = self.source.take();
        let report = self.core.finish(self.queue.as_ref(), source);
        self.join(report.not_done.iter().filter(|one| one.was == Whereabouts::Running).count());
        if let Some(letters) = &self.core.letters {
            letters.detach();
        }
        report
    }

    /// Waits for the workers, except as many as are still running a handler.
    fn join(&mut self, running: usize) {
        let began = Instant::now();
        let unfinished = |workers: &[thread::JoinHandle<()>]| {
            workers.iter().filter(|worker| !worker.is_finished()).count()
        };
        while unfinished(&self.workers) > running && began.elapsed() < GRACE {
            thread::sleep(Duration::from_micros(100));
        }
        for worker in self.workers.drain(..).filter(thread::JoinHandle::is_finished) {
            // It catches what its handlers panic with.
            let _ = worker.join();
        }
    }
}

impl<S: Source> Drop for Dispatcher<S> {
    fn drop(&mut self) {
        if self.source.is_none() {
            return;
        }
        let report = self.end(Duration::ZERO);
        if report.totals.not_done > 0 {
            tracing::warn!(%report, "dropped with events that were not done");
        }
    }
}

impl<R: Send + 'static> Core<R> {
    /// Begins nothing more, tells what runs that it is not waited for, and says what was not done.
    pub(super) fn finish<S: Source<Receipt = R>>(
        &self,
        jobs: Option<&Receiver<Message<R>>>,
        source: Option<S>,
    ) -> Report {
        self.cancel.cancel();
        // ORDERING: relaxed; workers look after they have stored into their slots, and what follows
        // looks into the slots, both under the slots' locks.
        self.closed.store(true, Ordering::Relaxed);
        let not_done = self.collect_not_done(jobs);
        if let Some(queue) = &self.queue {
            for _ in 0..self.crew.size() {
                let _ = queue.try_send(Message::Look);
            }
        }
        let (mut unread, mut lost) = (0, 0);
        if let Some(mut source) = source {
            if let Err(error) = self.tell(&mut source) {
                tracing::warn!(%error, "could not tell the source what became of events");
            }
            (unread, lost) = (source.unread(), source.lost());
        }
        let metrics = self.metrics();
        Report { totals: metrics.total(), metrics, not_done, unread, lost }
    }

    /// Tells the source what became of events.
    pub(super) fn tell<S: Source<Receipt = R>>(&self, source: &mut S) -> Result<(), busway::Error> {
        if let Some((_, settled)) = &self.settled {
            for (receipt, settled) in settled.try_iter() {
                source.settle(receipt, settled)?;
            }
        }
        Ok(())
    }

    /// Takes all jobs from wherever they are, until each that was received has ended.
    fn collect_not_done(&self, queue: Option<&Receiver<Message<R>>>) -> Vec<NotDone> {
        let mut not_done = Vec::new();
        let began = Instant::now();
        loop {
            for job in self.take_waiting(queue) {
                not_done.push(NotDone::of(&Held::of(&job), Whereabouts::Waiting));
                self.end(job, Settled::NotDone);
            }
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            for held in slots.iter().filter_map(|slot| slot.take()) {
                not_done.push(NotDone::of(&held, Whereabouts::Running));
                if let Some(counts) = self.counts(&held.target) {
                    count(&counts.ended.not_done);
                }
                self.held.remove();
            }
            drop(slots);
            if self.held.count() == 0 || began.elapsed() > GRACE {
                return not_done;
            }
            // A worker has one between the queue and its slot.
            thread::yield_now();
        }
    }

    fn take_waiting(&self, queue: Option<&Receiver<Message<R>>>) -> Vec<Job<R>> {
        let mut jobs = self.delays.give_up();
        for message in queue.into_iter().flat_map(Receiver::try_iter) {
            if let Message::Job(job) = message {
                jobs.push(job);
            }
        }
        for gate in self.routes.iter().filter_map(|route| route.gate.as_ref()) {
            jobs.extend(gate.give_up());
        }
        jobs.append(&mut self.left_over.lock().unwrap_or_else(PoisonError::into_inner));
        jobs
    }
}
