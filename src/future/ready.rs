//! An end that a task can wait for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::waiter::Registration;
use crate::waits::Waitable;

/// Times in a row that an end may be found ready before its task lets others have a turn.
const TURNS: u32 = 128;

/// An end of a bus for tasks: its waits are futures.
///
/// Any executor will do; there is no thread but one for the whole process, which sleeps on behalf of all
/// that wait, and only while somebody does. Everything else is the end's own, reached by
/// [`get_mut`](Self::get_mut): it polls and publishes as always.
///
/// Every future here is safe to drop at any time: nothing is taken from a bus, and nothing published,
/// before the call that returns it.
///
/// Cost: a wait that finds something costs what a poll does. One that does not takes a lock and makes one
/// system call (`membarrier(2)`); the wake goes by way of the waiting thread and the executor, which
/// docs/async.md measures. Past 127 ends that wait at once, wakes may be a millisecond late.
#[derive(Debug)]
pub struct Async<T> {
    // Drop order: the registration withdraws from a bed of the end.
    registration: Option<Registration>,
    end: T,
    turns: u32,
}

impl<T: Waitable> Async<T> {
    /// Takes an end over.
    pub fn new(end: T) -> Self {
        Self { registration: None, end, turns: 0 }
    }

    /// The end.
    pub fn get_ref(&self) -> &T {
        &self.end
    }

    /// The end, for polling or publishing without waiting.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.end
    }

    /// Gives the end back.
    pub fn into_inner(self) -> T {
        self.end
    }

    /// Waits until a call on the end returns something, be it an error: a consumer's poll, a producer's
    /// publish. What a group's member is found ready with, it has claimed.
    pub fn ready(&mut self) -> Ready<'_, T> {
        Ready { end: self }
    }

    /// The same for who writes futures by hand. One task at a time: the last waker counts.
    pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.end.look() {
            self.turns += 1;
            if self.turns < TURNS {
                return Poll::Ready(());
            }
            // Under a flood the task would never return to its executor.
            self.turns = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.turns = 0;
        self.end.probe();
        let bed = self.end.bed();
        // A table's key gets a bell of its own when it is first written.
        let registration = match self.registration.take() {
            Some(registration) if registration.is_at(bed) => registration,
            _ => Registration::new(bed),
        };
        let registration = self.registration.insert(registration);
        registration.watch(context.waker(), self.end.longest_wait());
        if self.end.look() {
            registration.unwatch();
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The wait of [`Async::ready`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Ready<'a, T> {
    end: &'a mut Async<T>,
}

impl<T: Waitable> Future for Ready<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.end.poll_ready(context)
    }
}

// Nothing in it is pinned.
impl<T> Unpin for Async<T> {}
