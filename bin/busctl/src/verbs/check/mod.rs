//! `check`: one look at a bus, held to limits, for monitoring systems and scripts.
//!
//! What it found is `ok`, `warning` or `critical`, the worst of its parts. As `nagios` it is a plugin:
//! one line on stdout, whatever comes, and the plugins' own exit codes, also for what kept it from
//! looking. It takes no seat and holds up nobody.
//!
//! References: the Monitoring Plugins Development Guidelines (plugin output, return codes, performance
//! data).

mod limit;
mod look;
mod report;

use super::owned::OwnerArg;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Color, Out};
use crate::units::parse_interval;
use clap::{Args, ValueEnum};
use limit::{Amount, Limit, State, parse_age_limit, parse_frames_limit, parse_rate_limit};
use look::{Seen, Wanted};
use report::Report;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// What a plugin ends with when it could not look.
const UNKNOWN: u8 = 3;

/// Explains what is checked, below the flags.
const NOTES: &str = "\
A limit is CRIT, or WARN:CRIT; the limit itself is still allowed. That the bus is healthy is \
checked always: not removed, not cut short, no impossible words, no seat held by the dead.

With text and json it ends with 10 when anything is critical, and with 0 otherwise. With nagios \
it prints one line and ends with 0 (ok), 1 (warning), 2 (critical) or 3 (unknown: it could not \
look).";

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub struct CheckArgs {
    /// The bus
    name: String,
    #[command(flatten)]
    owner: OwnerArg,
    /// Frames that any consumer or group may be behind, over all lanes
    #[arg(long, value_name = "FRAMES", value_parser = parse_frames_limit)]
    max_lag: Option<Limit>,
    /// Frames that any attached consumer may have lost since it attached
    #[arg(long, value_name = "FRAMES", value_parser = parse_frames_limit)]
    max_loss: Option<Limit>,
    /// Time since the newest frame, or since the bus was made if there was none; a bus without
    /// timestamps is watched until a frame comes, for the limit at most
    #[arg(long, value_name = "DURATION", value_parser = parse_age_limit)]
    max_age: Option<Limit>,
    /// Frames a second over all lanes, measured over the window
    #[arg(long, value_name = "FRAMES/S", value_parser = parse_rate_limit)]
    min_rate: Option<Limit>,
    /// How long --min-rate measures
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    window: Duration,
    /// How the outcome is told [default: text; json with --json]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

/// How the outcome is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for each part.
    Text,
    /// One document.
    Json,
    /// One line with performance data, and the exit codes of monitoring plugins.
    Nagios,
}

/// Looks once.
pub fn run(args: &CheckArgs, context: &Context) -> Result<ExitCode, Failure> {
    let out = &context.out;
    let format = match args.format {
        Some(format) => format,
        None if out.json() => Format::Json,
        None => Format::Text,
    };
    if format == Format::Nagios {
        // Whatever comes, monitoring is told on stdout, in one line.
        return match look(args, context) {
            Ok(report) => {
                out.line(report.plugin_line())?;
                Ok(ExitCode::from(report.state() as u8))
            }
            Err(failure) => {
                out.line(unknown(&format!("{}: {}", args.name, failure.message())))?;
                Ok(ExitCode::from(UNKNOWN))
            }
        };
    }
    let report = look(args, context)?;
    if format == Format::Json {
        out.document("busway.check/1", &report.document())?;
    } else {
        report.print(out)?;
    }
    let is_critical = report.state() == State::Critical;
    Ok(if is_critical { Exit::Critical } else { Exit::Ok }.code())
}

fn look(args: &CheckArgs, context: &Context) -> Result<Report, Failure> {
    if context.out.json() && args.format.is_some_and(|format| format != Format::Json) {
        return Err(Failure::usage("--json is --format json, and another --format is given"));
    }
    let bus = args.owner.open(context, &args.name)?;
    let longest = |limit: &Limit| match limit.critical {
        Amount::Age(ns) => Duration::from_nanos(ns),
        Amount::Frames(_) | Amount::Rate(_) => Duration::ZERO,
    };
    let wanted = Wanted {
        rate_over: args.min_rate.map(|_| args.window),
        silence_up_to: args.max_age.as_ref().map(longest),
    };
    let seen = Seen::new(&bus, wanted)?;
    let mut report = Report::new(&args.name);
    report.health(&seen);
    report.lag(&seen, args.max_lag);
    report.loss(&seen, args.max_loss);
    report.age(&seen, args.max_age);
    report.rate(&seen, args.min_rate);
    Ok(report)
}

/// Whether these arguments ask for the plugin: a usage error is printed before they are parsed.
pub fn is_plugin(arguments: &[OsString]) -> bool {
    let mut words = arguments.iter().skip(1).map(|argument| argument.to_str().unwrap_or_default());
    // Global flags may stand before the verb, two of them with a value of their own.
    let verb = loop {
        match words.next() {
            Some("--runtime-dir" | "--color") => _ = words.next(),
            Some(flag) if flag.starts_with('-') => {}
            word => break word,
        }
    };
    let words: Vec<&str> = words.collect();
    let is_nagios = words.contains(&"--format=nagios")
        || words.windows(2).any(|pair| matches!(pair, ["--format", "nagios"]));
    verb == Some("check") && is_nagios
}

/// Tells monitoring of a usage error.
pub fn misused(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let out = Out::new(false, Color::Never);
    let line = unknown(first.strip_prefix("error: ").unwrap_or(first));
    // Nobody is left to be told that nobody listens.
    let _ = out.line(line).and_then(|()| out.flush());
    ExitCode::from(UNKNOWN)
}

fn unknown(why: &str) -> String {
    format!("BUSWAY UNKNOWN - {}", report::one_line(why))
}
