//! What the parent tells a worker process, and what the worker says in the end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::peer::Shape;

/// One process's work: one end, or all ends of a peer whose ends are threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The peer's name.
    pub peer: String,
    /// The process it works for.
    pub parent_pid: u32,
    /// The places that this process prepares itself: of a peer whose ends are threads.
    pub prepare: Vec<PathBuf>,
    /// One for each thread.
    pub tasks: Vec<Task>,
}

/// What one end does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// What is asked of the peer.
    pub shape: Shape,
    /// Where the peer's things are; the first one holds the board.
    pub places: Vec<PathBuf>,
    /// The processor to run on.
    pub cpu: Option<usize>,
    /// How many ends meet at the board's barriers.
    pub ends: usize,
    /// The first producer and the first consumer are on different processors: probe the distance.
    pub probe: bool,
    /// How long messages are sent.
    pub duration_ns: u64,
    /// What to do.
    pub role: Role,
}

/// The parts that ends play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Producer `index`, flat out.
    Send { index: usize },
    /// Consumer `index`: takes up to `poll_max` messages at a time, and is busy elsewhere for
    /// `pause_ns` after each time.
    Receive { index: usize, poll_max: usize, pause_ns: u64 },
    /// Sends, waits for the echo, and notes the time.
    Call,
    /// Sends back what comes.
    Answer,
    /// Sends a message every `interval_ns`.
    Pace { interval_ns: u64 },
    /// Notes how late each message is that was due every `interval_ns`.
    Clock { interval_ns: u64 },
    /// Sends a message now and then to a consumer that sleeps.
    Rouse,
    /// Sleeps, and notes how long after the send it is awake; then how much it costs to sleep on.
    Sleep,
    /// Alone: makes and attaches everything, once in each place.
    Attach,
    /// Alone: polls one busy producer and all idle ones.
    PollCost,
    /// Alone: publishes to all consumers.
    PublishCost,
}

/// What one end measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Round trips of the bare line before and after, in nanoseconds; from the end that called.
    pub probes_ns: Option<[f64; 2]>,
    /// The figures.
    pub figures: BTreeMap<Figure, f64>,
}

impl Report {
    /// Takes in what another end of the same measurement says.
    pub fn merge(&mut self, other: &Self) {
        self.probes_ns = self.probes_ns.or(other.probes_ns);
        for (&figure, &value) in &other.figures {
            let merged = self.figures.get(&figure).map_or(value, |&old| figure.merge(old, value));
            self.figures.insert(figure, merged);
        }
    }
}

/// What a worker says at its end.
pub type Outcome = Result<Vec<Report>, String>;
