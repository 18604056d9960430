//! `table watch`: values as they change.

use super::value::{self, Record, parse_key};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{parse_count_from_one, parse_duration};
use busway::{Entry, Table, TableError, Wait};
use clap::Args;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest wait before Ctrl-C and the timeout are looked at again.
const SLICE: Duration = Duration::from_millis(50);

/// Arguments of `table watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The table
    name: String,
    /// The key; every key when none is given
    key: Option<String>,
    /// End after so many changes
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count_from_one)]
    count: Option<u64>,
    /// Do not print what is there at the start
    #[arg(long)]
    changes_only: bool,
    /// End with exit code 6 when nothing changes for so long (500ms, 2s, 1m)
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// Prints changes. Between two looks a key may change more than once; the latest value is printed, and
/// its version tells how many there were.
pub fn run(args: &WatchArgs, out: &Out) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let table = Table::open(&args.name)?;
    let reader = table.reader().wait(Wait::Parking).attach()?;
    let mut watch = match &args.key {
        Some(key) => reader.watch_key(parse_key(&table, key)?)?,
        None => reader.watch(),
    };
    if args.changes_only {
        watch.skip()?;
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut since = Instant::now();
    while left > 0 && !stop.requested() {
        let polled = match watch.poll() {
            Ok(None) if out.reader_is_gone() => break,
            Ok(None) => {
                out.flush()?;
                watch.wait(Some(SLICE))
            }
            polled => polled,
        };
        match polled {
            Ok(Some(entry)) => {
                print(&table, &entry, out)?;
                left -= 1;
                since = Instant::now();
            }
            Ok(None) if args.timeout.is_some_and(|timeout| since.elapsed() >= timeout) => {
                let message = format!("nothing has changed on table {:?}", args.name);
                return Err(Failure::new(Exit::Timeout, message));
            }
            Ok(None) => {}
            Err(TableError::Removed) => {
                out.note(format_args!("table {:?} was removed", args.name));
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    out.flush()?;
    Ok(Exit::Ok.code())
}

fn print(table: &Table, entry: &Entry<'_>, out: &Out) -> Result<(), Failure> {
    if out.json() {
        out.record("busway.table.change/1", &Record::of(table, entry))
    } else {
        out.line(value::line(table, entry, out))
    }
}
