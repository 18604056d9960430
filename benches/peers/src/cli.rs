//! The command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::affinity::Pins;
use crate::janitor::{self, Janitor};
use crate::registry::{self, Entry};
use crate::report::{self, About, Document, Machine};
use crate::run::{self, Outcome};
use crate::scenario::{Extent, POLL_MAX, Scenario};
use crate::worker;

/// How long messages are sent in each sample, without and with `--quick`.
const DURATION: Duration = Duration::from_millis(300);
const QUICK_DURATION: Duration = Duration::from_millis(60);

/// Runs, without and with `--quick`.
const RUNS: usize = 5;
const QUICK_RUNS: usize = 1;

/// Measures busway side by side with what one would take instead, on this machine.
#[derive(Parser)]
#[command(name = "peers", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Messages one way, 1:1, by payload and batch
    Throughput(Options),
    /// Several producers, one consumer
    FanIn(Options),
    /// One producer, several consumers
    FanOut(Options),
    /// Round trips, spinning
    Rtt(Options),
    /// One-way latency at a steady rate
    Paced(Options),
    /// Waking a consumer that sleeps, and its processor time while idle
    Wake(Options),
    /// A producer that never waits, and a slow reader
    Lossy(Options),
    /// Making and attaching; shared memory mapped
    Attach(Options),
    /// Costs by lanes, consumers and ring size
    Growth(Options),
    /// All of these, one after the other
    All(Options),
    /// List the peers of this build
    Peers,
    #[command(hide = true)]
    Worker,
    #[command(hide = true)]
    Janitor { pid: u32 },
}

#[derive(Args)]
struct Options {
    /// Peers to measure, by name or by family (`busway`, `limit`) [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    peers: Vec<String>,
    /// Only cases with this in their names, such as `4 producers` [default: all]
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Runs of each case, interleaved [default: 5; 1 with --quick]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Processors for the ends, producers first, or `none` [default: one of each core]
    #[arg(long, value_name = "0,1", value_parser = parse_pins)]
    pin: Option<Pins>,
    /// Write everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write bars
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Fewer cases, one run, a few seconds a peer
    #[arg(long)]
    quick: bool,
    /// Milliseconds that messages are sent in each sample [default: 300; 60 with --quick]
    #[arg(long, value_name = "MS")]
    duration_ms: Option<u64>,
    /// Messages that a consumer takes at a time at most [default: 256]
    #[arg(long, value_name = "N")]
    poll: Option<usize>,
    /// KiB of each ring, for all peers alike [default: 1024; 64 for round trips]
    #[arg(long, value_name = "KIB")]
    capacity_kib: Option<usize>,
}

fn parse_pins(text: &str) -> Result<Pins, String> {
    if text == "none" {
        return Ok(Pins::none());
    }
    let cpus: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
    Pins::of(cpus.map_err(|error| format!("{text:?}: {error}"))?)
}

/// The program's `main`.
pub fn main() -> ExitCode {
    let (scenarios, options) = match Cli::parse().command {
        Command::Throughput(options) => (vec![Scenario::Throughput], options),
        Command::FanIn(options) => (vec![Scenario::FanIn], options),
        Command::FanOut(options) => (vec![Scenario::FanOut], options),
        Command::Rtt(options) => (vec![Scenario::Rtt], options),
        Command::Paced(options) => (vec![Scenario::Paced], options),
        Command::Wake(options) => (vec![Scenario::Wake], options),
        Command::Lossy(options) => (vec![Scenario::Lossy], options),
        Command::Attach(options) => (vec![Scenario::Attach], options),
        Command::Growth(options) => (vec![Scenario::Growth], options),
        Command::All(options) => (Scenario::ALL.to_vec(), options),
        Command::Peers => return list(),
        Command::Worker => return worker::run(),
        Command::Janitor { pid } => return janitor::run(pid),
    };
    match measure(&scenarios, &options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("error: {failures} samples failed; the tables say why");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list() -> ExitCode {
    let all = registry::all();
    let width = all.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
    for entry in all {
        // A reader that has gone wants no more.
        let _ = writeln!(std::io::stdout(), "{:<width$}  {}", entry.name, entry.about);
    }
    ExitCode::SUCCESS
}

/// Measures, prints and writes; returns how many samples failed.
fn measure(scenarios: &[Scenario], options: &Options) -> Result<usize, String> {
    let peers = registry::choose(&options.peers)?;
    let pins = options.pin.clone().map_or_else(Pins::all, Ok)?;
    let runs = options.runs.unwrap_or(if options.quick { QUICK_RUNS } else { RUNS }).max(1);
    let extent = extent(options)?;
    let machine = Machine::here();
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let _janitor = Janitor::hire()?;
    say(&format!("{}\n{command}\n", machine.describe()));
    let mut outcomes: Vec<Outcome> = Vec::new();
    for &scenario in scenarios {
        let progress = |text: &str| eprintln!("{text}");
        let outcome = run::run(scenario, &peers, &extent, &pins, runs, progress);
        say(&report::print(&outcome));
        outcomes.push(outcome);
    }
    if let Some(path) = &options.json {
        let document = Document {
            schema: report::SCHEMA,
            command: &command,
            machine: &machine,
            pins: pins.as_slice(),
            runs,
            peers: peers.iter().map(about).collect(),
            scenarios: &outcomes,
        };
        let text = serde_json::to_vec_pretty(&document).map_err(|error| error.to_string())?;
        std::fs::write(path, text)
            .map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    if let Some(path) = &options.plot {
        report::plot(&outcomes, &machine, &command, path)?;
    }
    Ok(outcomes.iter().map(Outcome::failures).sum())
}

fn about(entry: &Entry) -> About {
    About { name: entry.name, about: entry.about }
}

fn extent(options: &Options) -> Result<Extent, String> {
    let duration = if options.quick { QUICK_DURATION } else { DURATION };
    let duration = options.duration_ms.map_or(duration, Duration::from_millis);
    let shm = rustix::fs::statvfs("/dev/shm").map_err(|error| format!("/dev/shm: {error}"))?;
    Ok(Extent {
        duration_ns: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
        quick: options.quick,
        only: options.only.clone(),
        poll_max: options.poll.unwrap_or(POLL_MAX).max(1),
        capacity_bytes: options.capacity_kib.map(|kib| kib << 10),
        shm_bytes: shm.f_bavail.saturating_mul(shm.f_frsize),
    })
}

/// Prints to stdout; a reader that has gone wants no more.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
