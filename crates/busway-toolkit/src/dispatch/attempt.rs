//! One attempt: middleware, handler, middleware; and how it is counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tracing::Span;

use super::context::Context;
use super::core::Core;
use super::failure::{Failure, panic_text};
use super::metrics::count;
use super::route::Route;
use crate::source::Event;

impl<R: Send + 'static> Core<R> {
    /// One attempt. Returns also when it ended.
    pub(super) fn attempt(
        &self,
        route: &Route<R>,
        event: &Event<'_>,
        attempt: u32,
        started: u64,
    ) -> (Result<(), Failure>, u64) {
        let context = Context {
            source: &self.source,
            handler: &route.name,
            attempt,
            attempts_max: route.policy.retry.attempts,
            deadline_ns: route.deadline_ns(started),
            clock: &*self.clock,
            cancel: &self.cancel,
            span: self.span(route, event, attempt),
        };
        context.span.in_scope(|| {
            let (begun, allowed) = self.before(&context, event);
            let result = allowed.and_then(|()| route.handler.call(&context, event));
            self.after(route, begun, &context, event, (started, result))
        })
    }

    /// The span that an attempt is made in.
    pub(super) fn span(&self, route: &Route<R>, event: &Event<'_>, attempt: u32) -> Span {
        tracing::debug_span!(
            "event",
            bus = &*self.source,
            handler = &*route.name,
            kind = event.kind,
            lane = event.lane,
            position = event.position,
            attempt
        )
    }

    /// Asks the middleware before an attempt: how many were, and whether all agree.
    pub(super) fn before(
        &self,
        context: &Context<'_>,
        event: &Event<'_>,
    ) -> (usize, Result<(), Failure>) {
        let mut begun = 0;
        for middleware in &self.middleware {
            if let Err(failure) = guarded(|| middleware.before(context, event)) {
                return (begun, Err(failure));
            }
            begun += 1;
        }
        (begun, Ok(()))
    }

    /// An attempt that began then has ended like this: tells the middleware that was asked before, and
    /// returns when that was.
    pub(super) fn after(
        &self,
        route: &Route<R>,
        begun: usize,
        context: &Context<'_>,
        event: &Event<'_>,
        (started, result): (u64, Result<(), Failure>),
    ) -> (Result<(), Failure>, u64) {
        let ended = self.now_ns();
        let result = result.map_err(|failure| in_time(route, started, ended, failure));
        for middleware in self.middleware.iter().take(begun).rev() {
            let after = catch_unwind(AssertUnwindSafe(|| match &result {
                Ok(()) => middleware.after(context, event),
                Err(failure) => middleware.on_error(context, event, failure),
            }));
            if let Err(panic) = after {
                tracing::error!(panic = panic_text(&*panic), "middleware panicked after a handler");
            }
        }
        (result, ended)
    }
}

/// Counts an attempt. Returns whether it succeeded, as the breaker sees it.
pub(super) fn note_attempt<R>(
    route: &Route<R>,
    started: u64,
    ended: u64,
    result: &Result<(), Failure>,
) -> bool {
    let took = ended.saturating_sub(started);
    let counts = &route.counts;
    counts.took(took);
    match result {
        Ok(()) => {
            let late = route.timeout_ns.is_some_and(|timeout| took > timeout);
            if late {
                count(&counts.ended.late);
            }
            count(&counts.ended.processed);
            !late
        }
        Err(failure) => {
            count(&counts.ended.failures);
            if matches!(failure, Failure::Panicked(_)) {
                count(&counts.ended.panicked);
            }
            false
        }
    }
}

/// Calls what the user wrote; a panic is a failure.
pub(super) fn guarded(call: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(Failure::of_panic(&*panic)))
}

/// A failure that came after the attempt's time is a time-out.
fn in_time<R>(route: &Route<R>, started: u64, ended: u64, failure: Failure) -> Failure {
    let took = ended.saturating_sub(started);
    match route.timeout_ns {
        Some(timeout) if took > timeout && !matches!(failure, Failure::Panicked(_)) => {
            Failure::TimedOut {
                took: Duration::from_nanos(took),
                timeout: Duration::from_nanos(timeout),
            }
        }
        _ => failure,
    }
}
