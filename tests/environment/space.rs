//! No space in /dev/shm, and limits on the size of files, on memory and on descriptors.

use std::io::Write;

use busway::{Bus, Error, OnFull};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::child::{Actor, Roles, namespaces, play};
use crate::scratch::Name;

pub const ROLES: Roles =
    &[("file_size", file_size), ("memory", memory), ("descriptors", descriptors), ("full", full)];

/// A bus with a lane of some MiB.
fn large() -> busway::BusOptions {
    Bus::options().lanes(1).consumers(2).capacity_frames(1 << 16).payload_bytes(112)
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn limit_on_the_size_of_files_is_an_error_and_no_signal() {
    let name = Name::new();
    play("file_size", &name);
    assert!(!name.path().exists());
}

fn file_size(name: &str) {
    let limits = getrlimit(Resource::Fsize);
    let small = Rlimit { current: Some(64 << 10), ..limits };
    setrlimit(Resource::Fsize, small).unwrap();
    // By default the signal that the kernel sends at the limit (SIGXFSZ) ends the process.
    let error = large().create(name).unwrap_err();
    assert_eq!(error.code(), "io");
    assert!(error.to_string().contains("ulimit -f"), "{error}");
    assert!(Bus::list().unwrap().iter().all(|listed| listed != name));
    // What fits may be made.
    drop(Bus::options().lanes(1).capacity_frames(4).create(name).unwrap());
    Bus::remove(name).unwrap();
    setrlimit(Resource::Fsize, limits).unwrap();
    drop(large().create(name).unwrap());
    Bus::remove(name).unwrap();
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn limit_on_memory_is_an_error_of_attaching() {
    let name = Name::new();
    drop(large().create(&name).unwrap());
    play("memory", &name);
}

fn memory(name: &str) {
    let bus = Bus::open(name).unwrap();
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split_whitespace().next().unwrap().parse().unwrap();
    let limits = getrlimit(Resource::As);
    // Room for what the test needs, not for a lane.
    let small = Rlimit { current: Some((pages << 12) + (2 << 20)), ..limits };
    setrlimit(Resource::As, small).unwrap();
    let errors = [
        bus.producer().attach().map(drop).unwrap_err(),
        bus.consumer().attach().map(drop).unwrap_err(),
        bus.observer().attach().map(drop).unwrap_err(),
    ];
    setrlimit(Resource::As, limits).unwrap();
    for error in errors {
        assert!(error.to_string().starts_with("could not map the segment: "), "{error}");
    }
    assert!(bus.participants().is_empty());
    let _ends = (bus.producer().attach().unwrap(), bus.consumer().attach().unwrap());
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn limit_on_descriptors_is_an_error_of_opening_and_attaching() {
    let name = Name::new();
    drop(large().create(&name).unwrap());
    play("descriptors", &name);
}

fn descriptors(name: &str) {
    let bus = Bus::open(name).unwrap();
    let limits = getrlimit(Resource::Nofile);
    // Numbers from here on are not given out; what is open stays open.
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..limits }).unwrap();
    let errors = [
        bus.producer().attach().map(drop).unwrap_err(),
        bus.consumer().attach().map(drop).unwrap_err(),
        bus.observer().attach().map(drop).unwrap_err(),
        bus.reclaim().map(drop).unwrap_err(),
        Bus::open(name).map(drop).unwrap_err(),
        Bus::list().map(drop).unwrap_err(),
        large().create("t-never").map(drop).unwrap_err(),
    ];
    setrlimit(Resource::Nofile, limits).unwrap();
    for error in errors {
        assert!(error.to_string().contains("Too many open files"), "{error}");
    }
    assert!(bus.participants().is_empty());
    drop(bus.producer().attach().unwrap());
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn full_shared_memory_refuses_new_buses_and_harms_no_old_one() {
    let name = Name::new();
    Actor::start_through(&own_shared_memory(), "full", &name).finish();
    assert!(!name.path().exists(), "it was in a /dev/shm of its own");
}

/// A program that executes its arguments with a /dev/shm of their own, of 4 MiB.
fn own_shared_memory() -> Vec<&'static str> {
    let mut program = namespaces(&["--mount"]);
    let script = "mount -t tmpfs -o size=4m tmpfs /dev/shm && exec \"$@\"";
    program.extend(["sh", "-c", script, "sh"]);
    program
}

fn full(name: &str) {
    let small = Bus::options().lanes(1).capacity_frames(64).on_full(OnFull::DropOldest);
    let bus = small.create(name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let free = || rustix::fs::statvfs("/dev/shm").unwrap().f_bfree;
    let before = free();
    let error = large().create("t-large").unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!((free(), Bus::list().unwrap()), (before, vec![name.to_owned()]));

    // Nothing is free any more; the bus has all its pages.
    let mut filler = std::fs::File::create("/dev/shm/filler").unwrap();
    while filler.write_all(&[1; 4096]).is_ok() {}
    assert_eq!(free(), 0);
    let mut consumer = bus.consumer().attach().unwrap();
    for number in 0..1000_u64 {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        assert_eq!(consumer.poll().unwrap().unwrap().payload(), number.to_le_bytes());
    }
    let error = small.create("t-small").unwrap_err();
    assert_eq!(error.code(), "no_space");
    assert_eq!(Bus::list().unwrap(), [name]);
}
