//! Options that are out of range: an error that names the value and the range, and nothing created.

use busway::{Bus, BusOptions, Error, FrameLayout, Schema, Topology};

use crate::support::bus::{SegmentFile, TestBus, unique_name};

/// Creates it and holds the error to what errors promise.
fn refused(options: &BusOptions, code: &str, words: &[&str]) {
    let file = SegmentFile::new();
    let error = options.create(&file.name).expect_err(code);
    assert_eq!(error.code(), code, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
    assert!(!file.path.exists(), "something was created");
}

#[test]
fn every_number_out_of_range_is_named_with_its_range() {
    let new = Bus::options;
    let single = || new().topology(Topology::Single);
    let range = "16777216";
    let table: &[(BusOptions, &[&str])] = &[
        (new().capacity_frames(0), &["capacity 0", "power of two", range]),
        (new().capacity_frames(1), &["capacity 1", "power of two", range]),
        (new().capacity_frames(3), &["capacity 3", "power of two", range]),
        (new().capacity_frames(1 << 25), &["capacity 33554432", range]),
        (new().capacity_frames(u64::MAX), &["capacity 18446744073709551615", range]),
        (new().capacity_frames(1 << 63), &["capacity 9223372036854775808", range]),
        (new().payload_bytes(0), &["payload 0", "1 to 1048576"]),
        (new().payload_bytes((1 << 20) + 1), &["payload 1048577", "1 to 1048576"]),
        (new().payload_bytes(u32::MAX), &["payload 4294967295", "1 to 1048576"]),
        (new().lanes(0), &["lanes 0", "1 to 256"]),
        (new().lanes(257), &["lanes 257", "1 to 256"]),
        (new().lanes(u32::MAX), &["lanes 4294967295", "1 to 256"]),
        (single().lanes(2), &["lanes 2", "1 on a bus of topology single"]),
        (new().consumers(0), &["consumers 0", "1 to 64"]),
        (new().consumers(65), &["consumers 65", "1 to 64"]),
        (new().align_bytes(0), &["alignment 0", "8, 16 or 64"]),
        (new().align_bytes(32), &["alignment 32", "8, 16 or 64"]),
        (new().size_bytes_max(4096), &["segment size", "at most 4096 bytes"]),
        (new().payload_bytes(1 << 20), &["segment size", "at most 1073741824 bytes"]),
    ];
    for (options, words) in table {
        refused(options, "bad_geometry", words);
    }
}

#[test]
fn mode_without_the_owner_or_beyond_permissions_is_refused() {
    for mode in [0, 0o400, 0o200, 0o066, 0o1600, 0o4600, u32::MAX] {
        refused(
            &Bus::options().mode(mode),
            "bad_option",
            &["mode", &format!("{mode:#o}"), "0o600"],
        );
    }
}

#[test]
fn schema_and_payload_have_to_agree() {
    let schema = Schema::from_json(
        br#"{"name":"two","kind":0,"size_bytes":16,"align_bytes":8,"fields":[
            {"name":"a","type":"u64","offset_bytes":0},{"name":"b","type":"u64","offset_bytes":8}]}"#,
    )
    .unwrap();
    let options = || Bus::options().schema(schema.clone());
    refused(&options().payload_bytes(15), "bad_geometry", &["payload 15", "at least 16"]);
    let bare = options().frames(FrameLayout::Bare);
    refused(&bare.payload_bytes(24), "bad_geometry", &["payload 24", "16 bytes"]);
    assert_eq!(TestBus::new(&options().payload_bytes(24)).info().payload_bytes, 24);
}

#[test]
fn bad_names_are_refused_at_every_door() {
    let long = "x".repeat(65);
    for name in ["", ".", ".hidden", "a/b", "../x", "a b", "ä", "a\0b", "a\n", long.as_str()] {
        for error in [
            Bus::options().create(name).expect_err(name),
            Bus::open(name).expect_err(name),
            Bus::remove(name).expect_err(name),
        ] {
            assert_eq!(error.code(), "bad_name");
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
            assert!(error.to_string().contains("1 to 64 of a-z A-Z 0-9 . _ -"), "{error}");
        }
    }
}

#[test]
fn existing_bus_is_opened_only_on_request_and_only_if_it_is_the_same() {
    let options = Bus::options().capacity_frames(16).lanes(2);
    let bus = TestBus::new(&options);
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, &[1]).unwrap();
    let error = options.create(bus.name()).unwrap_err();
    assert_eq!(error.code(), "already_exists");
    assert!(error.to_string().contains(bus.name()));
    let options = options.if_not_exists(true);
    let same = options.create(bus.name()).unwrap();
    assert_eq!((same.info().instance, same.stat().published), (bus.info().instance, 1));
    let error = options.clone().capacity_frames(32).create(bus.name()).unwrap_err();
    assert_eq!(error.code(), "differs");
    assert!(error.to_string().contains("capacity is 16, asked for is 32"), "{error}");
    let error = options.payload_bytes(0).create(bus.name()).unwrap_err();
    assert_eq!(error.code(), "bad_geometry");
    assert_eq!(bus.stat().published, 1);
}

#[test]
fn bus_that_shared_memory_cannot_hold_is_refused_and_nothing_is_left() {
    let shm = nix::sys::statvfs::statvfs("/dev/shm").expect("the size of /dev/shm");
    let whole = shm.blocks() * shm.fragment_size();
    // A capacity that takes more than all of it, of frames of a mebibyte.
    let capacity = (whole >> 20).next_power_of_two().clamp(2, 1 << 24);
    let options = Bus::options()
        .lanes(4)
        .payload_bytes(1 << 20)
        .capacity_frames(capacity)
        .size_bytes_max(u64::MAX);
    assert!(options.size_bytes().unwrap() > whole);
    let free = || nix::sys::statvfs::statvfs("/dev/shm").unwrap().blocks_free();
    let before = free();
    refused(&options, "no_space", &["/dev/shm", &options.size_bytes().unwrap().to_string()]);
    // Others create and remove meanwhile; what this bus would have taken is a multiple of it all.
    assert!(free() >= before / 2);
}

#[test]
fn unknown_bus_is_not_found() {
    let name = unique_name();
    for error in [Bus::open(&name).unwrap_err(), Bus::remove(&name).unwrap_err()] {
        assert_eq!(error.code(), "not_found");
        assert!(matches!(&error, Error::NotFound { name: named } if *named == name));
    }
    assert!(!Bus::list().unwrap().contains(&name));
    let bus = TestBus::new(&Bus::options());
    assert!(Bus::list().unwrap().contains(&bus.name().to_owned()));
}

#[test]
fn of_many_that_create_one_name_at_once_one_does() {
    for _ in 0..20 {
        // Its guard removes the bus; the race is for the name after it is gone.
        let bus = TestBus::new(&Bus::options().capacity_frames(2).lanes(1));
        let name = bus.name().to_owned();
        Bus::remove(&name).unwrap();
        let start = std::sync::Barrier::new(4);
        let create = || {
            start.wait();
            Bus::options().capacity_frames(2).lanes(1).create(&name)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(create)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let created = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(created, 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.code(), "already_exists");
        }
    }
}
