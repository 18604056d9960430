//! What travels over the socket: the request and response documents, shared by daemon and clients.
//!
//! ```text
//! bus          Bus · BusList · BusDetail · CreateBus · RemovedBus
//! participant  Participant · ParticipantList · Standing
//! process      ProcessState
//! service      Version · Health
//! schedule     Schedule · ScheduleList · CreateSchedule
//! error        ErrorDocument
//! text         FileMode · GroupName · UserName · Period: text forms shared with the config file and
//!              the command line
//! ```
//!
//! Every number carries its unit in its key (`payload_bytes`, `lag_frames`, `created_unix_ns`);
//! keys without one are counts of what they name, indexes, ids or positions. Numbers are raw
//! integers up to 2^64 - 1. Identifiers that are not numbers to anybody (hashes, instance ids) are
//! hexadecimal text. `src/openapi.json` says the same in a form that tools read; a test holds both
//! together.

mod bus;
mod error;
pub mod hex;
mod latency;
mod participant;
mod process;
mod schedule;
mod service;
mod text;

pub use bus::UnreadableBus;
pub use bus::{Bus, BusDetail, BusList, Consumer, CreateBus, Cursor, Lane, Order, RemovedBus};
pub use error::{ErrorBody, ErrorDocument};
pub use latency::{Latency, LatencyBucket, histogram};
pub use participant::{Participant, ParticipantList, Standing};
pub use process::ProcessState;
pub use schedule::{CreateSchedule, Schedule, ScheduleClock, ScheduleList, ScheduleState};
pub use service::{Alive, Health, HealthStatus, Ready, Version};
pub use text::{AllowText, FileMode, GroupName, Period, TextError, UserName};

/// The version of the HTTP interface: the first part of every path.
pub const API_VERSION: &str = "v1";
