//! Schedules: what is asked for, and how it stands.

use serde::{Deserialize, Serialize};

/// `POST /v1/schedules`: what is to be published, and when. One of `at_unix_ns` and `after_ns` is
/// needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSchedule {
    /// The bus, which is there now.
    pub bus: String,
    /// The event kind; bare frames have none.
    #[serde(default)]
    pub kind: u16,
    /// The payload in hexadecimal digits, at most 16384 bytes.
    #[serde(default)]
    pub payload_hex: String,
    /// When the wall clock shows this: nanoseconds since 1970 UTC. A time in the past is now.
    #[serde(default)]
    pub at_unix_ns: Option<u64>,
    /// After so much time, whatever the wall clock is set to. After a restart of the machine it goes
    /// by the wall clock.
    #[serde(default)]
    pub after_ns: Option<u64>,
    /// Again and again, so far apart; 10 ms at least.
    #[serde(default)]
    pub every_ns: Option<u64>,
    /// How long to try again while the bus is full or missing; 10 minutes by default.
    #[serde(default)]
    pub give_up_after_ns: Option<u64>,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its number, which no other ever has.
    pub id: u64,
    /// The bus.
    pub bus: String,
    /// The event kind.
    pub kind: u16,
    /// The length of the payload, which is not shown.
    pub payload_bytes: u64,
    /// What is to come of it.
    pub state: ScheduleState,
    /// When it is due next, nanoseconds since 1970; `null` when nothing is to come.
    pub due_unix_ns: Option<u64>,
    /// The clock that it is due by.
    pub clock: ScheduleClock,
    /// From one time to the next; `null`: it is due once.
    pub every_ns: Option<u64>,
    /// How long it is tried again while the bus is full or missing.
    pub give_up_after_ns: u64,
    /// Attempts in vain at its present time, by this daemon.
    pub attempts: u32,
    /// What stood in the way last, if anything did.
    pub last_error: Option<String>,
    /// Times at which it was published; one that is due once is then no more.
    pub published_count: u64,
    /// Times that were missed and passed over.
    pub skipped_count: u64,
    /// Times that were given up.
    pub failed_count: u64,
    /// Times of which nobody knows whether it was published.
    pub doubtful_count: u64,
    /// When it was taken on, nanoseconds since 1970.
    pub created_unix_ns: u64,
    /// The user who asked for it.
    pub uid: u32,
}

/// What is to come of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleState {
    /// Its time is to come.
    Pending,
    /// Its time has come, and something stands in the way.
    Retrying,
    /// It was given up.
    Failed,
    /// The daemon died while it published, and the bus that could tell whether it did is gone.
    Doubtful,
}

/// What a schedule is due by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleClock {
    /// The time of day, which may be set.
    Wall,
    /// Time that passes, sleep of the machine included.
    Elapsed,
}

/// `GET /v1/schedules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleList {
    /// Every schedule, by number.
    pub schedules: Vec<Schedule>,
}

impl std::fmt::Display for ScheduleState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Doubtful => "doubtful",
        })
    }
}
