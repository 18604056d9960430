//! `ls`, `stat`, `ps`, `schema`, `doctor`: what they show, to people and to programs.

use crate::create::TICK;
use crate::sandbox::{Running, Sandbox, eventually, until_consumers};
use busway::{Bus, Schema, Topology};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

#[test]
fn ls_lists_buses_to_people_and_to_programs() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options.capacity_frames(16).lanes(2));
    let _producer = bus.producer().attach().unwrap();
    for verb in ["ls", "list"] {
        let table = sandbox.ok(&[verb]);
        assert!(table.starts_with("NAME "), "{table}");
        let row = table.lines().find(|line| line.starts_with(bus.name())).unwrap();
        assert!(row.contains("lanes") && row.contains("1/2") && row.contains("0/8"), "{row}");
        let document = sandbox.document("busway.ls/1", &[verb]);
        let row = of(&document["buses"], "name", bus.name());
        assert_eq!(row["capacity_frames"], 16);
        assert_eq!(row["producers_attached"], 1);
        assert_eq!(row["segment_bytes"], bus.info().segment_bytes);
    }
    assert!(!sandbox.runtime_dir().exists(), "looking starts no daemon");
}

#[test]
fn a_segment_that_is_no_bus_is_named_and_does_not_hide_the_others() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let junk = sandbox.name("junk");
    std::fs::write(format!("/dev/shm/busway.{junk}"), [7; 5000]).unwrap();
    let done = sandbox.run(&["ls"]);
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stdout.contains(bus.name()), "{done:?}");
    assert!(done.stderr.contains(&format!("warning: {junk}: ")), "{done:?}");
    let document = sandbox.document("busway.ls/1", &["ls"]);
    let error = &of(&document["unreadable"], "name", &junk)["error"];
    assert!(error["code"].is_string() && error["message"].is_string(), "{error}");

    let done = sandbox.run(&["doctor", "--json"]);
    assert_eq!(done.code(), 1, "doctor is not content");
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["healthy"], false);
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|one| text(&one["what"]).contains(&junk)).unwrap();
    assert_eq!(finding["level"], "wrong");
    assert!(text(&finding["why"]).contains("memory"), "{finding}");
    assert!(text(&finding["what_to_do"]).contains(&format!("rm -f {junk}")), "{finding}");

    sandbox.run(&["stat", &junk]).failed(1, &[&junk]);
    sandbox.run(&["rm", &junk]).failed(1, &[&junk, "rm -f"]);
    sandbox.ok(&["rm", "-f", &junk]);
    assert!(!sandbox.ok(&["ls"]).contains(&junk));
}

#[test]
fn stat_shows_who_is_attached_how_far_and_how_fast() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| {
        options.capacity_frames(64).lanes(2).schema(Schema::from_json(TICK).unwrap())
    });
    let mut consumer = bus.consumer().name("reader").attach().unwrap();
    let mut producer = bus.producer().name("writer").attach().unwrap();
    for _ in 0..10 {
        producer.publish_bytes(7, &[0; 24]).unwrap();
    }
    assert!(consumer.poll().unwrap().is_some());
    consumer.release();
    let document = sandbox.document("busway.stat/1", &["stat", bus.name()]);
    let shown = &document["buses"][0];
    assert_eq!(shown["bus"]["name"], bus.name());
    assert_eq!(shown["bus"]["published_frames"], 10);
    assert_eq!(shown["frame"]["name"], "tick");
    assert_eq!(shown["published_frames_per_s"], 0.0);
    let (pid, uid) = (std::process::id(), rustix::process::geteuid().as_raw());
    let process = std::fs::read_to_string("/proc/self/comm").unwrap();
    let lane = &shown["lanes"][0];
    assert_eq!(lane["position"], 10);
    assert_eq!(lane["process_name"], process.trim_end());
    let consumer_shown = &shown["consumers"][0];
    assert_eq!(consumer_shown["lag_frames"], 9);
    assert_eq!(consumer_shown["lost_frames"], 0);
    assert_eq!(consumer_shown["passed_frames"], 1);
    for (participant, name) in
        [(&lane["producer"], "writer"), (&consumer_shown["participant"], "reader")]
    {
        assert_eq!(participant["name"], name);
        assert_eq!(participant["pid"], pid);
        assert_eq!(participant["uid"], uid);
        assert_eq!(participant["alive"], true);
    }
    let page = sandbox.ok(&["stat", bus.name()]);
    for part in ["writer", "reader", "tick", "block", "LAG", &pid.to_string()] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!sandbox.runtime_dir().exists(), "no daemon is needed");
}

#[test]
fn stat_watch_is_a_stream_until_ctrl_c() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let mut command = sandbox.command(&["stat", bus.name(), "--watch=20ms", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["schema"], "busway.stat/1");
        assert_eq!(line["buses"][0]["bus"]["name"], bus.name());
        assert!(line["interval_ns"].as_u64().unwrap() >= 20_000_000);
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn stat_watch_of_a_bus_that_goes_ends_quietly() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let watch = sandbox.start(&["stat", bus.name(), "--watch=20ms"]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    Bus::remove(bus.name()).unwrap();
    let done = watch.wait();
    assert!(matches!(done.code(), 0 | 3), "gone while watched, or before the first look: {done:?}");
}

#[test]
fn ps_lists_participants_of_one_bus_or_of_all() {
    let sandbox = Sandbox::new();
    let (one, two) = (sandbox.bus("one", |o| o), sandbox.bus("two", |o| o));
    let _producer = one.producer().name("feeder").attach().unwrap();
    let _consumer = two.consumer().name("eater").attach().unwrap();
    let document = sandbox.document("busway.ps/1", &["ps"]);
    assert_eq!(of(&document["participants"], "bus", one.name())["name"], "feeder");
    assert_eq!(of(&document["participants"], "bus", two.name())["name"], "eater");
    let document = sandbox.document("busway.ps/1", &["ps", two.name()]);
    assert_eq!(document["participants"].as_array().unwrap().len(), 1);
    let eater = &document["participants"][0];
    assert_eq!(eater["role"], "consumer");
    assert_eq!(eater["pid"], std::process::id());
    assert_eq!(eater["lag_frames"], 0);
    assert!(eater["process_name"].is_string());
    let table = sandbox.ok(&["ps", one.name()]);
    assert!(table.starts_with("BUS ") && table.contains("feeder"), "{table}");
}

/// Any daemon on this host gives dead seats back within milliseconds, also those of tests that run
/// beside this one: so this tries until it was faster.
#[test]
fn a_dead_participant_is_shown_dead_and_doctor_says_so() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    eventually("the dead one is seen before it is cleared away", || {
        let reader = sandbox.start(&["sub", bus.name()]);
        until_consumers(&bus, 1);
        let pid = reader.pid().to_string();
        reader.signal(Signal::KILL);
        assert!(reader.wait().status.code().is_none());
        let table = sandbox.ok(&["ps", bus.name()]);
        let is_shown = table.lines().any(|line| line.contains("dead") && line.contains(&pid));
        let done = sandbox.run(&["doctor"]);
        let line = done.stdout.lines().find(|line| line.contains(bus.name()));
        let is_found = line.is_some_and(|line| line.starts_with("wrong") && line.contains(&pid));
        assert!(!is_found || done.code() == 1, "{done:?}");
        bus.reclaim().unwrap();
        is_shown && is_found
    });
}

#[test]
fn a_dead_participant_does_not_stand_in_the_way_of_a_removal() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let reader = sandbox.start(&["sub", bus.name()]);
    until_consumers(&bus, 1);
    reader.signal(Signal::KILL);
    assert!(reader.wait().status.code().is_none());
    sandbox.ok(&["rm", bus.name()]);
}

#[test]
fn another_layout_version_is_code_8() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |options| options);
    let segment =
        OpenOptions::new().write(true).open(format!("/dev/shm/busway.{}", bus.name())).unwrap();
    // The version is the 32-bit number at offset 8.
    segment.write_all_at(&99_u32.to_le_bytes(), 8).unwrap();
    sandbox.run(&["stat", bus.name()]).failed(8, &[bus.name(), "99"]);
    sandbox.run(&["sub", bus.name()]).failed(8, &[bus.name(), "99"]);
    let done = sandbox.run(&["doctor"]);
    assert_eq!(done.code(), 1);
    assert!(done.stdout.contains(&format!("rm -f {}", bus.name())), "{done:?}");
}

#[test]
fn doctor_looks_at_everything() {
    let sandbox = Sandbox::new();
    let done = sandbox.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["schema"], "busway.doctor/1");
    assert_eq!(done.code(), i32::from(report["healthy"] == false), "{done:?}");
    let findings = report["findings"].as_array().unwrap();
    let checks =
        ["memory", "limits", "processors", "clock", "membarrier", "daemon", "name", "buses"];
    for check in checks {
        assert!(findings.iter().any(|one| one["check"] == check), "{check} is not in {report}");
    }
    let page = sandbox.run(&["doctor"]).stdout;
    assert!(page.lines().any(|line| line.starts_with("ok     memory")), "{page}");
}

#[test]
fn doctor_knows_limits_that_are_too_low() {
    let sandbox = Sandbox::new();
    let script = format!("ulimit -n 64; ulimit -f 100; {} doctor", env!("CARGO_BIN_EXE_busctl"));
    let done = Running::start(&mut sandbox.program("/bin/sh", &["-c", &script]), None).wait();
    assert_eq!(done.code(), 1, "{done:?}");
    for part in ["RLIMIT_NOFILE allows 64", "RLIMIT_FSIZE", "larger one is refused", "ulimit -n"] {
        assert!(done.stdout.contains(part), "{part} is not in {done:?}");
    }
}

#[test]
fn what_is_not_there_is_code_3() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("none");
    for verb in ["stat", "ps", "schema", "rm", "pub", "sub", "tap", "hz", "bw", "check"] {
        sandbox.run(&[verb, &name]).failed(3, &[&name, "hint: "]);
    }
    let bus = sandbox.bus("plain", |options| options.topology(Topology::Single));
    sandbox.run(&["schema", bus.name()]).failed(3, &[bus.name(), "no schema"]);
}

/// The element of a list whose `key` is `value`.
#[track_caller]
fn of<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|one| one[key] == value);
    found.unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
