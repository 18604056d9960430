//! Replies as a caller sees them.

use std::borrow::Cow;

use super::calls::Call;
use super::error::CallError;

/// What a server replied: borrowed where it was just read, owned where it had to wait for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    pub(super) kind: u16,
    pub(super) payload: Cow<'a, [u8]>,
}

impl Reply<'_> {
    /// The kind that the server gave it.
    #[must_use]
    pub fn kind(&self) -> u16 {
        self.kind
    }

    /// Its bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// A copy that outlives the borrow.
    #[must_use]
    pub fn into_owned(self) -> Reply<'static> {
        Reply { kind: self.kind, payload: Cow::Owned(self.payload.into_owned()) }
    }
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion<'a> {
    /// Which call.
    pub call: Call,
    /// What became of it.
    pub result: Result<Reply<'a>, CallError>,
}
