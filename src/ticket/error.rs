//! Why a publication is not waited for any longer.

use std::fmt;

use super::Ticket;
use crate::error::{Error, PollError};

/// Why a wait for tickets ended before all were done.
#[derive(Debug)]
#[non_exhaustive]
pub enum TicketError {
    /// It is not done, and no member of the group is alive to do it.
    NoMember(Ticket),
    /// It is done with as a dead letter: nobody could deal with it.
    DeadLetter(Ticket),
    /// They were not done in time.
    TimedOut {
        /// How many of them were not.
        open: usize,
    },
    /// It is of another bus than the group, or of one of the same name that is no more.
    OtherBus(Ticket),
    /// There is no such lane, or nothing was published there at that position.
    NotPublished(Ticket),
    /// The group or its bus was removed, or cannot be read.
    Poll(PollError),
    /// Whether it became a dead letter cannot be found out.
    Letters(Box<Error>),
}

impl TicketError {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoMember(_) => "no_member",
            Self::DeadLetter(_) => "dead_letter",
            Self::TimedOut { .. } => "timed_out",
            Self::OtherBus(_) => "other_bus",
            Self::NotPublished(_) => "not_published",
            Self::Poll(error) => error.code(),
            Self::Letters(_) => "letters",
        }
    }
}

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |ticket: &Ticket| format!("position {} of lane {}", ticket.position, ticket.lane);
        match self {
            Self::NoMember(ticket) => write!(
                f,
                "{} is not done, and no member of the group is alive; attach one and wait again",
                at(ticket)
            ),
            Self::DeadLetter(ticket) => write!(f, "{} became a dead letter", at(ticket)),
            Self::TimedOut { open } => write!(f, "{open} publications were not done in time"),
            Self::OtherBus(ticket) => {
                write!(f, "the ticket is of bus instance {:016x}, not of this one", ticket.instance)
            }
            Self::NotPublished(ticket) => write!(f, "nothing was published at {}", at(ticket)),
            Self::Poll(error) => write!(f, "the group cannot be read: {error}"),
            Self::Letters(error) => write!(f, "dead letters cannot be read: {error}"),
        }
    }
}

impl std::error::Error for TicketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Poll(error) => Some(error),
            Self::Letters(error) => Some(error),
            _ => None,
        }
    }
}
