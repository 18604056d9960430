//! The grammar of the command line: global flags and the list of verbs.

use crate::bench::BenchArgs;
use crate::demo::DemoArgs;
use crate::exit::Exit;
use crate::output::Color;
use clap::{Args, Parser, Subcommand};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Create, watch, feed, read and measure shared-memory buses.
#[derive(Debug, Parser)]
#[command(name = "busctl", version, propagate_version = true, after_help = exit_codes())]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
pub struct Cli {
    /// Flags that every verb takes.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Flags that every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Print JSON: one document for a listing, JSON Lines for a stream
    #[arg(long, global = true)]
    pub json: bool,
    /// Work straight on the segments; neither ask nor start a daemon
    #[arg(long, global = true)]
    pub no_daemon: bool,
    /// The daemon's runtime directory [default: $XDG_RUNTIME_DIR/busway, or /run/busway for root]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "BUSWAY_RUNTIME_DIR",
        hide_env_values = true
    )]
    pub runtime_dir: Option<PathBuf>,
    /// When to colour the output (NO_COLOR is honoured)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Every verb with its arguments.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Measure throughput and latency between real processes
    Bench(BenchArgs),
    /// Fan live telemetry of this machine into one consumer and show it
    Demo(DemoArgs),
}

/// The paragraph of `--help` that lists the exit codes.
fn exit_codes() -> String {
    let mut text = String::from("Exit codes:");
    for (exit, meaning) in Exit::ALL {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {}  {meaning}", exit as u8);
    }
    text
}
