//! Units of work that are futures: one task runs them all, on any executor.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::run::{Frame, State};
use super::{GraphError, Outcome, Outcomes, sort};
use crate::cancel::Cancel;
use crate::dispatch::panic_text;

/// A unit's future.
type Boxed<'a, V, E> = Pin<Box<dyn Future<Output = Result<V, E>> + Send + 'a>>;

/// What a unit does.
type Start<'a, K, V, E> = Box<dyn FnOnce(TaskInputs<K, V>) -> Boxed<'a, V, E> + Send + 'a>;

/// A [`Graph`](super::Graph) whose units are futures.
///
/// # Examples
/// ```
/// use busway_toolkit::{AsyncGraph, Cancel};
///
/// let mut graph = AsyncGraph::new();
/// graph.unit("left", [], |_| async { Ok::<_, String>(3) });
/// graph.unit("right", [], |_| async { Ok(4) });
/// graph.unit("sum", ["left", "right"], |inputs| async move {
///     tokio::task::yield_now().await; // whatever it waits for
///     Ok(inputs.get(&"left") + inputs.get(&"right"))
/// });
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let outcomes = runtime.block_on(graph.run(8, &Cancel::new()))?;
/// assert_eq!(outcomes.value(&"sum"), Some(&7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncGraph<'a, K, V, E> {
    units: Vec<Unit<'a, K, V, E>>,
}

struct Unit<'a, K, V, E> {
    key: K,
    needs: Vec<K>,
    start: Start<'a, K, V, E>,
}

/// What a unit gets that is a future: as [`Inputs`](super::Inputs), and its own.
#[derive(Debug)]
pub struct TaskInputs<K, V> {
    values: Vec<(K, Arc<V>)>,
    cancel: Cancel,
}

impl<K: PartialEq + fmt::Debug, V> TaskInputs<K, V> {
    /// What a unit gave.
    ///
    /// # Panics
    /// When the unit is not among those that this one said it needs.
    #[expect(
        clippy::panic,
        reason = "a unit that uses what it does not need is a bug of the caller's"
    )]
    pub fn get(&self, key: &K) -> &V {
        match self.shared(key) {
            Some(value) => value,
            None => panic!("the unit did not say that it needs {key:?}"),
        }
    }

    /// What a unit gave, to keep; `None` when this one did not say that it needs it.
    pub fn shared(&self, key: &K) -> Option<&Arc<V>> {
        self.values.iter().find_map(|(own, value)| (own == key).then_some(value))
    }

    /// Whether this unit should end early.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl<'a, K, V, E> AsyncGraph<'a, K, V, E>
where
    K: Ord + Clone + fmt::Debug + Send + Sync,
    V: Send + Sync,
    E: Send,
{
    /// Without units.
    #[must_use]
    pub fn new() -> Self {
        Self { units: Vec::new() }
    }

    /// Adds a unit, with the keys of those that it needs, in any order. What is wrong with it, `run` says.
    pub fn unit<F, Fut>(&mut self, key: K, needs: impl IntoIterator<Item = K>, run: F) -> &mut Self
    where
        F: FnOnce(TaskInputs<K, V>) -> Fut + Send + 'a,
        Fut: Future<Output = Result<V, E>> + Send + 'a,
    {
        let start = move |inputs| -> Boxed<'a, V, E> { Box::pin(run(inputs)) };
        let needs = needs.into_iter().collect();
        self.units.push(Unit { key, needs, start: Box::new(start) });
        self
    }

    /// Runs all units, at most so many at a time, in the task that awaits this. Cancelling keeps those from
    /// beginning that have not; those that run are told, and waited for. Dropping the future drops them
    /// where they await.
    ///
    /// # Errors
    /// When the units do not fit together. Nothing has been run then.
    pub async fn run(
        self,
        tasks: usize,
        cancel: &Cancel,
    ) -> Result<Outcomes<K, V, E>, GraphError<K>> {
        let plan = sort::plan(self.units.iter().map(|unit| (&unit.key, unit.needs.as_slice())))?;
        let (keys, starts) = self.units.into_iter().map(|unit| (unit.key, unit.start)).unzip();
        let frame = Frame { keys, plan };
        let mut state = State::new(&frame, starts);
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < tasks.max(1)
                && let Some((index, start)) = state.next(&frame, cancel)
            {
                let values = state.inputs(&frame, index);
                let values = values.map(|(key, value)| (key.clone(), value)).collect();
                let inputs = TaskInputs { values, cancel: cancel.clone() };
                running.push(async move { (index, outcome(start, inputs).await) });
            }
            // None runs and none can begin: there is no circle, so all have an outcome.
            let Some((index, outcome)) = running.next().await else {
                break;
            };
            state.note(&frame, index, outcome);
        }
        drop(running);
        Ok(state.into_outcomes(frame))
    }
}

async fn outcome<K, V, E>(start: Start<'_, K, V, E>, inputs: TaskInputs<K, V>) -> Outcome<K, V, E> {
    let begun = catch_unwind(AssertUnwindSafe(|| start(inputs)));
    let mut future = match begun {
        Ok(future) => future,
        Err(panic) => return Outcome::Panicked(panic_text(&*panic)),
    };
    poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(value))) => Poll::Ready(Outcome::Done(Arc::new(value))),
            Ok(Poll::Ready(Err(error))) => Poll::Ready(Outcome::Failed(error)),
            Err(panic) => Poll::Ready(Outcome::Panicked(panic_text(&*panic))),
        }
    })
    .await
}

impl<K, V, E> Default for AsyncGraph<'_, K, V, E>
where
    K: Ord + Clone + fmt::Debug + Send + Sync,
    V: Send + Sync,
    E: Send,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V, E> fmt::Debug for AsyncGraph<'_, K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs = self.units.iter().map(|unit| (&unit.key, &unit.needs));
        f.debug_map().entries(needs).finish()
    }
}
