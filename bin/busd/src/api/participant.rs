//! Who is attached.

use busway::{ConsumerStat, LaneStat, Role};
use serde::{Deserialize, Serialize};

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
    /// A producer's next lane position; a consumer's next position in the order ring (`ordered`).
    pub position: Option<u64>,
    /// Frames that a consumer has still to read; `null` for a producer.
    pub lag_frames: Option<u64>,
    /// Frames that a consumer was lapped by; `null` for a producer.
    pub lost_frames: Option<u64>,
    /// Time that a producer's lane spent waiting for room; `null` for a consumer.
    pub blocked_ns: Option<u64>,
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
    pub fn of_lane(bus: &str, lane: &LaneStat) -> Option<Self> {
        let mut participant = Self::bare(bus, lane.producer.as_ref()?);
        participant.position = Some(lane.position);
        participant.blocked_ns = Some(lane.blocked_ns);
        Some(participant)
    }

    /// A consumer.
    #[must_use]
    pub fn of_consumer(bus: &str, consumer: &ConsumerStat) -> Self {
        let mut participant = Self::bare(bus, &consumer.participant);
        participant.position = consumer.order_position;
        participant.lag_frames = Some(consumer.lag);
        participant.lost_frames = Some(consumer.lost);
        participant
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
            position: None,
            lag_frames: None,
            lost_frames: None,
            blocked_ns: None,
        }
    }
}
