//! Who is attached.

use busway::{ConsumerStat, LaneStat, Role};
use serde::{Deserialize, Serialize};

use super::ProcessState;

/// One attached end of one bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// The bus that it is attached to.
    pub bus: String,
    /// Which end.
    pub role: Role,
    /// Index of its seat among the seats of its role; a producer's seat is its lane.
    pub seat: u32,
    /// Its process.
    pub pid: u32,
    /// The user that its process ran as when it attached.
    pub uid: u32,
    /// The name that it gave, or that of its process.
    pub name: String,
    /// How often its seat had been let when it took it.
    pub epoch: u64,
    /// When it attached, nanoseconds since 1970.
    pub attached_unix_ns: u64,
    /// Whether it still holds its lock: `false` means provably dead, its seat not yet given back.
    pub alive: bool,
    /// `alive` and what was decided about it, in one word.
    pub standing: Standing,
    /// What its process does, as this host's /proc says. For display: the number may be another
    /// process's by now.
    pub process_state: ProcessState,
    /// A producer's next lane position; a consumer's next position in the order ring (`ordered`).
    pub position: Option<u64>,
    /// Frames that a consumer has still to read; `null` for a producer.
    pub lag_frames: Option<u64>,
    /// Frames that a consumer was lapped by; `null` for a producer.
    pub lost_frames: Option<u64>,
    /// Time that a producer's lane spent waiting for room; `null` for a consumer.
    pub blocked_ns: Option<u64>,
    /// For how long a producer has found its lane full; `null` while it has room, and for a
    /// consumer.
    pub held_up_ns: Option<u64>,
    /// The consumers, by seat, that hold a producer up; empty for a consumer.
    pub held_up_by: Vec<u32>,
    /// The lanes that a consumer holds up; empty for a producer.
    pub holds_up: Vec<u32>,
}

/// How a participant stands with its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It takes part.
    Attached,
    /// It was told to leave and has not left yet; it does at its next call.
    Evicted,
    /// Provably dead: its seat waits to be given back.
    Dead,
    /// A consumer group: it is no process, and holds its seat whether or not it has members.
    Group,
}

/// `GET /v1/participants` and `GET /v1/buses/{name}/participants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantList {
    /// By bus, producers first, by seat.
    pub participants: Vec<Participant>,
}

impl Participant {
    /// The producer of a lane, if the lane has one.
    #[must_use]
    pub fn of_lane(
        bus: &str,
        lane: &LaneStat,
        held_up_ns: Option<u64>,
        held_up_by: &[u32],
    ) -> Option<Self> {
        let mut participant = Self::bare(bus, lane.producer.as_ref()?);
        participant.position = Some(lane.position);
        participant.blocked_ns = Some(lane.blocked_ns);
        participant.held_up_ns = held_up_ns;
        participant.held_up_by = held_up_by.to_vec();
        Some(participant)
    }

    /// A consumer.
    #[must_use]
    pub fn of_consumer(bus: &str, consumer: &ConsumerStat, holds_up: Vec<u32>) -> Self {
        let mut participant = Self::bare(bus, &consumer.participant);
        participant.position = consumer.order_position;
        participant.lag_frames = Some(consumer.lag);
        participant.lost_frames = Some(consumer.lost);
        participant.holds_up = holds_up;
        participant
    }

    /// Whoever holds a consumer's seat and gates nobody, so that its cursors mean nothing.
    #[must_use]
    pub fn bystander(bus: &str, participant: &busway::Participant) -> Self {
        Self::bare(bus, participant)
    }

    fn bare(bus: &str, participant: &busway::Participant) -> Self {
        Self {
            bus: bus.to_owned(),
            role: participant.role,
            seat: participant.seat,
            pid: participant.pid,
            uid: participant.uid,
            name: participant.name.clone(),
            epoch: participant.epoch,
            attached_unix_ns: participant.attached_unix_ns,
            alive: participant.alive,
            standing: Standing::of(participant),
            process_state: if participant.group {
                ProcessState::Unknown
            } else {
                ProcessState::of(participant.pid)
            },
            position: None,
            lag_frames: None,
            lost_frames: None,
            blocked_ns: None,
            held_up_ns: None,
            held_up_by: Vec::new(),
            holds_up: Vec::new(),
        }
    }
}

impl Standing {
    fn of(participant: &busway::Participant) -> Self {
        match (participant.alive, participant.evicted) {
            _ if participant.group => Self::Group,
            (false, _) => Self::Dead,
            (true, true) => Self::Evicted,
            (true, false) => Self::Attached,
        }
    }

    /// In one lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Evicted => "evicted",
            Self::Dead => "dead",
            Self::Group => "group",
        }
    }
}
