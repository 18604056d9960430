//! What becomes of a call that gets no reply.

use std::fmt;

use crate::error::{PollError, PublishError};

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// No server is attached. The request was not sent.
    NoServer,
    /// As many calls are in flight as the caller may have. The request was not sent.
    TooMany {
        /// How many those are.
        max: usize,
    },
    /// The request could not be published: too long, or no room within the call's time. It was not sent.
    NotSent(PublishError),
    /// The server that was there when the request was sent has left or is provably dead. Whether it carried
    /// the request out is not known.
    ServerGone,
    /// No reply came in time. Whether the request was carried out is not known.
    TimedOut,
    /// No reply came in time, and replies were overwritten before this caller read them, maybe this one.
    ReplyLost,
    /// The server refuses the request, in its own words.
    Refused(Box<str>),
    /// The bus of replies cannot be read any more.
    Poll(PollError),
}

impl CallError {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoServer => "no_server",
            Self::TooMany { .. } => "too_many",
            Self::NotSent(error) => error.code(),
            Self::ServerGone => "server_gone",
            Self::TimedOut => "timed_out",
            Self::ReplyLost => "reply_lost",
            Self::Refused(_) => "refused",
            Self::Poll(error) => error.code(),
        }
    }

    /// Whether it is sure that the server did not see the request.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        matches!(self, Self::NoServer | Self::TooMany { .. } | Self::NotSent(_))
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => f.write_str("no server is attached to the service"),
            Self::TooMany { max } => write!(f, "{max} calls are in flight, the most that may be"),
            Self::NotSent(error) => write!(f, "request was not sent: {error}"),
            Self::ServerGone => f.write_str("server is gone; it may have carried the request out"),
            Self::TimedOut => f.write_str("no reply came in time"),
            Self::ReplyLost => {
                f.write_str("no reply came in time, and some were overwritten unread")
            }
            Self::Refused(why) => write!(f, "server refuses: {why}"),
            Self::Poll(error) => write!(f, "replies cannot be read: {error}"),
        }
    }
}

impl std::error::Error for CallError {}
