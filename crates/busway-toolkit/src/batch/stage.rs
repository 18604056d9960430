//! The workers of a batcher: one gathers, the others run the handler.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use crossbeam_utils::CachePadded;

use super::PARK_MAX;
#[cfg(feature = "async")]
use super::room::Room;
use super::ticket::{CallError, Ticket};
use crate::clock::{Clock, nanoseconds};
use crate::error::BuildError;
use crate::policy::rate::Bucket;
use crate::scale::{Crew, Workers};

/// What handles a batch.
type Handler<T, R, E> = dyn Fn(Vec<T>) -> Vec<Result<R, E>> + Send + Sync;

/// A caller's item, and where its answer goes.
pub(super) struct Item<T, R, E> {
    pub(super) value: T,
    answer: oneshot::Sender<Result<R, CallError<E>>>,
    submitted_ns: u64,
    /// It is not begun if nobody waits for its answer any more.
    may_be_dropped: bool,
}

/// How much is gathered.
pub(super) struct Limits {
    pub(super) items: usize,
    pub(super) linger_ns: u64,
    pub(super) bucket: Option<Bucket>,
}

/// What a batcher counted. submitted = answered + refused + dropped + those in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatcherStats {
    /// Items taken.
    pub submitted: u64,
    /// Items whose handler has returned, with a result, an error, or a panic.
    pub answered: u64,
    /// Of these, those with an error of their own, without result, or with a panic.
    pub failed: u64,
    /// Items that were not begun when it closed.
    pub refused: u64,
    /// Items that were not begun because the future that waited for them was dropped.
    pub dropped: u64,
    /// Calls of the handler.
    pub batches: u64,
    /// Of these, those that panicked.
    pub panics: u64,
    /// Workers at the moment.
    pub workers: u32,
}

#[derive(Default)]
struct Counts {
    /// What callers count lies apart from what workers count.
    submitted: CachePadded<AtomicU64>,
    done: CachePadded<Done>,
}

#[derive(Default)]
struct Done {
    answered: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    batches: AtomicU64,
    panics: AtomicU64,
}

/// What callers and workers share.
pub(super) struct Stage<T, R, E> {
    limits: Limits,
    crew: Crew,
    clock: Arc<dyn Clock>,
    /// Held by the one that gathers.
    items: Mutex<Receiver<Item<T, R, E>>>,
    /// Another end of the same queue, for who closes.
    rest: Receiver<Item<T, R, E>>,
    handler: Box<Handler<T, R, E>>,
    counts: Counts,
    /// No more items are taken.
    closing: AtomicBool,
    /// Nothing is begun any more.
    closed: AtomicBool,
    #[cfg(feature = "async")]
    pub(super) room: Room,
}

impl<T, R, E> Stage<T, R, E>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn new(
        limits: Limits,
        workers: Workers,
        clock: Arc<dyn Clock>,
        items: Receiver<Item<T, R, E>>,
        handler: Box<Handler<T, R, E>>,
    ) -> Self {
        Self {
            limits,
            crew: Crew::new(workers),
            clock,
            rest: items.clone(),
            items: Mutex::new(items),
            handler,
            counts: Counts::default(),
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            #[cfg(feature = "async")]
            room: Room::default(),
        }
    }

    /// An item to put into the queue, and the claim on its result.
    pub(super) fn item(&self, value: T, may_be_dropped: bool) -> (Item<T, R, E>, Ticket<R, E>) {
        let (sender, receiver) = oneshot::channel();
        // Without a linger nobody asks.
        let submitted_ns = if self.limits.linger_ns == 0 { 0 } else { self.clock.now_ns() };
        let item = Item { value, answer: sender, submitted_ns, may_be_dropped };
        (item, Ticket { answer: receiver })
    }

    pub(super) fn note_submitted(&self) {
        // ORDERING: relaxed; a count.
        self.counts.submitted.fetch_add(1, Ordering::Relaxed);
        // ORDERING: this fence and the one in `close_ends` are two SeqCst fences, of which one comes
        // first: either `closed` is seen here, or what was put into the queue before is seen there.
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            self.refuse_rest();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        // ORDERING: relaxed; who comes in between is dealt with in `note_submitted`.
        self.closing.load(Ordering::Relaxed)
    }

    pub(super) fn close_begins(&self) {
        // ORDERING: as in `is_closing`.
        self.closing.store(true, Ordering::Relaxed);
        #[cfg(feature = "async")]
        self.room.close();
    }

    /// Nothing is begun any more. Returns how many were refused.
    pub(super) fn close_ends(&self) -> u64 {
        // ORDERING: see `note_submitted`; workers look between batches.
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.refuse_rest()
    }

    fn refuse_rest(&self) -> u64 {
        let mut refused = 0;
        for item in self.rest.try_iter() {
            refused += 1;
            answer(item.answer, Err(CallError::Closed));
        }
        // ORDERING: relaxed; a count.
        self.counts.done.refused.fetch_add(refused, Ordering::Relaxed);
        refused
    }

    /// Items taken and neither answered, refused nor dropped.
    pub(super) fn in_flight(&self) -> u64 {
        let stats = self.stats();
        stats.submitted.saturating_sub(stats.answered + stats.refused + stats.dropped)
    }

    pub(super) fn stats(&self) -> BatcherStats {
        let done = &self.counts.done;
        // ORDERING: relaxed; counts. What is done is read first, so that it is never more than was
        // submitted.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BatcherStats {
            answered: read(&done.answered),
            failed: read(&done.failed),
            refused: read(&done.refused),
            dropped: read(&done.dropped),
            batches: read(&done.batches),
            panics: read(&done.panics),
            workers: self.crew.size(),
            submitted: read(&self.counts.submitted),
        }
    }

    /// Starts one more worker if all are busy and items have waited for long enough.
    pub(super) fn grow_if_saturated(self: &Arc<Self>, waiting: impl FnOnce() -> usize) {
        if self.crew.grows(waiting, || self.clock.now_ns())
            && let Err(error) = self.start_worker()
        {
            self.crew.lost_one();
            tracing::warn!(%error, "no further worker could be started");
        }
    }

    /// Starts one that was counted. It ends with the batcher, or when it is one too many.
    pub(super) fn start_worker(self: &Arc<Self>) -> Result<(), BuildError> {
        let stage = Arc::clone(self);
        let builder = thread::Builder::new().name("busway-batcher".to_owned());
        builder.spawn(move || stage.work()).map_err(BuildError::Thread)?;
        Ok(())
    }

    fn work(&self) {
        let mut batch = Vec::new();
        loop {
            let gathered = self.crew.while_idle(|| self.items()).gather(self, &mut batch);
            match gathered {
                Gathered::Batch => {
                    #[cfg(feature = "async")]
                    self.room.note(batch.len());
                    self.run(&mut batch);
                }
                Gathered::IdleForLong => {
                    if self.crew.lets_go() {
                        return;
                    }
                }
                Gathered::Over => break,
            }
        }
        self.crew.lost_one();
    }

    fn items(&self) -> Gatherer<'_, T, R, E> {
        Gatherer(self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs the handler over a batch, and answers.
    fn run(&self, batch: &mut Vec<Item<T, R, E>>) {
        let taken = batch.len();
        batch.retain(|item| !item.may_be_dropped || !item.answer.is_closed());
        let count = batch.len() as u64;
        // ORDERING: relaxed; a count.
        self.counts.done.dropped.fetch_add(taken as u64 - count, Ordering::Relaxed);
        if batch.is_empty() {
            return;
        }
        if !self.rate_allows(batch.len()) {
            for item in batch.drain(..) {
                answer(item.answer, Err(CallError::Closed));
            }
            // ORDERING: relaxed; a count.
            self.counts.done.refused.fetch_add(count, Ordering::Relaxed);
            return;
        }
        let mut values = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        for Item { value, answer, .. } in batch.drain(..) {
            values.push(value);
            answers.push(answer);
        }
        let results = catch_unwind(AssertUnwindSafe(|| (self.handler)(values)));
        let panicked = results.is_err();
        let results = results.unwrap_or_default();
        let good = results.iter().take(answers.len()).filter(|result| result.is_ok()).count();
        let done = &self.counts.done;
        // Before anybody is answered: who has an answer finds it counted.
        // ORDERING: relaxed; counts, and an answer makes visible what was before it.
        done.batches.fetch_add(1, Ordering::Relaxed);
        done.panics.fetch_add(u64::from(panicked), Ordering::Relaxed);
        done.failed.fetch_add(count - good as u64, Ordering::Relaxed);
        done.answered.fetch_add(count, Ordering::Relaxed);
        let mut results = results.into_iter();
        for sender in answers {
            let result = match results.next() {
                Some(result) => result.map_err(CallError::Item),
                None if panicked => Err(CallError::Panicked),
                None => Err(CallError::NoResult),
            };
            answer(sender, result);
        }
    }

    /// Sleeps until the rate allows as many. `false`: the batcher has closed meanwhile.
    fn rate_allows(&self, items: usize) -> bool {
        let Some(bucket) = &self.limits.bucket else {
            return true;
        };
        while let Err(at) = bucket.take_many(items) {
            // ORDERING: relaxed; looked at again in the next round.
            if self.closed.load(Ordering::Relaxed) {
                return false;
            }
            let wait = Duration::from_nanos(at.saturating_sub(self.clock.now_ns()));
            thread::sleep(wait.min(PARK_MAX));
        }
        true
    }
}

/// The one that gathers.
struct Gatherer<'a, T, R, E>(MutexGuard<'a, Receiver<Item<T, R, E>>>);

/// What gathering brought.
enum Gathered {
    Batch,
    IdleForLong,
    /// The batcher has closed, or nobody is left who could submit.
    Over,
}

impl<T, R, E> Gatherer<'_, T, R, E>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    fn gather(self, stage: &Stage<T, R, E>, batch: &mut Vec<Item<T, R, E>>) -> Gathered {
        let mut idle = Duration::ZERO;
        let first = loop {
            // ORDERING: relaxed; every park is bounded, and what is in the queue then is refused by who
            // closes.
            if stage.closed.load(Ordering::Relaxed) {
                return Gathered::Over;
            }
            match self.0.try_recv() {
                Ok(item) => break item,
                Err(TryRecvError::Disconnected) => return Gathered::Over,
                Err(TryRecvError::Empty) => {}
            }
            match stage.crew.while_idle(|| self.0.recv_timeout(PARK_MAX)) {
                Ok(item) => break item,
                Err(RecvTimeoutError::Disconnected) => return Gathered::Over,
                Err(RecvTimeoutError::Timeout) => idle += PARK_MAX,
            }
            if idle >= stage.crew.idle_after() {
                return Gathered::IdleForLong;
            }
        };
        let until_ns = first.submitted_ns.saturating_add(stage.limits.linger_ns);
        batch.push(first);
        while batch.len() < stage.limits.items {
            match self.0.try_recv() {
                Ok(item) => batch.push(item),
                Err(_) if stage.limits.linger_ns == 0 || stage.is_closing() => break,
                Err(_) => {
                    let left = until_ns.saturating_sub(stage.clock.now_ns());
                    if left == 0 {
                        break;
                    }
                    let longest = left.min(nanoseconds(PARK_MAX));
                    match self.0.recv_timeout(Duration::from_nanos(longest)) {
                        Ok(item) => batch.push(item),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            }
        }
        Gathered::Batch
    }
}

/// Answers a caller, who may have gone.
fn answer<R, E>(sender: oneshot::Sender<Result<R, CallError<E>>>, result: Result<R, CallError<E>>) {
    let _ = sender.send(result);
}
