//! Frames as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::ready::Async;
use crate::consumer::Consumer;
use crate::error::PollError;
use crate::received::OwnedFrame;

impl<T> Async<Consumer<T>> {
    /// The next frame, as a copy; waits for it. To read in place, wait for
    /// [`ready`](Self::ready) and poll [`get_mut`](Self::get_mut).
    ///
    /// Dropping the future loses nothing: a frame is taken in the moment in which it is returned.
    ///
    /// # Errors
    /// As [`Consumer::poll`]. After [`PollError::Closed`] the next call waits until somebody attaches.
    pub async fn recv(&mut self) -> Result<OwnedFrame, PollError> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<OwnedFrame, PollError>> {
        loop {
            ready!(self.poll_ready(context));
            match self.get_mut().poll() {
                Ok(Some(frame)) => return Poll::Ready(Ok(frame.to_owned())),
                // Somebody has attached to the bus that was closed a moment ago.
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Frames as owned values; ends at [`PollError::Closed`] or [`PollError::Removed`]. After the first,
/// going on waits until somebody attaches.
impl<T> Stream for Async<Consumer<T>> {
    type Item = Result<OwnedFrame, PollError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_recv(context)) {
            Err(PollError::Closed | PollError::Removed) => None,
            item => Some(item),
        })
    }
}
