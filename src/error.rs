//! The errors of the public API: one umbrella for what may fail slowly, small `Copy` enums
//! for the fast paths.
//!
//! Every message names the value that was wrong and what would be right. [`Error::code`] is the
//! stable name that the daemon's JSON and the command line's exit codes are made from.

mod group;
mod table;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use group::{AckError, GroupFault};
pub use table::TableError;

use crate::participant::Participant;
use crate::schema::SchemaError;

/// Everything that creating, opening, attaching to or removing a bus can report.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The bus name is not 1–64 of `a-z A-Z 0-9 . _ -`, or starts with a dot.
    BadName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A word that names no variant of an option.
    BadOption {
        /// Which option.
        option: &'static str,
        /// The value as given.
        value: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// A size or count outside its range.
    BadGeometry {
        /// Which size or count.
        what: &'static str,
        /// The value as given.
        value: u64,
        /// The values that are allowed.
        allowed: String,
    },
    /// A bus of this name exists already.
    AlreadyExists {
        /// The bus.
        name: String,
    },
    /// A bus of this name exists and is not what was asked for.
    Differs {
        /// The bus.
        name: String,
        /// The first difference, in words.
        difference: String,
    },
    /// No bus of this name exists.
    NotFound {
        /// The bus.
        name: String,
    },
    /// The operating system refuses this user.
    Permission {
        /// The bus.
        name: String,
        /// What was refused.
        action: &'static str,
    },
    /// The segment is not one that this user has a reason to trust.
    Untrusted {
        /// The bus.
        name: String,
        /// Who owns its file.
        owner_uid: u32,
        /// What is wrong with that.
        reason: String,
    },
    /// Shared memory cannot hold a bus of this size.
    NoSpace {
        /// The bus.
        name: String,
        /// The size that was asked for.
        bytes: u64,
    },
    /// The segment is of another layout version or needs features that this build lacks.
    Incompatible {
        /// The bus.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// A segment of the other kind: a table where a bus was asked for, or a bus where a table was.
    WrongKind {
        /// Its name.
        name: String,
        /// What it is: `bus` or `table`.
        kind: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The segment is not a valid bus.
    Corrupt {
        /// The bus.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The frame type's layout is not the bus's.
    SchemaMismatch {
        /// The bus.
        name: String,
        /// The frame type that the bus carries and the hash of its layout.
        bus_type: (String, u64),
        /// The frame type that was asked for and the hash of its layout.
        asked_type: (String, u64),
    },
    /// A schema that cannot be used.
    BadSchema(SchemaError),
    /// Every seat is taken by a live process.
    SeatsTaken {
        /// The bus.
        name: String,
        /// `producer` or `consumer`.
        role: &'static str,
        /// Who holds the seats.
        holders: Vec<Participant>,
    },
    /// The broker of a brokered bus does not answer, or cannot do what it was asked.
    Broker {
        /// Its socket.
        socket: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
    /// A consumer group cannot be had, made or changed.
    Group {
        /// The bus.
        bus: String,
        /// The group.
        group: String,
        /// Why not.
        fault: GroupFault,
    },
    /// An acknowledgement was refused.
    Ack(AckError),
    /// Publishing failed.
    Publish(PublishError),
    /// Polling failed.
    Poll(PollError),
    /// Writing to or reading from a table failed.
    Table(TableError),
    /// A system call failed in a way that no other variant names.
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadName { .. } => "bad_name",
            Self::BadOption { .. } => "bad_option",
            Self::BadGeometry { .. } => "bad_geometry",
            Self::AlreadyExists { .. } => "already_exists",
            Self::Differs { .. } => "differs",
            Self::NotFound { .. } => "not_found",
            Self::Permission { .. } => "permission",
            Self::Untrusted { .. } => "untrusted",
            Self::NoSpace { .. } => "no_space",
            Self::Incompatible { .. } => "incompatible",
            Self::WrongKind { .. } => "wrong_kind",
            Self::Corrupt { .. } => "corrupt",
            Self::SchemaMismatch { .. } => "schema_mismatch",
            Self::BadSchema(_) => "bad_schema",
            Self::SeatsTaken { .. } => "seats_taken",
            Self::Broker { .. } => "broker",
            Self::Group { fault, .. } => fault.code(),
            Self::Ack(error) => error.code(),
            Self::Publish(error) => error.code(),
            Self::Poll(error) => error.code(),
            Self::Table(error) => error.code(),
            Self::Io { .. } => "io",
        }
    }

    /// Sorts an error of the operating system about the bus `name` into its variant.
    pub(crate) fn from_io(name: &str, action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound { name: name.to_owned() },
            io::ErrorKind::AlreadyExists => Self::AlreadyExists { name: name.to_owned() },
            io::ErrorKind::PermissionDenied => Self::Permission { name: name.to_owned(), action },
            _ => Self::Io { action, source },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName { name, reason } => write!(
                f,
                "bus name {name:?} {reason}; allowed are 1 to 64 of a-z A-Z 0-9 . _ - not starting with a dot"
            ),
            Self::BadOption { option, value, allowed } => {
                write!(f, "{option} {value:?} is not known; allowed: {allowed}")
            }
            Self::BadGeometry { what, value, allowed } => {
                write!(f, "{what} {value} is out of range; allowed: {allowed}")
            }
            Self::AlreadyExists { name } => write!(f, "bus {name:?} exists already"),
            Self::Differs { name, difference } => {
                write!(f, "bus {name:?} exists and is not what was asked for: {difference}")
            }
            Self::NotFound { name } => write!(f, "there is no bus {name:?}"),
            Self::Permission { name, action } => {
                write!(f, "no permission to {action} {name:?}")
            }
            Self::Untrusted { name, owner_uid, reason } => {
                write!(f, "bus {name:?} is not trusted: it belongs to user {owner_uid}, {reason}")
            }
            Self::NoSpace { name, bytes } => write!(
                f,
                "shared memory cannot hold bus {name:?} of {bytes} bytes; free some of /dev/shm or ask for less"
            ),
            Self::Incompatible { name, reason } => {
                write!(f, "bus {name:?} is not for this build: {reason}")
            }
            Self::WrongKind { name, kind, wanted } => {
                write!(f, "{name:?} is a {kind}, not a {wanted}")
            }
            Self::Corrupt { name, reason } => {
                write!(f, "segment of bus {name:?} is not a valid bus: {reason}")
            }
            Self::SchemaMismatch { name, bus_type, asked_type } => write!(
                f,
                "bus {name:?} carries {} (layout {:016x}), not {} (layout {:016x})",
                bus_type.0, bus_type.1, asked_type.0, asked_type.1
            ),
            Self::BadSchema(error) => write!(f, "bad schema: {error}"),
            Self::SeatsTaken { name, role, holders } => {
                write!(
                    f,
                    "bus {name:?} has {} {role} seat(s) and all are taken, by",
                    holders.len()
                )?;
                for (index, holder) in holders.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    if holder.group {
                        write!(f, "{comma} group {:?}", holder.name)?;
                    } else {
                        write!(f, "{comma} pid {} ({})", holder.pid, holder.name)?;
                    }
                }
                Ok(())
            }
            Self::Broker { socket, reason } => write!(f, "broker {}: {reason}", socket.display()),
            Self::Group { bus, group, fault } => {
                write!(f, "group {group:?} of bus {bus:?} {fault}")
            }
            Self::Ack(error) => error.fmt(f),
            Self::Publish(error) => error.fmt(f),
            Self::Poll(error) => error.fmt(f),
            Self::Table(error) => error.fmt(f),
            Self::Io { action, source } => write!(f, "could not {action}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadSchema(error) => Some(error),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

impl From<PollError> for Error {
    fn from(error: PollError) -> Self {
        Self::Poll(error)
    }
}

impl From<TableError> for Error {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}

impl From<SchemaError> for Error {
    fn from(error: SchemaError) -> Self {
        Self::BadSchema(error)
    }
}

impl From<AckError> for Error {
    fn from(error: AckError) -> Self {
        Self::Ack(error)
    }
}

/// Why a frame was not published. Whatever the variant, nothing became visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// The lane is full and the producer does not wait.
    Full,
    /// The lane was still full when the timeout ended.
    TimedOut,
    /// The payload is longer than a frame of this bus holds.
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes that fit.
        max: usize,
    },
    /// A bare frame is always whole: its payload has one length.
    WrongLength {
        /// Bytes given.
        len: usize,
        /// Bytes of every frame of this bus.
        want: usize,
    },
    /// A batch of no frames, or of more than can be published at once.
    BatchSize {
        /// Frames asked for.
        frames: u64,
        /// The most that one batch can hold on this bus.
        max: u64,
    },
    /// The bus was removed. Told only where publishing would wait or is refused: as long as there
    /// is room, whoever is still attached can be reached; see [`Bus::is_removed`](crate::Bus).
    Removed,
    /// The lane is full, the broker that would know whether a consumer has died is gone, and nothing
    /// has moved for a second. Waiting on may still help: those attached go on without the broker.
    BrokerGone,
    /// The order ring was lost to other processes' interference more often than any honest
    /// schedule explains.
    Contested,
    /// This producer was told to leave, by `Bus::kick`. It publishes nothing more; drop it.
    Evicted,
    /// This process is a forked child of the one that attached: the lane is its parent's. Attach
    /// anew.
    Forked,
    /// Somebody cut the bus's segment short: what is published now reaches nobody. The bus has to
    /// be removed and created again.
    Truncated,
}

impl PublishError {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::TimedOut => "timed_out",
            Self::TooLarge { .. } => "too_large",
            Self::WrongLength { .. } => "wrong_length",
            Self::BatchSize { .. } => "batch_size",
            Self::Removed => "removed",
            Self::BrokerGone => "broker_gone",
            Self::Contested => "contested",
            Self::Evicted => "evicted",
            Self::Forked => "forked",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("lane is full"),
            Self::TimedOut => f.write_str("lane was still full when the timeout ended"),
            Self::TooLarge { len, max } => {
                write!(f, "payload of {len} bytes is longer than the bus's {max}")
            }
            Self::WrongLength { len, want } => {
                write!(f, "payload of {len} bytes; a bare frame of this bus is {want}")
            }
            Self::BatchSize { frames, max } => {
                write!(f, "batch of {frames} frames; allowed are 1 to {max}")
            }
            Self::Removed => f.write_str("bus was removed"),
            Self::BrokerGone => f.write_str("lane is full and the bus's broker is gone"),
            Self::Contested => f.write_str("order ring is being interfered with"),
            Self::Evicted => f.write_str("producer was told to leave the bus"),
            Self::Forked => f.write_str("a forked child cannot publish for its parent"),
            Self::Truncated => f.write_str("segment of the bus was cut short; remove the bus"),
        }
    }
}

impl std::error::Error for PublishError {}

/// Why polling cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PollError {
    /// Every producer that this consumer has seen is gone and all their frames are read. A producer
    /// that attaches later makes polling go on.
    Closed,
    /// The bus was removed and everything on it is read.
    Removed,
    /// The broker of the bus is gone, everything is read, and nothing has come for a second of
    /// waiting. Waiting on may still help: those attached go on without the broker.
    BrokerGone,
    /// A shared word holds what no honest participant writes.
    Corrupt {
        /// The lane in question.
        lane: u32,
    },
    /// This consumer lost its place: it was slower than the bus allows, or told to leave by
    /// `Bus::kick`. It gets nothing more; drop it, and attach again to go on.
    Evicted {
        /// Frames published since it attached that it neither read nor was told of as lost before,
        /// all lanes, up to the moment when it learned of its eviction.
        lost: u64,
    },
    /// This process is a forked child of the one that attached: the seat is its parent's. Attach
    /// anew.
    Forked,
    /// Somebody cut the bus's segment short: what is read from now on would be zeros. The bus has to
    /// be removed and created again.
    Truncated,
    /// The frame's payload does not have the size of the type it was read as.
    WrongType {
        /// Bytes in the frame.
        len: usize,
        /// Bytes of the type.
        want: usize,
    },
}

impl PollError {
    /// A stable `snake_case` name of the kind of error, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Removed => "removed",
            Self::BrokerGone => "broker_gone",
            Self::Corrupt { .. } => "corrupt",
            Self::Evicted { .. } => "evicted",
            Self::Forked => "forked",
            Self::Truncated => "truncated",
            Self::WrongType { .. } => "wrong_type",
        }
    }
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("every producer has detached and everything is read"),
            Self::Removed => f.write_str("bus was removed and everything is read"),
            Self::BrokerGone => f.write_str("the bus's broker is gone and everything is read"),
            Self::Corrupt { lane } => write!(f, "lane {lane} holds an impossible position"),
            Self::Evicted { lost } => {
                write!(f, "consumer was evicted; {lost} frames were published that it did not get")
            }
            Self::Forked => f.write_str("a forked child cannot read for its parent"),
            Self::Truncated => f.write_str("segment of the bus was cut short; remove the bus"),
            Self::WrongType { len, want } => {
                write!(f, "frame of {len} bytes read as a type of {want} bytes")
            }
        }
    }
}

impl std::error::Error for PollError {}
