//! `torture`: kills and stops processes under full load, and checks that no promise of a bus is
//! broken.
//!
//! ```text
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
//! tables           the same for the writers of a table, in one file
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
mod sabotage;
mod say;
mod shape;
mod tables;
mod tally;
mod violation;
mod wedge;
mod worker;

use crate::exit::Failure;
use crate::output::Out;
use crate::table::{Side, Table};
use crate::units::{in_range, parse_count_from_one};
use busway::{OnFull, Topology};
use busway_crashable::CrashPoint;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use std::process::ExitCode;

/// Producers, or consumers, of a bus at most: with many more, none of them gets anywhere.
const ENDS_MAX: u64 = 16;

/// Seconds of a run at most: a week.
const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Arguments of `torture`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct TortureArgs {
    #[command(subcommand)]
    verb: Option<TortureVerb>,
    #[command(flatten)]
    run: RunArgs,
}

/// Other runs, and the processes of all.
#[derive(Debug, clap::Subcommand)]
enum TortureVerb {
    /// Kill and stop writers of a table, and check what is read
    Table(tables::TableArgs),
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

/// What a run is to be.
#[derive(Clone, Debug, clap::Args)]
struct RunArgs {
    /// How long it runs [default: 30]
    #[arg(long, value_name = "N", value_parser = in_range::<u64>(1, SECONDS_MAX))]
    seconds: Option<u64>,
    /// Runs until so many processes have been killed
    #[arg(long, value_name = "N", value_parser = parse_count_from_one, conflicts_with = "seconds")]
    kills: Option<u64>,
    /// The buses' topology
    #[arg(long, value_name = "TOPOLOGY", default_value = "all", value_parser = topologies())]
    topology: Several<Topology>,
    /// What a full lane does
    #[arg(long, value_name = "POLICY", default_value = "all", value_parser = policies())]
    on_full: Several<OnFull>,
    /// Producers of a bus; `single` has one
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = in_range::<u32>(1, ENDS_MAX))]
    producers: u32,
    /// Consumers of a bus; one of them is never killed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = in_range::<u32>(1, ENDS_MAX))]
    consumers: u32,
    /// Draws the schedule: who is killed or stopped, when, and where; random unless given
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Crash points at which workers die, separated by commas; all unless given
    #[arg(long, value_name = "POINT,…", value_delimiter = ',', value_parser = parse_point)]
    points: Vec<CrashPoint>,
    /// List the crash points
    #[arg(long)]
    list_points: bool,
    /// Go on after a violation
    #[arg(long)]
    keep_going: bool,
    /// At the end, also kill daemons while they make and remove buses, in a private directory
    #[arg(long)]
    daemon: bool,
    /// Has a worker break a promise, to see that it is noticed
    #[arg(long, hide = true, value_name = "KIND")]
    sabotage: Option<plan::Sabotage>,
}

/// One choice or all of them.
#[derive(Clone, Debug)]
struct Several<T>(Vec<T>);

/// Tortures.
pub fn run(args: TortureArgs, out: &Out) -> Result<ExitCode, Failure> {
    match args.verb {
        Some(TortureVerb::Table(args)) => tables::run(&args, out),
        Some(TortureVerb::TableWriter { words }) => tables::work(&words),
        Some(TortureVerb::Worker { plan }) => Ok(worker::run(&plan)),
        Some(TortureVerb::Daemon { parent_pid, directory }) => {
            Ok(daemons::host(parent_pid, directory))
        }
        None if args.run.list_points => list_points(out).map(|()| ExitCode::SUCCESS),
        None => conduct::run(&args.run, out),
    }
}

fn topologies() -> impl TypedValueParser<Value = Several<Topology>> {
    PossibleValuesParser::new(with_all(Topology::NAMES)).map(|name| {
        let all = [Topology::Single, Topology::Lanes, Topology::Ordered];
        Several(name.parse().map_or_else(|_| all.to_vec(), |one| vec![one]))
    })
}

fn policies() -> impl TypedValueParser<Value = Several<OnFull>> {
    PossibleValuesParser::new(with_all(OnFull::NAMES)).map(|name| {
        let all = [OnFull::Block, OnFull::Reject, OnFull::DropOldest];
        Several(name.parse().map_or_else(|_| all.to_vec(), |one| vec![one]))
    })
}

fn with_all(names: &[&'static str]) -> Vec<&'static str> {
    names.iter().copied().chain(["all"]).collect()
}

fn parse_point(text: &str) -> Result<CrashPoint, String> {
    text.parse().map_err(|error| format!("{error}; --list-points shows them"))
}

/// Prints the crash points.
fn list_points(out: &Out) -> Result<(), Failure> {
    if out.json() {
        return out.document("busway.torture-points/1", &report::point_list());
    }
    let headings = ["POINT", "REACHED BY", "ON BUSES"].map(|heading| (heading, Side::Left));
    let mut table = Table::new(headings);
    for point in points::all() {
        table.row(points::described(point));
    }
    table.print(out)
}
