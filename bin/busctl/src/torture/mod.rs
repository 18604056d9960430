//! `torture`: kills and stops processes under full load, and checks that no promise of a bus is
//! broken.
//!
//! ```text
//! scenario         what a run is of, and what it is told
//! conduct          a run: buses in turn, the table at the end
//!   shape          one bus, and who works on it
//!   play, cast     what is done to its workers, and their places
//!     fate, points what is to happen to each, drawn from the seed; crash points
//!     actor, wedge one worker as the conductor sees it; who does nothing
//!   audit          what is checked at the end
//!   tally, report  counts, and how they are shown
//!   daemons        daemons that are killed while they make and remove buses
//! worker           a worker's life
//!   produce, consume, observe, recover, create    what each part does
//!   pen, frame     writing frames that can be checked
//!   reading, ledger   checking them
//!   sabotage       breaking each promise, to see that it is noticed
//! board, say, gaps    what all processes share; what workers say; how long others stand still
//! violation        the promises, by what breaks them
//! group            the same for the members of a consumer group
//! tables, requests the same for the writers of a table, and for a service and its callers
//!   herd           their processes
//! ```
//! Workers use `busway_crashable`, the library with its crash points compiled in; the conductor uses
//! `busway` as everybody does. docs/reliability.md says what is promised and how it is checked.

mod actor;
mod audit;
mod board;
mod cast;
mod conduct;
mod consume;
mod create;
mod daemons;
mod fate;
mod frame;
mod gaps;
mod group;
mod herd;
mod ledger;
mod observe;
mod pen;
mod plan;
mod play;
mod points;
mod produce;
mod random;
mod reading;
mod recover;
mod report;
mod requests;
mod sabotage;
mod say;
mod scenario;
mod shape;
mod tables;
mod tally;
mod violation;
mod wedge;
mod worker;

use crate::exit::Failure;
use crate::output::Out;
use crate::table::{Side, Table};
use crate::units::in_range;
use busway::{OnFull, Topology};
use clap::Args;
use scenario::{Orders, Run, Scenario, Several};
use shape::Shape;
use std::path::PathBuf;
use std::process::ExitCode;

/// Producers, or consumers, of a bus at most: with many more, none of them gets anywhere.
const ENDS_MAX: u64 = 16;

/// Seconds of a run at most: a week.
const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Arguments of `torture`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct TortureArgs {
    #[command(subcommand)]
    verb: Option<TortureVerb>,
    #[command(flatten)]
    run: BusArgs,
}

/// Other runs, and the processes of all.
#[derive(Debug, clap::Subcommand)]
enum TortureVerb {
    /// Kill and stop members of a consumer group, and account for every frame
    Group(group::GroupArgs),
    /// Kill and stop writers of a table, and check what is read
    Table(tables::TableArgs),
    /// Kill and stop a server and its callers, and account for every call
    Request(requests::RequestArgs),
    /// A server or a caller that is tortured
    #[command(hide = true)]
    RequestWorker {
        /// Which of both, the service, and so on
        words: Vec<String>,
    },
    /// A writer of a table that is tortured
    #[command(hide = true)]
    TableWriter {
        /// The table, its point, and so on
        words: Vec<String>,
    },
    /// A process that is tortured
    #[command(hide = true)]
    Worker {
        /// What it does, in JSON
        plan: String,
    },
    /// A daemon that is killed
    #[command(hide = true)]
    Daemon {
        /// The process that started it
        parent_pid: u32,
        /// Its runtime directory
        directory: PathBuf,
    },
}

/// What a run of buses is to be.
#[derive(Clone, Debug, Args)]
struct BusArgs {
    #[command(flatten)]
    orders: Orders,
    /// What a full lane does
    #[arg(long, value_name = "POLICY", default_value = "all", value_parser = scenario::policies())]
    on_full: Several<OnFull>,
    /// Consumers of a bus; one of them is never killed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = in_range::<u32>(1, ENDS_MAX))]
    consumers: u32,
    /// At the end, also kill daemons while they make and remove buses, in a private directory
    #[arg(long)]
    daemon: bool,
}

/// Tortures.
pub fn run(args: TortureArgs, out: &Out) -> Result<ExitCode, Failure> {
    match args.verb {
        Some(TortureVerb::Group(args)) => group::run(&args, out),
        Some(TortureVerb::Request(args)) => requests::run(&args, out),
        Some(TortureVerb::RequestWorker { words }) => requests::work::run(&words),
        Some(TortureVerb::Table(args)) => tables::run(&args, out),
        Some(TortureVerb::TableWriter { words }) => tables::work(&words),
        Some(TortureVerb::Worker { plan }) => Ok(worker::run(&plan)),
        Some(TortureVerb::Daemon { parent_pid, directory }) => {
            Ok(daemons::host(parent_pid, directory))
        }
        None => run_buses(&args.run, out),
    }
}

fn run_buses(args: &BusArgs, out: &Out) -> Result<ExitCode, Failure> {
    let BusArgs { orders, on_full, consumers, daemon } = args;
    if orders.list_points {
        return list_points(Scenario::Buses, out);
    }
    let with_policies = |topology: &Topology| {
        let topology = *topology;
        on_full.0.iter().map(move |on_full| (topology, *on_full))
    };
    let kinds: Vec<_> = orders.topology.0.iter().flat_map(with_policies).collect();
    let shape = |seed, number| {
        let kind = scenario::in_turn(&kinds, number).unwrap_or((Topology::Lanes, OnFull::Block));
        Shape::draw(seed, number, kind, orders.producers, *consumers)
    };
    let run = Run {
        scenario: Scenario::Buses,
        orders,
        kinds: u64::try_from(kinds.len()).unwrap_or(1),
        shape: &shape,
        words: format!("--on-full {} --consumers {consumers}", on_full.name(OnFull::name)),
        readers: ("consumers", *consumers),
        daemon: *daemon,
    };
    conduct::run(&run, out)
}

/// Prints the crash points of a scenario.
fn list_points(scenario: Scenario, out: &Out) -> Result<ExitCode, Failure> {
    if out.json() {
        out.document(scenario.schemas()[1], &report::point_list(scenario))?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["POINT", "REACHED BY", "ON BUSES"].map(|heading| (heading, Side::Left));
    let mut table = Table::new(headings);
    for point in points::of(scenario) {
        table.row(points::described(point, scenario));
    }
    table.print(out)?;
    Ok(ExitCode::SUCCESS)
}
