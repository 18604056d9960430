//! What is shown at the end: one page for people, one document for programs.

use super::gaps::{Gaps, Kind};
use super::group;
use super::points;
use super::scenario::{Orders, Run, Scenario};
use super::tally::{Blows, PointCount, Tally, Told};
use super::violation::Violation;
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::process::process_name;
use crate::table::{Side, Table};
use crate::units::{format_count, format_ns};
use busway::Topology;
use busway_crashable::CrashPoint;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run has come to.
pub struct Outcome<'a> {
    pub run: &'a Run<'a>,
    pub seed: u64,
    pub elapsed: Duration,
    /// Daemons that ran meanwhile and may have given seats back.
    pub daemons: usize,
    pub interrupted: bool,
    pub tally: &'a Tally,
}

/// The same as a document.
#[derive(Serialize)]
struct Document<'a> {
    seed: u64,
    replay: String,
    elapsed_ns: u64,
    interrupted: bool,
    daemons_running: usize,
    producers: u32,
    #[serde(flatten)]
    readers: BTreeMap<&'static str, u32>,
    buses: u64,
    processes: u64,
    kills: &'a Blows,
    stops: &'a Blows,
    points: BTreeMap<&'static str, PointCount>,
    point_hits: u64,
    #[serde(flatten)]
    counts: Counts,
    violations: BTreeMap<&'static str, u64>,
    stalls: BTreeMap<&'static str, Gaps>,
    told: &'a [Told],
}

/// What is counted in a scenario.
#[derive(Serialize)]
#[serde(untagged)]
enum Counts {
    Buses(BusCounts),
    Groups(group::report::Counts),
}

/// The counts of buses.
#[derive(Serialize)]
struct BusCounts {
    published_frames: u64,
    read_frames: u64,
    overwritten_frames: u64,
    refusals: u64,
    tickets_punched: u64,
    evictions: u64,
    seats_given_back: u64,
    buses_made: u64,
    daemon_kills: u64,
}

/// The rows of gaps, with their names in the table and in the document.
const STALLS: [(Kind, &str, &str); 4] = [
    (Kind::Nothing, "nothing_done", "nothing was done"),
    (Kind::Kill, "other_lanes_after_kill", "a process was killed"),
    (Kind::Stop, "other_lanes_after_stop", "a process was stopped"),
    (Kind::ConsumerKill, "blocked_on_killed_consumer", "blocked, a consumer was killed"),
];

impl Outcome<'_> {
    /// Shows it.
    pub fn print(&self, out: &Out) -> Result<(), Failure> {
        if out.json() {
            return out.document(self.run.scenario.schemas()[0], &self.document());
        }
        self.print_counts(out)?;
        self.print_promises(out)?;
        self.print_stalls(out)?;
        self.print_points(out)?;
        for told in self.tally.told() {
            let Told { violation, bus, by, what } = told;
            let name = out.paint(Paint::Red, violation.name());
            out.line(format_args!("{name}  {bus}: {by}: {what}"))?;
        }
        out.line(format_args!("replay the schedule: {}", self.replay()))
    }

    /// How it ends when a promise was broken.
    pub fn failure(&self) -> Failure {
        let broken: Vec<String> = Violation::ALL
            .iter()
            .filter(|violation| self.tally.violations(**violation) > 0)
            .map(|violation| format!("{} {}", violation.name(), self.tally.violations(*violation)))
            .collect();
        Failure::new(Exit::Loss, format!("promises were broken: {}", broken.join(", "))).hint(
            format!(
                "`{}` does the same to the same processes again; how they interleave is up to the \
                 machine",
                self.replay()
            ),
        )
    }

    /// The command line that has the same schedule.
    fn replay(&self) -> String {
        let Run { scenario, orders, words, daemon, .. } = self.run;
        let Orders { producers, points, kills, seconds, topology, .. } = orders;
        let (command, topology) = (scenario.command(), topology.name(Topology::name));
        let mut line = vec![format!(
            "{command} --seed {} --topology {topology} --producers {producers} {words}",
            self.seed
        )];
        line.extend(kills.map(|kills| format!("--kills {kills}")));
        line.extend(seconds.map(|seconds| format!("--seconds {seconds}")));
        line.extend(daemon.then(|| String::from("--daemon")));
        if !points.is_empty() {
            let names: Vec<_> = points.iter().map(|point| point.name()).collect();
            line.push(format!("--points {}", names.join(",")));
        }
        line.join(" ")
    }

    fn print_counts(&self, out: &Out) -> Result<(), Failure> {
        let tally = self.tally;
        let count = format_count;
        let kills_per_s = count(tally.kills.total * 1000 / self.millis().max(1));
        let row = |name: &str, text: String| out.line(format_args!("{name:<10} {text}"));
        row(
            "run",
            format!(
                "{}.{} s, {} buses in turn, {} processes{}",
                self.millis() / 1000,
                self.millis() % 1000 / 100,
                count(tally.buses),
                count(tally.processes),
                if self.interrupted { ", interrupted" } else { "" }
            ),
        )?;
        let reached = tally.points.values().filter(|count| count.kills > 0).count();
        row(
            "killed",
            format!(
                "{} ({kills_per_s} a second): {} at random, {} at {reached} crash points",
                count(tally.kills.total),
                count(tally.kills.at_random),
                count(tally.kills.at_points),
            ),
        )?;
        row(
            "stopped",
            format!(
                "{}: {} at random, {} at crash points",
                count(tally.stops.total),
                count(tally.stops.at_random),
                count(tally.stops.at_points)
            ),
        )?;
        match self.run.scenario {
            Scenario::Buses => self.print_bus_counts(row)?,
            Scenario::Groups => group::report::print(tally, row)?,
        }
        let daemons = match self.daemons {
            0 => String::from("none runs: the dead are found by their peers alone"),
            count => format!("{count} running: it gives seats back too, so peers have less to do"),
        };
        row("daemon", daemons)?;
        if self.run.daemon {
            row("", format!("{} of its own killed and started again", count(tally.daemon_kills)))?;
        }
        Ok(())
    }

    fn print_bus_counts(
        &self,
        row: impl Fn(&str, String) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (tally, count) = (self.tally, format_count);
        row(
            "frames",
            format!(
                "{} published, {} read and checked, {} overwritten and counted",
                count(tally.published_frames),
                count(tally.read_frames),
                count(tally.overwritten_frames)
            ),
        )?;
        row(
            "others",
            format!(
                "{} seats given back, {} evicted, {} tickets punched, {} buses made, \
                 {} publishes refused",
                count(tally.seats_given_back),
                count(tally.evictions),
                count(tally.tickets_punched),
                count(tally.buses_made),
                count(tally.refusals)
            ),
        )
    }

    fn print_promises(&self, out: &Out) -> Result<(), Failure> {
        let cell = |violation: &Violation| {
            let broken = self.tally.violations(*violation);
            let paint = if broken == 0 { Paint::Green } else { Paint::Red };
            format!("{:<20} {}", violation.row(), out.paint(paint, format_args!("{broken:>6}")))
        };
        let seen: Vec<Violation> = Violation::of(self.run.scenario).collect();
        for pair in seen.chunks(2) {
            let cells: Vec<String> = pair.iter().map(cell).collect();
            out.line(cells.join("    "))?;
        }
        Ok(())
    }

    fn print_stalls(&self, out: &Out) -> Result<(), Failure> {
        let heading = match self.run.scenario {
            Scenario::Buses => "OTHERS STOOD STILL WHEN",
            Scenario::Groups => "A FRAME WAS HANDED OUT AGAIN WHEN",
        };
        let mut table = Table::new([
            (heading, Side::Left),
            ("P50", Side::Right),
            ("P99", Side::Right),
            ("MAX", Side::Right),
            ("SAMPLES", Side::Right),
        ]);
        for (_, name, gaps) in self.stalls() {
            let Gaps { samples, p50_ns, p99_ns, max_ns } = gaps;
            let [p50, p99, max] = [p50_ns, p99_ns, max_ns].map(format_ns);
            table.row([name.to_owned(), p50, p99, max, format_count(samples)]);
        }
        table.print(out)
    }

    /// What is measured in the scenario: names in the document and in the table.
    fn stalls(&self) -> Vec<(&'static str, &'static str, Gaps)> {
        match self.run.scenario {
            Scenario::Buses => {
                let gaps = |(kind, name, says)| (name, says, self.tally.gaps(kind));
                STALLS.map(gaps).into()
            }
            Scenario::Groups => group::report::again(self.tally).collect(),
        }
    }

    fn counts(&self) -> Counts {
        let tally = self.tally;
        match self.run.scenario {
            Scenario::Buses => Counts::Buses(BusCounts {
                published_frames: tally.published_frames,
                read_frames: tally.read_frames,
                overwritten_frames: tally.overwritten_frames,
                refusals: tally.refusals,
                tickets_punched: tally.tickets_punched,
                evictions: tally.evictions,
                seats_given_back: tally.seats_given_back,
                buses_made: tally.buses_made,
                daemon_kills: tally.daemon_kills,
            }),
            Scenario::Groups => Counts::Groups(group::report::counts(tally)),
        }
    }

    fn print_points(&self, out: &Out) -> Result<(), Failure> {
        out.line(out.paint(Paint::Bold, "KILLED, AND STOPPED, AT"))?;
        let counts = self.points();
        let cells: Vec<String> = counts
            .iter()
            .map(|(name, PointCount { kills, stops })| format!("{name:<23}{kills:>6}{stops:>4}"))
            .collect();
        cells.chunks(3).try_for_each(|row| out.line(row.join("   ")))
    }

    /// The points that were asked for, with those at which nobody died.
    fn points(&self) -> BTreeMap<&'static str, PointCount> {
        let chosen = &self.run.orders.points;
        let asked = |point: &CrashPoint| chosen.is_empty() || chosen.contains(point);
        let count = |point: CrashPoint| {
            let count = self.tally.points.get(point.name()).copied();
            (point.name(), count.unwrap_or_default())
        };
        points::of(self.run.scenario).filter(asked).map(count).collect()
    }

    fn document(&self) -> Document<'_> {
        let tally = self.tally;
        let seen = Violation::of(self.run.scenario);
        let violations = seen.map(|kind| (kind.name(), tally.violations(kind)));
        let stalls = self.stalls().into_iter().map(|(name, _, gaps)| (name, gaps));
        Document {
            seed: self.seed,
            replay: self.replay(),
            elapsed_ns: u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX),
            interrupted: self.interrupted,
            daemons_running: self.daemons,
            producers: self.run.orders.producers,
            readers: BTreeMap::from([self.run.readers]),
            buses: tally.buses,
            processes: tally.processes,
            kills: &tally.kills,
            stops: &tally.stops,
            points: self.points(),
            point_hits: tally.point_hits,
            counts: self.counts(),
            violations: violations.collect(),
            stalls: stalls.collect(),
            told: tally.told(),
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A crash point in a document.
#[derive(Serialize)]
struct PointEntry {
    name: String,
    reached_by: String,
    on_buses: String,
}

/// The list of the crash points as a document.
#[derive(Serialize)]
pub struct PointList {
    points: Vec<PointEntry>,
}

/// The crash points of a scenario.
pub fn point_list(scenario: Scenario) -> PointList {
    let entry = |point: CrashPoint| {
        let [name, reached_by, on_buses] = points::described(point, scenario);
        PointEntry { name, reached_by, on_buses }
    };
    PointList { points: points::of(scenario).map(entry).collect() }
}

/// How many daemons run on this machine, as far as their names tell. Each adopts every bus.
pub fn daemons() -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| process_name(*pid) == "busd").count()
}
