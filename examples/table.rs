//! A table: the latest value of each key, written by several and read by anybody, without a lock.
//!
//! Two writers keep the speed of three motors up to date; a watcher sleeps until something changes.

use std::time::Duration;

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{Error, Frame, Marks, Schema, Table, TableError, Wait};

#[derive(Clone, Copy, Debug, PartialEq, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(C)]
struct Motor {
    #[frame(unit = "1/min")]
    rpm: f64,
    #[frame(unit = "A")]
    current: f64,
}

/// Removes the table at the end, whatever happens.
struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        let _gone = Table::remove(&self.0);
    }
}

fn main() -> Result<(), Error> {
    let guard = Guard(format!("example-table-{}", std::process::id()));
    let options = Table::options().keys(16).text_keys().schema(Schema::of::<Motor>());
    let table = options.create(&guard.0)?;

    let mut left = table.writer().name("left").attach_typed::<Motor>()?;
    let mut right = table.writer().name("right").attach_typed::<Motor>()?;
    left.set("motor/1", &Motor { rpm: 1200.0, current: 2.0 })?;
    right.set("motor/2", &Motor { rpm: 900.0, current: 1.5 })?;
    right.set("motor/3", &Motor { rpm: 0.0, current: 0.0 })?;

    // The latest value, with its version, its age and who wrote it.
    let mut reader = table.reader().wait(Wait::Parking).attach_typed::<Motor>()?;
    let entry = reader.get("motor/1")?.expect("it was written");
    let (version, (seat, _)) = (entry.version(), entry.writer());
    println!("motor/1 v{version} by seat {seat}: {:?}", entry.value::<Motor>()?);

    // Two who change one key do not undo each other: one of them is told that it came second.
    left.compare_and_set("motor/1", version, &Motor { rpm: 1300.0, current: 2.1 })?;
    match right.compare_and_set("motor/1", version, &Motor { rpm: 0.0, current: 0.0 }) {
        Err(TableError::Conflict { version }) => println!("motor/1 is at v{version} by now"),
        other => println!("unexpected: {other:?}"),
    }
    right.update("motor/1", |old| Motor {
        current: 0.0,
        ..old.unwrap_or(Motor { rpm: 0.0, current: 0.0 })
    })?;

    // What has changed since the last look; asleep until something has.
    let mut marks = Marks::default();
    reader.changed_since(&mut marks, |_| {})?;
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<(), Error> {
            reader.wait_any(&marks, Some(Duration::from_secs(10)))?;
            reader.changed_since(&mut marks, |entry| {
                println!("changed: {} v{}", entry.key(), entry.version());
            })?;
            Ok(())
        });
        left.set("motor/3", &Motor { rpm: 50.0, current: 0.2 })?;
        watcher.join().expect("the watcher")
    })
}
