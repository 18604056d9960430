//! A C program that knows only docs/format.md reads what Rust publishes.
//!
//! Without a C compiler there is nothing to show, and the tests say so and pass; where the
//! environment has `CI` set that is a failure.

mod scratch;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use busway::{Bus, FrameLayout, OnFull, Schema, Start, Timestamps, Topology};
use scratch::Name;

/// The reader, compiled once per run; `None` without a C compiler.
fn reader() -> Option<&'static Path> {
    static READER: OnceLock<Option<PathBuf>> = OnceLock::new();
    READER.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/reader.c");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let fresh = directory.join(format!("c-reader-{}", std::process::id()));
    let program = directory.join("c-reader");
    let compiled = Command::new("cc")
        .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o"])
        .arg(&fresh)
        .arg(source)
        .arg("-lrt")
        .output();
    match compiled {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "reader.c does not compile:\n{said}");
            // Another run of this test may be using the one that is there.
            std::fs::rename(&fresh, &program).unwrap();
            Some(program)
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "no C compiler `cc`: {error}");
            eprintln!("skipped: no C compiler `cc` ({error})");
            None
        }
    }
}

/// Runs the reader; what it printed.
fn read(reader: &Path, arguments: &[&str]) -> String {
    let output = Command::new(reader).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "reader {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// What the reader should print of a bus's header.
fn geometry(bus: &Bus) -> String {
    let info = bus.info();
    format!(
        "topology {} frames {} on_full {} timestamps {}\n\
         payload_bytes {} align_bytes {} stride_bytes {}\n\
         capacity {} lanes {} consumers {} order_capacity {}\n\
         origin {} segment_bytes {} schema_hash {:016x}\n",
        info.topology.number(),
        info.frames.number(),
        info.on_full.number(),
        info.timestamps.number(),
        info.payload_bytes,
        info.align_bytes,
        info.stride_bytes,
        info.capacity_frames,
        info.lanes,
        info.consumers,
        info.order_capacity_entries,
        info.origin,
        info.segment_bytes,
        info.schema_hash,
    )
}

/// The frames that an observer of ours sees, as the reader prints them, lane by lane.
fn frames(bus: &Bus) -> String {
    let mut observer = bus.observer().start(Start::Oldest).attach().unwrap();
    let mut lanes: BTreeMap<u32, String> = BTreeMap::new();
    while let Some(frame) = observer.poll().unwrap() {
        let _infallible = writeln!(
            lanes.entry(frame.lane()).or_default(),
            "frame lane {} position {} time_ns {} kind {} flags {} payload {}",
            frame.lane(),
            frame.position(),
            frame.time_ns(),
            frame.kind(),
            frame.flags(),
            hex(frame.payload()),
        );
    }
    lanes.into_values().collect()
}

#[test]
fn events_of_several_lanes_come_out_as_they_were_published() {
    let Some(reader) = reader() else { return };
    let schema = r#"{"name":"any","size_bytes":40,"fields":[
        {"name":"bytes","type":"u8","count":40}]}"#;
    for on_full in [OnFull::Block, OnFull::DropOldest] {
        for origin in [0, 77, u64::MAX - 20] {
            let name = Name::new();
            let bus = Bus::options()
                .on_full(on_full)
                .timestamps(Timestamps::Frame)
                .capacity_frames(16)
                .lanes(4)
                .origin(origin)
                .schema(Schema::from_json(schema).unwrap())
                .create(&name)
                .unwrap();
            let mut producers: Vec<_> = (0..3).map(|_| bus.producer().attach().unwrap()).collect();
            for number in 0..100_u8 {
                let producer = &mut producers[usize::from(number % 3)];
                let payload: Vec<u8> = (0..number % 41).map(|byte| byte ^ number).collect();
                producer.publish_bytes(u16::from(number) << 4, &payload).unwrap();
            }
            let frames = frames(&bus);
            assert!(frames.lines().count() > 40, "{frames}");
            assert_eq!(read(reader, &[&name, "dump"]), geometry(&bus) + &frames);
        }
    }
}

#[test]
fn bare_frames_and_their_order_come_out_as_they_were_published() {
    let Some(reader) = reader() else { return };
    for origin in [0, u64::MAX - 20] {
        let name = Name::new();
        let bus = Bus::options()
            .topology(Topology::Ordered)
            .frames(FrameLayout::Bare)
            .payload_bytes(9)
            .align_bytes(16)
            .capacity_frames(32)
            .lanes(3)
            .origin(origin)
            .create(&name)
            .unwrap();
        let mut producers: Vec<_> = (0..2).map(|_| bus.producer().attach().unwrap()).collect();
        let mut order = String::new();
        let runs = [(0, 3), (1, 1), (1, 4), (0, 2), (1, 5), (0, 1)];
        for (step, (lane, run)) in (0_u8..).zip(runs) {
            let mut batch = producers[lane].claim_batch(run).unwrap();
            for index in 0..run {
                let fill = step << 4 | u8::try_from(index).unwrap();
                batch.frame(index).unwrap().payload_mut().fill(fill);
            }
            let position = batch.commit().unwrap();
            let ticket = origin.wrapping_add(step.into());
            let _infallible =
                writeln!(order, "order ticket {ticket} lane {lane} run {run} position {position}");
        }
        let frames = frames(&bus);
        assert_eq!(frames.lines().count(), 16);
        assert_eq!(read(reader, &[&name, "dump"]), geometry(&bus) + &frames + &order);
    }
}

/// A payload that knows whether it is whole: a number, what follows from it, and a checksum.
fn checked(number: u64) -> [u8; 120] {
    let mut payload = [0; 120];
    let (words, _) = payload.as_chunks_mut::<8>();
    let mut sum = 0;
    for (index, word) in (0..14).zip(words.iter_mut()) {
        let value = (number + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum ^= value.rotate_left(u32::try_from(index).unwrap());
        *word = value.to_le_bytes();
    }
    words[14] = sum.to_le_bytes();
    payload
}

/// Whether a payload in hex is one of those; the same computed from what is there.
fn is_whole(payload: &str) -> bool {
    let word = |index: usize| {
        let digits = payload.get(index * 16..index * 16 + 16)?;
        Some(u64::from_str_radix(digits, 16).ok()?.swap_bytes())
    };
    let Some(words) = (0..15).map(word).collect::<Option<Vec<_>>>() else {
        return false;
    };
    let pairs = (0_u32..).zip(&words[..14]);
    let sum = pairs.fold(0, |sum, (index, word)| sum ^ word.rotate_left(index));
    payload.len() == 240 && sum == words[14]
}

/// Stops the publisher, also when the test fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn whatever_comes_out_under_full_load_is_whole() {
    const FRAMES: usize = 20_000;
    let Some(reader) = reader() else { return };
    for topology in [Topology::Lanes, Topology::Ordered] {
        let name = Name::new();
        let bus = Bus::options()
            .topology(topology)
            .on_full(OnFull::DropOldest)
            .payload_bytes(120)
            .capacity_frames(64)
            .lanes(2)
            .origin(u64::MAX - 1000)
            .create(&name)
            .unwrap();
        let stop = AtomicBool::new(false);
        let mut producer = bus.producer().attach().unwrap();
        thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    producer.publish_bytes(1, &checked(number)).unwrap();
                    number += 1;
                }
                number
            });
            let guard = StopWhenDropped(&stop);
            let printed = read(reader, &[&name, "follow", &FRAMES.to_string()]);
            drop(guard);
            let published = publisher.join().unwrap();
            let mut lines: Vec<_> = printed.lines().collect();
            let summary = lines.pop().unwrap();
            assert!(summary.starts_with("lost "), "{summary}");
            assert_eq!(lines.len(), FRAMES);
            for line in &lines {
                let (_, payload) = line.rsplit_once(' ').unwrap();
                assert!(is_whole(payload), "a torn frame was taken for whole: {line}");
            }
            println!("{topology}: {published} published, {FRAMES} printed, {summary}");
        });
    }
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let Some(reader) = reader() else { return };
    let name = Name::new();
    let bus = Bus::options().capacity_frames(2).lanes(1).create(&name).unwrap();
    let path = name.path();
    let good = std::fs::read(&path).unwrap();
    drop(bus);
    // A byte of the magic, the version, a size, the name, a region's offset, and the checksum.
    for at in [0, 8, 40, 64, 152, 232, 320, 504] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let status = Command::new(reader)
            .args([&*name, "dump"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1), "byte {at} was changed");
        assert!(Bus::open(&name).is_err(), "byte {at} was changed");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(read(reader, &[&name, "dump"]).starts_with("topology 1 "));
}
