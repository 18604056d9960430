//! `demo --scenario pipeline`: the counts add up to the last frame although a worker is killed, and
//! nothing is left behind, however it ends.

use crate::family::{Family, segments};
use crate::output::on_a_terminal;
use crate::sandbox::{Running, Sandbox, eventually};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

const PIPELINE: [&str; 3] = ["demo", "--scenario", "pipeline"];

fn start(sandbox: &Sandbox, args: &[&str]) -> Running {
    Running::start(&mut sandbox.command(&[&PIPELINE, args].concat()), None)
}

/// One that goes on until something is done to it, with all its processes there and at work.
fn long(sandbox: &Sandbox, args: &[&str]) -> (Running, Family) {
    let running = start(sandbox, &[args, &["--duration", "300s"]].concat());
    let mut family = Family::default();
    eventually("everybody works", || {
        family = Family::of(running.pid());
        let all = ["sampler cpu", "sampler process", "worker 1", "worker 2", "worker 3"];
        let bus = busway::Bus::open(&format!("demo-{}", running.pid()));
        let group = bus.and_then(|bus| bus.open_group("work"));
        all.iter().all(|name| family.pid_of(name).is_some())
            && group.and_then(|group| group.stat()).is_ok_and(|stat| stat.acknowledged > 100)
    });
    (running, family)
}

/// Checks what has to be so whatever has happened.
#[track_caller]
fn adds_up(stdout: &str) -> Value {
    let summary: Value = serde_json::from_str(stdout).unwrap();
    let count = |key: &str| summary[key].as_u64().unwrap();
    assert_eq!(summary["schema"], "busway.demo-pipeline/1");
    assert_eq!(summary["complete"], true, "{summary}");
    assert_eq!(count("backlog"), 0, "{summary}");
    assert_eq!(count("published"), count("passed"), "{summary}");
    assert_eq!(count("published"), count("done") + count("dead_letters"), "{summary}");
    assert_eq!(count("dead_letters"), count("poison"), "{summary}");
    let sources = summary["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 6);
    let published = sources.iter().map(|line| line["published"].as_u64().unwrap());
    assert_eq!(published.sum::<u64>(), count("published"), "{summary}");
    for line in sources {
        assert!(line["reading_in_table"].as_u64() > Some(0), "{line}");
        assert_eq!(line["reading_in_table"], line["reading_due"], "{line}");
    }
    summary
}

#[test]
fn every_frame_is_done_or_a_dead_letter_although_a_worker_is_killed() {
    let sandbox = Sandbox::new();
    let running = start(&sandbox, &["--duration", "2s", "--json"]);
    let pid = running.pid();
    let done = running.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    let summary = adds_up(&done.stdout);
    assert_eq!(summary["interrupted"], false);
    assert!(summary["dead_letters"].as_u64() > Some(0), "{summary}");
    assert!(summary["attempts"]["died"].as_u64() > Some(0), "{summary}");
    let workers = summary["workers"].as_array().unwrap();
    let killed: Vec<_> = workers.iter().filter(|worker| !worker["killed_with"].is_null()).collect();
    assert_eq!((workers.len(), killed.len()), (4, 1), "{summary}");
    assert_eq!(killed[0]["name"], "worker 1");
    for worker in workers {
        let pid = worker["pid"].as_i64().unwrap();
        assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap(), "{worker}");
    }
    assert_eq!(segments("demo", pid), Vec::<String>::new());
}

#[test]
fn a_pipe_gets_lines_and_a_terminal_a_table_that_fits_it() {
    let sandbox = Sandbox::new();
    let running = start(&sandbox, &["--duration", "1200ms"]);
    let done = running.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(!done.stdout.contains('\x1b'), "{}", done.stdout);
    for part in ["redelivered", " workers", "was killed with frame", " done + ", "; 0 left"] {
        assert!(done.stdout.contains(part), "{part:?} is not in {}", done.stdout);
    }
    let args = [&PIPELINE[..], &["--duration", "1200ms"]].concat();
    let text = on_a_terminal(sandbox.command(&args).env("NO_COLOR", "1"));
    for part in ["\x1b[", "BACKLOG", "worker 4", "killed with frame", "cpu/0", "; 0 left"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    for line in text.lines().map(|line| line.rsplit("\x1b[K").next().unwrap_or_default()) {
        assert!(line.trim().chars().count() <= 80, "{line:?}");
    }
}

#[test]
fn an_interrupted_pipeline_adds_up_too() {
    let sandbox = Sandbox::new();
    let (running, family) = long(&sandbox, &["--json"]);
    let pid = running.pid();
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(adds_up(&done.stdout)["interrupted"], true);
    assert_eq!(segments("demo", pid), Vec::<String>::new());
    family.ends();
}

#[test]
fn a_killed_pipeline_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (running, family) = long(&sandbox, &[]);
    let pid = running.pid();
    assert!(segments("demo", pid).len() >= 5, "{:?}", segments("demo", pid));
    running.signal(Signal::KILL);
    family.ends();
    eventually("all segments are removed", || segments("demo", pid).is_empty());
}

#[test]
fn a_worker_that_was_not_to_die_ends_the_pipeline_and_is_named() {
    let sandbox = Sandbox::new();
    let (running, family) = long(&sandbox, &[]);
    let pid = running.pid();
    kill_process(family.pid_of("worker 3").unwrap(), Signal::KILL).unwrap();
    running.wait().failed(1, &["worker 3", "signal 9"]);
    assert_eq!(segments("demo", pid), Vec::<String>::new());
    family.ends();
}
