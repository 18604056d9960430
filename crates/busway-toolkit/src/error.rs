//! Why something cannot be set up. What goes wrong with one event or one call has types of its own.

use std::fmt;
use std::io;

/// Why a dispatcher or a batcher cannot be built from what was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A number outside its range.
    Limit {
        /// Which number.
        what: &'static str,
        /// The value as given.
        value: u64,
        /// The values that are allowed.
        allowed: String,
    },
    /// Two handlers for one kind.
    KindTwice {
        /// The kind.
        kind: u16,
    },
    /// A handler is a future, and there are no tasks to run it: build with `build_async`.
    Future {
        /// Its kind.
        kind: u16,
    },
    /// A configured kind has no handler.
    NoHandler {
        /// The kind.
        kind: u16,
    },
    /// Events are to go to a dead-letter bus, and none was given.
    NoDeadLetters {
        /// What asks for it.
        what: String,
    },
    /// The dead-letter bus cannot hold a dead letter of this source.
    DeadLetterBus {
        /// The dead-letter bus.
        name: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// The bus refused.
    Bus(busway::Error),
    /// No thread could be started.
    Thread(io::Error),
}

impl BuildError {
    pub(crate) fn limit(what: &'static str, value: impl Into<u64>, allowed: String) -> Self {
        Self::Limit { what, value: value.into(), allowed }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { what, value, allowed } => {
                write!(f, "{what} {value} is out of range; allowed: {allowed}")
            }
            Self::KindTwice { kind } => write!(f, "kind {kind} has a handler already"),
            Self::Future { kind } => {
                write!(f, "the handler of kind {kind} is a future; build with `build_async`")
            }
            Self::NoHandler { kind } => {
                write!(f, "kind {kind} is configured and has no handler; give it one with `on`")
            }
            Self::NoDeadLetters { what } => {
                write!(f, "{what} sends events to a dead-letter bus, and there is none; give one")
            }
            Self::DeadLetterBus { name, reason } => {
                write!(f, "bus {name:?} cannot hold dead letters: {reason}")
            }
            Self::Bus(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "could not start a worker: {error}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bus(error) => Some(error),
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}

impl From<busway::Error> for BuildError {
    fn from(error: busway::Error) -> Self {
        Self::Bus(error)
    }
}
