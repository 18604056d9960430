//! One attempt of a handler that is a future.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tracing::Span;

use super::alarm::{Alarm, Alarms};
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::dispatch::context::Context;
use crate::dispatch::core::{Admitted, Core};
use crate::dispatch::failure::Failure;
use crate::dispatch::route::{Handler, Route};
use crate::dispatch::worker::Slot;
use crate::source::OwnedEvent;

/// A handler's future.
pub(super) type Boxed = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A handler that gives a future.
pub(in crate::dispatch) type Start = dyn Fn(TaskContext, OwnedEvent) -> Boxed + Send + Sync;

/// What a handler that is a future is told besides the event: a [`Context`] that is its own.
#[derive(Clone)]
pub struct TaskContext {
    source: Arc<str>,
    handler: Arc<str>,
    attempt: u32,
    attempts_max: u32,
    deadline_ns: Option<u64>,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    span: Span,
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_context().fmt(f)
    }
}

impl TaskContext {
    fn new<R: Send + 'static>(core: &Core<R>, route: &Route<R>, attempt: u32, span: Span) -> Self {
        Self {
            source: Arc::clone(&core.source),
            handler: Arc::clone(&route.name),
            attempt,
            attempts_max: route.policy.retry.attempts,
            deadline_ns: None,
            clock: Arc::clone(&core.clock),
            cancel: core.cancel.clone(),
            span,
        }
    }

    /// What a handler that is a function is told.
    #[must_use]
    pub fn as_context(&self) -> Context<'_> {
        Context {
            source: &self.source,
            handler: &self.handler,
            attempt: self.attempt,
            attempts_max: self.attempts_max,
            deadline_ns: self.deadline_ns,
            clock: &*self.clock,
            cancel: &self.cancel,
            span: self.span.clone(),
        }
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// Makes the attempt, and what follows from it. Returns the slot.
pub(super) async fn run<R: Send + 'static>(
    core: Arc<Core<R>>,
    alarms: Arc<Alarms>,
    mut admitted: Admitted<R>,
    slot: Arc<Slot>,
) -> Arc<Slot> {
    if let Some(route) = core.routes.get(admitted.index) {
        let started = core.now_ns();
        admitted.job.attempts += 1;
        let (event, attempt) = (&admitted.job.event, admitted.job.attempts);
        let (result, ended) = attempt_once(&core, &alarms, route, event, attempt, started).await;
        core.conclude(route, admitted, &slot, (started, ended), &result);
    }
    slot
}

async fn attempt_once<R: Send + 'static>(
    core: &Core<R>,
    alarms: &Alarms,
    route: &Route<R>,
    event: &OwnedEvent,
    attempt: u32,
    started: u64,
) -> (Result<(), Failure>, u64) {
    let span = core.span(route, &event.as_event(), attempt);
    let mut context = TaskContext::new(core, route, attempt, span.clone());
    context.deadline_ns = route.deadline_ns(started);
    let (begun, allowed) = span.in_scope(|| core.before(&context.as_context(), &event.as_event()));
    let result = match (allowed, &route.handler) {
        (Err(failure), _) => Err(failure),
        (Ok(()), Handler::Start(start)) => {
            let begin = || start(context.clone(), event.clone());
            match span.in_scope(|| catch_unwind(AssertUnwindSafe(begin))) {
                Ok(future) => {
                    let alarm = context.deadline_ns.map(|at_ns| alarms.at(at_ns));
                    finish(core, route, future, &span, started, alarm).await
                }
                Err(panic) => Err(Failure::of_panic(&*panic)),
            }
        }
        (Ok(()), handler) => {
            span.in_scope(|| handler.call(&context.as_context(), &event.as_event()))
        }
    };
    let (context, event) = (context.as_context(), event.as_event());
    span.in_scope(|| core.after(route, begun, &context, &event, (started, result)))
}

/// Awaits a handler, as long as it has time.
async fn finish<R: Send + 'static>(
    core: &Core<R>,
    route: &Route<R>,
    mut future: Boxed,
    span: &Span,
    started: u64,
    alarm: Option<Alarm<'_>>,
) -> Result<(), Failure> {
    poll_fn(|context| {
        let poll = || future.as_mut().poll(context);
        match span.in_scope(|| catch_unwind(AssertUnwindSafe(poll))) {
            Ok(Poll::Pending) => {}
            Ok(ready) => return ready,
            Err(panic) => return Poll::Ready(Err(Failure::of_panic(&*panic))),
        }
        let now = core.now_ns();
        match &alarm {
            Some(alarm) if alarm.is_over(now, context.waker()) => {
                let took = Duration::from_nanos(now.saturating_sub(started));
                let timeout = route.policy.timeout.unwrap_or_default();
                Poll::Ready(Err(Failure::TimedOut { took, timeout }))
            }
            _ => Poll::Pending,
        }
    })
    .await
}
