//! Calls as futures.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::ready::Async;
use crate::request::{Call, CallError, Caller, Completion, Reply};

impl Async<Caller> {
    /// Asks, and waits for the answer without holding a thread up. Answers of other calls that come
    /// meanwhile are kept.
    ///
    /// Sending itself waits for room as [`Caller::send`] does, which takes a thousand requests that the
    /// server has not taken. If the future is dropped, the call stays in flight: its end is
    /// kept for [`recv`](Self::recv).
    ///
    /// # Errors
    /// As [`Caller::call`].
    pub async fn call(
        &mut self,
        kind: u16,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Reply<'static>, CallError> {
        let call = self.get_mut().send(kind, body, Some(timeout))?;
        self.wait(call).await
    }

    /// Waits for the end of one call.
    ///
    /// # Errors
    /// As [`Caller::wait`].
    pub async fn wait(&mut self, call: Call) -> Result<Reply<'static>, CallError> {
        poll_fn(|context| self.poll_wait(call, context)).await
    }

    /// The end of any call.
    pub async fn recv(&mut self) -> Completion<'static> {
        poll_fn(|context| {
            loop {
                ready!(self.poll_ready(context));
                if let Some(Completion { call, result }) = self.get_mut().poll() {
                    let result = result.map(Reply::into_owned);
                    return Poll::Ready(Completion { call, result });
                }
            }
        })
        .await
    }

    fn poll_wait(
        &mut self,
        call: Call,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reply<'static>, CallError>> {
        // What others' calls came to does not end this wait: it is put aside while this looks.
        self.get_mut().look_for(Some(call));
        let ready = self.poll_ready(context);
        self.get_mut().look_for(None);
        ready!(ready);
        match self.get_mut().take_end_of(call) {
            Some(result) => Poll::Ready(result),
            None => Poll::Ready(Err(CallError::TimedOut)),
        }
    }
}
