//! The daemon's command line; `busctl` takes the same arguments when it hosts the daemon.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing::level_filters::LevelFilter;

/// The control daemon of busway: creates, lists and watches buses.
///
/// Data never passes through it: producers and consumers run on while it is down.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "busd", version)]
pub struct Args {
    /// Config file with the buses to create at start
    /// [default: $XDG_CONFIG_HOME/busway/busd.toml or /etc/busway/busd.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory of the socket and the lock
    /// [default: $BUSWAY_RUNTIME_DIR, $XDG_RUNTIME_DIR/busway, /run/busway or /tmp/busway-UID]
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,

    /// Directory where schedules are kept
    /// [default: $BUSWAY_STATE_DIR; beside the usual runtime directory: $XDG_STATE_HOME/busway,
    /// ~/.local/state/busway, /var/lib/busway for root; else `state` in the runtime directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Form of the log lines on stderr
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log: LogFormat,

    /// Least severe log lines to write
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t)]
    pub log_level: LogLevel,

    /// Stay in the foreground (always the case; accepted for scripts that say so)
    #[arg(long)]
    pub foreground: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Only what went wrong.
    Error,
    /// And what may be wrong: seats that had to be recovered, segments that cannot be read.
    Warn,
    /// And what happened: buses, participants.
    #[default]
    Info,
    /// And every request.
    Debug,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
        }
    }
}
