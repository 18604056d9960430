//! `demo`: everything that samplers publish is received, and nothing is left behind, however it
//! ends.

use crate::family::{Family, segments};
use crate::output::on_a_terminal;
use crate::sandbox::{Done, Running, Sandbox, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::process::Stdio;

const SOURCES: [&str; 6] = ["cpu", "memory", "load", "disk", "network", "process"];

fn start(sandbox: &Sandbox, args: &[&str]) -> Running {
    let mut command = sandbox.command(&[&["demo"], args].concat());
    Running::start(command.env("TMPDIR", sandbox.dir()), None)
}

/// A demo that goes on until something is done to it, with all its processes there and at work.
fn long_demo(sandbox: &Sandbox, args: &[&str]) -> (Running, Family) {
    let running = start(sandbox, &[args, &["--duration", "300s"]].concat());
    let pid = running.pid();
    let mut family = Family::default();
    eventually("every sampler publishes", || {
        family = Family::of(pid);
        let all = ["busd", "sampler cpu", "sampler memory", "sampler disk", "sampler network"];
        let all = all.iter().chain(&["sampler process"]);
        let bus = busway::Bus::open(&format!("demo-{pid}"));
        all.into_iter().all(|name| family.pid_of(name).is_some())
            && bus.is_ok_and(|bus| bus.stat().published > 100)
    });
    (running, family)
}

#[track_caller]
fn nothing_is_left(sandbox: &Sandbox, pid: Pid) {
    assert_eq!(segments("demo", pid), Vec::<String>::new());
    assert_eq!(directories(sandbox), Vec::<String>::new());
}

fn directories(sandbox: &Sandbox) -> Vec<String> {
    let names = fs::read_dir(sandbox.dir()).unwrap().flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Checks that all that was published was received.
#[track_caller]
fn counts_add_up(done: &Done) -> Value {
    assert_eq!(done.code(), 0, "{done:?}");
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(summary["schema"], "busway.demo/1");
    assert_eq!(summary["complete"], true, "{summary}");
    assert_eq!(summary["lost"], 0, "{summary}");
    assert_eq!(summary["published"], summary["received"], "{summary}");
    let sources = summary["sources"].as_array().unwrap();
    let names: Vec<_> = sources.iter().map(|line| line["source"].as_str().unwrap()).collect();
    assert_eq!(names, SOURCES);
    for line in sources {
        assert_eq!(line["published"], line["received"], "{line}");
        assert!(line["received"].as_u64().unwrap() > 0, "{line}");
        assert!(line["age"]["p50_ns"].as_u64() > Some(0), "{line}");
    }
    summary
}

#[test]
fn every_source_is_received_completely() {
    let sandbox = Sandbox::new();
    let running = start(&sandbox, &["--duration", "2s", "--json"]);
    let pid = running.pid();
    let done = running.wait();
    let summary = counts_add_up(&done);
    assert_eq!(summary["interrupted"], false);
    nothing_is_left(&sandbox, pid);
    for line in summary["sources"].as_array().unwrap() {
        let sampler = line["pid"].as_i64().unwrap();
        assert!(!fs::exists(format!("/proc/{sampler}")).unwrap(), "{line}");
    }
}

#[test]
fn a_pipe_gets_lines_and_a_summary_without_escapes() {
    let sandbox = Sandbox::new();
    let running = start(&sandbox, &["--duration", "2200ms"]);
    let pid = running.pid();
    let done = running.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(!done.stdout.contains('\x1b'), "{}", done.stdout);
    for part in SOURCES.iter().chain(&["busway demo", "frames/s", "PUBLISHED", " 0 lost"]) {
        assert!(done.stdout.contains(part), "{part:?} is not in {}", done.stdout);
    }
    nothing_is_left(&sandbox, pid);
}

/// Removes cursor movements, and checks that there is nothing else that steers the terminal.
fn without_movements(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).unwrap();
        assert!(matches!(&after[end..=end], "A" | "K" | "J"), "{after:?}");
        rest = &after[end + 1..];
    }
    plain + rest
}

#[test]
fn a_terminal_gets_a_table_that_fits_it() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["demo", "--duration", "1500ms"]);
    command.env("TMPDIR", sandbox.dir());
    let text = on_a_terminal(command.env("NO_COLOR", "1"));
    assert!(text.contains("\x1b[23A") || text.contains("\x1b[22A"), "not redrawn: {text}");
    let plain = without_movements(&text);
    for line in plain.lines() {
        assert!(line.trim().chars().count() <= 80, "{line:?}");
    }
    for part in SOURCES.iter().chain(&["Ctrl-C", "busiest", "0 lost"]) {
        assert!(plain.contains(part), "{part:?} is not in {plain}");
    }
    let colour = on_a_terminal(command.env_remove("NO_COLOR"));
    assert!(colour.contains("\x1b[1m"), "{colour}");
    let dumb = on_a_terminal(command.env("TERM", "dumb"));
    assert!(!dumb.contains('\x1b'), "{dumb}");
    assert_eq!(directories(&sandbox), Vec::<String>::new());
}

#[test]
fn a_closed_pipe_ends_the_demo_quietly() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["demo", "--duration", "300s"]);
    command.env("TMPDIR", sandbox.dir());
    let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
    let mut child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
    let pid = Pid::from_child(&child);
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    assert!(done.stderr.is_empty(), "{done:?}");
    nothing_is_left(&sandbox, pid);
}

#[test]
fn an_interrupted_demo_says_its_summary_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (running, family) = long_demo(&sandbox, &["--json"]);
    let pid = running.pid();
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(counts_add_up(&done)["interrupted"], true);
    nothing_is_left(&sandbox, pid);
    family.ends();
}

#[test]
fn a_killed_demo_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (running, family) = long_demo(&sandbox, &[]);
    let pid = running.pid();
    running.signal(Signal::KILL);
    family.ends();
    eventually("the bus and the directory are removed", || {
        segments("demo", pid).is_empty() && directories(&sandbox).is_empty()
    });
}

#[test]
fn a_sampler_that_dies_ends_the_demo_and_is_named() {
    let sandbox = Sandbox::new();
    let (running, family) = long_demo(&sandbox, &[]);
    let pid = running.pid();
    kill_process(family.pid_of("sampler disk").unwrap(), Signal::KILL).unwrap();
    running.wait().failed(1, &["sampler disk", "signal 9"]);
    nothing_is_left(&sandbox, pid);
    family.ends();
}

#[test]
fn the_bus_of_a_demo_explains_itself_to_tools() {
    let sandbox = Sandbox::new();
    let (running, family) = long_demo(&sandbox, &["--json"]);
    let bus = busway::Bus::open(&format!("demo-{}", running.pid())).unwrap();
    let schema = bus.schema().unwrap();
    assert_eq!(schema.name, "sample");
    assert_eq!(schema.field("busy_ns").unwrap().unit.as_deref(), Some("ns"));
    assert_eq!(schema.field("name").unwrap().type_text(), "text[16]");
    drop(bus);
    running.signal(Signal::TERM);
    counts_add_up(&running.wait());
    family.ends();
}

#[test]
fn a_demo_without_time_is_refused() {
    let sandbox = Sandbox::new();
    for duration in ["0s", "soon", "-1s"] {
        let done = sandbox.run(&["demo", &format!("--duration={duration}")]);
        assert_eq!(done.code(), 2, "{done:?}");
        assert!(done.stderr.contains(duration), "{done:?}");
    }
}
