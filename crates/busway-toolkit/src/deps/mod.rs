//! Units of work that depend on each other.
//!
//! Each unit is run once, as soon as all that it needs is done, several at a time. What it gives is
//! shared by all that need it. Units that need each other in a circle are refused before anything is
//! run.
//!
//! | a unit | those that need it | others |
//! |---|---|---|
//! | fails or panics | are skipped, and say because of whom | go on |
//! | is cancelled before it began | are cancelled | are cancelled, unless they run already |

mod run;
mod sort;
#[cfg(feature = "async")]
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::cancel::Cancel;
#[cfg(feature = "async")]
pub use tasks::{AsyncGraph, TaskInputs};

/// The most threads that a graph is run on.
pub const THREADS_MAX: usize = 1024;

/// What a unit does.
type Run<'a, K, V, E> = Box<dyn FnOnce(&Inputs<'_, K, V>) -> Result<V, E> + Send + 'a>;

/// Units of work by key, with what each needs. All give values of one type; where they differ, that is
/// an enum.
///
/// # Examples
/// ```
/// use busway_toolkit::{Cancel, Graph};
///
/// let mut graph = Graph::new();
/// graph.unit("file", [], |_| Ok("3 4".to_owned()));
/// graph.unit("sum", ["file"], |inputs| {
///     let numbers = inputs.get(&"file").split(' ').map(str::parse::<u32>);
///     numbers.sum::<Result<u32, _>>().map(|sum| sum.to_string())
/// });
/// let outcomes = graph.run(2, &Cancel::new())?;
/// assert_eq!(outcomes.value(&"sum").map(String::as_str), Some("7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Graph<'a, K, V, E> {
    units: Vec<Unit<'a, K, V, E>>,
}

struct Unit<'a, K, V, E> {
    key: K,
    needs: Vec<K>,
    run: Run<'a, K, V, E>,
}

/// Why a graph is not run at all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphError<K> {
    /// Two units of one key.
    Twice {
        /// The key.
        key: K,
    },
    /// A unit needs one that there is not.
    Missing {
        /// The one that needs it.
        key: K,
        /// What it needs.
        needs: K,
    },
    /// Units that need each other in a circle.
    Cycle {
        /// Each needs the next; the last is the first again.
        keys: Vec<K>,
    },
}

impl<K: fmt::Debug> fmt::Display for GraphError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { key } => write!(f, "there are two units {key:?}"),
            Self::Missing { key, needs } => {
                write!(f, "unit {key:?} needs {needs:?}, which there is not")
            }
            Self::Cycle { keys } => {
                f.write_str("units need each other in a circle: ")?;
                for (index, key) in keys.iter().enumerate() {
                    let arrow = if index == 0 { "" } else { " needs " };
                    write!(f, "{arrow}{key:?}")?;
                }
                Ok(())
            }
        }
    }
}

impl<K: fmt::Debug> std::error::Error for GraphError<K> {}

/// What became of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<K, V, E> {
    /// It gave this.
    Done(Arc<V>),
    /// It failed.
    Failed(E),
    /// It panicked with this text.
    Panicked(String),
    /// It was not run, because this one, which it needs, failed or panicked.
    Skipped {
        /// The one that failed, not one that was skipped itself.
        because: K,
    },
    /// It was not run, because it was cancelled before.
    Cancelled,
}

/// What became of all units.
#[derive(Clone, Debug)]
pub struct Outcomes<K, V, E> {
    by_key: BTreeMap<K, Outcome<K, V, E>>,
}

impl<K: Ord, V, E> Outcomes<K, V, E> {
    /// What became of a unit; `None`: there is none of this key.
    pub fn get(&self, key: &K) -> Option<&Outcome<K, V, E>> {
        self.by_key.get(key)
    }

    /// What a unit gave, if it was done.
    pub fn value(&self, key: &K) -> Option<&V> {
        match self.get(key) {
            Some(Outcome::Done(value)) => Some(value),
            _ => None,
        }
    }

    /// Whether every unit was done.
    pub fn all_done(&self) -> bool {
        self.by_key.values().all(|outcome| matches!(outcome, Outcome::Done(_)))
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Outcome<K, V, E>)> {
        self.by_key.iter()
    }
}

/// What a unit gets: what those gave that it needs.
#[derive(Debug)]
pub struct Inputs<'a, K, V> {
    values: Vec<(&'a K, Arc<V>)>,
    cancel: &'a Cancel,
}

impl<K: PartialEq + fmt::Debug, V> Inputs<'_, K, V> {
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
        self.values.iter().find_map(|(own, value)| (*own == key).then_some(value))
    }

    /// Whether this unit should end early.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

impl<'a, K, V, E> Graph<'a, K, V, E>
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
    pub fn unit<F>(&mut self, key: K, needs: impl IntoIterator<Item = K>, run: F) -> &mut Self
    where
        F: FnOnce(&Inputs<'_, K, V>) -> Result<V, E> + Send + 'a,
    {
        self.units.push(Unit { key, needs: needs.into_iter().collect(), run: Box::new(run) });
        self
    }

    /// Runs all units, on at most so many threads, and waits for them. Cancelling keeps those from
    /// beginning that have not; those that run are told, and waited for.
    ///
    /// # Errors
    /// When the units do not fit together. Nothing has been run then.
    pub fn run(self, threads: usize, cancel: &Cancel) -> Result<Outcomes<K, V, E>, GraphError<K>> {
        let plan = sort::plan(self.units.iter().map(|unit| (&unit.key, unit.needs.as_slice())))?;
        Ok(run::run(self.units, plan, threads.clamp(1, THREADS_MAX), cancel))
    }
}

impl<K, V, E> Default for Graph<'_, K, V, E>
where
    K: Ord + Clone + fmt::Debug + Send + Sync,
    V: Send + Sync,
    E: Send,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V, E> fmt::Debug for Graph<'_, K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs = self.units.iter().map(|unit| (&unit.key, &unit.needs));
        f.debug_map().entries(needs).finish()
    }
}
