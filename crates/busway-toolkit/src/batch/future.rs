//! Calls as futures, for any executor: the workers stay threads, and nobody who waits holds one up.

use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use crossbeam_channel::TrySendError;
use oneshot::AsyncReceiver;

use super::Batcher;
use super::room::Place;
use super::stage::Item;
use super::ticket::{CallError, SubmitError, Ticket};

/// The result of a [`Ticket`] that is awaited.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Answer<R, E> {
    answer: AsyncReceiver<Result<R, CallError<E>>>,
}

impl<R, E> Future for Answer<R, E> {
    type Output = Result<R, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(CallError::Closed)))
    }
}

/// Awaiting a ticket is [`wait`](Ticket::wait) without a thread.
impl<R, E> IntoFuture for Ticket<R, E> {
    type Output = Result<R, CallError<E>>;
    type IntoFuture = Answer<R, E>;

    fn into_future(self) -> Answer<R, E> {
        Answer { answer: self.answer.into_future() }
    }
}

impl<T, R, E> Batcher<T, R, E>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    /// Submits an item and waits for its result, as [`call`](Self::call) does, without holding a thread up.
    ///
    /// A future that is dropped takes its item with it, unless the handler has been called with it
    /// already: then its result is thrown away. The item counts as `dropped`.
    ///
    /// # Errors
    /// The item's own error, or why there is no result.
    ///
    /// # Examples
    /// ```
    /// use busway_toolkit::Batcher;
    ///
    /// let double = |items: Vec<u32>| items.into_iter().map(|item| Ok::<_, String>(2 * item)).collect();
    /// let batcher = Batcher::options().build(double)?;
    /// let calls = async {
    ///     let first = batcher.call_async(20).await?;
    ///     batcher.call_async(first + 1).await
    /// };
    /// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// assert_eq!(runtime.block_on(calls), Ok(82));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn call_async(&self, item: T) -> Result<R, CallError<E>> {
        let (item, ticket) = self.stage.item(item, true);
        self.put(item).await.map_err(|_| CallError::Closed)?;
        ticket.await
    }

    /// Submits an item, as [`submit`](Self::submit) does: the ticket can be awaited, and dropping it
    /// changes nothing for the item. While the queue is full, tasks wait, and are woken in the order in
    /// which they came; dropping this future before it is done submits nothing.
    ///
    /// # Errors
    /// [`SubmitError::Closed`], with the item.
    pub async fn submit_async(&self, item: T) -> Result<Ticket<R, E>, SubmitError<T>> {
        let (item, ticket) = self.stage.item(item, false);
        self.put(item).await?;
        Ok(ticket)
    }

    async fn put(&self, item: Item<T, R, E>) -> Result<(), SubmitError<T>> {
        let mut item = Some(item);
        let mut place = Place::new(&self.stage.room);
        let put = poll_fn(|context| {
            if let Some(put) = self.try_put(&mut item) {
                return Poll::Ready(put);
            }
            place.wait(context.waker());
            self.try_put(&mut item).map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        place.leave();
        put
    }

    /// `None`: the queue is full, and the item still there.
    fn try_put(&self, item: &mut Option<Item<T, R, E>>) -> Option<Result<(), SubmitError<T>>> {
        let taken = item.take()?;
        if self.stage.is_closing() {
            return Some(Err(SubmitError::Closed(taken.value)));
        }
        match self.queue.try_send(taken) {
            Ok(()) => {
                self.submitted();
                Some(Ok(()))
            }
            Err(TrySendError::Full(back)) => {
                *item = Some(back);
                None
            }
            Err(TrySendError::Disconnected(item)) => Some(Err(SubmitError::Closed(item.value))),
        }
    }
}
