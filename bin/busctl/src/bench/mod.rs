//! `bench`: what buses do on this machine, measured between real processes, with every payload
//! checked.
//!
//! | verb | question |
//! |---|---|
//! | `bench` | how many messages a second; how late, when they are sent at a fixed rate |
//! | `bench rtt` | how long a message and its echo take |
//! | `bench request` | how many calls a second one process answers to another, and how long each takes |
//! | `bench table` | how many messages through a table's cells, beside a mutex for each |
//! | `bench limit` | what the machine itself allows, with no bus in between |
//!
//! The parent (`throughput`, `rtt`, `request`, `limit`) creates the bus, starts workers (`crew`, `plan`,
//! `worker`), reports and removes the bus; a `janitor` removes it if the parent is killed. What
//! the figures mean is described in docs/bench.md.

mod affinity;
mod crew;
mod janitor;
mod latency;
mod limit;
mod pace;
mod pattern;
mod plan;
mod request;
mod rtt;
mod table;
mod throughput;
mod ticks;
mod worker;

// The demo is made of the same parts.
pub use crew::Crew;
pub use janitor::{Janitor, Litter};
pub use latency::{Latency, Percentiles};
pub use pace::{monotonic_ns, sleep_until};
pub use worker::{Identity, Station, report_to_parent, run as run_worker};

use crate::exit::Failure;
use crate::output::Out;
use crate::units::{in_range, parse_processor};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Runs that one command may ask for; each takes a second or so.
const RUNS_MAX: u64 = 100;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    verb: Option<BenchVerb>,
    #[command(flatten)]
    throughput: throughput::ThroughputArgs,
}

/// The other measurements.
#[derive(Debug, clap::Subcommand)]
enum BenchVerb {
    /// Measure how long a message and its echo take, over two buses
    Rtt(rtt::RttArgs),
    /// Measure calls from one process to another: how many a second, how long each takes
    Request(request::RequestArgs),
    /// Measure what the machine itself allows: a bare cache line, a bare ring
    Limit(limit::LimitArgs),
    /// Measure a table: messages written to keys and read, beside an array of mutexes
    Table(table::TableArgs),
    /// A process of a measurement
    #[command(hide = true)]
    Worker {
        /// What it does, in JSON
        plan: String,
    },
    /// The process that cleans up after a measurement that was killed
    #[command(hide = true)]
    Janitor,
}

/// Arguments that all measurements have.
#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// Processors for the workers, in turn: producers first, then consumers
    #[arg(long, value_name = "CPU,…", value_delimiter = ',', value_parser = parse_processor)]
    pin: Vec<usize>,
    /// Runs; the report gives the median
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = in_range::<u64>(1, RUNS_MAX)
    )]
    runs: u64,
}

/// Measures.
pub fn run(args: BenchArgs, out: &Out) -> Result<ExitCode, Failure> {
    match args.verb {
        None => throughput::run(&args.throughput, out),
        Some(BenchVerb::Rtt(args)) => rtt::run(&args, out),
        Some(BenchVerb::Request(args)) => request::run(&args, out),
        Some(BenchVerb::Limit(args)) => limit::run(&args, out),
        Some(BenchVerb::Table(args)) => table::run(&args, out),
        Some(BenchVerb::Worker { plan }) => Ok(plan::run(&plan)),
        Some(BenchVerb::Janitor) => Ok(janitor::run()),
    }
}

/// A name that no other bus of this machine has.
fn bus_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // ORDERING: relaxed; the counter publishes nothing but itself.
    format!("bench-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A duration as whole nanoseconds.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A count as a float, for rates and parts of what is shown; exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "what is shown has three digits")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// How many a second, when `count` took `elapsed_ns`.
fn per_second(count: u64, elapsed_ns: u64) -> u64 {
    let rate = u128::from(count) * 1_000_000_000 / u128::from(elapsed_ns.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}
