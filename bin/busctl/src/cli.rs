//! The grammar of the command line: global flags and the list of verbs.

use crate::bench::BenchArgs;
use crate::daemon::{HOST_VERB, HostArgs};
use crate::demo::DemoArgs;
use crate::exit::Exit;
use crate::output::Color;
use crate::torture::TortureArgs;
use crate::verbs::about::{CompletionsArgs, ManArgs};
use crate::verbs::check::CheckArgs;
use crate::verbs::create::CreateArgs;
use crate::verbs::dlq::DlqArgs;
use crate::verbs::doctor::DoctorArgs;
use crate::verbs::group::GroupArgs;
use crate::verbs::kick::KickArgs;
use crate::verbs::list::ListArgs;
use crate::verbs::participants::ParticipantsArgs;
use crate::verbs::publish::PublishArgs;
use crate::verbs::rate::RateArgs;
use crate::verbs::remove::RemoveArgs;
use crate::verbs::schedule::ScheduleArgs;
use crate::verbs::schema::SchemaArgs;
use crate::verbs::stat::StatArgs;
use crate::verbs::subscribe::{SubscribeArgs, TapArgs};
use crate::verbs::table::TableArgs;
use clap::{Args, Parser, Subcommand};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Create, watch, feed, read and measure shared-memory buses.
#[derive(Debug, Parser)]
#[command(name = "busctl", version, after_help = exit_codes())]
#[command(arg_required_else_help = true)]
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
    /// The daemon's runtime directory [default: $BUSWAY_RUNTIME_DIR, $XDG_RUNTIME_DIR/busway,
    /// /run/busway for root, /tmp/busway-UID]
    #[arg(long, global = true, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,
    /// When to colour the output (NO_COLOR is honoured)
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Every verb with its arguments.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a bus
    Create(CreateArgs),
    /// List the buses of this host
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Show all there is to know of buses: geometry, who is attached, how far, how fast
    Stat(StatArgs),
    /// List who is attached
    Ps(ParticipantsArgs),
    /// Remove buses
    Rm(RemoveArgs),
    /// Make a process leave a bus, and say what becomes of it
    Kick(KickArgs),
    /// Make, list, reset and remove consumer groups: members share the work
    Group(GroupArgs),
    /// List, show, replay and purge a group's dead letters
    Dlq(DlqArgs),
    /// Show what the bytes of a bus's frames mean
    Schema(SchemaArgs),
    /// Publish frames
    Pub(PublishArgs),
    /// Frames that the daemon publishes later (`pub --at`): list, show, take back
    Schedule(ScheduleArgs),
    /// Print frames as a consumer: loses none where the bus is lossless, holds producers up if slow
    Sub(SubscribeArgs),
    /// Print frames as an observer: costs the producers nothing, reports gaps
    Tap(TapArgs),
    /// Show how many frames a second come, and how evenly
    Hz(RateArgs),
    /// Show how many bytes a second come
    Bw(RateArgs),
    /// Make, write, read and watch tables: keyed cells that hold their latest value
    Table(TableArgs),
    /// Measure throughput and latency between real processes
    Bench(BenchArgs),
    /// Kill and stop processes under full load, and check that no promise of a bus is broken
    Torture(TortureArgs),
    /// Fan live telemetry of this machine into one consumer and show it
    Demo(DemoArgs),
    /// Hold a bus to limits, once, for monitoring: its state as an exit code
    Check(CheckArgs),
    /// Check this machine and its buses; say what is wrong and what to do
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man(ManArgs),
    /// Host the daemon (what starting one on demand runs)
    #[command(name = HOST_VERB, hide = true)]
    HostDaemon(HostArgs),
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
