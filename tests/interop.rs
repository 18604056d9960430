//! A program written with the `shared_memory` crate opens a bus by its POSIX name.
//!
//! The program is examples/shared_memory_reader.rs, run here in a process of its own. It maps
//! the segment for reading and writing, as that crate always does, and never unlinks what it did
//! not create: afterwards the bus must be what it was.

#[path = "../examples/shared_memory_reader.rs"]
mod reader;
mod scratch;

use std::fs;
use std::process::{Command, Output};

use busway::{Bus, FrameLayout, OnFull, Topology};
use scratch::Name;

/// Names the bus to the child.
const CHILD: &str = "BUSWAY_TEST_INTEROP_CHILD";

/// Runs the example's program on a bus.
fn run(name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_reads", "--nocapture"])
        .env(CHILD, name)
        .output()
        .unwrap()
}

#[test]
fn child_reads() {
    if let Ok(name) = std::env::var(CHILD) {
        match reader::read(&name) {
            Ok(text) => print!("\n{text}"),
            Err(error) => {
                eprintln!("error: {error}");
                std::process::exit(1);
            }
        }
    }
}

/// What the reader prints for a bus and its last frame.
fn expected(bus: &Bus, position: u64, payload: &str) -> String {
    let info = bus.info();
    format!(
        "bus {}: {} lanes of {} frames of {} bytes\nframe {position} of lane 0: {payload}\n",
        info.name, info.lanes, info.capacity_frames, info.payload_bytes,
    )
}

fn bytes_of(name: &Name) -> Vec<u8> {
    fs::read(name.path()).unwrap()
}

#[test]
fn shared_memory_reads_header_and_frame_and_leaves_the_bus_alone() {
    for on_full in [OnFull::Block, OnFull::DropOldest] {
        let name = Name::new();
        let options = Bus::options().on_full(on_full).capacity_frames(8).origin(u64::MAX - 3);
        let bus = options.create(&name).unwrap();
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        for number in 0..7_u8 {
            producer.publish_bytes(7, format!("frame {number}").as_bytes()).unwrap();
        }
        let before = bytes_of(&name);
        let output = run(&name);
        let printed = String::from_utf8(output.stdout).unwrap();
        let want = expected(&bus, producer.position().wrapping_sub(1), "\"frame 6\" (kind 7)");
        assert!(printed.contains(&want), "{printed:?} does not have {want:?}");

        assert_eq!(bytes_of(&name), before, "the reader changed the segment");
        assert!(Bus::list().unwrap().iter().any(|listed| *listed == *name));
        assert!(!bus.is_removed());
        producer.publish_bytes(7, b"goes on").unwrap();
        let mut read = 0;
        while let Some(frame) = consumer.poll().unwrap() {
            assert!(!frame.payload().is_empty());
            read += 1;
        }
        assert_eq!((read, consumer.lost()), (8, 0));
    }
}

#[test]
fn shared_memory_reads_a_bare_frame() {
    let name = Name::new();
    let bus = Bus::options()
        .topology(Topology::Single)
        .frames(FrameLayout::Bare)
        .payload_bytes(5)
        .create(&name)
        .unwrap();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, b"first").unwrap();
    let printed = String::from_utf8(run(&name).stdout).unwrap();
    assert!(printed.contains(&expected(&bus, 0, "\"first\" (kind 0)")), "{printed}");
}

#[test]
fn shared_memory_reader_says_why_it_reads_nothing() {
    let name = Name::new();
    let error = String::from_utf8(run(&name).stderr).unwrap();
    assert!(error.contains(&*name), "{error}");

    let bus = Bus::options().create(&name).unwrap();
    let error = String::from_utf8(run(&name).stderr).unwrap();
    assert!(error.contains("nothing published"), "{error}");
    drop(bus);

    fs::write(name.path(), b"not a bus").unwrap();
    let error = String::from_utf8(run(&name).stderr).unwrap();
    assert!(error.contains("not a busway segment"), "{error}");
    assert_eq!(bytes_of(&name), b"not a bus");
}
