//! What a handler and the middleware around it are told, besides the event.

use std::time::Duration;

use tracing::Span;

use super::failure::Failure;
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::source::Event;

/// One attempt: from where its event is, how many there were, and how long it may take.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) source: &'a str,
    pub(super) handler: &'a str,
    pub(super) attempt: u32,
    pub(super) attempts_max: u32,
    pub(super) deadline_ns: Option<u64>,
    pub(super) clock: &'a dyn Clock,
    pub(super) cancel: &'a Cancel,
    pub(super) span: Span,
}

impl Context<'_> {
    /// The bus that the event was published on. Lane and position are the event's own.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source
    }

    /// What the handler is called.
    #[must_use]
    pub fn handler(&self) -> &str {
        self.handler
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether no other will be made if this one fails.
    #[must_use]
    pub fn is_last_attempt(&self) -> bool {
        self.attempt >= self.attempts_max
    }

    /// When this attempt has to be over, on the dispatcher's clock; `None`: whenever it likes.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }

    /// How much of its time is left; `None`: as much as it likes.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let left = |deadline: u64| deadline.saturating_sub(self.clock.now_ns());
        self.deadline_ns.map(|deadline| Duration::from_nanos(left(deadline)))
    }

    /// Whether the attempt should end: its time is over, or the dispatcher closes and waits no longer.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.time_left().is_some_and(|left| left.is_zero())
    }

    /// For work below this: cancelled when the dispatcher closes and waits no longer. It knows nothing of
    /// the deadline.
    #[must_use]
    pub fn cancel(&self) -> &Cancel {
        self.cancel
    }

    /// The span that the handler runs in: `event`, with `bus`, `handler`, `kind`, `lane`, `position`,
    /// `attempt`.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }
}

/// Something that is done around every attempt of every handler.
///
/// `before` is called in the order in which they were added, the others in the opposite order. Those whose
/// `before` succeeded get exactly one of `after` and `on_error`.
///
/// # Examples
/// ```
/// use busway_toolkit::{Context, Event, Failure, Middleware};
///
/// struct Trace;
/// impl Middleware for Trace {
///     fn on_error(&self, context: &Context<'_>, event: &Event<'_>, failure: &Failure) {
///         eprintln!("{} attempt {}, {}: {failure}", context.handler(), context.attempt(), event.position);
///     }
/// }
/// ```
pub trait Middleware: Send + Sync {
    /// Before the handler.
    ///
    /// # Errors
    /// The handler is not asked; the attempt failed.
    fn before(&self, context: &Context<'_>, event: &Event<'_>) -> Result<(), Failure> {
        let _ = (context, event);
        Ok(())
    }

    /// After the handler succeeded.
    fn after(&self, context: &Context<'_>, event: &Event<'_>) {
        let _ = (context, event);
    }

    /// After the attempt failed. Whether there will be another is not decided yet.
    fn on_error(&self, context: &Context<'_>, event: &Event<'_>, failure: &Failure) {
        let _ = (context, event, failure);
    }
}
