//! Changes of a table as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::ready::Async;
use crate::error::TableError;
use crate::table::{OwnedEntry, TableWatch};

impl<T> Async<TableWatch<T>> {
    /// The next change, as a copy; waits for it.
    ///
    /// Dropping the future loses nothing: a change counts as seen in the moment in which it is returned.
    ///
    /// # Errors
    /// As [`TableWatch::poll`].
    pub async fn recv(&mut self) -> Result<OwnedEntry, TableError> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<OwnedEntry, TableError>> {
        loop {
            ready!(self.poll_ready(context));
            match self.get_mut().poll() {
                Ok(Some(entry)) => return Poll::Ready(Ok(entry.to_owned())),
                // A cell that was emptied, which no honest participant does.
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// Changes as owned values; ends at [`TableError::Removed`].
impl<T> Stream for Async<TableWatch<T>> {
    type Item = Result<OwnedEntry, TableError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_recv(context)) {
            Err(TableError::Removed) => None,
            item => Some(item),
        })
    }
}
