//! Who is attached to a bus, as tools and errors show it.

use serde::{Deserialize, Serialize};

/// Which end of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Publishes on a lane of its own.
    Producer,
    /// Reads every lane.
    Consumer,
}

impl Role {
    /// The role in one lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One attached end: what its seat says of it.
///
/// Everything but `alive` is what the participant wrote itself, for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Producer or consumer.
    pub role: Role,
    /// Its seat: for a producer, also the number of its lane.
    pub seat: u32,
    /// Its process, as it saw itself (in its own pid namespace).
    pub pid: u32,
    /// Its effective user.
    pub uid: u32,
    /// The name it attached with; by default the process's name.
    pub name: String,
    /// How often the seat has been taken, this time included.
    pub epoch: u64,
    /// When it attached, nanoseconds since 1970 UTC.
    pub attached_unix_ns: u64,
    /// Whether it was told to leave: it gets an error that says so at its next call, if it has not
    /// had it yet.
    pub evicted: bool,
    /// Whether the seat is a consumer group's: it is nobody's process (`pid` is 0), gates producers
    /// whether or not a member is attached, and is always `alive`.
    #[serde(default)]
    pub group: bool,
    /// Whether the kernel still holds its seat's lock. `false`: it is provably dead, and its seat
    /// waits to be given back.
    pub alive: bool,
}

/// A participant that was told to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// Who it is, as it stood before.
    pub participant: Participant,
    /// It holds up nobody from now on. `false`: it leaves at its next call, since it may be reading
    /// in place until then; or it is a producer, which never holds up anybody.
    pub at_once: bool,
}

/// A seat that was given back after its holder died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reclaimed {
    /// Producer or consumer.
    pub role: Role,
    /// The seat.
    pub seat: u32,
    /// The process that held it.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// The name it attached with.
    pub name: String,
    /// For a producer: the position at which its lane goes on; everything before it stays readable.
    /// For a consumer: 0.
    pub position: u64,
}
