//! Participants that stand still, and those that are told to leave: `stat`, `ps`, `kick`, and how `sub`
//! and `pub` end.

use crate::output::on_a_terminal;
use crate::sandbox::{Running, Sandbox, eventually, until_consumers};
use busway::{Bus, OnFull};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;

/// A `sub` that has attached and stands still since.
fn frozen_sub(sandbox: &Sandbox, bus: &Bus, more: &[&str]) -> Running {
    let sub = sandbox.start(&[&["sub", bus.name(), "-o", "hex"], more].concat());
    until_consumers(bus, 1);
    sub.freeze();
    sub
}

/// Fills the lanes; the producer is left waiting.
fn blocked_pub(sandbox: &Sandbox, bus: &Bus) -> Running {
    let publisher = sandbox.start(&["pub", bus.name(), "-n", "100"]);
    eventually("the lane is held up", || bus.stat().lanes[0].held_since_ns.is_some());
    publisher
}

fn pid(running: &Running) -> String {
    running.pid().to_string()
}

#[test]
fn stat_and_ps_name_who_holds_whom_up_and_that_it_is_stopped() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4).lanes(1));
    let sub = frozen_sub(&sandbox, &bus, &[]);
    let publisher = blocked_pub(&sandbox, &bus);
    let document = sandbox.document("busway.stat/1", &["stat", bus.name()]);
    let shown = &document["buses"][0];
    let lane = &shown["lanes"][0];
    assert!(lane["held_up_ns"].as_u64().unwrap() > 0, "{lane}");
    assert_eq!(lane["held_up_by"], json!([0]));
    assert_eq!(lane["producer"]["held_up_by"], json!([0]));
    assert!(lane["producer"]["held_up_ns"].is_u64());
    let who = &shown["consumers"][0]["participant"];
    assert_eq!(who["process_state"], "stopped");
    assert_eq!(who["standing"], "attached");
    assert_eq!(who["holds_up"], json!([0]));
    assert_eq!((&shown["evictions"], &shown["corruptions"]), (&json!(0), &json!(0)));

    let page = sandbox.ok(&["stat", bus.name()]);
    let (sub_pid, pub_pid) = (pid(&sub), pid(&publisher));
    let mut lines = page.lines().skip_while(|line| !line.contains("held up"));
    let (held, by) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(held.contains("lane 0") && held.contains(&pub_pid) && held.contains(" for "), "{page}");
    assert!(by.contains("consumer seat 0 \"sub\"") && by.contains(&sub_pid), "{page}");
    assert!(by.ends_with("stopped"), "{page}");
    assert!(page.contains("producers wait for a slow consumer"), "{page}");

    let table = sandbox.ok(&["ps", bus.name()]);
    let row = |pid: &str| table.lines().find(|line| line.contains(pid)).unwrap();
    assert!(row(&pub_pid).contains(" by 0 "), "{table}");
    assert!(row(&sub_pid).contains(" stopped ") && row(&sub_pid).contains(" lane 0 "), "{table}");
    let wide = sandbox.ok(&["ps", "--wide", bus.name()]);
    assert!(
        wide.starts_with("BUS ") && wide.contains("POSITION") && wide.contains("UID"),
        "{wide}"
    );

    sub.thaw();
    assert_eq!(publisher.wait().code(), 0);
    let document = sandbox.document("busway.stat/1", &["stat", bus.name()]);
    let lane = &document["buses"][0]["lanes"][0];
    assert_eq!((&lane["held_up_ns"], &lane["held_up_by"]), (&Value::Null, &json!([])));
}

#[test]
fn ps_fits_eighty_columns_whatever_the_names() {
    let sandbox = Sandbox::new();
    let long = "n".repeat(64 - sandbox.name("").len());
    let bus = sandbox.bus(&long, |options| options);
    let _consumer = bus.consumer().name("a name of thirty-two characters.").attach().unwrap();
    let _producer = bus.producer().name("a name of thirty-two characters.").attach().unwrap();
    let mut command = sandbox.command(&["ps", bus.name()]);
    let page = on_a_terminal(command.env("NO_COLOR", "1"));
    let lines: Vec<&str> = page.lines().map(|line| line.trim_end_matches('\r')).collect();
    assert_eq!(lines.len(), 3, "{page}");
    for line in lines {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(!line.contains('\x1b'), "{line}");
    }
    assert!(page.contains('~') && page.contains("attached"), "{page}");
    let piped = sandbox.ok(&["ps", bus.name()]);
    assert!(piped.contains(bus.name()), "a pipe gets all of it: {piped}");
}

#[test]
fn kicked_consumer_that_runs_leaves_and_says_so() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    for (more, code) in [(&[][..], 1), (&["--strict"], 1)] {
        let sub = sandbox.start(&[&["sub", bus.name()], more].concat());
        until_consumers(&bus, 1);
        let document =
            sandbox.document("busway.kick/1", &["kick", bus.name(), &pid(&sub), "--wait", "1m"]);
        assert_eq!(
            (&document["bus"], document["pid"].to_string()),
            (&json!(bus.name()), pid(&sub))
        );
        let fates = document["participants"].as_array().unwrap();
        assert_eq!(fates.len(), 1, "{document}");
        assert_eq!((&fates[0]["role"], &fates[0]["outcome"]), (&json!("consumer"), &json!("left")));
        sub.wait().failed(code, &["evicted", "0 frames", "hint: "]);
        assert!(bus.participants().is_empty());
    }
}

#[test]
fn kicked_consumer_that_is_stopped_stays_where_frames_are_read_in_place() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4));
    let sub = frozen_sub(&sandbox, &bus, &[]);
    let publisher = blocked_pub(&sandbox, &bus);
    let (name, pid) = (bus.name(), pid(&sub));
    for mode in [&[][..], &["--no-daemon"]] {
        let args = [&["kick", name, &pid, "--wait", "20ms"], mode].concat();
        sandbox.run(&args).failed(
            6,
            &[
                "consumer seat 0 \"sub\"",
                &pid,
                "has not left after 20ms: it is stopped",
                "under a reader that lives",
                &format!("kill -KILL {pid}"),
                "given back by itself",
                "--evict-after",
            ],
        );
    }
    let done = sandbox.run(&["kick", name, &pid, "--wait", "0s", "--json"]);
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    let fate = &document["participants"][0];
    assert_eq!((&fate["outcome"], &fate["process_state"]), (&json!("asked"), &json!("stopped")));
    assert!(sandbox.ok(&["ps", name]).contains(" evicted "));
    assert!(sandbox.ok(&["stat", name]).contains("stopped, asked to leave"));
    sub.thaw();
    let done = sub.wait();
    done.failed(1, &["consumer was evicted; "]);
    // It may have stood still just before reading, and is not robbed of what it reads then.
    let lost = done.stderr.split("evicted; ").nth(1).and_then(|rest| rest.split(' ').next());
    let lost: usize = lost.unwrap().parse().unwrap();
    assert!(lost + done.stdout.lines().count() >= 4, "{done:?}");
    assert_eq!(publisher.wait().code(), 0, "nobody holds it up any more");
}

#[test]
fn kicked_consumer_of_a_bus_that_evicts_is_let_go_although_it_is_stopped() {
    let sandbox = Sandbox::new();
    let hour = Some(Duration::from_secs(3600));
    let bus = sandbox.bus("bus", |options| options.capacity_frames(4).evict_after(hour));
    for (more, code) in [(&[][..], 1), (&["--strict"], 9)] {
        let sub = frozen_sub(&sandbox, &bus, more);
        let publisher = blocked_pub(&sandbox, &bus);
        let done = sandbox.run(&["kick", bus.name(), &pid(&sub)]);
        assert_eq!(done.code(), 0, "{done:?}");
        assert!(done.stderr.contains("is let go: it holds up nobody any more"), "{done:?}");
        assert_eq!(publisher.wait().code(), 0);
        let list = sandbox.document("busway.ps/1", &["ps", bus.name()]);
        assert_eq!(list["participants"][0]["standing"], "evicted");
        sub.thaw();
        sub.wait().failed(code, &["evicted; 100 frames"]);
    }
}

#[test]
fn consumer_that_is_too_slow_is_evicted_by_the_rule_that_create_was_given() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    sandbox.ok(&["create", &name, "--no-daemon", "--capacity", "4", "--evict-after", "50ms"]);
    let bus = Bus::open(&name).unwrap();
    let sub = frozen_sub(&sandbox, &bus, &[]);
    sandbox.ok(&["pub", &name, "-n", "100"]);
    let page = sandbox.ok(&["stat", &name]);
    assert!(
        page.contains("1 eviction,") && page.contains("50.00 ms in a producer's way"),
        "{page}"
    );
    sub.thaw();
    sub.wait().failed(1, &["evicted; 100 frames", "busctl stat NAME"]);
}

#[test]
fn kicked_producer_leaves_when_it_next_publishes() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.on_full(OnFull::DropOldest));
    let busy = sandbox.start(&["pub", bus.name(), "--rate", "max"]);
    eventually("it publishes", || bus.stat().published > 0);
    let done = sandbox.run(&["kick", bus.name(), &pid(&busy), "--wait", "1m"]);
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stderr.contains("producer seat 0 \"pub\"") && done.stderr.contains("has left"));
    let done = busy.wait();
    done.failed(1, &["told to leave", "busctl kick"]);
    assert!(done.stderr.contains("published "), "it says how far it came: {done:?}");

    let mut command = sandbox.command(&["pub", bus.name(), "--stdin", "hex"]);
    // A stdin that stays open and silent: nothing to publish, so nothing is noticed.
    let idle = Running::start(command.stdin(Stdio::piped()), None);
    let has_attached = || bus.stat().lanes.iter().any(|lane| lane.producer.is_some());
    eventually("it attaches", has_attached);
    let args = ["kick", bus.name(), &pid(&idle), "--wait", "0s"];
    sandbox.run(&args).failed(6, &["producer seat", "when it next publishes", "keeps its lane"]);
}

/// Any daemon on this host gives dead seats back within milliseconds: so this tries until it was
/// faster.
#[test]
fn kick_gives_the_seat_of_the_dead_back() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    eventually("kick was the first", || {
        let sub = sandbox.start(&["sub", bus.name()]);
        until_consumers(&bus, 1);
        let pid = pid(&sub);
        sub.signal(Signal::KILL);
        assert!(sub.wait().status.code().is_none());
        let done = sandbox.run(&["kick", bus.name(), &pid]);
        assert!(bus.participants().is_empty());
        done.code() == 0 && done.stderr.contains("was dead: its seat is given back")
    });
}

#[test]
fn kick_of_nobody_is_code_3_and_of_no_pid_code_2() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let _consumer = bus.consumer().attach().unwrap();
    let hint = format!("busctl ps {}", bus.name());
    sandbox.run(&["kick", bus.name(), "1"]).failed(3, &["nobody", "pid 1", &hint]);
    sandbox.run(&["kick", &sandbox.name("none"), "1"]).failed(3, &["there is no bus"]);
    sandbox.run(&["kick", bus.name(), "0"]).failed(2, &["0 is out of range"]);
    assert!(bus.participants().iter().all(|one| !one.evicted));
}
