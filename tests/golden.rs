//! The layout of a segment, pinned: whole buses as text, compared with the files in tests/golden/.
//!
//! A dump that differs means that the format has changed. If that is meant, the layout version or
//! a feature bit has to say so (docs/format.md, section 12); then write the files anew with
//! `BUSWAY_REFRESH_GOLDEN=1 cargo test --test golden` and review the difference.

#[path = "golden/dump.rs"]
mod dump;
#[path = "golden/fields.rs"]
mod fields;
mod scratch;
#[path = "golden/segment.rs"]
mod segment;
#[path = "golden/tables.rs"]
mod tables;

use std::fs;
use std::path::Path;

use busway::{Bus, FrameLayout, OnFull, Schema, Timestamps, Topology};
use scratch::Name;
use tables::Format;

/// Writes the files instead of comparing them.
const REFRESH: &str = "BUSWAY_REFRESH_GOLDEN";

/// Compares a bus as it stands with its file.
fn compare(name: &Name, file: &str) {
    let found = dump::dump(&Format::read(), &fs::read(name.path()).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os(REFRESH).is_some() {
        fs::write(&path, found).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let lines = golden.lines().map(Some).chain(std::iter::repeat(None));
    let pairs = found.lines().map(Some).chain([None]).zip(lines);
    for (number, (found, golden)) in (1..).zip(pairs) {
        assert_eq!(
            found, golden,
            "line {number} of tests/golden/{file}; if this is meant: {REFRESH}=1"
        );
    }
}

/// Two lanes of events, one of which has wrapped; a consumer that is behind; a schema.
#[test]
fn lanes_of_events() {
    let schema = r#"{"name":"pair","kind":3,"size_bytes":16,"fields":[
        {"name":"left","type":"u64","unit":"m"},{"name":"right","type":"f32","count":2}]}"#;
    let name = Name::new();
    let bus = Bus::options()
        .timestamps(Timestamps::Off)
        .capacity_frames(4)
        .lanes(3)
        .consumers(2)
        .schema(Schema::from_json(schema).unwrap())
        .create(&name)
        .unwrap();
    let mut consumer = bus.consumer().name("reads").attach().unwrap();
    let mut first = bus.producer().name("first").attach().unwrap();
    let mut second = bus.producer().name("second").attach().unwrap();
    for number in 0..6_u8 {
        first.publish_bytes(3, &[0xa0 + number; 16]).unwrap();
        consumer.poll().unwrap().unwrap();
        consumer.release();
    }
    let mut claim = second.claim().unwrap();
    claim.payload_mut()[..5].copy_from_slice(b"short");
    claim.set_len(5).unwrap();
    claim.set_kind(0x0102);
    claim.set_flags(0x0304);
    claim.commit().unwrap();
    compare(&name, "lanes-event.txt");
}

/// Batches in one total order, just before and after position 2^64.
#[test]
fn ordered_and_bare_across_the_wrap() {
    let name = Name::new();
    let bus = Bus::options()
        .topology(Topology::Ordered)
        .frames(FrameLayout::Bare)
        .on_full(OnFull::Reject)
        .payload_bytes(12)
        .capacity_frames(8)
        .lanes(2)
        .consumers(1)
        .origin(u64::MAX - 2)
        .create(&name)
        .unwrap();
    let mut consumer = bus.consumer().name("follows").attach().unwrap();
    let mut producers = [0, 1].map(|_| bus.producer().name("bare").attach().unwrap());
    for number in 1..=2_u8 {
        for (lane, producer) in (0..).zip(&mut producers) {
            let mut batch = producer.claim_batch(3).unwrap();
            for index in 0..3_u8 {
                let mut slot = batch.frame(index.into()).unwrap();
                slot.payload_mut().fill(lane << 6 | number << 4 | index);
            }
            batch.commit().unwrap();
        }
    }
    for _ in 0..7 {
        consumer.poll().unwrap().unwrap();
    }
    consumer.release();
    compare(&name, "ordered-bare.txt");
}

/// Batches in one total order that are overwritten before anybody reads them.
#[test]
fn ordered_and_lossy() {
    let name = Name::new();
    let bus = Bus::options()
        .topology(Topology::Ordered)
        .on_full(OnFull::DropOldest)
        .timestamps(Timestamps::Off)
        .payload_bytes(8)
        .capacity_frames(4)
        .lanes(2)
        .consumers(1)
        .create(&name)
        .unwrap();
    let mut producer = bus.producer().name("overwrites").attach().unwrap();
    for number in 1..=3_u8 {
        let mut batch = producer.claim_batch(3).unwrap();
        for index in 0..3 {
            let mut slot = batch.frame(index).unwrap();
            slot.payload_mut().fill(number);
            slot.set_len(8).unwrap();
        }
        batch.commit().unwrap();
    }
    compare(&name, "ordered-lossy.txt");
}

/// One lane that overwrites, stamped, with slots of whole cache lines, after its ends have left.
#[test]
fn single_and_lossy_across_the_wrap() {
    let name = Name::new();
    let bus = Bus::options()
        .topology(Topology::Single)
        .on_full(OnFull::DropOldest)
        .timestamps(Timestamps::Frame)
        .payload_bytes(20)
        .align_bytes(64)
        .capacity_frames(4)
        .consumers(1)
        .origin(u64::MAX - 3)
        .create(&name)
        .unwrap();
    let mut consumer = bus.consumer().name("late").attach().unwrap();
    let mut producer = bus.producer().name("overwrites").attach().unwrap();
    for number in 0..7_u8 {
        producer.publish_bytes(number.into(), &[number; 20][..usize::from(number) + 3]).unwrap();
    }
    while consumer.poll().unwrap().is_some() {}
    assert_eq!(consumer.lost(), 3);
    consumer.detach();
    producer.detach();
    compare(&name, "single-lossy.txt");
}
