//! `check`: limits, verdicts and exit codes, to people, to programs and to monitoring.

use crate::sandbox::{Done, Sandbox, eventually, until_consumers};
use busway::{Bus, OnFull, Start, Timestamps};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What the plugin says and ends with.
fn plugin(sandbox: &Sandbox, args: &[&str]) -> (i32, String) {
    let done = sandbox.run(&[&["check", "--format", "nagios"], args].concat());
    assert_eq!(done.stdout.lines().count(), 1, "{done:?}");
    assert_eq!(done.stderr, "", "{done:?}");
    (done.code(), done.stdout.trim_end().to_owned())
}

/// The part of a document with this name.
#[track_caller]
fn part<'a>(document: &'a Value, check: &str) -> &'a Value {
    let parts = document["checks"].as_array().unwrap();
    parts
        .iter()
        .find(|part| part["check"] == check)
        .unwrap_or_else(|| panic!("{check}: {document}"))
}

fn document(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

fn publish(bus: &Bus, frames: u32) {
    let mut producer = bus.producer().attach().unwrap();
    for _ in 0..frames {
        producer.publish_bytes(0, b"x").unwrap();
    }
}

#[test]
fn a_bus_without_limits_is_checked_for_its_health() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(16));
    let page = sandbox.ok(&["check", bus.name()]);
    assert!(page.starts_with("ok       health healthy\nok       lag    0 frames\n"), "{page}");
    let (code, line) = plugin(&sandbox, &[bus.name()]);
    let name = bus.name();
    let expected =
        format!("BUSWAY OK - {name}: healthy, lag 0 frames, lost 0 frames | lag=0;;;0 lost=0;;;0");
    assert_eq!((code, line), (0, expected));
    assert!(bus.participants().is_empty());

    let reader = sandbox.start(&["sub", name]);
    until_consumers(&bus, 1);
    reader.signal(Signal::KILL);
    reader.wait();
    // Nobody waits on this bus, so nobody gives the seat back.
    let done = sandbox.run(&["check", name, "--json"]);
    assert_eq!((done.code(), &document(&done)["state"]), (10, &json!("critical")), "{done:?}");
    let health = part(&document(&done), "health").clone();
    assert!(health["message"].as_str().unwrap().contains("held by the dead"), "{health}");
    assert_eq!(plugin(&sandbox, &[name]).0, 2);
    bus.reclaim().unwrap();
    assert_eq!(plugin(&sandbox, &[name]).0, 0);
}

#[test]
fn the_furthest_behind_is_named_and_held_to_the_limit() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(16).lanes(2));
    let name = bus.name();
    // A name of a participant is what it likes: it shall not pass for performance data.
    let slow = bus.consumer().name("a|lag=0\nb").start(Start::Latest).attach().unwrap();
    publish(&bus, 3);
    let _prompt = bus.consumer().name("prompt").start(Start::Latest).attach().unwrap();
    publish(&bus, 1);

    let (code, line) = plugin(&sandbox, &[name, "--max-lag", "4"]);
    assert_eq!(code, 0, "{line}");
    assert!(line.ends_with(" | lag=4;;4;0 lost=0;;;0"), "{line}");
    assert_eq!(line.matches('|').count(), 1, "{line}");
    let (code, line) = plugin(&sandbox, &[name, "--max-lag", "3:10"]);
    assert_eq!(code, 1, "{line}");
    assert!(
        line.starts_with(&format!("BUSWAY WARNING - {name}: lag 4 frames (at most 3")),
        "{line}"
    );
    assert!(line.ends_with(" | lag=4;3;10;0 lost=0;;;0"), "{line}");
    assert_eq!(plugin(&sandbox, &[name, "--max-lag", "3"]).0, 2);

    assert_eq!(sandbox.run(&["check", name, "--max-lag", "3:10"]).code(), 0, "a warning alone");
    let done = sandbox.run(&["check", name, "--max-lag", "1:3", "--format", "json"]);
    assert_eq!(done.code(), 10, "{done:?}");
    let document = document(&done);
    assert_eq!(document["schema"], "busway.check/1");
    assert_eq!((&document["bus"], &document["state"]), (&json!(name), &json!("critical")));
    let lag = part(&document, "lag");
    assert_eq!((&lag["value"], &lag["unit"]), (&json!(4), &json!("frames")));
    assert_eq!((&lag["warning"], &lag["critical"]), (&json!(1), &json!(3)));
    assert_eq!(lag["participant"]["pid"], std::process::id());
    assert_eq!(lag["participant"]["lane"], 0);
    drop(slow);
    let page = sandbox.run(&["check", name, "--max-lag", "0"]);
    assert_eq!(page.code(), 10);
    let line = page.stdout.lines().find(|line| line.starts_with("critical ")).unwrap();
    assert!(line.contains("1 frame (at most 0 frames): consumer \"prompt\", pid "), "{line}");
}

#[test]
fn a_group_that_is_behind_is_named_as_one() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(16));
    bus.group("work").start(Start::Latest).create().unwrap();
    publish(&bus, 5);
    let done = sandbox.run(&["check", bus.name(), "--max-lag", "4"]);
    assert_eq!(done.code(), 10, "{done:?}");
    assert!(done.stdout.contains("5 frames (at most 4 frames): group \"work\""), "{done:?}");
    sandbox.ok(&["group", "rm", bus.name(), "work"]);
}

#[test]
fn frames_lost_since_the_attach_are_held_to_the_limit() {
    let sandbox = Sandbox::new();
    let bus = sandbox
        .bus("bus", |options| options.capacity_frames(4).on_full(OnFull::DropOldest).lanes(1));
    let mut consumer = bus.consumer().name("late").start(Start::Latest).attach().unwrap();
    publish(&bus, 20);
    // Ends with `Closed`: the producer has gone.
    while let Ok(Some(_)) = consumer.poll() {}
    let lost = consumer.lost();
    assert!(lost > 0);
    let (code, line) = plugin(&sandbox, &[bus.name(), "--max-loss", "0"]);
    assert_eq!(code, 2, "{line}");
    assert!(
        line.contains("consumer \"late\"") && line.contains(&format!("lost={lost};;0;0")),
        "{line}"
    );
    assert_eq!(plugin(&sandbox, &[bus.name(), "--max-loss", &lost.to_string()]).0, 0);
}

#[test]
fn the_newest_frame_of_all_lanes_tells_the_age() {
    let sandbox = Sandbox::new();
    let bus = sandbox
        .bus("bus", |options| options.capacity_frames(4).lanes(3).timestamps(Timestamps::Batch));
    let name = bus.name();
    // Without a frame, since it was made.
    assert_eq!(plugin(&sandbox, &[name, "--max-age", "1h"]).0, 0);
    let (code, line) = plugin(&sandbox, &[name, "--max-age", "1ns:1h"]);
    assert!(code == 1 && line.contains("without a frame since it was made"), "{line}");

    let (mut one, mut two) = (bus.producer().attach().unwrap(), bus.producer().attach().unwrap());
    for _ in 0..9 {
        one.publish_bytes(0, b"x").unwrap();
    }
    // On the last lane that has frames, then on the first.
    for newest in [&mut two, &mut one] {
        let before_ns = bus.now_ns();
        newest.publish_bytes(0, b"newest").unwrap();
        let done = sandbox.run(&["check", name, "--max-age", "1ns:1h", "--json"]);
        let most_ns = bus.now_ns() - before_ns;
        assert_eq!(done.code(), 0, "{done:?}");
        let age = part(&document(&done), "age").clone();
        assert_eq!((&age["state"], &age["unit"]), (&json!("warning"), &json!("ns")));
        assert!((1..=most_ns).contains(&age["value"].as_u64().unwrap()), "{age} of {most_ns}");
    }
    assert_eq!(sandbox.run(&["check", name, "--max-age", "1ns"]).code(), 10);
}

#[test]
fn a_bus_without_timestamps_is_watched_for_its_age() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4));
    let name = bus.name();
    publish(&bus, 1);
    let (code, line) = plugin(&sandbox, &[name, "--max-age", "30ms"]);
    assert!(code == 2 && line.contains("watched, and no frame came"), "{line}");
    assert!(line.contains(" age=0.") && line.ends_with("s;;0.030000000;0"), "{line}");
    let publisher = sandbox.start(&["pub", name, "--rate", "100"]);
    let (code, line) = plugin(&sandbox, &[name, "--max-age", "1h"]);
    assert!(code == 0 && line.contains("until a frame came"), "{line}");
    publisher.signal(Signal::TERM);
    publisher.wait();
}

#[test]
fn a_rate_is_measured_over_the_window() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(16));
    let name = bus.name();
    let args = [name, "--min-rate", "0.001", "--window", "50ms"];
    let (code, line) = plugin(&sandbox, &args);
    assert_eq!(code, 2, "{line}");
    assert!(line.ends_with(" rate=0.000;;0.001:;0"), "{line}");
    let publisher = sandbox.start(&["pub", name, "--rate", "max"]);
    eventually("it publishes", || bus.stat().published > 0);
    let done = sandbox.run(&[&["check", "--json"], &args[..]].concat());
    assert_eq!(done.code(), 0, "{done:?}");
    let rate = part(&document(&done), "rate").clone();
    assert!(rate["value"].as_f64().unwrap() > 0.0 && rate["unit"] == "frames/s", "{rate}");
    publisher.signal(Signal::TERM);
    publisher.wait();
}

#[test]
fn what_keeps_it_from_looking_is_an_error_and_to_monitoring_unknown() {
    let sandbox = Sandbox::new();
    let none = sandbox.name("none");
    sandbox.run(&["check", &none]).failed(3, &[&none, "hint: "]);
    let (code, line) = plugin(&sandbox, &[&none]);
    assert_eq!(code, 3);
    assert!(line.starts_with(&format!("BUSWAY UNKNOWN - {none}: ")), "{line}");
    let bus = sandbox.bus("bus", |options| options);
    for (args, says) in [
        (["--max-lag", "many"], "\"many\" is not a count"),
        (["--max-lag", "5:4"], "write WARN:CRIT"),
        (["--max-age", "5"], "\"5\" is not a duration"),
        (["--min-rate", "max"], "\"max\" is not a rate"),
        (["--window", "0s"], "out of range"),
    ] {
        let args = [&[bus.name()], &args[..]].concat();
        sandbox.run(&[&["check"], &args[..]].concat()).failed(2, &[says]);
        let (code, line) = plugin(&sandbox, &args);
        assert!(
            code == 3 && line.starts_with("BUSWAY UNKNOWN - ") && line.contains(says),
            "{line}"
        );
    }
    assert_eq!(plugin(&sandbox, &[bus.name(), "--json"]).0, 3);
    sandbox.run(&["check", bus.name(), "--json", "--format", "text"]).failed(2, &["--format json"]);
    // A bus may be called like the verb.
    sandbox.run(&["stat", "check", "--format", "nagios"]).failed(2, &["--format"]);
    assert_eq!(sandbox.run(&["--color", "never", "check", "--format=nagios"]).code(), 3);
    assert!(sandbox.ok(&["check", "--format", "nagios", "--help"]).contains("WARN:CRIT"));
}
