//! The ends of a measurement: writers and readers, over a table or over cells with a mutex each.

use super::board::TableBoard;
use crate::bench::latency::{Buckets, Latency};
use crate::bench::pace::monotonic_ns;
use crate::bench::worker::Station;
use crate::exit::Failure;
use crate::shared::Mapping;
use busway::{Place, Table, TableError, TableReader, TableWriter};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One message in so many carries the time it was sent: reading the clock costs as much as sending.
const STAMPED: u64 = 16;

/// What values are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// A table
    Table,
    /// An array of cells with a mutex each
    Mutex,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Each message is read by one reader, before the next is written to its key
    Once,
    /// Nobody waits: writers write over what was not read, readers read the latest
    Latest,
}

/// What one end does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableTask {
    /// The number of the inherited descriptor.
    pub board: i32,
    pub table: String,
    pub store: StoreKind,
    pub mode: Mode,
    pub writes: bool,
    pub keys: usize,
    pub writers: u64,
    /// Messages of all writers.
    pub messages: u64,
    /// Time that a write takes longer: computing.
    pub busy_ns: u64,
    /// Time that a write takes longer: asleep.
    pub sleep_ns: u64,
    /// Which of its kind it is.
    pub number: usize,
}

/// What one end did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Done {
    pub messages: u64,
    /// Of the numbers of its messages, with wrapping.
    pub sum: u64,
    pub start_ns: u64,
    pub end_ns: u64,
    pub buckets: Option<Buckets>,
}

/// The process of one end.
pub fn work(station: &mut Station, task: &TableTask) -> Result<(), Failure> {
    let mut end = End::new(task, Store::open(task)?)?;
    station.report(&true)?;
    while station.next_order::<bool>()?.is_some() {
        station.report(&end.run()?)?;
    }
    Ok(())
}

impl Store {
    /// Attaches.
    pub fn open(task: &TableTask) -> Result<Self, Failure> {
        if task.store == StoreKind::Mutex {
            return Ok(Self::Mutex);
        }
        let table = Table::open(&task.table)?;
        let reader = table.reader().attach()?;
        let places = (0..task.keys as u64)
            .map(|key| reader.place(key)?.ok_or(TableError::Corrupt))
            .collect::<Result<_, _>>()?;
        let writer = task.writes.then(|| table.writer().attach()).transpose()?;
        Ok(Self::Table(Box::new(TableStore { writer, reader, places })))
    }
}

/// One end, attached.
pub struct End<'a> {
    task: &'a TableTask,
    board: Mapping<TableBoard>,
    store: Store,
}

/// What an end works on.
pub enum Store {
    Table(Box<TableStore>),
    Mutex,
}

/// A table, attached to.
pub struct TableStore {
    writer: Option<TableWriter>,
    reader: TableReader,
    places: Vec<Place>,
}

impl<'a> End<'a> {
    /// An end with what it works on.
    pub fn new(task: &'a TableTask, store: Store) -> Result<Self, Failure> {
        Ok(Self { task, board: Mapping::open(task.board)?, store })
    }

    /// Does its part.
    pub fn run(&mut self) -> Result<Done, Failure> {
        let mut done = Done { start_ns: monotonic_ns(), ..Done::default() };
        if self.task.writes {
            let written = self.write_all(&mut done);
            // ORDERING: release, pairs with the acquire in `read_all`: all it wrote comes before.
            self.board.done.0.fetch_add(1, Ordering::Release);
            written?;
        } else {
            self.read_all(&mut done)?;
        }
        done.end_ns = monotonic_ns();
        Ok(done)
    }

    fn write_all(&mut self, done: &mut Done) -> Result<(), Failure> {
        loop {
            // ORDERING: relaxed; it only hands out numbers.
            let number = self.board.sent.0.fetch_add(1, Ordering::Relaxed);
            if number >= self.task.messages {
                return Ok(());
            }
            let key = usize::try_from(number).unwrap_or(0) % self.task.keys;
            while !self.put(key, number)? {
                std::thread::yield_now();
            }
            done.messages += 1;
            done.sum = done.sum.wrapping_add(number);
        }
    }

    fn put(&mut self, key: usize, number: u64) -> Result<bool, Failure> {
        let (task, once) = (self.task, self.task.mode == Mode::Once);
        let make = || {
            task.take_longer();
            let stamp = if number.is_multiple_of(STAMPED) { monotonic_ns() } else { 0 };
            [number, stamp]
        };
        let Store::Table(table) = &mut self.store else {
            return Ok(self.board.cells[key].put(once, make));
        };
        let TableStore { writer: Some(writer), reader, places } = &mut **table else {
            return Err(Failure::failed("a reader was asked to write"));
        };
        let place = places[key];
        if !once {
            writer.set_bytes_at(place, &bytes(make()))?;
            return Ok(true);
        }
        let version = reader.version_at(place)?;
        // ORDERING: acquire, pairs with the CAS in `get`: who took the last message has read it.
        if self.board.taken[key].0.load(Ordering::Acquire) != version {
            return Ok(false);
        }
        match writer.compare_and_set_bytes_at(place, version, &bytes(make())) {
            Ok(_) => Ok(true),
            Err(TableError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_all(&mut self, done: &mut Done) -> Result<(), Failure> {
        let mut latency = Latency::new();
        let mut seen = vec![0; self.task.keys];
        let first = self.task.number * self.task.keys / 7;
        loop {
            // ORDERING: acquire, pairs with the release in `run`.
            let over = self.board.done.0.load(Ordering::Acquire) == self.task.writers;
            let mut any = false;
            for step in 0..self.task.keys {
                let key = (first + step) % self.task.keys;
                let Some((version, [number, stamp])) = self.get(key, seen[key])? else {
                    continue;
                };
                if version < seen[key] {
                    return Err(Failure::failed(format!("key {key} went back to {version}")));
                }
                any |= version > seen[key];
                seen[key] = version;
                done.messages += 1;
                done.sum = done.sum.wrapping_add(number);
                if stamp > 0 {
                    latency.record(monotonic_ns().saturating_sub(stamp));
                }
            }
            if over && !any {
                done.buckets = Some(latency.buckets());
                return Ok(());
            }
            if !any {
                std::thread::yield_now();
            }
        }
    }

    /// The message of a key: where each is read once, if this end is the one to have read it.
    fn get(&mut self, key: usize, seen: u64) -> Result<Option<(u64, [u64; 2])>, Failure> {
        let once = self.task.mode == Mode::Once;
        let Store::Table(table) = &mut self.store else {
            return Ok(self.board.cells[key]
                .get(once)
                .filter(|(version, _)| once || *version > seen));
        };
        let TableStore { reader, places, .. } = &mut **table;
        let version = reader.version_at(places[key])?;
        // The first version is the parent's and no message.
        // ORDERING: relaxed; the CAS below decides.
        if version <= 1
            || (once && self.board.taken[key].0.load(Ordering::Relaxed) == version)
            || (!once && version <= seen)
        {
            return Ok(None);
        }
        let Some(entry) = reader.get_at(places[key])? else {
            return Ok(None);
        };
        let (version, message) = (entry.version(), words(entry.bytes()));
        if once {
            let taken = &self.board.taken[key].0;
            // ORDERING: release, pairs with the acquire in `put`: the message was read before.
            let is_mine = taken
                .compare_exchange(version - 1, version, Ordering::Release, Ordering::Relaxed)
                .is_ok();
            return Ok(is_mine.then_some((version, message)));
        }
        Ok(Some((version, message)))
    }
}

impl TableTask {
    /// The time that a write takes longer.
    fn take_longer(&self) {
        if self.sleep_ns > 0 {
            std::thread::sleep(Duration::from_nanos(self.sleep_ns));
        }
        if self.busy_ns > 0 {
            let end = monotonic_ns() + self.busy_ns;
            while monotonic_ns() < end {
                std::hint::spin_loop();
            }
        }
    }
}

fn bytes(message: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&message[0].to_le_bytes());
    bytes[8..].copy_from_slice(&message[1].to_le_bytes());
    bytes
}

fn words(bytes: &[u8]) -> [u64; 2] {
    let (chunks, _) = bytes.as_chunks::<8>();
    [0, 1].map(|index| chunks.get(index).map_or(0, |chunk| u64::from_le_bytes(*chunk)))
}
