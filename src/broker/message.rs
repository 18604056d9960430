//! What is said over the broker's socket: one JSON object a packet, descriptors beside it.
//!
//! | the client asks | the broker answers | with the descriptors of |
//! |---|---|---|
//! | `open` | `opened` | the board |
//! | `produce` | `lent`: a lane, its epoch and first position | bells, the lane (writable) |
//! | `consume` | `lent`: a row and its epoch | bells, the row (writable) |
//! | `sealed`: what was lent is mapped and sealed | `done`: the seat is taken | - |
//! | `lanes` | `regions`, oldest first in each lane | those lanes |
//! | `rows` | `regions` | those rows |
//! | `leave` | `done` | - |
//! | anything that cannot be | `refused` | - |
//!
//! An answer repeats the request's number, so that one which comes too late is known. `regions` also come
//! unasked, with number 0: to consumers a lane that was let, to producers the row of who has joined.

use serde::{Deserialize, Serialize};

use crate::participant::Participant;

/// The version of this protocol.
pub(crate) const VERSION: u32 = 1;
/// The number of what comes without having been asked for.
pub(crate) const UNASKED: u64 = 0;
/// Bytes of one packet at most: room for the names of all who hold a role's seats.
pub(crate) const PACKET_BYTES_MAX: usize = 64 << 10;
/// Descriptors of one packet at most; the kernel's own limit is 253.
pub(crate) const DESCRIPTORS_MAX: usize = 64;
/// Lanes or rows that are asked for at a time.
pub(crate) const WANTED_MAX: usize = 16;

/// A numbered request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) ask: Ask,
}

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    Open {
        version: u32,
        bus: String,
    },
    Produce {
        name: String,
    },
    Consume {
        name: String,
    },
    Sealed {},
    /// Of each lane, the memory of every tenancy after `since`.
    Lanes {
        wanted: Vec<Wanted>,
    },
    Rows {
        wanted: Vec<u32>,
    },
    Leave {},
}

/// A lane, and the newest tenancy of it that the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    pub(crate) lane: u32,
    pub(crate) since: u64,
}

/// The answer to the request of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) tell: Tell,
}

/// What the broker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Tell {
    Opened { instance: u64 },
    Lent(Lent),
    Regions { regions: Vec<Lent> },
    Done {},
    Refused(Refusal),
}

/// One tenancy's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lent {
    /// The seat: a lane's number, or a consumer's.
    pub(crate) seat: u32,
    /// Which tenancy of it.
    pub(crate) epoch: u64,
    /// A lane's first position in this tenancy; 0 for a row.
    pub(crate) start: u64,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    /// As [`Error::code`](crate::Error::code).
    pub(crate) code: String,
    pub(crate) message: String,
    /// Who holds the seats, when that is why.
    pub(crate) holders: Vec<Participant>,
}
