//! One sample: make what the ends share, start a process for each end, and collect what they say.

use std::path::PathBuf;
use std::time::Duration;

use crate::affinity::Pins;
use crate::board::Board;
use crate::crew::Crew;
use crate::peer::Shape;
use crate::place::Place;
use crate::plan::{Plan, Report, Role, Task};
use crate::registry::Entry;

/// How long a sample may take beyond the time for which messages are counted.
const GRACE: Duration = Duration::from_secs(40);

/// Places that [`Kind::Attach`] makes and attaches in.
const ATTACH_PLACES: usize = 9;

/// What is measured with a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Messages one way, flat out; consumers take up to `poll_max` at a time and are busy elsewhere
    /// for `pause_ns` after each time.
    Stream { poll_max: usize, pause_ns: u64 },
    /// Round trips.
    Echo,
    /// Latency with a message every `interval_ns`.
    Paced { interval_ns: u64 },
    /// Waking a consumer that sleeps.
    Wake,
    /// Making and attaching.
    Attach,
    /// Polling beside idle producers.
    PollCost,
    /// Publishing to many consumers.
    PublishCost,
}

/// What is measured for each peer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Case {
    /// As in tables.
    pub name: String,
    pub shape: Shape,
    pub kind: Kind,
    /// How long messages are sent.
    pub duration_ns: u64,
}

/// Measures once.
///
/// # Errors
/// What went wrong, in words for the table.
pub fn measure(entry: Entry, case: &Case, pins: &Pins) -> Result<Report, String> {
    let deal = pins.deal(case.shape.producers, case.shape.consumers);
    let mut case = case.clone();
    case.shape.crowded = deal.crowded;
    let count = match case.kind {
        Kind::Echo => 2,
        Kind::Attach => ATTACH_PLACES,
        _ => 1,
    };
    let places = (0..count).map(|_| Place::create()).collect::<Result<Vec<_>, _>>()?;
    let paths: Vec<PathBuf> = places.iter().map(|place| place.path().to_owned()).collect();
    let first = places.first().ok_or("a sample without a place")?;
    let _board = Board::create(first.path())?;
    let ends = roles(&case, &deal.producers, &deal.consumers);
    let solo = ends.len() == 1;
    let probe = match (deal.producers.first(), deal.consumers.first()) {
        (Some(Some(one)), Some(Some(other))) => one != other,
        (one, other) => one.is_some() && other.is_some(),
    };
    let tasks = ends.iter().map(|&(role, cpu)| Task {
        shape: case.shape.clone(),
        places: paths.clone(),
        cpu,
        ends: ends.len(),
        probe,
        duration_ns: case.duration_ns,
        role,
    });
    let plan = |prepare: Vec<PathBuf>, tasks: Vec<Task>| Plan {
        peer: entry.name.to_owned(),
        parent_pid: std::process::id(),
        prepare,
        tasks,
    };
    // The order of drops is that of the lines: the crew (within `finish`), what the peer made, and
    // the places.
    let mut prepared = Vec::new();
    let plans: Vec<Plan> = if solo {
        vec![plan(Vec::new(), tasks.collect())]
    } else if entry.threads {
        vec![plan(paths.clone(), tasks.collect())]
    } else {
        for path in &paths {
            prepared.push((entry.prepare)(&case.shape, path)?);
        }
        tasks.map(|task| plan(Vec::new(), vec![task])).collect()
    };
    let crew = Crew::start(&plans, first.path())?;
    let reports = crew.finish(Duration::from_nanos(case.duration_ns) + GRACE)?;
    drop(prepared);
    let mut merged = Report::default();
    for report in &reports {
        merged.merge(report);
    }
    Ok(merged)
}

/// The parts and who plays them where: producers first.
fn roles(
    case: &Case,
    producers: &[Option<usize>],
    consumers: &[Option<usize>],
) -> Vec<(Role, Option<usize>)> {
    let near = producers.first().copied().flatten();
    let far = consumers.first().copied().flatten();
    match case.kind {
        Kind::Stream { poll_max, pause_ns } => {
            let sends = producers.iter().zip(0..).map(|(&cpu, index)| (Role::Send { index }, cpu));
            let receives = consumers
                .iter()
                .zip(0..)
                .map(|(&cpu, index)| (Role::Receive { index, poll_max, pause_ns }, cpu));
            sends.chain(receives).collect()
        }
        Kind::Echo => vec![(Role::Call, near), (Role::Answer, far)],
        Kind::Paced { interval_ns } => {
            vec![(Role::Pace { interval_ns }, near), (Role::Clock { interval_ns }, far)]
        }
        Kind::Wake => vec![(Role::Rouse, near), (Role::Sleep, far)],
        Kind::Attach => vec![(Role::Attach, near)],
        Kind::PollCost => vec![(Role::PollCost, near)],
        Kind::PublishCost => vec![(Role::PublishCost, near)],
    }
}
