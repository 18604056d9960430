//! Publishing with back-pressure.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use super::ready::Async;
use crate::error::PublishError;
use crate::frame::Frame;
use crate::producer::Producer;

impl<T> Async<Producer<T>> {
    /// Publishes one frame; waits for room for as long as it takes, whatever the bus does when full.
    ///
    /// Dropping the future before it is done publishes nothing.
    ///
    /// # Errors
    /// As [`Producer::publish_bytes`], but for `Full` and `TimedOut`.
    pub async fn publish_bytes(&mut self, kind: u16, bytes: &[u8]) -> Result<u64, PublishError> {
        poll_fn(|context| {
            self.poll_publish(context, |producer| producer.try_publish_bytes(kind, bytes))
        })
        .await
    }

    /// Waits until there is room for so many frames at once: for a batch, a claim, a transaction. What
    /// is then asked of [`get_mut`](Self::get_mut) at once has it.
    ///
    /// # Errors
    /// [`PublishError::BatchSize`] for none or more than the lane can hold.
    pub async fn room_for(&mut self, frames: u32) -> Result<(), PublishError> {
        self.get_mut().ask_room(frames)?;
        self.ready().await;
        self.get_mut().ask_room(1)
    }

    fn poll_publish(
        &mut self,
        context: &mut Context<'_>,
        mut publish: impl FnMut(&mut Producer<T>) -> Result<u64, PublishError>,
    ) -> Poll<Result<u64, PublishError>> {
        match publish(self.get_mut()) {
            Err(PublishError::Full) => {}
            done => return Poll::Ready(done),
        }
        ready!(self.poll_ready(context));
        match publish(self.get_mut()) {
            // It was the order ring that had no room, for which nobody rings.
            Err(PublishError::Full) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }
}

impl<T: Frame> Async<Producer<T>> {
    /// Publishes one frame, as [`publish_bytes`](Self::publish_bytes) with the type's kind.
    ///
    /// # Errors
    /// As [`publish_bytes`](Self::publish_bytes).
    pub async fn publish(&mut self, frame: &T) -> Result<u64, PublishError> {
        poll_fn(|context| self.poll_publish(context, |producer| producer.try_publish(frame))).await
    }
}
