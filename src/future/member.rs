//! The frames of a group as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::ready::Async;
use crate::error::PollError;
use crate::group::{GroupMember, OwnedDelivered};

impl Async<GroupMember> {
    /// The next frame for this member, with what it is acknowledged by
    /// ([`GroupMember::ack`], by [`get_mut`](Self::get_mut)); waits for it.
    ///
    /// Dropping the future loses nothing: a frame is handed out, and on an at-most-once group settled, in
    /// the moment in which it is returned. A future that is dropped may leave frames claimed for this
    /// member, as a batch does: they come with the next call, go to others when the processing timeout is
    /// over, and at once when the member is dropped.
    ///
    /// # Errors
    /// As [`GroupMember::poll`].
    pub async fn recv(&mut self) -> Result<OwnedDelivered, PollError> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<OwnedDelivered, PollError>> {
        loop {
            ready!(self.poll_ready(context));
            match self.get_mut().poll() {
                Ok(Some(delivered)) => return Poll::Ready(Ok(delivered.to_owned())),
                // What was there was taken back in this very moment.
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Frames as owned values, each with its receipt; ends at [`PollError::Removed`].
impl Stream for Async<GroupMember> {
    type Item = Result<OwnedDelivered, PollError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_recv(context)) {
            Err(PollError::Removed) => None,
            item => Some(item),
        })
    }
}
