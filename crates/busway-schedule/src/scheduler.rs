//! The thread that hands out what is due, and what others ask of it.
//!
//! One lock, held for some hundred nanoseconds at a time and never while an event is handed out. An
//! event that is being handed out is in no queue; its number stands in `handing_out`, so that who cancels
//! it waits for the outcome instead of guessing.

use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, SystemTime};

use crate::clock::{Clock, Due, Now, SystemClock, nanoseconds};
use crate::queue::Queue;

/// When an event is due, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When it is due for the first time.
    pub first: Due,
    /// Nanoseconds from one time to the next; `None`: it is due once.
    pub every_ns: Option<u64>,
    /// The times that have been already: 0 is the first.
    pub occurrence: u64,
}

/// What an event is handed out with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The event's number.
    pub id: u64,
    /// Which of its times this is, from 0.
    pub occurrence: u64,
    /// Times before this one that were missed and are not made up for.
    pub skipped: u64,
    /// When it was due.
    pub due: Due,
    /// How late that is.
    pub late: Duration,
    /// Attempts at this time before, all of which were to be made again.
    pub attempt: u32,
}

/// What becomes of an event that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// That is done: its next time is to come, if it has one.
    Done,
    /// Not now: hand it out again after this long.
    Again(Duration),
    /// No more of it.
    End,
}

/// Hands events out at their time, on a thread of its own.
///
/// Dropping it ends the thread; what is pending then is dropped with it.
///
/// # Examples
/// ```
/// use busway_schedule::{Scheduler, Verdict};
/// use std::time::Duration;
///
/// let (sender, events) = std::sync::mpsc::channel();
/// let scheduler = Scheduler::start(move |event: &mut &str, _| {
///     let _ = sender.send(*event);
///     Verdict::Done
/// })?;
/// scheduler.schedule_after(Duration::from_millis(20), "second");
/// scheduler.schedule(std::time::SystemTime::UNIX_EPOCH, "first: that time is over");
/// let third = scheduler.schedule_after(Duration::from_millis(40), "third");
/// assert!(third.cancel());
/// assert_eq!(events.recv()?, "first: that time is over");
/// assert_eq!(events.recv()?, "second");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scheduler<E> {
    shared: Arc<Shared<E>>,
    thread: Option<JoinHandle<()>>,
}

/// An event that was scheduled. Dropping it changes nothing.
pub struct Ticket<E> {
    id: u64,
    shared: Weak<Shared<E>>,
}

struct Shared<E> {
    clock: Arc<dyn Clock>,
    state: Mutex<State<E>>,
    handed_out: Condvar,
}

struct State<E> {
    queue: Queue<Entry<E>>,
    last_id: u64,
    /// The event that is being handed out, and on which thread.
    handing_out: Option<(u64, ThreadId)>,
    stop: bool,
}

struct Entry<E> {
    event: E,
    plan: Plan,
    skipped: u64,
    attempt: u32,
}

impl<E: Send + 'static> Scheduler<E> {
    /// Starts the thread. `hand_out` is called there with each event at its time; whoever is due
    /// meanwhile waits for it.
    ///
    /// # Errors
    /// When the system gives no thread or descriptor.
    pub fn start(
        hand_out: impl FnMut(&mut E, &Occasion) -> Verdict + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_by(Arc::new(SystemClock::new()?), hand_out)
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_by(
        clock: Arc<dyn Clock>,
        hand_out: impl FnMut(&mut E, &Occasion) -> Verdict + Send + 'static,
    ) -> io::Result<Self> {
        let state = State { queue: Queue::new(), last_id: 0, handing_out: None, stop: false };
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { clock, state, handed_out: Condvar::new() });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("schedule".to_owned());
        let thread = thread.spawn(move || own.run(hand_out))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// At a time of the wall clock; at once, if that is over.
    pub fn schedule(&self, at: SystemTime, event: E) -> Ticket<E> {
        self.insert(Due::at(at), None, event)
    }

    /// After a while.
    pub fn schedule_after(&self, delay: Duration, event: E) -> Ticket<E> {
        self.insert(self.after(delay), None, event)
    }

    /// For the first time when `first` says, then again and again: the n-th time is due at
    /// `first + n × every`, so that delays do not add up. Of times that were missed, because the
    /// machine slept or the clock was set, only the last is made up for. `every` is at least one
    /// millisecond.
    pub fn schedule_every(&self, first: Due, every: Duration, event: E) -> Ticket<E> {
        self.insert(first, Some(every.max(Duration::from_millis(1))), event)
    }

    /// A time from now, for [`schedule_every`](Self::schedule_every).
    #[must_use]
    pub fn after(&self, delay: Duration) -> Due {
        Due::Elapsed(self.shared.clock.now().elapsed_ns.saturating_add(nanoseconds(delay)))
    }

    fn insert(&self, first: Due, every: Option<Duration>, event: E) -> Ticket<E> {
        let plan = Plan { first, every_ns: every.map(nanoseconds), occurrence: 0 };
        let id = self.shared.lock().last_id.saturating_add(1);
        self.schedule_as(id, plan, event)
    }

    /// With a number of the caller's choice, and times that may have been already. Whatever had this
    /// number before is cancelled.
    pub fn schedule_as(&self, id: u64, plan: Plan, event: E) -> Ticket<E> {
        let mut state = self.shared.lock();
        state.last_id = state.last_id.max(id);
        state.queue.insert(id, plan.due(), Entry { event, plan, skipped: 0, attempt: 0 });
        drop(state);
        self.shared.clock.wake();
        Ticket { id, shared: Arc::downgrade(&self.shared) }
    }

    /// Cancels an event by its number; see [`Ticket::cancel`].
    pub fn cancel(&self, id: u64) -> bool {
        self.shared.cancel(id)
    }

    /// Events that are still to come.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.lock().queue.len()
    }
}

impl<E> Ticket<E> {
    /// The event's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether it is still to come, or to come again.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.shared.upgrade().is_some_and(|shared| shared.lock().queue.contains(self.id))
    }

    /// Takes the event back. `true`: it is not handed out from now on; `false`: there was nothing left
    /// to cancel. Waits while it is being handed out, unless that is what this thread does.
    pub fn cancel(&self) -> bool {
        self.shared.upgrade().is_some_and(|shared| shared.cancel(self.id))
    }
}

impl Plan {
    /// When it is due next.
    #[must_use]
    pub fn due(&self) -> Due {
        let every = self.every_ns.unwrap_or(0);
        self.first.plus(every.saturating_mul(self.occurrence))
    }

    /// The plan with the times passed over that are missed already, but for the last; and how many
    /// those are.
    #[must_use]
    pub fn caught_up(self, now: Now) -> (Self, u64) {
        let Some(every) = self.every_ns else {
            return (self, 0);
        };
        let (first, now) = match self.first {
            Due::Wall(first) => (first, now.wall_ns),
            Due::Elapsed(first) => (first, now.elapsed_ns),
        };
        let latest = now.saturating_sub(first) / every.max(1);
        let occurrence = self.occurrence.max(latest);
        (Self { occurrence, ..self }, occurrence - self.occurrence)
    }

    /// The plan when this time is done; `None`: that was all.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let occurrence = self.every_ns.and(self.occurrence.checked_add(1))?;
        Some(Self { occurrence, ..self })
    }
}

impl<E> Shared<E> {
    /// Nothing is called with the lock held that could leave the queue in two minds.
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut hand_out: impl FnMut(&mut E, &Occasion) -> Verdict) {
        let own = thread::current().id();
        let _ended = Ended(self);
        let mut state = self.lock();
        while !state.stop {
            let now = self.clock.now();
            let Some((id, mut entry)) = state.queue.take_due(now) else {
                let wake = state.queue.next();
                drop(state);
                self.clock.park(wake);
                state = self.lock();
                continue;
            };
            state.handing_out = Some((id, own));
            drop(state);
            if entry.attempt == 0 {
                (entry.plan, entry.skipped) = entry.plan.caught_up(now);
            }
            let due = entry.plan.due();
            let occasion = Occasion {
                id,
                occurrence: entry.plan.occurrence,
                skipped: entry.skipped,
                due,
                late: due.late(now),
                attempt: entry.attempt,
            };
            let verdict = hand_out(&mut entry.event, &occasion);
            state = self.lock();
            self.settle(&mut state, id, entry, verdict);
            state.handing_out = None;
            self.handed_out.notify_all();
        }
    }

    /// Puts an event back that is to be handed out again.
    fn settle(&self, state: &mut State<E>, id: u64, mut entry: Entry<E>, verdict: Verdict) {
        // Its number may have been given to another meanwhile.
        if state.queue.contains(id) {
            return;
        }
        match verdict {
            Verdict::End => {}
            Verdict::Again(delay) => {
                let now = self.clock.now();
                entry.attempt = entry.attempt.saturating_add(1);
                let due = Due::Elapsed(now.elapsed_ns.saturating_add(nanoseconds(delay)));
                state.queue.insert(id, due, entry);
            }
            Verdict::Done => {
                if let Some(plan) = entry.plan.next() {
                    let entry = Entry { plan, skipped: 0, attempt: 0, ..entry };
                    state.queue.insert(id, plan.due(), entry);
                }
            }
        }
    }

    fn cancel(&self, id: u64) -> bool {
        let own = thread::current().id();
        let is_busy = |state: &mut State<E>| {
            state.handing_out.is_some_and(|(other, thread)| other == id && thread != own)
        };
        let state = self.handed_out.wait_while(self.lock(), is_busy);
        state.unwrap_or_else(PoisonError::into_inner).queue.remove(id).is_some()
    }
}

/// Lets nobody wait for an outcome when the thread ends, be it because `hand_out` panicked.
struct Ended<'a, E>(&'a Shared<E>);

impl<E> Drop for Ended<'_, E> {
    fn drop(&mut self) {
        self.0.lock().handing_out = None;
        self.0.handed_out.notify_all();
    }
}

impl<E> Drop for Scheduler<E> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.clock.wake();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // It breaks off only if `hand_out` panics, and that has been said.
            let _ = thread.join();
        }
    }
}

impl<E> fmt::Debug for Scheduler<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pending = self.shared.lock().queue.len();
        f.debug_struct("Scheduler").field("pending", &pending).finish_non_exhaustive()
    }
}

impl<E> fmt::Debug for Ticket<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
