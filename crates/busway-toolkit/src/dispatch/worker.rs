//! The pool: threads that take jobs from one queue, do what is due, and come and go.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::PARK_MAX;
use super::core::Core;
use super::job::{Job, Message, Target};
use crate::error::BuildError;

/// The job that a thread has in its hands, for who closes.
#[derive(Debug, Default)]
pub(super) struct Slot {
    current: Mutex<Option<Held>>,
}

/// What a slot knows of a job.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) target: Target,
    pub(super) kind: u16,
    pub(super) lane: u32,
    pub(super) position: u64,
    pub(super) attempts: u32,
}

impl Held {
    pub(super) fn of<R>(job: &Job<R>) -> Self {
        let event = job.event.as_event();
        Self {
            target: job.target.clone(),
            kind: event.kind,
            lane: event.lane,
            position: event.position,
            attempts: job.attempts,
        }
    }
}

impl Slot {
    fn current(&self) -> MutexGuard<'_, Option<Held>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread takes a job into its hands.
    pub(super) fn begin<R>(&self, job: &Job<R>) {
        *self.current() = Some(Held::of(job));
    }

    /// The job leaves the thread's hands, as `leaves` does it. `None`, and nothing is done: who closes has
    /// taken it from the slot.
    pub(super) fn end<T>(&self, leaves: impl FnOnce() -> T) -> Option<T> {
        let mut current = self.current();
        current.take()?;
        Some(leaves())
    }

    /// Takes away what the thread has in its hands. Whatever comes of it does not count any more.
    pub(super) fn take(&self) -> Option<Held> {
        self.current().take()
    }
}

#[cfg(feature = "async")]
impl<R: Send + 'static> Core<R> {
    /// Has closing look into these slots.
    pub(super) fn watch_slots(&self, slots: &[Arc<Slot>]) {
        let mut watched = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        watched.extend(slots.iter().cloned());
    }
}

/// Starts one that was counted.
pub(super) fn start<R: Send + 'static>(
    core: &Arc<Core<R>>,
    queue: &Receiver<Message<R>>,
) -> Result<JoinHandle<()>, BuildError> {
    let slot = Arc::new(Slot::default());
    let (own_core, own_slot, queue) = (Arc::clone(core), Arc::clone(&slot), queue.clone());
    let builder = thread::Builder::new().name("busway-handler".to_owned());
    let handle = builder
        .spawn(move || work(&own_core, &own_slot, &queue))
        .map_err(|error: io::Error| BuildError::Thread(error))?;
    let mut slots = core.slots.lock().unwrap_or_else(PoisonError::into_inner);
    // Those of workers that have left are nobody's but this list's.
    slots.retain(|slot| Arc::strong_count(slot) > 1);
    slots.push(slot);
    Ok(handle)
}

/// Works until the dispatcher closes, or this worker is one too many.
fn work<R: Send + 'static>(core: &Core<R>, slot: &Slot, queue: &Receiver<Message<R>>) {
    let mut idle_since = None;
    // ORDERING: relaxed; it is told again by a message, and every park is bounded.
    while !core.closed.load(Ordering::Relaxed) {
        if core.delays.next_ns() != u64::MAX {
            core.run_due(core.now_ns(), slot);
        }
        let message = match queue.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                let since = *idle_since.get_or_insert_with(Instant::now);
                let longest = until_due(core);
                match core.crew.while_idle(|| queue.recv_timeout(longest)) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        if since.elapsed() >= core.crew.idle_after() && core.crew.lets_go() {
                            return;
                        }
                        continue;
                    }
                }
            }
        };
        if let Message::Job(job) = message {
            mem::take(&mut idle_since);
            core.process(job, slot);
        }
    }
    core.crew.lost_one();
}

fn until_due<R: Send + 'static>(core: &Core<R>) -> Duration {
    let next = core.delays.next_ns();
    if next == u64::MAX {
        return PARK_MAX;
    }
    PARK_MAX.min(Duration::from_nanos(next.saturating_sub(core.now_ns())))
}
