//! The end of a demo: whether everything that was published was received.

use super::aggregate::Aggregate;
use super::sample::Source;
use super::sampler::Published;
use super::source::Sampler;
use crate::bench::{Percentiles, float};
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::table::{Side, Table};
use crate::units::{format_count, format_rate};
use serde::Serialize;
use std::time::Duration;

/// The document of `demo --json`.
#[derive(Serialize)]
pub struct Summary {
    bus: String,
    elapsed_ns: u64,
    /// By the user, before the time was over.
    interrupted: bool,
    /// Whether all counts add up and nothing was lost.
    complete: bool,
    published: u64,
    received: u64,
    lost: u64,
    /// Frames that were of no source.
    strange: u64,
    /// Since the start of the reading, all sources.
    age: Option<Percentiles>,
    /// From commit to poll, all sources.
    on_bus: Option<Percentiles>,
    sources: Vec<SourceLine>,
}

#[derive(Serialize)]
struct SourceLine {
    source: Source,
    sampler: Sampler,
    /// `null` when this machine does not show the source.
    pid: Option<u32>,
    readings: u64,
    published: u64,
    received: u64,
    frames_per_second: u64,
    age: Option<Percentiles>,
}

impl Summary {
    /// Compares what samplers say with what was received.
    pub fn new(
        bus: String,
        elapsed: Duration,
        interrupted: bool,
        pids: [Option<u32>; Sampler::ALL.len()],
        published: &[Published],
        lost: u64,
        aggregate: &Aggregate,
    ) -> Self {
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let mut sources = Vec::new();
        for ((sampler, pid), report) in Sampler::ALL.into_iter().zip(pids).zip(published) {
            for &source in sampler.sources() {
                let received = aggregate.frames(source);
                let per_second =
                    u128::from(received) * 1_000_000_000 / u128::from(elapsed_ns.max(1));
                sources.push(SourceLine {
                    source,
                    sampler,
                    pid,
                    readings: report.readings,
                    published: report.frames[source.index()],
                    received,
                    frames_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
                    age: aggregate.age(source),
                });
            }
        }
        let all_equal = sources.iter().all(|line| line.published == line.received);
        let all_read = published.iter().all(|report| report.left == 0);
        Self {
            bus,
            elapsed_ns,
            interrupted,
            complete: all_equal && all_read && lost == 0 && aggregate.strange == 0,
            published: sources.iter().map(|line| line.published).sum(),
            received: aggregate.frames_of_all(),
            lost,
            strange: aggregate.strange,
            age: aggregate.age_of_all(),
            on_bus: aggregate.on_bus(),
            sources,
        }
    }

    /// An error when the counts do not add up.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.complete {
            return Ok(());
        }
        let Self { published, received, lost, strange, .. } = self;
        Err(Failure::failed(format!(
            "counts do not add up: {published} published, {received} received, {lost} lost, \
             {strange} strange"
        )))
    }
}

/// The summary for people.
pub fn end_text(out: &Out, summary: &Summary) -> Result<(), Failure> {
    out.line("")?;
    let mut table = Table::new([
        ("SOURCE", Side::Left),
        ("PUBLISHED", Side::Right),
        ("RECEIVED", Side::Right),
        ("FRAMES/S", Side::Right),
        ("AGE P50", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
        ("MAX", Side::Right),
    ]);
    for line in &summary.sources {
        let [p50, _, p99, p99_9, max] = cells(line.age);
        table.row([
            line.source.name().to_owned(),
            format_count(line.published),
            format_count(line.received),
            format_rate(float(line.frames_per_second)),
            p50,
            p99,
            p99_9,
            max,
        ]);
    }
    table.print(out)?;
    let [bus_p50, _, bus_p99, bus_p99_9, _] = cells(summary.on_bus);
    out.line(format_args!("on the bus alone: p50 {bus_p50}, p99 {bus_p99}, p99.9 {bus_p99_9}"))?;
    let verdict = format!(
        "{} frames published, {} received, {} lost",
        format_count(summary.published),
        format_count(summary.received),
        format_count(summary.lost)
    );
    let paint = if summary.complete { Paint::Green } else { Paint::Red };
    out.line(out.paint(paint, verdict))?;
    out.line("all processes have ended; the bus and the demo's directory are removed")
}

fn cells(percentiles: Option<Percentiles>) -> [String; 5] {
    percentiles
        .map_or_else(|| [const { String::new() }; 5].map(|_| String::from("-")), |p| p.cells())
}
