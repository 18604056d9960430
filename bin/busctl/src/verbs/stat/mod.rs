//! `stat`: everything that is known of buses, with rates between two looks.
//!
//! Reads the segments themselves, so it works whether or not a daemon runs. Rates need two looks:
//! a single `stat` takes them 200 ms apart, `--watch` its interval apart.

mod held;
mod look;
mod print;

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::open::{brokered_names, open};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::parse_interval;
use crate::verbs::table::print_stat;
use busway::Bus;
use clap::Args;
use look::Look;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time between the two looks of a single `stat`: long enough for a rate, short for a person.
const GLANCE: Duration = Duration::from_millis(200);

/// How often a wait between two looks checks for Ctrl-C.
const SLICE: Duration = Duration::from_millis(50);

/// Arguments of `stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// The buses, or one table; every bus when left out
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Look again and again, until Ctrl-C
    #[arg(
        long,
        value_name = "INTERVAL",
        value_parser = parse_interval,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s"
    )]
    watch: Option<Duration>,
}

/// Looks once, or until stopped.
pub fn run(args: &StatArgs, context: &Context) -> Result<ExitCode, Failure> {
    if let ([name], None) = (args.names.as_slice(), args.watch)
        && busway::is_table(name) == Some(true)
    {
        print_stat(&busway::Table::open(name)?, &context.out)?;
        return Ok(Exit::Ok.code());
    }
    let stop = Stop::on_signals()?;
    let mut before = Look::new(&open_all(&args.names, context)?);
    loop {
        wait(args.watch.unwrap_or(GLANCE), &stop);
        if stop.requested() && args.watch.is_some() {
            return Ok(Exit::Ok.code());
        }
        let now = match open_all(&args.names, context) {
            Ok(buses) => Look::new(&buses),
            // It was there at the first look: an end like any other for somebody who watches.
            Err(failure) if args.watch.is_some() && failure.exit() == Exit::NotFound => {
                context.out.note(failure.message());
                return Ok(Exit::Ok.code());
            }
            Err(failure) => return Err(failure),
        };
        show(&before, &now, args.watch.is_some(), &context.out)?;
        if args.watch.is_none() {
            return Ok(Exit::Ok.code());
        }
        before = now;
    }
}

/// Opens these buses, or every bus that can be opened when none is named.
pub fn open_all(names: &[String], context: &Context) -> Result<Vec<Bus>, Failure> {
    if !names.is_empty() {
        return names.iter().map(|name| open(context, name)).collect();
    }
    let mut buses = Vec::new();
    for name in brokered_names(context)? {
        match open(context, &name) {
            Ok(bus) => buses.push(bus),
            Err(failure) if failure.exit() == Exit::NotFound => {}
            Err(failure) => context.out.warn(failure.message()),
        }
    }
    for name in Bus::list()? {
        match Bus::open(&name) {
            Ok(bus) => buses.push(bus),
            // Removed between the two looks.
            Err(error) if error.code() == "not_found" => {}
            // A table, which has no lanes.
            Err(error) if error.code() == "wrong_kind" => {}
            Err(error) => context.out.warn(format_args!("{name}: {error}")),
        }
    }
    buses.sort_by(|one, other| one.name().cmp(other.name()));
    Ok(buses)
}

fn show(before: &Look, now: &Look, watch: bool, out: &Out) -> Result<(), Failure> {
    let shown = now.since(before);
    match (out.json(), watch) {
        (true, false) => out.document("busway.stat/1", &shown)?,
        (true, true) => out.record("busway.stat/1", &shown)?,
        (false, _) => {
            if watch && std::io::stdout().is_terminal() {
                // Home, and clear what is below: no flicker, and the scroll-back stays.
                out.bytes(b"\x1b[H\x1b[J")?;
            }
            print::print(&shown, out)?;
        }
    }
    out.flush()
}

fn wait(interval: Duration, stop: &Stop) {
    let deadline = Instant::now() + interval;
    while !stop.requested() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(SLICE));
    }
}
