//! Many processes at one table: killed at random, nothing is torn, locked, or goes back.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use busway::{Marks, Table};

use crate::{Name, number, value};

/// The environment variable that says: table and seed.
const ROLE: &str = "BUSWAY_TEST_TABLES_ROLE";
/// Keys that all write.
const KEYS: u64 = 4;
/// How long the storm lasts; nothing is asserted about time.
const STORM: Duration = Duration::from_secs(2);

/// A child that is ended, whatever happens.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

fn start(table: &str, seed: u64) -> Writer {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["processes::writer_runs", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, format!("{table} {seed}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Writer(child)
}

/// Not a test: what a writer process runs. Returns at once in the test's own process.
#[test]
fn writer_runs() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let (table, seed) = role.split_once(' ').expect("a table and a seed");
    let table = Table::open(table).expect("the table");
    let mut number: u64 = seed.parse().expect("a number");
    // As many attach at a time as are not dead yet.
    let mut writer = loop {
        match table.writer().attach() {
            Ok(writer) => break writer,
            Err(error) => assert_eq!(error.code(), "seats_taken"),
        }
    };
    while !table.is_removed() {
        number += 1;
        writer.set_bytes(number % KEYS, &value(number)).expect("a write");
        writer.set_bytes(100 + number % 50, &value(number)).expect("a write");
    }
    std::process::exit(0);
}

/// Promises 1, 2, 4 (ARCHITECTURE.md), of tables.
#[test]
fn writers_killed_at_random_tear_lock_and_leak_nothing() {
    let name = Name::new("killed");
    let options = Table::options().keys(64).value_bytes(32).writers(4);
    let table = options.create(&name).unwrap();
    let mut writers: Vec<Writer> = (0..3).map(|seed| start(&name, seed)).collect();
    let mut reader = table.reader().attach().unwrap();
    let mut own = table.writer().attach().unwrap();
    let mut marks = Marks::default();
    let mut versions = std::collections::BTreeMap::new();
    let (mut seed, end) = (3, Instant::now() + STORM);
    while Instant::now() < end {
        reader
            .changed_since(&mut marks, |entry| {
                number(entry.bytes());
                let before = versions.insert(entry.key(), entry.version());
                assert!(before < Some(entry.version()), "{} went back", entry.key());
            })
            .unwrap();
        let version = own.set_bytes(seed % KEYS, &value(0)).unwrap();
        assert!(reader.version(seed % KEYS).unwrap() >= version);
        if seed < 60 {
            // One dies at whatever it is about, and another comes.
            let victim = usize::try_from(seed % 3).unwrap();
            writers[victim] = start(&name, seed);
            std::thread::sleep(Duration::from_millis(10));
            seed += 1;
        }
    }
    drop(writers);
    drop(own);
    table.reclaim().unwrap();
    assert_eq!((table.participants(), table.stat().corruptions), (Vec::new(), 0));
    // No slot is lost: every key that there is room for gets one.
    let mut writer = table.writer().attach().unwrap();
    for key in 1000..1000 + 64 - table.stat().keys {
        writer.set_bytes(key, &value(key)).unwrap();
    }
    assert_eq!(writer.set_bytes(5000, &value(1)).unwrap_err().code(), "table_full");
}

#[test]
fn dead_writers_seat_and_slots_go_to_the_next() {
    let name = Name::new("dead");
    let table = Table::options().keys(64).value_bytes(32).writers(1).create(&name).unwrap();
    for seed in 0..5 {
        let writer = start(&name, seed);
        let mut reader = table.reader().attach().unwrap();
        let seen = reader.version(0).unwrap();
        assert!(reader.wait(0, seen, Some(Duration::from_secs(60))).unwrap() > seen);
        drop(writer);
    }
    // The wait is for the kernel, which unlocks when the dead one's memory is gone.
    let end = Instant::now() + Duration::from_secs(60);
    while table.writer().attach().is_err() {
        assert!(Instant::now() < end, "the seat does not come back");
    }
    assert!(table.stat().recoveries >= 5);
}
