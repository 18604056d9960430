//! `torture table`: writers of a table that are killed and stopped while they write the same keys, at
//! random and at named points, beside one who reads and writes and checks.
//!
//! | promise | how it is broken |
//! |---|---|
//! | values are whole | the words of one are not those of one write |
//! | versions never go back | a key is read with a lower one than before |
//! | a writer that dies or stops locks no key | the bystander's own write fails |
//! | nothing leaks | at the end not every key that there is room for can be written |
//!
//! Which points a writer comes to, and when it is killed, is drawn from the seed. Workers use
//! `busway_crashable`; the bystander, which is the conductor, uses `busway`.

use super::herd::{self, Blows, Worker};
use super::random::Random;
use crate::bench::{Janitor, Litter};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{format_count, in_range};
use busway::{Marks, OwnedKey, Table, TableReader, TableWriter};
use busway_crashable::CrashPoint;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Keys that all write.
const SHARED: u64 = 8;
/// Keys of the table: the others are inserted by whoever comes to it.
const KEYS: u64 = 512;
/// Words of a value, all made of one number.
const WORDS: usize = 6;
/// Writes of a worker before it leaves by itself, if nothing comes between.
const WRITES: u64 = 20_000;

/// Arguments of `torture table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// How long it runs
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = in_range::<u64>(1, super::SECONDS_MAX))]
    seconds: u64,
    /// Writers at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = in_range::<u32>(1, super::ENDS_MAX))]
    writers: u32,
    /// Draws the schedule: who is killed or stopped, and where; random unless given
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

/// The document of `torture table --json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    seed: u64,
    elapsed_s: u64,
    #[serde(flatten)]
    blows: Blows,
    reads: u64,
    writes_of_the_bystander: u64,
    versions: u64,
    recoveries: u64,
    violations: Vec<String>,
}

/// Tortures.
pub fn run(args: &TableArgs, out: &Out) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let seed = args.seed.unwrap_or_else(super::conduct::any_seed);
    let mut janitor = Janitor::hire()?;
    let name = format!("torture-table-{}", std::process::id());
    let litter = Litter::Bus(name.clone());
    janitor.expect(litter.clone())?;
    let options = Table::options().keys(KEYS).value_bytes(48).writers(args.writers + 2);
    let table = options.create(&name)?;
    let mut conductor = Conductor::new(&table, seed)?;
    let start = Instant::now();
    let mut workers = Vec::new();
    while start.elapsed() < Duration::from_secs(args.seconds)
        && !stop.requested()
        && conductor.report.violations.is_empty()
    {
        while workers.len() < args.writers as usize {
            workers.push(conductor.start(&name)?);
        }
        conductor.check()?;
        let Report { blows, violations, .. } = &mut conductor.report;
        herd::torment(&mut workers, &mut conductor.random, blows, violations)?;
    }
    drop(workers);
    conductor.finish(&table)?;
    conductor.report.elapsed_s = start.elapsed().as_secs();
    let report = conductor.report;
    janitor.clear(&litter)?;
    show(&report, out)?;
    Ok(if report.violations.is_empty() { Exit::Ok } else { Exit::Loss }.code())
}

struct Conductor {
    random: Random,
    reader: TableReader,
    writer: Option<TableWriter>,
    marks: Marks,
    versions: BTreeMap<OwnedKey, u64>,
    report: Report,
}

impl Conductor {
    fn new(table: &Table, seed: u64) -> Result<Self, Failure> {
        Ok(Self {
            random: Random::of(seed, &[]),
            reader: table.reader().attach()?,
            writer: Some(table.writer().name("bystander").attach()?),
            marks: Marks::default(),
            versions: BTreeMap::new(),
            report: Report { seed, ..Report::default() },
        })
    }

    /// Starts a worker that may be about to die or stop at a point.
    fn start(&mut self, table: &str) -> Result<Worker, Failure> {
        let points = [
            CrashPoint::KeyAskedFor,
            CrashPoint::ValueHalfWritten,
            CrashPoint::CellNotSet,
            CrashPoint::CellSet,
            CrashPoint::SlotTaken,
            CrashPoint::SlotClaimed,
            CrashPoint::DeskSettled,
            CrashPoint::SeatTaken,
            CrashPoint::SeatFreed,
            CrashPoint::RecoveryBegun,
        ];
        let mut words = vec![table.to_owned()];
        words.extend(herd::fate(&mut self.random, &points, |point, draw| match point {
            CrashPoint::CellNotSet | CrashPoint::CellSet => 1 + draw % 2000,
            _ => 1,
        }));
        herd::start("table-writer", &words, &mut self.report.blows)
    }

    /// Reads what has changed, and writes a key that all write.
    fn check(&mut self) -> Result<(), Failure> {
        let (versions, report) = (&mut self.versions, &mut self.report);
        self.reader.changed_since(&mut self.marks, |entry| {
            report.reads += 1;
            if !is_whole(entry.bytes()) {
                let what = format!("{} v{}: {:?}", entry.key(), entry.version(), entry.bytes());
                report.violations.push(format!("torn value: {what}"));
            }
            let before = versions.insert(entry.key(), entry.version()).unwrap_or(0);
            if entry.version() <= before {
                let now = entry.version();
                report.violations.push(format!("{} went from v{before} to v{now}", entry.key()));
            }
        })?;
        let key = self.random.next() % SHARED;
        if let Some(writer) = &mut self.writer {
            match writer.set_bytes(key, &value(self.random.next())) {
                Ok(_) => report.writes_of_the_bystander += 1,
                Err(error) => report.violations.push(format!("key {key} is locked: {error}")),
            }
        }
        Ok(())
    }

    /// Everybody is dead: whether everything can be had again.
    fn finish(&mut self, table: &Table) -> Result<(), Failure> {
        self.check()?;
        self.writer = None;
        table.reclaim()?;
        let stat = table.stat();
        self.report.versions = stat.writes;
        self.report.recoveries = stat.recoveries;
        if stat.corruptions > 0 {
            self.report.violations.push(format!("{} impossible words", stat.corruptions));
        }
        if !stat.writers.is_empty() {
            self.report.violations.push(format!("seats are kept: {:?}", stat.writers));
        }
        let mut writer = table.writer().attach()?;
        for key in 0..KEYS.saturating_sub(stat.keys) {
            if let Err(error) = writer.set_bytes(u64::MAX - key, &value(key)) {
                self.report.violations.push(format!("a slot has leaked: {error}"));
                break;
            }
        }
        Ok(())
    }
}

/// The worker process: writes until it has done enough, is killed, or comes to its point.
pub fn work(words: &[String]) -> Result<ExitCode, Failure> {
    let [table, point, what, nth, seed, parent] = words else {
        return Err(Failure::usage("TABLE POINT WHAT NTH SEED PARENT"));
    };
    let mut random = herd::enter([point, what, nth, seed, parent])?;
    let failed = |what| super::worker::failed(what);
    let table = busway_crashable::Table::open(table).map_err(failed("opening the table"))?;
    let mut writer = loop {
        match table.writer().attach() {
            Ok(writer) => break writer,
            // Those of the dead come back when their death can be proven.
            Err(error) if matches!(error.code(), "seats_taken" | "no_slot") => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(failed("attaching")(error)),
        }
    };
    for count in 0..WRITES {
        let key = if count % 8 == 7 { SHARED + random.next() % (KEYS / 2) } else { count % SHARED };
        let written = writer.set_bytes(key, &value(random.next()));
        written.map_err(|error| failed("writing")(error.into()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn value(number: u64) -> [u8; 8 * WORDS] {
    let mut value = [0; 8 * WORDS];
    value.as_chunks_mut::<8>().0.fill(number.to_le_bytes());
    value
}

fn is_whole(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    words.len() == WORDS && rest.is_empty() && words.iter().all(|word| Some(word) == words.first())
}

fn show(report: &Report, out: &Out) -> Result<(), Failure> {
    if out.json() {
        return out.document("busway.torture-table/1", report);
    }
    for violation in &report.violations {
        out.warn(violation);
    }
    let count = format_count;
    out.line(format_args!(
        "seed {}, {} s: {} writers, {} killed at points, {} at random, {} stopped, {} left\n\
         {} values read and whole, {} versions written, {} seats recovered\n{}",
        report.seed,
        report.elapsed_s,
        count(report.blows.workers),
        count(report.blows.killed_at_points),
        count(report.blows.killed_at_random),
        count(report.blows.stopped),
        count(report.blows.left),
        count(report.reads),
        count(report.versions),
        count(report.recoveries),
        match report.violations.len() {
            0 => "no violation".to_owned(),
            violations => format!("{violations} violation(s)"),
        },
    ))
}
