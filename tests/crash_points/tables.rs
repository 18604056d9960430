//! The same for tables: a writer, watcher or recoverer dies or stops at each point, and whoever else
//! writes and reads the very key goes on as if it had never been.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use busway::{Table, TableReader, TableWriter};
use busway_crashable as crashable;
use busway_crashable::{CrashAction, CrashPoint, arm};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// The environment variable that says: table, task, point and action.
const ROLE: &str = "BUSWAY_TEST_TABLE_ROLE";
/// How long anything may take before the test gives up. Nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);
/// The key that everybody writes.
const SHARED: u64 = 1;
/// The table's writers: the victim, the bystander, and the corpse before.
const WRITERS: u32 = 3;
/// Writes of the bystander beside a victim that is dead or stopped.
const WRITES: u64 = 200;

/// A table that is removed whatever happens.
struct Scratch(String);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = Table::remove(&self.0);
        let _own = Table::remove(&format!("{}-own", self.0));
    }
}

/// A child that is ended, whatever happens.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// The points that a participant of a table comes to.
fn points() -> impl Iterator<Item = CrashPoint> {
    use CrashPoint as P;
    let of_both = [
        P::SeatLocked,
        P::SeatKept,
        P::SeatTaken,
        P::Sleeping,
        P::BitsCleared,
        P::SeatFreed,
        P::RecoveryBegun,
        P::DeadCleared,
        P::DeadFreed,
        P::SegmentOpened,
        P::SegmentAllocated,
        P::SegmentWritten,
        P::SegmentNamed,
        P::SegmentUnlinked,
    ];
    CrashPoint::ALL.iter().copied().filter(|point| point.is_of_tables()).chain(of_both)
}

fn everywhere(action: CrashAction) {
    let missed: BTreeSet<&str> =
        points().filter(|point| !try_point(*point, action)).map(CrashPoint::name).collect();
    assert!(missed.is_empty(), "points that nobody came to: {missed:?}");
}

/// Promises 1, 2, 4 (ARCHITECTURE.md), of tables.
#[test]
fn who_dies_at_any_point_of_a_table_locks_no_key_and_tears_no_value() {
    everywhere(CrashAction::Die);
}

/// Promises 1, 2, 4 (ARCHITECTURE.md), of tables.
#[test]
fn who_stops_at_any_point_of_a_table_locks_no_key_and_tears_no_value() {
    everywhere(CrashAction::Stop);
}

/// Four equal words: a torn value shows.
fn value(number: u64) -> [u8; 32] {
    let mut value = [0; 32];
    value.as_chunks_mut::<8>().0.fill(number.to_le_bytes());
    value
}

fn number(value: &[u8]) -> u64 {
    let words = value.as_chunks::<8>().0;
    assert!(words.len() == 4 && words.iter().all(|word| *word == words[0]), "torn: {value:?}");
    u64::from_le_bytes(words[0])
}

/// Runs one point. `false`: the victim came to the end.
fn try_point(point: CrashPoint, action: CrashAction) -> bool {
    let context = format!("{} {action:?}", point.name());
    let scratch = Scratch(format!("t-table-{}-{}-{action:?}", std::process::id(), point.name()));
    let options = Table::options().keys(300).value_bytes(32).writers(WRITERS);
    let table = options.create(&scratch.0).unwrap();
    let mut writer = table.writer().name("bystander").attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    // Dies between setting a cell and taking its slot.
    spawn(&scratch.0, "corpse", point, action).0.wait().unwrap();
    let mut victim = spawn(&scratch.0, "act", point, action);
    let mut last = 0;
    let deadline = Instant::now() + PATIENCE;
    let reached = loop {
        // Takes turns with the victim at one key, and rings for it.
        write_and_read(&mut writer, &mut reader, &mut last, &context);
        let options = WaitIdOptions::EXITED
            | WaitIdOptions::STOPPED
            | WaitIdOptions::NOHANG
            | WaitIdOptions::NOWAIT;
        if let Some(status) = waitid(WaitId::Pid(Pid::from_child(&victim.0)), options).unwrap() {
            if status.exited() {
                assert_eq!(status.exit_status(), Some(0), "{context}: the victim failed");
            }
            break !status.exited();
        }
        assert!(Instant::now() < deadline, "{context}: the victim hangs");
        std::thread::sleep(Duration::from_micros(50));
    };
    for _ in 0..WRITES {
        write_and_read(&mut writer, &mut reader, &mut last, &context);
    }
    // A newcomer finds a seat and slots, whatever the victim keeps.
    let mut newcomer = table.writer().name("newcomer").attach().unwrap();
    write_and_read(&mut newcomer, &mut reader, &mut last, &context);
    if reached && action == CrashAction::Stop {
        kill_process(Pid::from_child(&victim.0), Signal::CONT).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = victim.0.try_wait().unwrap() {
                break status;
            }
            write_and_read(&mut writer, &mut reader, &mut last, &context);
            assert!(Instant::now() < deadline, "{context}: the victim does not end");
            std::thread::sleep(Duration::from_micros(50));
        };
        assert!(status.success(), "{context}: the victim after it went on: {status}");
    }
    drop((newcomer, writer));
    leaves_nothing(&table, &context);
    reached
}

/// The bystander's write is its key's next version, or another's came between; what is read is whole and
/// never older than what was read before.
fn write_and_read(
    writer: &mut TableWriter,
    reader: &mut TableReader,
    last: &mut u64,
    context: &str,
) {
    let version = writer.set_bytes(SHARED, &value(*last)).unwrap_or_else(|error| {
        panic!("{context}: the key is not to be written: {error}");
    });
    assert!(version > *last, "{context}: version {version} after {last}");
    let entry = reader.get(SHARED).unwrap().expect("it was written");
    assert!(entry.version() >= version, "{context}");
    number(entry.bytes());
    *last = entry.version();
}

/// Every seat and every slot can be had again, and every value is whole.
fn leaves_nothing(table: &Table, context: &str) {
    table.reclaim().unwrap();
    assert_eq!(table.participants(), [], "{context}");
    assert_eq!(table.stat().corruptions, 0, "{context}");
    let mut reader = table.reader().attach().unwrap();
    let mut keys = 0;
    reader
        .for_each(|entry| {
            number(entry.bytes());
            keys += 1;
        })
        .unwrap();
    // As many new keys as there is room for: each takes a slot.
    let mut writer = table.writer().attach().unwrap();
    for key in 1000..1000 + table.info().keys - keys {
        writer.set_bytes(key, &value(key)).unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    assert!(writer.set_bytes(9999, &value(1)).is_err(), "{context}: more keys than there are");
}

fn spawn(table: &str, task: &str, point: CrashPoint, action: CrashAction) -> Victim {
    let action = if action == CrashAction::Stop { "stop" } else { "die" };
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["victim_runs", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{table} {task} {} {action}", point.name()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Victim(child)
}

/// Runs the role in the environment and ends the process; returns where there is none.
pub fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let words: Vec<&str> = role.split(' ').collect();
    let [table, task, point, action] = words[..] else { panic!("{role}") };
    let action = if action == "stop" { CrashAction::Stop } else { CrashAction::Die };
    let (point, done) = if task == "corpse" {
        (CrashPoint::CellSet, CrashAction::Die)
    } else {
        (point.parse().expect("a point"), action)
    };
    arm(point, 1, done);
    match act(table, task) {
        Ok(()) => std::process::exit(0),
        Err(error) => panic!("{error}"),
    }
}

/// Everything that a participant of a table can do.
fn act(name: &str, task: &str) -> Result<(), crashable::Error> {
    let table = crashable::Table::open(name)?;
    for round in 0..2 {
        table.reclaim()?;
        let mut writer = table.writer().name(task).attach()?;
        let mut reader = table.reader().wait(crashable::Wait::Parking).attach()?;
        for number in 0..40 {
            writer.set_bytes(SHARED, &value(number))?;
            writer.set_bytes(100 + round * 40 + number, &value(number))?;
            writer.update_bytes(2, |old| {
                value(old.map_or(0, |old| self::number(old) + 1)).to_vec()
            })?;
        }
        // Its own key: nobody changes it, so it sleeps, first at the key's bell and then at all's.
        let seen = reader.version(2)?;
        reader.wait(2, seen, Some(Duration::from_millis(5)))?;
        std::thread::scope(|scope| -> Result<(), crashable::Error> {
            let sleeper = scope.spawn(|| -> Result<u64, crashable::Error> {
                let mut reader = table.reader().wait(crashable::Wait::Parking).attach()?;
                Ok(reader.wait(2, seen, Some(Duration::from_millis(200)))?)
            });
            // Until the sleeper has slept once, or is awake again.
            while !sleeper.is_finished() {
                writer.set_bytes(3, &value(1))?;
                std::thread::sleep(Duration::from_millis(2));
                writer.set_bytes(2, &value(seen))?;
            }
            sleeper.join().expect("the sleeper").map(|_| ())
        })?;
    }
    let own = format!("{name}-own");
    crashable::Table::options().keys(2).create(&own)?;
    crashable::Table::remove(&own)
}
