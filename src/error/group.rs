//! What can be wrong with a consumer group, and with an acknowledgement.

use std::fmt;

use crate::participant::Participant;

/// What is wrong with a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupFault {
    /// The bus has no such group.
    NotFound,
    /// The bus has one already.
    Exists,
    /// The bus has one that is not what was asked for.
    Differs {
        /// The first difference, in words.
        difference: String,
    },
    /// Whoever made it died before it was whole. Making it again, or removing it, helps.
    Unfinished,
    /// Somebody else makes or resets it just now.
    Busy,
    /// Members are attached.
    Members {
        /// Who they are.
        holders: Vec<Participant>,
    },
    /// The bus is of a kind that has no groups.
    Unsupported {
        /// What about it.
        reason: &'static str,
    },
    /// Its segment is damaged or is not a group's.
    Corrupt {
        /// What is wrong.
        reason: String,
    },
}

impl GroupFault {
    /// A stable `snake_case` name of the kind of fault, for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "no_group",
            Self::Exists => "group_exists",
            Self::Differs { .. } => "group_differs",
            Self::Unfinished => "group_unfinished",
            Self::Busy => "group_busy",
            Self::Members { .. } => "group_in_use",
            Self::Unsupported { .. } => "group_unsupported",
            Self::Corrupt { .. } => "group_corrupt",
        }
    }
}

impl fmt::Display for GroupFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("does not exist"),
            Self::Exists => f.write_str("exists already"),
            Self::Differs { difference } => {
                write!(f, "exists and is not what was asked for: {difference}")
            }
            Self::Unfinished => {
                f.write_str("is unfinished: whoever made it died; make it again, or remove it")
            }
            Self::Busy => f.write_str("is being made or reset by somebody else"),
            Self::Members { holders } => {
                f.write_str("has members:")?;
                for (index, holder) in holders.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} pid {} ({})", holder.pid, holder.name)?;
                }
                Ok(())
            }
            Self::Unsupported { reason } => write!(f, "cannot be: {reason}"),
            Self::Corrupt { reason } => write!(f, "has a damaged segment: {reason}; remove it"),
        }
    }
}

/// Why a frame of a group was not acknowledged, or not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// It is not this claim's any more: its time was over, the member was taken for dead, or the group
    /// was reset. Another member gets the frame, or has got it; nothing was changed.
    TakenBack,
    /// An at-most-once frame is settled when it is handed out; it cannot be refused.
    Settled,
    /// This process is a forked child of the one that attached.
    Forked,
    /// Somebody cut a segment short.
    Truncated,
}

impl AckError {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TakenBack => "taken_back",
            Self::Settled => "settled",
            Self::Forked => "forked",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TakenBack => "frame was taken back: it took longer than the group allows",
            Self::Settled => "frame of an at-most-once group was settled when it was handed out",
            Self::Forked => "a forked child cannot acknowledge for its parent",
            Self::Truncated => "segment of the bus or group was cut short; remove it",
        })
    }
}

impl std::error::Error for AckError {}
