//! One process: the API and its limits.

use std::time::Duration;

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{Bus, Frame, Marks, OwnedKey, Schema, Table, TableError, Wait};

use crate::{Name, number, value};

#[derive(Clone, Copy, Debug, PartialEq, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(C)]
struct Pose {
    x: f64,
    y: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(C)]
struct Other {
    x: u64,
    y: u64,
}

#[test]
fn entry_tells_value_version_writer_and_time() {
    let name = Name::new("entry");
    let table = Table::options().create(&name).unwrap();
    let before = table.now_ns();
    let mut writer = table.writer().name("w").attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    assert!(reader.get(5).unwrap().is_none());
    assert_eq!(reader.version(5), Ok(0));
    writer.set_bytes(5, b"one").unwrap();
    writer.set_bytes(5, b"second").unwrap();
    let entry = reader.get(5).unwrap().unwrap();
    assert_eq!((entry.key(), entry.bytes()), (OwnedKey::U64(5), b"second".as_slice()));
    assert_eq!((entry.version(), entry.pid()), (2, std::process::id()));
    let holder = &table.participants()[0];
    assert_eq!(entry.writer(), (writer.seat(), holder.epoch));
    assert!((before..=table.now_ns()).contains(&entry.time_ns()));
    let stat = table.stat();
    assert_eq!((stat.keys, stat.writes, stat.writers[0].writes), (1, 2, 2));
    drop(writer);
    assert_eq!(table.participants(), []);
}

#[test]
fn text_keys_of_32_bytes_are_told_apart() {
    let name = Name::new("text");
    let table = Table::options().text_keys().keys(8).create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    let long = "0123456789abcdef0123456789abcde";
    for (key, value) in [(format!("{long}1"), b"1"), (format!("{long}2"), b"2"), ("é".into(), b"3")]
    {
        writer.set_bytes(&key, value).unwrap();
        assert_eq!(reader.get(&key).unwrap().unwrap().bytes(), value);
    }
    assert_eq!(reader.get(&format!("{long}1")).unwrap().unwrap().bytes(), b"1");
    for bad in ["", "a\0", &"x".repeat(33)] {
        assert_eq!(writer.set_bytes(bad, b"x"), Err(TableError::BadKey), "{bad:?}");
    }
    assert_eq!(writer.set_bytes(1, b"x"), Err(TableError::WrongKey { want: "text" }));
    assert_eq!(reader.get(1).err(), Some(TableError::WrongKey { want: "text" }));
}

#[test]
fn typed_values_come_as_they_went_and_other_types_are_refused() {
    let name = Name::new("typed");
    let table = Table::options().schema(Schema::of::<Pose>()).create(&name).unwrap();
    let mut writer = table.writer().attach_typed::<Pose>().unwrap();
    let mut reader = table.reader().attach_typed::<Pose>().unwrap();
    let pose = Pose { x: 1.5, y: -2.0 };
    writer.set(1, &pose).unwrap();
    assert_eq!(reader.value(1), Ok(Some(pose)));
    let moved = writer.update(1, |old| Pose { x: old.unwrap().x + 1.0, y: 0.0 });
    assert_eq!((moved, reader.value(1)), (Ok(2), Ok(Some(Pose { x: 2.5, y: 0.0 }))));
    assert_eq!(writer.compare_and_set(1, 1, &pose), Err(TableError::Conflict { version: 2 }));
    assert_eq!(table.writer().attach_typed::<Other>().unwrap_err().code(), "schema_mismatch");
    assert_eq!(table.reader().attach_typed::<Other>().unwrap_err().code(), "schema_mismatch");
    let mut bytes = table.writer().attach().unwrap();
    assert_eq!(bytes.set_bytes(1, b"x"), Err(TableError::WrongLength { len: 1, want: 16 }));
}

#[test]
fn place_is_found_once_and_holds() {
    let name = Name::new("place");
    let table = Table::options().value_bytes(32).create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    assert_eq!(writer.place(7), Ok(None));
    writer.set_bytes(7, &value(1)).unwrap();
    let place = writer.place(7).unwrap().unwrap();
    for key in 100..200 {
        writer.set_bytes(key, &value(key)).unwrap();
    }
    assert_eq!(writer.set_bytes_at(place, &value(2)), Ok(2));
    assert_eq!(reader.place(7), Ok(Some(place)));
    assert_eq!(number(reader.get_at(place).unwrap().unwrap().bytes()), 2);
    let other = Name::new("place-other");
    let table = Table::options().value_bytes(32).create(&other).unwrap();
    let mut stranger = table.writer().attach().unwrap();
    let refused = stranger.set_bytes_at(place, &value(3));
    assert_eq!(refused, Err(TableError::WrongKey { want: "u64" }));
}

#[test]
fn removed_value_is_none_and_its_key_counts_on() {
    let name = Name::new("removed");
    let table = Table::options().keys(1).create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    assert_eq!(writer.remove(1), Ok(0));
    writer.set_bytes(1, b"x").unwrap();
    assert_eq!(writer.remove(1), Ok(2));
    assert!(reader.get(1).unwrap().is_none());
    assert!(reader.latest(1).unwrap().unwrap().is_removed());
    assert_eq!(reader.version(1), Ok(2));
    let mut keys = 0;
    reader.for_each(|_| keys += 1).unwrap();
    assert_eq!(keys, 0);
    assert_eq!(writer.set_bytes(2, b"y"), Err(TableError::Full { keys: 1 }));
    assert_eq!(writer.set_bytes(1, b"again"), Ok(3));
    assert_eq!(reader.get(1).unwrap().unwrap().bytes(), b"again");
}

#[test]
fn changes_come_once_each_with_the_latest_value() {
    let name = Name::new("changes");
    let table = Table::options().create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    let mut marks = Marks::default();
    let mut changes = |marks: &mut Marks| {
        let mut seen = Vec::new();
        let count =
            reader.changed_since(marks, |entry| seen.push((entry.key(), entry.version()))).unwrap();
        assert_eq!(count, seen.len());
        seen.sort();
        seen
    };
    assert_eq!(changes(&mut marks), []);
    writer.set_bytes(1, b"a").unwrap();
    writer.set_bytes(2, b"b").unwrap();
    writer.set_bytes(1, b"c").unwrap();
    assert_eq!(changes(&mut marks), [(OwnedKey::U64(1), 2), (OwnedKey::U64(2), 1)]);
    assert_eq!(changes(&mut marks), []);
    writer.remove(2).unwrap();
    assert_eq!(changes(&mut marks), [(OwnedKey::U64(2), 2)]);
    assert_eq!(changes(&mut Marks::default()).len(), 2);
}

#[test]
fn who_waits_is_woken_by_its_key_or_by_any() {
    let name = Name::new("waits");
    let table = Table::options().create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    writer.set_bytes(1, b"x").unwrap();
    let long = Some(Duration::from_secs(60));
    for wait in [Wait::Adaptive, Wait::Busy, Wait::Yielding, Wait::Parking] {
        let mut reader = table.reader().wait(wait).attach().unwrap();
        let seen = reader.version(1).unwrap();
        let short = Some(Duration::from_millis(1));
        assert_eq!(reader.wait(1, seen, short), Ok(seen));
        assert_eq!(reader.wait(99, 0, short), Ok(0));
        std::thread::scope(|scope| {
            let of_key = scope.spawn(|| reader.wait(1, seen, long));
            std::thread::sleep(Duration::from_millis(3));
            writer.set_bytes(1, b"y").unwrap();
            assert_eq!(of_key.join().unwrap(), Ok(seen + 1));
        });
        let mut reader = table.reader().wait(wait).attach().unwrap();
        let mut marks = Marks::default();
        reader.changed_since(&mut marks, |_| {}).unwrap();
        let new_key = 1000 + wait as u64;
        std::thread::scope(|scope| {
            let of_any = scope.spawn(|| reader.wait_any(&marks, long));
            std::thread::sleep(Duration::from_millis(3));
            writer.set_bytes(new_key, b"z").unwrap();
            assert_eq!(of_any.join().unwrap(), Ok(true));
        });
    }
}

#[test]
fn removed_table_is_told_to_who_writes_and_who_waits() {
    let name = Name::new("gone");
    let table = Table::options().create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    writer.set_bytes(1, b"x").unwrap();
    let mut reader = table.reader().wait(Wait::Parking).attach().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| reader.wait(1, 1, Some(Duration::from_secs(60))));
        std::thread::sleep(Duration::from_millis(3));
        Table::remove(&name).unwrap();
        assert_eq!(waits.join().unwrap(), Err(TableError::Removed));
    });
    assert_eq!(writer.set_bytes(1, b"y"), Err(TableError::Removed));
    assert_eq!(reader.get(1).unwrap().unwrap().bytes(), b"x");
    assert!(table.is_removed());
    assert_eq!(table.writer().attach().unwrap_err().code(), "not_found");
}

#[test]
fn kinds_are_told_apart_and_left_alone() {
    let name = Name::new("kinds");
    let table = Table::options().create(&name).unwrap();
    assert_eq!(busway::is_table(&name), Some(true));
    let error = Bus::open(&name).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        ("wrong_kind", format!("{:?} is a table, not a bus", &*name))
    );
    assert_eq!(Bus::remove(&name).unwrap_err().code(), "wrong_kind");
    assert_eq!(Bus::options().create(&name).unwrap_err().code(), "already_exists");
    assert!(!table.is_removed());
    Table::remove(&name).unwrap();
    Bus::options().create(&name).unwrap();
    assert_eq!(busway::is_table(&name), Some(false));
    assert_eq!(Table::open(&name).unwrap_err().code(), "wrong_kind");
    assert_eq!(Table::remove(&name).unwrap_err().code(), "wrong_kind");
    assert!(Bus::open(&name).is_ok());
}

#[test]
fn options_are_checked_and_the_same_table_is_accepted() {
    let name = Name::new("options");
    let options = Table::options().keys(10).value_bytes(8).if_not_exists(true);
    options.create(&name).unwrap();
    assert!(options.create(&name).is_ok());
    let differs = options.clone().keys(11).create(&name).unwrap_err();
    assert!(differs.to_string().contains("number of keys is 10, asked for is 11"), "{differs}");
    let wrong = Table::options().schema(Schema::of::<Pose>()).value_bytes(8);
    assert_eq!(wrong.size_bytes().unwrap_err().code(), "bad_geometry");
    let large = Table::options().keys(1 << 19).value_bytes(1 << 20);
    assert_eq!(large.create(&name).unwrap_err().code(), "bad_geometry");
    assert_eq!(Table::options().mode(0o1000).create(&name).unwrap_err().code(), "bad_option");
}

#[test]
fn values_of_every_length_come_whole() {
    let name = Name::new("lengths");
    let table = Table::options().value_bytes(100).timestamps(false).create(&name).unwrap();
    let mut writer = table.writer().attach().unwrap();
    let mut reader = table.reader().attach().unwrap();
    for len in (0..=100).chain((0..=100).rev()) {
        let bytes: Vec<u8> = (0..len).map(|byte| byte ^ len).collect();
        writer.set_bytes(1, &bytes).unwrap();
        let entry = reader.get(1).unwrap().unwrap();
        assert_eq!((entry.bytes(), entry.time_ns()), (bytes.as_slice(), 0));
    }
    let refused = writer.set_bytes(1, &[0; 101]);
    assert_eq!(refused, Err(TableError::TooLarge { len: 101, max: 100 }));
}

#[test]
fn seats_are_as_many_as_asked_for() {
    let name = Name::new("seats");
    let table = Table::options().writers(2).create(&name).unwrap();
    let _one = table.writer().name("one").attach().unwrap();
    let two = table.writer().name("two").attach().unwrap();
    let error = table.writer().attach().unwrap_err();
    assert!(error.to_string().contains("(one)"), "{error}");
    drop(two);
    assert!(table.writer().attach().is_ok());
}
