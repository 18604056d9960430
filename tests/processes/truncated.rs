//! Segments that a peer with write access cuts short while others work on them: an error for them,
//! and no end of their processes.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use busway::{Bus, OnFull, PollError, PublishError, Start, Topology};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

use crate::support::bus::{TestBus, path_of};

const CAPACITY: u64 = 64;

fn truncate(bus: &Bus, bytes: u64) {
    let file = std::fs::File::options().write(true).open(path_of(bus.name())).unwrap();
    file.set_len(bytes).unwrap();
}

/// Every part of a bus that a cut may leave, with somebody at work on each.
fn cuts(bus: &Bus) -> Vec<u64> {
    let all = bus.info().segment_bytes;
    (0..all / 4096).map(|page| page * 4096 + page % 3).collect()
}

/// Promise 6 (ARCHITECTURE.md).
#[test]
fn who_is_attached_gets_an_error_wherever_the_segment_is_cut() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
            let cuts = cuts(&TestBus::of(topology, on_full, 1, CAPACITY));
            // The first, the last, and some between: each is a bus of its own.
            for cut in cuts.iter().step_by(cuts.len().div_ceil(6)).chain(cuts.last()) {
                work_on_a_cut_bus(topology, on_full, *cut);
            }
        }
    }
}

fn work_on_a_cut_bus(topology: Topology, on_full: OnFull, cut: u64) {
    let context = format!("{topology} {on_full} cut at {cut}");
    let bus = TestBus::of(topology, on_full, 1, CAPACITY);
    let mut producer = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
    let mut observer = bus.observer().start(Start::Oldest).attach().unwrap();
    for _ in 0..CAPACITY / 2 {
        producer.publish_bytes(1, b"whole").unwrap();
    }
    assert!(consumer.poll().unwrap().is_some() && observer.poll().unwrap().is_some());

    truncate(&bus, cut);
    // What is still there may be used for a while; what is missing must come as an error, and no
    // call may hang or end the process.
    let ends = (0..4 * CAPACITY).find_map(|_| producer.try_publish_bytes(1, b"lost").err());
    let over = match ends {
        // The page of the cut stays; when it is the last, no page is missing.
        None => cut.next_multiple_of(4096) >= bus.info().segment_bytes,
        Some(error) => matches!(error, PublishError::Truncated | PublishError::Full),
    };
    assert!(over, "{context}: {ends:?}");
    let ends = (0..4 * CAPACITY).find_map(|_| consumer.poll().err());
    let over = matches!(ends, None | Some(PollError::Truncated | PollError::Corrupt { .. }));
    assert!(over, "{context}: {ends:?}");
    let ends = (0..4 * CAPACITY).find_map(|_| observer.poll().err());
    assert!(matches!(ends, None | Some(PollError::Truncated)), "{context}: {ends:?}");
    let _whatever = (bus.stat(), bus.participants());
    assert_eq!(Bus::open(bus.name()).unwrap_err().code(), "corrupt", "{context}");
    assert!(bus.reclaim().is_err(), "{context}");
    drop((producer, consumer, observer));
}

#[test]
fn cut_data_is_told_to_whoever_comes_to_it() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    let mut producer = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let data = bus.info().segment_bytes - 8192;
    producer.publish_bytes(1, b"whole").unwrap();
    truncate(&bus, data);
    assert!(!bus.is_truncated());
    let ends = (0..4 * CAPACITY).find_map(|_| {
        let polled = consumer.poll().map(|frame| frame.is_some());
        producer.try_publish_bytes(1, b"lost").err().zip(polled.err())
    });
    assert_eq!(ends, Some((PublishError::Truncated, PollError::Truncated)));
}

#[test]
fn other_buses_of_the_process_go_on() {
    let cut = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    let whole = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    truncate(&cut, 4096);
    let _nonsense = cut.stat();
    assert!(cut.is_truncated() && !whole.is_truncated());
    let mut producer = whole.producer().attach().unwrap();
    let mut consumer = whole.consumer().attach().unwrap();
    for number in 0..10 * CAPACITY {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        assert_eq!(consumer.poll().unwrap().unwrap().payload(), number.to_le_bytes());
    }
}

/// Tells a child of `foreign_faults_end_the_process_as_ever` what to do.
const FAULT: &str = "BUSWAY_TEST_TRUNCATED_FAULT";

/// Tells a child of `signals_that_somebody_sends_do_what_they_did_before` what to do.
const SENT: &str = "BUSWAY_TEST_TRUNCATED_SENT";

/// Not a test: what the child runs. Sends itself the signal that a missing page raises.
#[test]
fn child_is_sent_the_signal() {
    let Ok(how) = std::env::var(SENT) else {
        return;
    };
    let before = if how == "ignored" { SigHandler::SigIgn } else { SigHandler::SigDfl };
    let action = SigAction::new(before, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler.
    unsafe { sigaction(Signal::SIGBUS, &action) }.unwrap();
    let bus = Bus::options().create(&format!("t-{}-sent", std::process::id())).unwrap();
    // It would be left behind by a process that ends here.
    Bus::remove(bus.name()).unwrap();
    raise(Signal::SIGBUS).unwrap();
    assert_eq!(how, "ignored", "the signal was swallowed");
    // The handler is still there for what it is for.
    work_on_a_cut_bus(Topology::Lanes, OnFull::Block, 4096);
    // SAFETY: _exit has no precondition.
    unsafe { libc::_exit(43) }
}

#[test]
fn signals_that_somebody_sends_do_what_they_did_before() {
    let child = |how: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["truncated::child_is_sent_the_signal", "--exact", "--nocapture"])
            .env(SENT, how)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    assert_eq!(child("deadly").signal(), Some(libc::SIGBUS));
    assert_eq!(child("ignored").code(), Some(43));
}

/// Not a test: what the child runs. Touches a missing page of a file that is no bus.
#[test]
fn child_touches_a_missing_page() {
    let Ok(how) = std::env::var(FAULT) else {
        return;
    };
    if how == "with a handler" {
        // The program's own handler was there before busway: it is asked for what busway does not
        // know.
        extern "C" fn leave(_signal: i32) {
            // SAFETY: _exit is async-signal-safe.
            unsafe { libc::_exit(42) }
        }
        let action = SigAction::new(SigHandler::Handler(leave), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler calls _exit alone.
        unsafe { sigaction(Signal::SIGBUS, &action) }.unwrap();
    }
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    let file = tempfile_of_a_page();
    let length = std::num::NonZeroUsize::new(4096).unwrap();
    let (read, shared) =
        (nix::sys::mman::ProtFlags::PROT_READ, nix::sys::mman::MapFlags::MAP_SHARED);
    // SAFETY: no address is asked for.
    let page = unsafe { nix::sys::mman::mmap(None, length, read, shared, &file, 0) }.unwrap();
    file.set_len(0).unwrap();
    // The bus would be left behind by a process that ends here.
    drop(bus);
    // SAFETY: mapped above; that the file is shorter now is what this is about.
    let _byte = unsafe { page.cast::<u8>().as_ptr().read_volatile() };
    unreachable!("a missing page was read");
}

fn tempfile_of_a_page() -> std::fs::File {
    let path = std::env::temp_dir().join(format!("busway-test-{}", std::process::id()));
    let mut options = std::fs::File::options();
    let file = options.read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.set_len(4096).unwrap();
    file
}

#[test]
fn foreign_faults_end_the_process_as_ever() {
    let child = |how: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["truncated::child_touches_a_missing_page", "--exact", "--nocapture"])
            .env(FAULT, how)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    assert_eq!(child("without a handler").signal(), Some(libc::SIGBUS));
    assert_eq!(child("with a handler").code(), Some(42));
}
