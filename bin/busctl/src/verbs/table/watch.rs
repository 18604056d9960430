//! `table watch`: values as they change.

use super::value::{self, Record, parse_key};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{parse_count_from_one, parse_duration};
use busway::{Entry, Key, Marks, Table, TableError, TableReader, Wait};
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
    let mut reader = table.reader().wait(Wait::Parking).attach()?;
    let key = args.key.as_deref().map(|key| parse_key(&table, key)).transpose()?;
    let mut seen = Seen { key, version: 0, marks: Marks::default() };
    if args.changes_only {
        seen.changes(&mut reader, |_| {})?;
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut since = Instant::now();
    while left > 0 && !stop.requested() && !out.reader_is_gone() {
        let mut result = Ok(());
        let mut printed = false;
        seen.changes(&mut reader, |entry| {
            if left > 0 && result.is_ok() {
                result = print(&table, &entry, out);
                (left, printed) = (left - 1, true);
            }
        })?;
        result?;
        out.flush()?;
        if printed {
            since = Instant::now();
        } else if args.timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
            let message = format!("nothing has changed on table {:?}", args.name);
            return Err(Failure::new(Exit::Timeout, message));
        }
        if left == 0 {
            break;
        }
        match seen.wait(&mut reader) {
            Err(TableError::Removed) => {
                out.note(format_args!("table {:?} was removed", args.name));
                break;
            }
            waited => waited?,
        }
    }
    Ok(Exit::Ok.code())
}

/// What was printed so far: of one key, or of all.
struct Seen<'a> {
    key: Option<Key<'a>>,
    version: u64,
    marks: Marks,
}

impl Seen<'_> {
    /// Calls `read` with what has changed since the last time.
    fn changes(
        &mut self,
        reader: &mut TableReader,
        mut read: impl FnMut(Entry<'_>),
    ) -> Result<(), TableError> {
        let Some(key) = self.key else {
            return reader.changed_since(&mut self.marks, read).map(|_| ());
        };
        if reader.version(key)? != self.version
            && let Some(entry) = reader.latest(key)?
        {
            self.version = entry.version();
            read(entry);
        }
        Ok(())
    }

    /// Sleeps until something changes; of one key, undisturbed by others.
    fn wait(&self, reader: &mut TableReader) -> Result<(), TableError> {
        match self.key {
            Some(key) => reader.wait(key, self.version, Some(SLICE)).map(|_| ()),
            None => reader.wait_any(&self.marks, Some(SLICE)).map(|_| ()),
        }
    }
}

fn print(table: &Table, entry: &Entry<'_>, out: &Out) -> Result<(), Failure> {
    if out.json() {
        out.record("busway.table.change/1", &Record::of(table, entry))
    } else {
        out.line(value::line(table, entry, out))
    }
}
