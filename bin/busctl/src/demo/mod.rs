//! `demo`: real telemetry of this machine, fanned in through a bus, for somebody who has just come.
//!
//! ```text
//!   sampler cpu      ─ lane ─┐
//!   sampler memory   ─ lane ─┤
//! sampler disk     ─ lane ─┼─ bus demo-PID ─ aggregator: this process, which also draws the table
//!   sampler network  ─ lane ─┤
//!   sampler process  ─ lane ─┘      busd, in a private directory, made the bus and watches it
//! ```
//! Every box is a process. `conduct` starts and ends them; `source` reads /proc; `sample` is the
//! frame;
//! `aggregate` and `screen` are what becomes of the frames; `host` is the daemon's process.
//!
//! `pipeline` is the other scenario: the same samplers, with a group of workers behind them.

mod aggregate;
mod conduct;
mod host;
mod pipeline;
mod sample;
mod sampler;
mod screen;
mod source;
mod summary;

use crate::exit::Failure;
use crate::output::Out;
use crate::units::parse_interval;
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct DemoArgs {
    /// How long it runs
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_interval)]
    duration: Duration,
    /// What is shown
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    #[command(subcommand)]
    verb: Option<DemoVerb>,
}

/// What a demo is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Samplers fanned in by one process, which shows rates and latencies
    #[default]
    Telemetry,
    /// Samplers, a group of workers of which one is killed, a table of latest values, dead letters
    Pipeline,
}

/// The processes of a demo.
#[derive(Debug, clap::Subcommand)]
enum DemoVerb {
    /// A process that reads /proc and publishes
    #[command(hide = true)]
    Sampler {
        /// What it does, in JSON
        plan: String,
    },
    /// A member of the pipeline's group
    #[command(hide = true)]
    Worker {
        /// What it does, in JSON
        plan: String,
    },
    /// The demo's daemon
    #[command(hide = true)]
    Daemon {
        /// What it does, in JSON
        plan: String,
    },
}

/// Runs the demo.
pub fn run(args: DemoArgs, out: &Out) -> Result<ExitCode, Failure> {
    match args.verb {
        None => match args.scenario {
            Scenario::Telemetry => conduct::run(args.duration, out),
            Scenario::Pipeline => pipeline::run(args.duration, out),
        },
        Some(DemoVerb::Sampler { plan }) => Ok(sampler::run(&plan)),
        Some(DemoVerb::Worker { plan }) => Ok(pipeline::worker(&plan)),
        Some(DemoVerb::Daemon { plan }) => Ok(host::run(&plan)),
    }
}
