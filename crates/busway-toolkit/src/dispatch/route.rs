//! One kind's handler, with what is around it.

use std::fmt;
use std::sync::Arc;

use super::attempt::guarded;
use super::context::Context;
use super::failure::Failure;
use super::gate::Gate;
use super::metrics::{Counts, KindMetrics};
use crate::policy::Policy;
use crate::source::Event;

/// A handler that is called.
pub(super) type Call = dyn Fn(&Context<'_>, &Event<'_>) -> Result<(), Failure> + Send + Sync;

/// What handles events of one kind.
pub(super) enum Handler {
    Call(Box<Call>),
    /// It gives a future.
    #[cfg(feature = "async")]
    Start(Box<super::tasks::Start>),
}

impl Handler {
    /// Calls it; a panic is a failure.
    pub(super) fn call(&self, context: &Context<'_>, event: &Event<'_>) -> Result<(), Failure> {
        match self {
            Self::Call(call) => guarded(|| call(context, event)),
            // The builder refuses it.
            #[cfg(feature = "async")]
            Self::Start(_) => Err(Failure::permanent("a future without a task to run it in")),
        }
    }
}

/// One kind's way through the dispatcher.
pub(super) struct Route<R> {
    pub(super) kind: u16,
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    /// The policy's time-out.
    pub(super) timeout_ns: Option<u64>,
    pub(super) handler: Handler,
    pub(super) counts: Counts,
    /// What may make events wait; `None`: nothing does.
    pub(super) gate: Option<Gate<R>>,
}

impl<R> Route<R> {
    /// When an attempt has to be over that began then.
    pub(super) fn deadline_ns(&self, started: u64) -> Option<u64> {
        self.timeout_ns.map(|timeout| started.saturating_add(timeout))
    }

    pub(super) fn metrics(&self) -> KindMetrics {
        let breaker = self.gate.as_ref().and_then(Gate::breaker);
        self.counts.snapshot(self.kind, &self.name, breaker)
    }
}

impl<R> fmt::Debug for Route<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// All of them, found by kind.
#[derive(Debug)]
pub(super) struct Routes<R> {
    routes: Vec<Route<R>>,
    /// By kind: the index of its route plus one; 0: none.
    by_kind: Vec<u32>,
}

impl<R> Routes<R> {
    pub(super) fn new(routes: Vec<Route<R>>) -> Self {
        let kinds = routes.iter().map(|route| usize::from(route.kind) + 1).max().unwrap_or(0);
        let mut by_kind = vec![0; kinds];
        for (number, route) in (1..).zip(&routes) {
            if let Some(entry) = by_kind.get_mut(usize::from(route.kind)) {
                *entry = number;
            }
        }
        Self { routes, by_kind }
    }

    /// The route of a kind, and its index.
    pub(super) fn find(&self, kind: u16) -> Option<(u32, &Route<R>)> {
        let index = self.by_kind.get(usize::from(kind))?.checked_sub(1)?;
        Some((index, self.routes.get(index as usize)?))
    }

    pub(super) fn get(&self, index: u32) -> Option<&Route<R>> {
        self.routes.get(index as usize)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Route<R>> {
        self.routes.iter()
    }
}
