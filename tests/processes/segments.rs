//! Files that are not buses, or not any more: an error, never a panic, a hang or a wrong answer.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;

use busway::{Bus, OnFull, Start, Topology};

use crate::support::PATIENCE;
use crate::support::bus::{SegmentFile, TestBus, path_of};
use crate::support::random::Random;

/// Opens it; the code of the error that must come.
fn refused(name: &str) -> String {
    let (sender, codes) = channel();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let result = Bus::open(&name);
        sender.send(result.map(drop).map_err(|error| (error.code(), error.to_string())))
    });
    let (code, text) = codes.recv_timeout(PATIENCE).expect("an answer").expect_err("no bus");
    assert!(!text.is_empty());
    code.to_owned()
}

/// A small bus's bytes.
fn whole() -> (TestBus, Vec<u8>) {
    let bus = TestBus::of(Topology::Ordered, OnFull::Block, 2, 8);
    let bytes = fs::read(path_of(bus.name())).unwrap();
    (bus, bytes)
}

#[test]
fn files_that_are_no_bus_are_corrupt() {
    let mut random = Random::of_run();
    for length in [0, 1, 511, 512, 513, 4096, 100_000] {
        for fill in [0, 0xff] {
            let file = SegmentFile::new();
            fs::write(&file.path, vec![fill; length]).unwrap();
            assert_eq!(refused(&file.name), "corrupt", "{length} bytes of {fill}");
            assert_eq!(Bus::options().create(&file.name).unwrap_err().code(), "already_exists");
            let opened = Bus::options().if_not_exists(true).create(&file.name);
            assert_eq!(opened.unwrap_err().code(), "corrupt");
        }
        let file = SegmentFile::new();
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        fs::write(&file.path, bytes).unwrap();
        assert_eq!(refused(&file.name), "corrupt");
        assert!(Bus::list().unwrap().contains(&file.name));
        Bus::remove(&file.name).expect("what is no bus can be removed all the same");
        assert!(!file.path.exists());
    }
}

/// Promise 6 (ARCHITECTURE.md).
#[test]
fn every_flipped_bit_of_the_header_is_noticed() {
    let (bus, bytes) = whole();
    let path = path_of(bus.name());
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (at, byte) in (0..512).zip(&bytes) {
        for bit in 0..8 {
            file.write_all_at(&[byte ^ (1 << bit)], at).unwrap();
            let error = Bus::open(bus.name()).expect_err("a damaged header");
            assert!(matches!(error.code(), "corrupt" | "incompatible"), "byte {at}: {error}");
        }
        file.write_all_at(&[*byte], at).unwrap();
    }
    assert!(Bus::open(bus.name()).is_ok());
}

#[test]
fn segment_of_another_layout_version_is_incompatible() {
    let (bus, bytes) = whole();
    let file = SegmentFile::new();
    let mut other = bytes.clone();
    other[8..12].copy_from_slice(&3_u32.to_le_bytes());
    fs::write(&file.path, other).unwrap();
    assert_eq!(refused(&file.name), "incompatible");
    // Under another name even an intact copy is not the bus it says it is.
    fs::write(&file.path, bytes).unwrap();
    assert_eq!(refused(&file.name), "corrupt");
    drop(bus);
}

#[test]
fn shorter_or_longer_file_is_corrupt() {
    let (bus, bytes) = whole();
    let path = path_of(bus.name());
    let length = bytes.len() as u64;
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for wrong in [0, 100, 511, 512, 4096, length - 4096, length - 1, length + 1, length * 2] {
        file.set_len(wrong).unwrap();
        assert_eq!(refused(bus.name()), "corrupt", "{wrong} of {length} bytes");
        file.set_len(length).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
    }
    assert!(Bus::open(bus.name()).is_ok());
}

#[test]
fn links_directories_and_pipes_are_refused_at_once() {
    let (bus, _) = whole();
    let link = SegmentFile::new();
    symlink(path_of(bus.name()), &link.path).unwrap();
    assert_eq!(refused(&link.name), "corrupt");
    let dangling = SegmentFile::new();
    symlink(Path::new("/nowhere"), &dangling.path).unwrap();
    assert_eq!(refused(&dangling.name), "corrupt");
    let created = Bus::options().create(&dangling.name).unwrap_err();
    assert_eq!(created.code(), "already_exists");
    assert!(!Path::new("/nowhere").exists());
    let directory = SegmentFile::new();
    fs::create_dir(&directory.path).unwrap();
    assert_eq!(refused(&directory.name), "corrupt");
    let pipe = SegmentFile::new();
    assert!(Command::new("mkfifo").arg(&pipe.path).status().unwrap().success());
    assert_eq!(refused(&pipe.name), "corrupt");
}

/// Every word after the header is anybody's who may write to the bus.
///
/// Promise 6 (ARCHITECTURE.md).
#[test]
fn words_that_no_honest_process_writes_are_errors_and_not_panics() {
    let mut random = Random::of_run();
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
            for _ in 0..10 {
                scramble(topology, on_full, &mut random);
            }
        }
    }
}

fn scramble(topology: Topology, on_full: OnFull, random: &mut Random) {
    let lanes = if topology == Topology::Single { 1 } else { 2 };
    let bus = TestBus::of(topology, on_full, lanes, 8);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut observer = bus.observer().attach().unwrap();
    let soon = Some(Duration::from_millis(1));
    let mut producer = bus.producer().timeout(soon).attach().unwrap();
    for _ in 0..20 {
        if producer.publish_bytes(0, &[1; 30]).is_err() {
            while let Ok(Some(_)) = consumer.poll() {}
        }
    }
    let file = fs::OpenOptions::new().write(true).open(path_of(bus.name())).unwrap();
    // The header is the first page; the seats' locks are not among the words.
    let words = bus.info().segment_bytes / 8;
    for _ in 0..random.within(1, words / 2) {
        let word = match random.within(0, 3) {
            0 => 0,
            1 => random.within(0, 40),
            2 => u64::MAX - random.within(0, 40),
            _ => random.next(),
        };
        file.write_all_at(&word.to_le_bytes(), random.within(512, words - 1) * 8).unwrap();
    }
    for _ in 0..15 {
        let _any = producer.publish_bytes(0, &[2; 72]).map_err(|error| error.to_string());
        let _any = producer.claim_batch(8).map(|batch| batch.commit().is_ok());
        let _any = consumer.poll().map(|frame| frame.map(|frame| frame.payload().len()));
        let _any = consumer.poll_batch(9, |run| run.for_each(|frame| drop(frame.to_owned())));
        let _any = observer.poll_batch(9, |run| run.for_each(|frame| drop(frame.to_owned())));
        consumer.release();
    }
    let _any = (consumer.lag(), consumer.lost(), consumer.order_position(), observer.lag());
    let _any = (producer.drain(Duration::ZERO), bus.stat(), bus.participants(), bus.reclaim());
    for start in [Start::Latest, Start::Oldest, Start::Position(random.next())] {
        let _any = bus.producer().timeout(soon).attach().map(|mut one| one.publish_bytes(0, &[]));
        let _any = bus.observer().start(start).attach().map(|mut one| one.poll().is_ok());
        let Ok(mut late) = bus.consumer().start(start).attach() else {
            continue;
        };
        let _any = late.recv_timeout(Duration::from_millis(1)).is_ok();
    }
}

/// Entries that name a lane whose slots show no such ticket: each would be looked for in vain.
#[test]
fn forged_entries_do_not_make_a_poll_search_for_ever() {
    const CAPACITY: u64 = 1 << 16;
    let options = Bus::options().topology(Topology::Ordered).on_full(OnFull::DropOldest);
    let bus = TestBus::new(&options.lanes(1).payload_bytes(1).capacity_frames(CAPACITY));
    let mut consumer = bus.consumer().attach().unwrap();
    let file = fs::File::options().read(true).write(true).open(path_of(bus.name())).unwrap();
    let store = |offset: u64, word: u64| file.write_all_at(&word.to_le_bytes(), offset).unwrap();
    let region = |number: u64| {
        let mut word = [0; 8];
        file.read_exact_at(&mut word, 216 + 16 * number).unwrap();
        u64::from_le_bytes(word)
    };
    let (control, heads, order) = (region(1), region(3), region(4));
    let entries = bus.info().order_capacity_entries;
    // Of lap 1, one frame, lane 0.
    let entry = ((1_u64 << 24) | (1 << 8)).to_le_bytes();
    file.write_all_at(&entry.repeat(entries as usize), order).unwrap();
    store(heads, CAPACITY);
    store(heads + 8, CAPACITY);
    store(heads + 16, 1 << 61);
    store(control + 256, entries);
    let (sender, polled) = channel();
    std::thread::spawn(move || {
        let calls = (0..5).map(|_| consumer.poll().map(|frame| frame.is_some()).is_ok());
        sender.send(calls.count())
    });
    assert_eq!(polled.recv_timeout(PATIENCE), Ok(5), "polls that come back");
}
