//! How one attempt failed.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::policy::Reason;

/// Why an attempt to handle an event failed.
///
/// `?` and `into` make one of any error and of text: one that is worth another attempt, if the policy
/// allows any.
///
/// # Examples
/// ```
/// use busway_toolkit::Failure;
///
/// fn handle(text: &str) -> Result<u32, Failure> {
///     if text.is_empty() {
///         return Err(Failure::permanent("nothing will ever be read from this"));
///     }
///     Ok(text.parse()?)
/// }
/// assert!(handle("7").is_ok());
/// assert!(handle("seven").is_err_and(|failure| failure.is_worth_another_attempt()));
/// assert!(handle("").is_err_and(|failure| !failure.is_worth_another_attempt()));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// It may go better next time.
    Transient(Box<dyn Error + Send + Sync>),
    /// It will never go better: no further attempt is made.
    Permanent(Box<dyn Error + Send + Sync>),
    /// It took longer than its policy allows, and failed.
    TimedOut {
        /// How long it took.
        took: Duration,
        /// How long it may take.
        timeout: Duration,
    },
    /// The handler, or a middleware, panicked with this text.
    Panicked(String),
}

impl Failure {
    /// One that another attempt does not change.
    pub fn permanent(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Permanent(error.into())
    }

    /// Whether the policy's further attempts are made.
    #[must_use]
    pub fn is_worth_another_attempt(&self) -> bool {
        !matches!(self, Self::Permanent(_))
    }

    /// Of what a panic carried.
    pub(crate) fn of_panic(payload: &(dyn Any + Send)) -> Self {
        Self::Panicked(panic_text(payload))
    }

    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Transient(_) => Reason::Failed,
            Self::Permanent(_) => Reason::Permanent,
            Self::TimedOut { .. } => Reason::TimedOut,
            Self::Panicked(_) => Reason::Panicked,
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without text".to_owned())
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Transient(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(error) | Self::Permanent(error) => error.fmt(f),
            Self::TimedOut { took, timeout } => {
                write!(f, "took {took:?}, of {timeout:?} that it may take")
            }
            Self::Panicked(text) => write!(f, "panicked: {text}"),
        }
    }
}
