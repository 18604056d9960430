//! The one shape of every error answer.

use serde::{Deserialize, Serialize};

/// The body of every answer whose status is 400 or above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong, for programs (`code`) and for people (`message`, `hint`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable, snake_case; the codes of [`busway::Error::code`] and the daemon's own
    /// (`docs/api.md` lists them).
    pub code: String,
    /// One lower-case sentence with the values that matter.
    pub message: String,
    /// What to do about it, where something can be said.
    pub hint: Option<String>,
}
