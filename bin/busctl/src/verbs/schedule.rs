//! `schedule`: the frames that the daemon is to publish later.

use crate::context::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::table::{Side, Table};
use crate::units::{format_bytes, format_count};
use busd::Client;
use busd::api::{Schedule, ScheduleClock, ScheduleList, ScheduleState};
use clap::{Args, Subcommand};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

/// Arguments of `schedule`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ScheduleArgs {
    #[command(subcommand)]
    verb: ScheduleVerb,
}

/// What to do with schedules. `pub --at` makes them.
#[derive(Debug, Subcommand)]
enum ScheduleVerb {
    /// List what is to be published, and what could not be
    #[command(visible_alias = "list")]
    Ls,
    /// Show all there is to know of one
    Show {
        /// Its number, as `ls` shows it
        id: u64,
    },
    /// Take them back: nothing of them is published any more
    Cancel {
        /// Their numbers
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u64>,
    },
}

/// The document of `schedule cancel --json`.
#[derive(Serialize)]
struct Cancelled {
    cancelled: Vec<Schedule>,
}

/// Looks at or takes back schedules. Starts the daemon if none runs: while none does, nothing is
/// published.
pub fn run(args: &ScheduleArgs, context: &Context) -> Result<ExitCode, Failure> {
    if context.no_daemon {
        let message = "schedules are kept by the daemon; leave --no-daemon out";
        return Err(Failure::usage(message.to_owned()));
    }
    let daemon = daemon::ensure(context)?;
    match &args.verb {
        ScheduleVerb::Ls => list(&daemon, &context.out)?,
        ScheduleVerb::Show { id } => show(&daemon, *id, &context.out)?,
        ScheduleVerb::Cancel { ids } => cancel(&daemon, ids, &context.out)?,
    }
    Ok(Exit::Ok.code())
}

fn list(daemon: &Client, out: &Out) -> Result<(), Failure> {
    let list: ScheduleList = daemon.schedules()?;
    if out.json() {
        return out.document("busway.schedules/1", &list);
    }
    let mut table = Table::new([
        ("ID", Side::Right),
        ("BUS", Side::Left),
        ("STATE", Side::Left),
        ("DUE", Side::Left),
        ("EVERY", Side::Right),
        ("PAYLOAD", Side::Right),
        ("PUBLISHED", Side::Right),
        ("ATTEMPTS", Side::Right),
        ("LAST ERROR", Side::Left),
    ])
    .fitting(&[8]);
    for one in &list.schedules {
        table.row([
            one.id.to_string(),
            one.bus.clone(),
            one.state.to_string(),
            one.due_unix_ns.map_or_else(|| "-".to_owned(), local_time),
            one.every_ns.map_or_else(|| "-".to_owned(), period),
            format_bytes(one.payload_bytes),
            format_count(one.published_count),
            one.attempts.to_string(),
            one.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.print(out)
}

fn show(daemon: &Client, id: u64, out: &Out) -> Result<(), Failure> {
    let one = daemon.schedule(id).map_err(|error| unknown(error, id))?;
    if out.json() {
        return out.document("busway.schedule/1", &one);
    }
    let clock = match one.clock {
        ScheduleClock::Wall => "time of day",
        ScheduleClock::Elapsed => "elapsed time",
    };
    let counts = format!(
        "{} published, {} passed over, {} given up, {} doubtful",
        one.published_count, one.skipped_count, one.failed_count, one.doubtful_count
    );
    for (label, text) in [
        ("schedule", one.id.to_string()),
        ("bus", one.bus.clone()),
        ("state", one.state.to_string()),
        ("due", describe_due(&one)),
        ("clock", clock.to_owned()),
        ("kind", one.kind.to_string()),
        ("payload", format_bytes(one.payload_bytes)),
        ("times", counts),
        ("attempts", one.attempts.to_string()),
        ("gives up after", period(one.give_up_after_ns)),
        ("last error", one.last_error.clone().unwrap_or_else(|| "-".to_owned())),
        ("made", format!("{} by uid {}", local_time(one.created_unix_ns), one.uid)),
    ] {
        // The error may quote anything.
        let text = text.replace(|c: char| c.is_control(), "?");
        out.line(format_args!("{label:<15} {text}"))?;
    }
    Ok(())
}

fn cancel(daemon: &Client, ids: &[u64], out: &Out) -> Result<(), Failure> {
    let mut cancelled = Vec::new();
    let mut result = Ok(());
    for &id in ids {
        match daemon.cancel_schedule(id) {
            Ok(one) => {
                if !out.json() {
                    out.note(format_args!("cancelled {id} on {}", one.bus));
                }
                cancelled.push(one);
            }
            // The others are cancelled all the same.
            Err(error) => result = result.and(Err(unknown(error, id))),
        }
    }
    if out.json() {
        out.document("busway.schedule-cancel/1", &Cancelled { cancelled })?;
    }
    result
}

fn unknown(error: busd::ClientError, id: u64) -> Failure {
    let is_unknown = error.code() == "not_found";
    let failure = Failure::from(error);
    if is_unknown {
        failure.hint(format!("`busctl schedule ls` shows what is to come; {id} is not"))
    } else {
        failure
    }
}

/// When it is due, and how often.
pub fn describe_due(one: &Schedule) -> String {
    let Some(due) = one.due_unix_ns else {
        return match one.state {
            ScheduleState::Doubtful => "nobody knows whether it was published".to_owned(),
            _ => "not any more".to_owned(),
        };
    };
    let now = UNIX_EPOCH.elapsed().unwrap_or_default();
    let left = Duration::from_nanos(due).saturating_sub(now);
    let mut text = local_time(due);
    // Writing to a String cannot fail.
    let _ = if left.is_zero() {
        write!(text, " (now)")
    } else {
        write!(text, " (in {})", humantime::format_duration(to_seconds(left)))
    };
    if let Some(every) = one.every_ns {
        let _ = write!(text, ", then every {}", period(every));
    }
    text
}

/// Cut to seconds, unless there would be nothing left.
fn to_seconds(left: Duration) -> Duration {
    let millis = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    if left.as_secs() == 0 { millis } else { Duration::from_secs(left.as_secs()) }
}

fn period(ns: u64) -> String {
    humantime::format_duration(Duration::from_nanos(ns)).to_string()
}

/// In this user's time zone.
fn local_time(unix_ns: u64) -> String {
    match Timestamp::from_nanosecond(unix_ns.into()) {
        Ok(time) => {
            let local = time.to_zoned_datetime(TimeZone::system());
            local.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Err(_) => "beyond the year 9999".to_owned(),
    }
}
