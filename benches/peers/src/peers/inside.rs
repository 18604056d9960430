//! Queues within one process, for reference: what threads pay that share an address space. They are
//! not peers of a bus between processes, and bound what one can hope for.
//!
//! The ends of a measurement find each other in a table of this process, by the place.

mod array_queue;
mod disruptor;
mod rtrb;

pub use array_queue::ArrayQueues;
pub use disruptor::Disruptor;
pub use rtrb::Rtrb;

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

/// An end that waits to be fetched: its place, its side and its number.
type Key = (PathBuf, Side, usize);

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Tx,
    Rx,
}

static ENDS: LazyLock<Mutex<HashMap<Key, Box<dyn Any + Send>>>> = LazyLock::new(Mutex::default);

/// Leaves an end to be fetched once.
fn leave<E: Send + 'static>(place: &Path, side: Side, index: usize, end: E) {
    let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    ends.insert((place.to_owned(), side, index), Box::new(end));
}

/// Fetches what was left.
fn fetch<E: 'static>(place: &Path, side: Side, index: usize) -> Result<E, String> {
    let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
    let end = ends.remove(&(place.to_owned(), side, index));
    let end = end.ok_or_else(|| format!("{side:?} {index} is not there, or taken"))?;
    end.downcast().map(|end| *end).map_err(|_| format!("{side:?} {index} is of another size"))
}

/// Forgets what nobody fetched, when dropped.
pub struct Ends(PathBuf);

impl Ends {
    fn new(place: &Path) -> Self {
        Self(place.to_owned())
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|(place, _, _), _| *place != self.0);
    }
}
