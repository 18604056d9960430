//! An event on its way: copied out of the bus, with how far it has come.

use std::fmt;
use std::sync::Arc;

use super::metrics::Counts;
use crate::policy::Reason;
use crate::policy::retry::Delays;
use crate::source::OwnedEvent;

/// Where an event goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// To the route of this index.
    Route(u32),
    /// Nobody handles its kind.
    Nobody(Arc<Counts>),
}

/// An event and how far it has come.
pub(super) struct Job<R> {
    pub(super) target: Target,
    pub(super) event: OwnedEvent,
    pub(super) receipt: R,
    /// Attempts made.
    pub(super) attempts: u32,
    /// The waits that are left, once one attempt has failed.
    pub(super) delays: Option<Box<Delays>>,
    pub(super) stage: Stage,
}

/// What is to be done with an event next.
#[derive(Debug)]
pub(super) enum Stage {
    /// An attempt, if nothing makes it wait.
    Arrived,
    /// An attempt; the gate has let it through, in this period of its breaker.
    Admitted { period: u64 },
    /// It is given up: on to the dead-letter bus.
    GivenUp(Box<GivenUp>),
}

/// Why an event is given up.
#[derive(Debug)]
pub(super) struct GivenUp {
    pub(super) reason: Reason,
    pub(super) error: String,
}

impl<R> fmt::Debug for Job<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = self.event.as_event().position;
        f.debug_struct("Job")
            .field("position", &position)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// What goes through the queue to the workers.
#[derive(Debug)]
pub(super) enum Message<R> {
    Job(Job<R>),
    /// Look again at what is due, and whether the dispatcher closes.
    Look,
}
