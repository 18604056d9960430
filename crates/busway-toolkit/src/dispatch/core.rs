//! One event, from where it comes in to where it ends; shared by the polling thread and the workers.
//!
//! A job is always in exactly one place: the queue, a gate, the delays, or a worker's slot. Whoever
//! moves it from a slot does so, and counts, under the slot's lock; so closing finds each job once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use busway::PublishError;
use crossbeam_channel::{Receiver, Sender};

use super::attempt::note_attempt;
use super::builder::Unhandled;
use super::context::Middleware;
use super::delay::{Delays, Due};
use super::failure::Failure;
use super::gate::{Entry, Gate, Next};
use super::held::Held;
use super::job::{GivenUp, Job, Message, Stage, Target};
use super::metrics::{Counts, Metrics, Monitor, Strangers, count};
use super::route::{Route, Routes};
use super::worker::Slot;
use crate::cancel::Cancel;
use crate::clock::{Clock, nanoseconds};
use crate::policy::dead_letter::Letter;
use crate::policy::{DeadLetters, Reason};
use crate::scale::Crew;
use crate::source::{Event, Settled};

/// When a dead-letter bus is full, it is asked again after this time.
const LETTER_RETRY: Duration = Duration::from_millis(10);

/// Both ends of the way back to the source.
type SettledQueue<R> = (Sender<(R, Settled)>, Receiver<(R, Settled)>);

/// What the threads of a dispatcher share.
pub(super) struct Core<R> {
    pub(super) source: Arc<str>,
    pub(super) routes: Routes<R>,
    pub(super) strangers: Strangers,
    pub(super) unhandled: Unhandled,
    pub(super) middleware: Vec<Box<dyn Middleware>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) letters: Option<DeadLetters>,
    pub(super) delays: Delays<R>,
    pub(super) held: Held,
    pub(super) crew: Crew,
    /// To the workers; `None`: handlers run inline.
    pub(super) queue: Option<Sender<Message<R>>>,
    /// To the source, if it wants to hear what became of events.
    pub(super) settled: Option<SettledQueue<R>>,
    /// Set when the dispatcher waits no longer for what is under way.
    pub(super) cancel: Cancel,
    /// Set when nothing is begun any more.
    pub(super) closed: AtomicBool,
    /// Jobs that were about to be begun when it closed.
    pub(super) left_over: Mutex<Vec<Job<R>>>,
    /// The workers' slots.
    pub(super) slots: Mutex<Vec<Arc<Slot>>>,
    /// The polling thread's.
    pub(super) own_slot: Slot,
    /// When the last attempt of the polling thread ended; 0: some time ago.
    pub(super) last_ns: AtomicU64,
}

/// A job before an attempt that nothing keeps it from any more: its route, and the period of the gate.
pub(super) struct Admitted<R> {
    pub(super) index: u32,
    pub(super) period: u64,
    pub(super) job: Job<R>,
}

impl<R> std::fmt::Debug for Core<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<R: Send + 'static> Core<R> {
    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// How long the polling thread may wait at most, so as to be there for what is due.
    pub(super) fn until_due(&self, longest: Duration) -> Duration {
        let next = self.delays.next_ns();
        if self.queue.is_some() || next == u64::MAX {
            return longest;
        }
        longest.min(Duration::from_nanos(next.saturating_sub(self.now_ns())))
    }

    pub(super) fn metrics(&self) -> Metrics {
        let mut kinds: Vec<_> = self.routes.iter().map(Route::metrics).collect();
        kinds.extend(self.strangers.snapshots());
        kinds.sort_by_key(|metrics| metrics.kind);
        Metrics { kinds }
    }

    pub(super) fn monitor(self: &Arc<Self>) -> Monitor {
        let core = Arc::clone(self);
        Monitor::new(Arc::new(move || core.metrics()))
    }

    /// An event comes from the source: in the polling thread.
    pub(super) fn take(&self, event: Event<'_>, receipt: R) {
        let Some((index, route)) = self.routes.find(event.kind) else {
            self.take_strange(event, receipt);
            return;
        };
        count(&route.counts.received);
        if self.queue.is_some() {
            let job = self.job(Target::Route(index), event, receipt, Stage::Arrived);
            self.launch(job);
        } else {
            self.handle_in_place(index, route, event, receipt);
        }
    }

    /// One that nobody handles.
    fn take_strange(&self, event: Event<'_>, receipt: R) {
        let counts = self.strangers.of(event.kind);
        count(&counts.received);
        if self.unhandled == Unhandled::Count {
            count(&counts.ended.unhandled);
            self.settle(receipt, Settled::Done);
            return;
        }
        let error = format!("no handler for kind {}", event.kind);
        let stage = Stage::GivenUp(Box::new(GivenUp { reason: Reason::Unhandled, error }));
        let job = self.job(Target::Nobody(counts), event, receipt, stage);
        self.process(job, &self.own_slot);
    }

    /// A copy of the event, on its way.
    fn job(&self, target: Target, event: Event<'_>, receipt: R, stage: Stage) -> Job<R> {
        self.held.add();
        Job { target, event: event.to_owned(), receipt, attempts: 0, delays: None, stage }
    }

    /// Handles an event where it stands; copies it only if it has to wait.
    fn handle_in_place(&self, index: u32, route: &Route<R>, event: Event<'_>, receipt: R) {
        let started = self.started_ns();
        let mut receipt = Some(receipt);
        let mut job = |stage| {
            receipt.take().map(|receipt| self.job(Target::Route(index), event, receipt, stage))
        };
        let period = match &route.gate {
            None => 0,
            Some(gate) => match gate.enter(started, || job(Stage::Arrived)) {
                Entry::Goes { period } => period,
                Entry::Waits { look_at_ns } => return self.look_at(index, look_at_ns),
                Entry::Refused => {
                    if let Some(job) = job(Stage::Arrived) {
                        self.refuse(job);
                    }
                    return;
                }
            },
        };
        let (result, ended) = self.attempt(route, &event, 1, started);
        // ORDERING: relaxed; the polling thread's own.
        self.last_ns.store(ended, Ordering::Relaxed);
        let succeeded = note_attempt(route, started, ended, &result);
        match result {
            Ok(()) => {
                if let Some(receipt) = receipt {
                    self.settle(receipt, Settled::Done);
                }
            }
            Err(failure) => {
                if let Some(mut job) = job(Stage::Arrived) {
                    job.attempts = 1;
                    self.after_failure(job, route, ended, &failure);
                }
            }
        }
        self.leave(index, route, period, ended, Some(succeeded));
    }

    /// When an attempt in the polling thread begins: where the last one ended, if that was just now.
    fn started_ns(&self) -> u64 {
        // ORDERING: relaxed; the polling thread's own.
        match self.last_ns.load(Ordering::Relaxed) {
            0 => self.now_ns(),
            last => last,
        }
    }

    /// Does what is due, if handlers run inline; otherwise the workers do.
    pub(super) fn run_due_inline(&self, now_ns: u64) {
        if self.queue.is_none() {
            self.run_due(now_ns, &self.own_slot);
        }
        // ORDERING: relaxed; the polling thread's own. It goes to wait now.
        self.last_ns.store(0, Ordering::Relaxed);
    }

    /// Does what is due.
    pub(super) fn run_due(&self, now_ns: u64, slot: &Slot) {
        while let Some(due) = self.delays.pop(now_ns) {
            match due {
                Due::Job(job) => self.process(job, slot),
                Due::Gate(index) => self.look_at_gate(index),
            }
        }
    }

    /// The time has come for which a gate asked.
    pub(super) fn look_at_gate(&self, index: u32) {
        let gate = self.routes.get(index).and_then(|route| route.gate.as_ref());
        if let Some(gate) = gate {
            self.follow(index, gate.look(self.now_ns()));
        }
    }

    /// Goes on with a job, in a thread that has this slot.
    pub(super) fn process(&self, job: Job<R>, slot: &Slot) {
        if let Some(Admitted { index, period, mut job }) = self.admit(job, slot)
            && let Some(route) = self.routes.get(index)
        {
            let started = self.now_ns();
            job.attempts += 1;
            let event = job.event.as_event();
            let (result, ended) = self.attempt(route, &event, job.attempts, started);
            self.conclude(route, Admitted { index, period, job }, slot, (started, ended), &result);
        }
    }

    /// Takes a job into this slot, up to its attempt. `None`: it has gone elsewhere, to wait or to its end.
    pub(super) fn admit(&self, job: Job<R>, slot: &Slot) -> Option<Admitted<R>> {
        slot.begin(&job);
        // ORDERING: relaxed; who closes says so before it looks into the slots, under their locks.
        if self.closed.load(Ordering::Relaxed) {
            slot.end(|| self.left_over.lock().unwrap_or_else(PoisonError::into_inner).push(job));
            return None;
        }
        let Target::Route(index) = job.target else {
            slot.end(|| self.bury(job));
            return None;
        };
        let route = self.routes.get(index)?;
        match job.stage {
            Stage::GivenUp(_) => {
                slot.end(|| self.bury(job));
                None
            }
            Stage::Admitted { period } => Some(Admitted { index, period, job }),
            Stage::Arrived => match &route.gate {
                None => Some(Admitted { index, period: 0, job }),
                Some(gate) => self.enter(index, gate, job, slot),
            },
        }
    }

    fn enter(&self, index: u32, gate: &Gate<R>, job: Job<R>, slot: &Slot) -> Option<Admitted<R>> {
        let mut job = Some(job);
        let now = self.now_ns();
        let entry = slot.end(|| gate.enter(now, || job.take()));
        match (entry, job) {
            (Some(Entry::Goes { period }), Some(job)) => {
                slot.begin(&job);
                return Some(Admitted { index, period, job });
            }
            (Some(Entry::Refused), Some(job)) => {
                slot.begin(&job);
                slot.end(|| self.refuse(job));
            }
            (Some(Entry::Waits { look_at_ns }), _) => self.look_at(index, look_at_ns),
            // Closing took it from the slot.
            _ => {}
        }
        None
    }

    /// What follows from an attempt that began and ended then.
    pub(super) fn conclude(
        &self,
        route: &Route<R>,
        Admitted { index, period, job }: Admitted<R>,
        slot: &Slot,
        (started, ended): (u64, u64),
        result: &Result<(), Failure>,
    ) {
        let succeeded = slot.end(|| {
            let succeeded = note_attempt(route, started, ended, result);
            match result {
                Ok(()) => self.end(job, Settled::Done),
                Err(failure) => self.after_failure(job, route, ended, failure),
            }
            succeeded
        });
        // Where closing took it from the slot, nothing counts any more, and nobody waits at the gate.
        if succeeded.is_some() {
            self.leave(index, route, period, ended, succeeded);
        }
    }

    /// Tries again later, or gives up.
    fn after_failure(&self, mut job: Job<R>, route: &Route<R>, now_ns: u64, failure: &Failure) {
        if failure.is_worth_another_attempt() && job.attempts < route.policy.retry.attempts {
            let delays = job.delays.get_or_insert_with(|| Box::new(route.policy.retry.delays()));
            if let Some(delay) = delays.next() {
                count(&route.counts.ended.retried);
                tracing::debug!(handler = &*route.name, %failure, ?delay, "will be tried again");
                job.stage = Stage::Arrived;
                self.postpone(now_ns.saturating_add(nanoseconds(delay)), Due::Job(job));
                return;
            }
        }
        self.give_up(job, failure.reason(), failure.to_string());
    }

    /// The breaker is open, and the event does not wait for it.
    fn refuse(&self, job: Job<R>) {
        self.give_up(job, Reason::BreakerOpen, "the breaker is open".to_owned());
    }

    fn give_up(&self, mut job: Job<R>, reason: Reason, error: String) {
        job.stage = Stage::GivenUp(Box::new(GivenUp { reason, error }));
        self.bury(job);
    }

    /// On to the dead-letter bus, if there is one for it.
    fn bury(&self, job: Job<R>) {
        let wanted = match job.target {
            Target::Route(index) => {
                self.routes.get(index).is_some_and(|route| route.policy.dead_letter)
            }
            Target::Nobody(_) => true,
        };
        let Stage::GivenUp(given_up) = &job.stage else {
            return;
        };
        let event = job.event.as_event();
        let Some(letters) = self.letters.as_ref().filter(|_| wanted) else {
            tracing::warn!(
                kind = event.kind,
                lane = event.lane,
                position = event.position,
                error = given_up.error,
                "failed for good"
            );
            return self.end(job, Settled::Failed);
        };
        let handler = match job.target {
            Target::Route(index) => self.routes.get(index).map_or("", |route| &*route.name),
            Target::Nobody(_) => "",
        };
        let letter = Letter {
            source: &self.source,
            handler,
            event,
            attempts: job.attempts,
            reason: given_up.reason,
            error: &given_up.error,
        };
        match letters.send(&letter) {
            Ok(_) => self.end(job, Settled::DeadLettered),
            Err(
                PublishError::Full
                | PublishError::TimedOut
                | PublishError::BrokerGone
                | PublishError::Contested,
            ) => {
                let at = self.now_ns().saturating_add(nanoseconds(LETTER_RETRY));
                self.postpone(at, Due::Job(job));
            }
            Err(error) => {
                tracing::error!(bus = letters.name(), %error, "a dead letter was refused");
                if let Some(counts) = self.counts(&job.target) {
                    count(&counts.ended.letters_refused);
                }
                self.end(job, Settled::Failed);
            }
        }
    }

    pub(super) fn counts<'a>(&'a self, target: &'a Target) -> Option<&'a Counts> {
        match target {
            Target::Route(index) => self.routes.get(*index).map(|route| &route.counts),
            Target::Nobody(counts) => Some(counts),
        }
    }

    /// A job ends. One that was processed has been counted with its attempt.
    pub(super) fn end(&self, job: Job<R>, settled: Settled) {
        if let Some(counts) = self.counts(&job.target) {
            match settled {
                Settled::Done => {}
                Settled::DeadLettered => count(&counts.ended.dead_lettered),
                Settled::Failed => count(&counts.ended.failed),
                Settled::NotDone => count(&counts.ended.not_done),
            }
        }
        self.settle(job.receipt, settled);
        self.held.remove();
    }

    fn settle(&self, receipt: R, settled: Settled) {
        if let Some((sender, _)) = &self.settled {
            // The receiving end is held by this very structure.
            let _ = sender.send((receipt, settled));
        }
    }

    /// One has left its gate: others may go.
    fn leave(
        &self,
        index: u32,
        route: &Route<R>,
        period: u64,
        now_ns: u64,
        succeeded: Option<bool>,
    ) {
        if let Some(gate) = &route.gate {
            self.follow(index, gate.leave(now_ns, period, succeeded));
        }
    }

    fn follow(&self, index: u32, next: Next<R>) {
        for job in next.go {
            self.launch(job);
        }
        for job in next.refused {
            self.refuse(job);
        }
        self.look_at(index, next.look_at_ns);
    }

    fn look_at(&self, index: u32, at_ns: Option<u64>) {
        if let Some(at) = at_ns {
            self.postpone(at, Due::Gate(index));
        }
    }

    /// Sends a job to the workers; inline, it is due at once.
    fn launch(&self, job: Job<R>) {
        let Some(queue) = &self.queue else {
            self.delays.push(0, Due::Job(job));
            return;
        };
        // There is room for all that may be held; if there were not, it would be due at once.
        if let Err(error) = queue.try_send(Message::Job(job))
            && let Message::Job(job) = error.into_inner()
        {
            self.delays.push(0, Due::Job(job));
        }
    }

    fn postpone(&self, at_ns: u64, due: Due<R>) {
        let is_first = self.delays.push(at_ns, due);
        if let Some(queue) = self.queue.as_ref().filter(|_| is_first) {
            // Somebody idle has to wait for this instead. With a full queue nobody is idle.
            let _ = queue.try_send(Message::Look);
        }
    }
}
