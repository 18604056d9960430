//! `bench table`: messages written to keys and read from them, by a table and by an array of cells with a
//! mutex each, in turn.
//!
//! The grid is that of a published benchmark of event data buses: keys × writers/readers of 1 × 1/1,
//! 1 × 10/10, 16 × 10/10, 256 × 10/10 and 256 × 100/100, 16-byte messages. Every row is accounted for:
//! where each message is read once, count and sum of what was read are those of what was written.

mod board;
mod work;

pub use work::{TableTask, work};

use super::crew::Crew;
use super::janitor::{Janitor, Litter};
use super::latency::{Latency, Percentiles, Spread};
use super::plan::{self, Task};
use super::{bus_name, nanoseconds, per_second};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::shared::{BoardFile, Mapping};
use crate::signal::Stop;
use crate::table::{Side, Table as Columns};
use crate::units::{format_count, format_ns, format_rate, parse_count_from_one, parse_duration};
use board::{KEYS_MAX, TableBoard};
use busway::Table;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::time::Duration;
use work::{Done, End, Mode, Store, StoreKind};

/// Keys, writers, readers.
const GRID: [(usize, usize, usize); 5] =
    [(1, 1, 1), (1, 10, 10), (16, 10, 10), (256, 10, 10), (256, 100, 100)];

/// Arguments of `bench table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// Messages of a run
    #[arg(long, value_name = "N", default_value = "1000000", value_parser = parse_count_from_one)]
    messages: u64,
    /// Time that each write takes longer, computing
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    busy: Duration,
    /// Time that each write takes longer, asleep
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    sleep: Duration,
    /// Rows of the grid, from 1; all unless given
    #[arg(long, value_name = "ROW,…", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=5))]
    rows: Vec<u64>,
    /// What the ends are
    #[arg(long = "as", value_name = "KIND", default_value = "processes")]
    ends: Ends,
    /// What is measured; both unless given
    #[arg(long, value_name = "MODE")]
    mode: Option<Mode>,
    #[command(flatten)]
    common: super::CommonArgs,
}

/// What writers and readers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Ends {
    /// Threads of one process
    Threads,
    /// Processes
    Processes,
}

/// A row of the report.
#[derive(Debug, Serialize)]
struct Row {
    keys: usize,
    writers: usize,
    readers: usize,
    ends: Ends,
    store: StoreKind,
    mode: Mode,
    messages: u64,
    busy_ns: u64,
    sleep_ns: u64,
    written_per_s: Spread,
    read_per_s: Spread,
    latency: Option<Percentiles>,
}

/// The document of `bench table --json`.
#[derive(Serialize)]
struct Report {
    rows: Vec<Row>,
}

/// Measures.
pub fn run(args: &TableArgs, out: &Out) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let mut janitor = Janitor::hire()?;
    let mut rows = Vec::new();
    for mode in args.mode.map_or(vec![Mode::Once, Mode::Latest], |mode| vec![mode]) {
        for (row, size) in (1..).zip(GRID) {
            if args.rows.is_empty() || args.rows.contains(&row) {
                measure(args, mode, size, &stop, &mut janitor, &mut rows)?;
            }
        }
    }
    if out.json() {
        out.document("busway.bench-table/1", &Report { rows })?;
    } else {
        print(&rows, out)?;
    }
    Ok(Exit::Ok.code())
}

/// One row for each store; the runs of the two take turns.
fn measure(
    args: &TableArgs,
    mode: Mode,
    (keys, writers, readers): (usize, usize, usize),
    stop: &Stop,
    janitor: &mut Janitor,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let mut of_store = [StoreKind::Table, StoreKind::Mutex].map(|store| (store, Vec::new()));
    for _ in 0..args.common.runs {
        for (store, runs) in &mut of_store {
            let size = (keys, writers, readers);
            runs.push(measure_once(args, mode, *store, size, stop, janitor)?);
        }
    }
    for (store, runs) in of_store {
        let mut latency = Latency::new();
        for run in runs.iter().flat_map(|run| &run.buckets) {
            latency.add(run);
        }
        rows.push(Row {
            keys,
            writers,
            readers,
            ends: args.ends,
            store,
            mode,
            messages: args.messages,
            busy_ns: nanoseconds(args.busy),
            sleep_ns: nanoseconds(args.sleep),
            written_per_s: Spread::of(runs.iter().map(|run| run.written_per_s)),
            read_per_s: Spread::of(runs.iter().map(|run| run.read_per_s)),
            latency: latency.percentiles(),
        });
    }
    Ok(())
}

/// What a run came to.
struct Run {
    written_per_s: u64,
    read_per_s: u64,
    buckets: Vec<super::latency::Buckets>,
}

fn measure_once(
    args: &TableArgs,
    mode: Mode,
    store: StoreKind,
    (keys, writers, readers): (usize, usize, usize),
    stop: &Stop,
    janitor: &mut Janitor,
) -> Result<Run, Failure> {
    let (file, name) = (BoardFile::<TableBoard>::create()?, bus_name());
    let litter = Litter::Bus(name.clone());
    janitor.expect(litter.clone())?;
    let table = make_table(&name, keys, writers)?;
    let board = Mapping::<TableBoard>::open(file.number())?;
    for taken in &board.taken {
        // ORDERING: relaxed; nobody else is there yet. The first version is no message.
        taken.0.store(1, Ordering::Relaxed);
    }
    let task = |writes: bool, number: usize| TableTask {
        board: file.number(),
        table: name.clone(),
        store,
        mode,
        writes,
        keys,
        writers: writers as u64,
        messages: args.messages,
        busy_ns: nanoseconds(args.busy),
        sleep_ns: nanoseconds(args.sleep),
        number,
    };
    let tasks: Vec<TableTask> = (0..readers)
        .map(|number| task(false, number))
        .chain((0..writers).map(|number| task(true, number)))
        .collect();
    let done = match args.ends {
        Ends::Threads => run_threads(&tasks)?,
        Ends::Processes => run_processes(&tasks, args, stop)?,
    };
    drop(table);
    janitor.clear(&litter)?;
    account(&tasks, &done, args.messages)
}

/// A table in which every key has its place.
fn make_table(name: &str, keys: usize, writers: usize) -> Result<Table, Failure> {
    let seats = u32::try_from(writers + 1).unwrap_or(u32::MAX);
    let keys = u64::try_from(keys.min(KEYS_MAX)).unwrap_or(0);
    let options = Table::options().keys(keys).value_bytes(16).writers(seats).timestamps(false);
    let table = options.create(name)?;
    let mut writer = table.writer().attach()?;
    for key in 0..keys {
        writer.set_bytes(key, &[0; 16])?;
    }
    Ok(table)
}

fn run_threads(tasks: &[TableTask]) -> Result<Vec<Done>, Failure> {
    let barrier = Barrier::new(tasks.len());
    let barrier = &barrier;
    // All are attached before any begins: one that could not would have the others wait for ever.
    let stores = tasks.iter().map(Store::open).collect::<Result<Vec<_>, _>>()?;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (task, store) in tasks.iter().zip(stores) {
            threads.push(scope.spawn(move || {
                barrier.wait();
                End::new(task, store)?.run()
            }));
        }
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::failed("an end panicked")))
        });
        joined.collect()
    })
}

fn run_processes(tasks: &[TableTask], args: &TableArgs, stop: &Stop) -> Result<Vec<Done>, Failure> {
    let mut crew = Crew::new(stop);
    let mut members = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        let cpu = args.common.pin.get(index % args.common.pin.len().max(1)).copied();
        let name = if task.writes { "writer" } else { "reader" };
        let name = format!("{name} {}", task.number);
        members.push(plan::hire(&mut crew, &name, cpu, Task::Table(task.clone()))?);
    }
    let _ready: Vec<bool> = crew.gather(&members, || Ok(()))?;
    for member in &members {
        crew.order(*member, &true)?;
    }
    let done = crew.gather(&members, || Ok(()))?;
    crew.dismiss()?;
    Ok(done)
}

/// Checks that what was read is what was written, and computes the rates.
fn account(tasks: &[TableTask], done: &[Done], messages: u64) -> Result<Run, Failure> {
    let part = |writes: bool| {
        let both = tasks.iter().zip(done).filter(move |(task, _)| task.writes == writes);
        both.map(|(_, done)| done)
    };
    let total = |writes: bool| part(writes).map(|done| done.messages).sum::<u64>();
    let sum = |writes: bool| part(writes).fold(0_u64, |sum, done| sum.wrapping_add(done.sum));
    let (written, read) = (total(true), total(false));
    let once = tasks.first().is_some_and(|task| task.mode == Mode::Once);
    if written != messages || (once && (read, sum(false)) != (messages, sum(true))) {
        return Err(Failure::new(
            Exit::Loss,
            format!(
                "of {messages} messages {written} were written and {read} read; their numbers \
                 add up to {} and {}",
                sum(true),
                sum(false)
            ),
        ));
    }
    let start = done.iter().map(|done| done.start_ns).min().unwrap_or(0);
    let end = |writes: bool| part(writes).map(|done| done.end_ns).max().unwrap_or(0);
    let buckets = done.iter().filter_map(|done| done.buckets.clone()).collect();
    Ok(Run {
        written_per_s: per_second(written, end(true).saturating_sub(start)),
        read_per_s: per_second(read, end(false).saturating_sub(start)),
        buckets,
    })
}

fn print(rows: &[Row], out: &Out) -> Result<(), Failure> {
    let mut columns = Columns::new([
        ("MODE", Side::Left),
        ("KEYS", Side::Right),
        ("ENDS", Side::Left),
        ("STORE", Side::Left),
        ("WRITTEN", Side::Right),
        ("LEAST", Side::Right),
        ("MOST", Side::Right),
        ("READ", Side::Right),
        ("P50", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
    ]);
    for row in rows {
        let rate = |rate: u64| format_rate(super::float(rate));
        let late = |pick: fn(&Percentiles) -> u64| {
            row.latency.as_ref().map_or_else(|| "-".to_owned(), |latency| format_ns(pick(latency)))
        };
        let kind = if row.ends == Ends::Threads { "threads" } else { "processes" };
        let mode = if row.mode == Mode::Once { "once" } else { "latest" };
        let store = if row.store == StoreKind::Table { "table" } else { "mutex" };
        columns.row([
            mode.to_owned(),
            row.keys.to_string(),
            format!("{}/{} {kind}", row.writers, row.readers),
            store.to_owned(),
            rate(row.written_per_s.median),
            rate(row.written_per_s.min),
            rate(row.written_per_s.max),
            rate(row.read_per_s.median),
            late(|latency| latency.p50_ns),
            late(|latency| latency.p99_ns),
            late(|latency| latency.p99_9_ns),
        ]);
    }
    columns.print(out)?;
    let messages = rows.first().map_or(0, |row| row.messages);
    out.line(format_args!(
        "{} messages of 16 bytes a run; where each is read once, all were, and none twice",
        format_count(messages)
    ))
}
