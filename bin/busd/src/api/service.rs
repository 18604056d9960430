//! What the daemon says of itself.

use serde::{Deserialize, Serialize};

/// `GET /v1/version`: which daemon answers, and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The program, `busd`.
    pub name: String,
    /// The version of the daemon.
    pub version: String,
    /// The version of the HTTP interface, `v1`.
    pub api: String,
}

/// `GET /v1/health`: how the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether the watch is keeping up.
    pub status: HealthStatus,
    /// The daemon's process.
    pub pid: u32,
    /// The user that the daemon runs as; this user and root may change things.
    pub uid: u32,
    /// How long this daemon has been running.
    pub uptime_ms: u64,
    /// Where its socket and lock are.
    pub runtime_dir: String,
    /// The config file that was applied at start, if any.
    pub config_file: Option<String>,
    /// Buses that are watched.
    pub buses: u64,
    /// Segments that are named like buses and cannot be opened.
    pub unreadable: u64,
    /// Attached producers and consumers, over all buses.
    pub participants: u64,
    /// Seats of dead participants that this daemon gave back since it started.
    pub seats_recovered: u64,
    /// How long ago the watch last looked.
    pub watch_age_ms: u64,
}

/// `GET /healthz`: whether the daemon does its work. Status 200, or 503 when it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Whether the watch is keeping up.
    pub status: HealthStatus,
}

/// `GET /readyz`: whether what the config file declares is there. Status 200, or 503 when it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether the daemon does its work and nothing is missing.
    pub ready: bool,
    /// The declared buses that do not exist any more.
    pub missing: Vec<String>,
}

/// Whether the daemon does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// Everything runs.
    Ok,
    /// The watch has not looked for seconds: detach and death go unnoticed for now. Data is not
    /// affected, since it never passes through the daemon.
    Degraded,
}
