//! How streams start and end: `sub`, `tap`, `hz`, `bw` under signals, timeouts, loss and removal.

use crate::sandbox::{Running, Sandbox, eventually, until_consumers};
use busway::{Bus, OnFull};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

fn publish(bus: &Bus, frames: u8) {
    let mut producer = bus.producer().attach().unwrap();
    for byte in 0..frames {
        producer.publish_bytes(0, &[byte]).unwrap();
    }
}

/// `busctl` with its stdout in the test's hands.
fn piped(sandbox: &Sandbox, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = sandbox.command(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[test]
fn sub_from_oldest_reads_history_and_from_latest_does_not() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    publish(&bus, 3);
    let args = ["sub", bus.name(), "--from", "oldest", "-n", "3", "-o", "hex"];
    assert_eq!(sandbox.ok(&args), "00\n01\n02\n");
    sandbox.run(&["sub", bus.name(), "--timeout", "50ms"]).failed(6, &["no frame", "50ms"]);
    sandbox.run(&["tap", bus.name(), "--timeout", "50ms"]).failed(6, &["no frame", "50ms"]);
    let args = ["tap", bus.name(), "--from", "oldest", "-n", "3", "-o", "hex"];
    assert_eq!(sandbox.ok(&args), "00\n01\n02\n");
}

#[test]
fn ctrl_c_gives_the_seat_back() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    for signal in [Signal::INT, Signal::TERM] {
        let sub = sandbox.start(&["sub", bus.name()]);
        until_consumers(&bus, 1);
        sub.signal(signal);
        let done = sub.wait();
        assert_eq!(done.code(), 0, "{done:?}");
        assert!(bus.stat().consumers.is_empty(), "it has detached");
    }
    let publisher = sandbox.start(&["pub", bus.name(), "--rate", "1000"]);
    eventually("it publishes", || bus.stat().published > 0);
    publisher.signal(Signal::INT);
    let done = publisher.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stderr.contains("published"), "{done:?}");
    assert!(bus.stat().lanes.iter().all(|lane| lane.producer.is_none()));
}

#[test]
fn ctrl_c_ends_a_pub_that_waits() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(2));
    let attached = |count: usize| {
        bus.stat().lanes.iter().filter(|lane| lane.producer.is_some()).count() == count
    };
    let mut waiting = vec![sandbox.start(&["pub", bus.name(), "--wait-consumers", "2"])];
    let mut command = sandbox.command(&["pub", bus.name(), "--stdin", "hex"]);
    // A stdin that stays open and silent.
    command.stdin(Stdio::piped());
    waiting.push(Running::start(&mut command, None));
    let _stuck = bus.consumer().attach().unwrap();
    waiting.push(sandbox.start(&["pub", bus.name(), "-n", "9"]));
    eventually("all are attached", || attached(3));
    eventually("the lane is full", || bus.stat().published == 2);
    for waiting in &waiting {
        waiting.signal(Signal::INT);
    }
    for done in waiting.into_iter().map(Running::wait) {
        assert_eq!(done.code(), 0, "{done:?}");
    }
    assert!(attached(0));
}

#[test]
fn a_bus_that_is_removed_ends_its_streams() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let endless = sandbox.start(&["sub", bus.name(), "-o", "hex"]);
    let counted = sandbox.start(&["sub", bus.name(), "-n", "9", "-o", "hex"]);
    until_consumers(&bus, 2);
    publish(&bus, 2);
    Bus::remove(bus.name()).unwrap();
    let done = endless.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(done.stdout, "00\n01\n", "what was published before is read first");
    assert!(done.stderr.contains("was removed"), "{done:?}");
    counted.wait().failed(3, &["removed", "9 frames"]);
}

#[test]
fn sub_outlives_its_producers() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let (mut sub, mut lines) = piped(&sandbox, &["sub", bus.name(), "-n", "2", "-o", "hex"]);
    until_consumers(&bus, 1);
    publish(&bus, 1);
    assert_eq!(lines.next().unwrap().unwrap(), "00");
    // All producers are gone now; the next one is heard as well.
    publish(&bus, 1);
    assert_eq!(lines.next().unwrap().unwrap(), "00");
    assert_eq!(sub.wait().unwrap().code(), Some(0));
}

#[test]
fn frames_are_written_as_they_come() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    for verb in ["sub", "tap"] {
        let (mut child, mut lines) = piped(&sandbox, &[verb, bus.name(), "-o", "hex"]);
        let mut producer = bus.producer().attach().unwrap();
        // A tap takes no seat to wait for: publish until the first line comes.
        let (first, line) = std::sync::mpsc::channel();
        std::thread::spawn(move || first.send(lines.next().unwrap().unwrap()));
        let mut got = None;
        eventually("a line comes", || {
            producer.publish_bytes(0, &[0xab]).unwrap();
            got = line.recv_timeout(std::time::Duration::from_millis(5)).ok();
            got.is_some()
        });
        assert_eq!(got.as_deref(), Some("ab"), "{verb}");
        child.kill().unwrap();
        child.wait().unwrap();
        bus.reclaim().unwrap();
    }
}

#[test]
fn a_slow_sub_of_a_lossy_bus_reports_the_gap_and_strict_is_code_9() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4).on_full(OnFull::DropOldest));
    let sub = sandbox.start(&["sub", bus.name(), "-n", "2", "-o", "hex"]);
    let strict = sandbox.start(&["sub", bus.name(), "--strict", "-o", "hex"]);
    until_consumers(&bus, 2);
    sub.freeze();
    strict.freeze();
    publish(&bus, 100);
    sub.thaw();
    strict.thaw();
    let done = sub.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stderr.starts_with("warning: gap: "), "{done:?}");
    let done = strict.wait();
    assert_eq!(done.code(), 9, "{done:?}");
    assert!(done.stderr.contains("error: ") && done.stderr.contains("lost"), "{done:?}");
}

#[test]
fn a_slow_tap_holds_nobody_up_and_reports_the_gap() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4));
    publish(&bus, 1);
    let (mut child, mut lines) =
        piped(&sandbox, &["tap", bus.name(), "--from", "oldest", "--strict", "-o", "hex"]);
    assert_eq!(lines.next().unwrap().unwrap(), "00", "it is attached");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    // On a bus that blocks: a tap is no consumer.
    publish(&bus, 100);
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));

    let tap = sandbox.start(&["tap", bus.name(), "--from", "oldest", "-n", "4", "-o", "hex"]);
    let done = tap.wait();
    assert_eq!((done.code(), done.stderr.as_str()), (0, ""), "{done:?}");
    assert_eq!(done.stdout, "60\n61\n62\n63\n", "what the ring still holds");
}

#[test]
fn hz_and_bw_report_rates_and_end_after_so_many() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |o| o.timestamps(busway::Timestamps::Frame));
    let feeder = sandbox.start(&["pub", bus.name(), "--rate", "2000"]);
    eventually("it publishes", || bus.stat().published > 0);
    let json = |verb: &str| -> Vec<Value> {
        let args = [verb, bus.name(), "--every", "100ms", "-n", "3", "--json"];
        sandbox.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let lines = json("hz");
    assert_eq!(lines.len(), 3);
    let last = &lines[2];
    assert_eq!(last["schema"], "busway.hz/1");
    assert!(last["rate_hz"].as_f64().unwrap() > 0.0, "{last}");
    assert!(last["interval_max_ns"].as_u64() >= last["interval_min_ns"].as_u64(), "{last}");
    assert!(last["window_frames"].as_u64().unwrap() >= 2, "{last}");
    let lines = json("bw");
    assert_eq!(lines[2]["schema"], "busway.bw/1");
    assert_eq!(lines[2]["frame_mean_bytes"], 48.0);
    assert!(lines[2]["bytes_per_s"].as_f64().unwrap() > 0.0);
    let text = sandbox.ok(&["hz", bus.name(), "--every", "100ms", "-n", "2"]);
    assert!(text.contains("average rate: ") && text.contains("std dev: "), "{text}");
    let text = sandbox.ok(&["bw", bus.name(), "--every", "100ms", "-n", "2"]);
    assert!(text.contains("average: ") && text.contains("mean: 48.0 B"), "{text}");
    drop(feeder);
    sandbox.run(&["hz", bus.name(), "--timeout", "50ms"]).failed(6, &["no frame"]);
    let quiet = sandbox.ok(&["hz", bus.name(), "--every", "10ms", "-n", "1"]);
    assert_eq!(quiet, "no new frames\n");
    sandbox.run(&["hz", bus.name(), "--window", "1"]).failed(2, &["1 is out of range", "1048576"]);
}

#[test]
fn bus_of_a_stranger_is_used_only_when_its_owner_is_named() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    publish(&bus, 1);
    for verb in ["tap", "sub", "hz", "bw", "pub"] {
        sandbox
            .run(&[verb, bus.name(), "--owner", "65534"])
            .failed(5, &["user 65534 was expected"]);
        sandbox.run(&[verb, bus.name(), "--owner", "no-such-user"]).failed(2, &["no-such-user"]);
    }
    let path = format!("/dev/shm/busway.{}", bus.name());
    std::os::unix::fs::chown(path, Some(65534), None).unwrap();
    for verb in ["sub", "pub"] {
        sandbox.run(&[verb, bus.name()]).failed(5, &["no reason to trust", "--owner USER"]);
    }
    sandbox.ok(&["pub", bus.name(), "--owner", "65534"]);
    let args = ["sub", bus.name(), "--owner", "65534", "--from", "oldest", "-n", "1", "-o", "hex"];
    assert_eq!(sandbox.ok(&args), "00\n");
}

#[test]
fn seats_that_are_taken_are_named() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.consumers(1).lanes(1));
    let _consumer = bus.consumer().name("first").attach().unwrap();
    let _producer = bus.producer().name("lead").attach().unwrap();
    let pid = std::process::id().to_string();
    sandbox.run(&["sub", bus.name()]).failed(1, &["consumer", "first", &pid, "busctl ps"]);
    sandbox.run(&["pub", bus.name()]).failed(1, &["producer", "lead", &pid]);
}

#[test]
fn sub_of_several_buses_names_them_and_outlives_some() {
    let sandbox = Sandbox::new();
    let (first, second) =
        (sandbox.bus("one", |options| options), sandbox.bus("two", |options| options));
    publish(&first, 2);
    publish(&second, 1);
    let (one, two) = (first.name(), second.name());
    let oldest = ["sub", one, two, "--from", "oldest", "-n", "3", "-o", "hex"];
    let text = sandbox.ok(&oldest);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let mut expected = [format!("{one} 00"), format!("{one} 01"), format!("{two} 00")];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    let json = sandbox.ok(&["sub", two, one, "--from", "oldest", "-n", "3", "--json"]);
    let buses: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(buses.iter().filter(|frame| frame["bus"] == one).count(), 2);
    sandbox.run(&["sub", one, two, "--timeout", "50ms"]).failed(6, &["no frame", "50ms"]);
    sandbox.run(&["sub", one, two, "-o", "csv"]).failed(2, &["one bus", "jsonl"]);

    let (mut child, mut lines) = piped(&sandbox, &["sub", one, two, "-o", "hex"]);
    until_consumers(&first, 1);
    until_consumers(&second, 1);
    Bus::remove(one).unwrap();
    publish(&second, 1);
    assert_eq!(lines.next().unwrap().unwrap(), format!("{two} 00"));
    Bus::remove(two).unwrap();
    assert!(child.wait().unwrap().success());
}
