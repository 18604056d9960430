//! `pub --at`, `--after`, `--every` and `schedule`.

use crate::sandbox::{Sandbox, eventually};
use busway::{Bus, Start};
use std::time::Duration;

/// The payload of the next frame.
fn next(consumer: &mut busway::Consumer) -> Vec<u8> {
    let frame = consumer.recv_timeout(crate::sandbox::PATIENCE).unwrap();
    frame.expect("a frame").payload().to_vec()
}

#[test]
fn frame_for_later_is_the_daemons_and_comes_in_its_time() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("alarms", |options| options.payload_bytes(2));
    let name = bus.name().to_owned();
    let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
    let made = sandbox.document("busway.schedule/1", &["pub", &name, "--after", "1h"]);
    assert_eq!((&made["id"], &made["clock"]), (&1.into(), &"elapsed".into()));
    assert_eq!(made["payload_bytes"], 2);
    let done = sandbox.run(&["pub", &name, "--at", "2001-01-01 00:00"]);
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stderr.contains(&format!("scheduled as 2 on {name}: due ")), "{done:?}");
    assert_eq!(next(&mut consumer), [0, 0], "a time in the past is now");
    sandbox.ok(&["pub", &name, "--every", "50ms", "--kind", "9"]);
    for _ in 0..2 {
        assert_eq!(next(&mut consumer), [0, 0]);
    }
    eventually("the list has the two that stay", || {
        let list = sandbox.document("busway.schedules/1", &["schedule", "ls"]);
        list["schedules"].as_array().unwrap().len() == 2
    });
    let table = sandbox.ok(&["schedule", "ls"]);
    assert!(table.lines().any(|line| line.contains("pending") && line.contains("50ms")), "{table}");
    let shown = sandbox.ok(&["schedule", "show", "3"]);
    assert!(shown.contains("then every 50ms") && shown.contains("elapsed time"), "{shown}");
    let done = sandbox.run(&["schedule", "cancel", "3", "77", "1"]);
    done.failed(3, &["there is no schedule 77", "cancelled 3", "cancelled 1"]);
    assert_eq!(sandbox.ok(&["schedule", "ls"]).lines().count(), 1, "the heading");
    sandbox.run(&["schedule", "show", "1"]).failed(3, &["no schedule 1", "schedule ls"]);
}

#[test]
fn what_is_pending_stays_when_the_daemon_is_killed() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("alarms", |options| options.payload_bytes(2));
    let mut consumer = bus.consumer().attach().unwrap();
    sandbox.ok(&["pub", bus.name(), "--after", "500ms"]);
    let daemon = sandbox.daemon_pid().expect("a daemon was started");
    rustix::process::kill_process(daemon, rustix::process::Signal::KILL).unwrap();
    eventually("the daemon's end", || sandbox.daemon_pid().is_none());
    // Nobody is there to publish it, until somebody asks.
    sandbox.ok(&["schedule", "ls"]);
    assert_eq!(next(&mut consumer), [0, 0]);
    std::thread::sleep(Duration::from_millis(100));
    assert!(consumer.poll().is_ok_and(|frame| frame.is_none()), "once");
}

#[test]
fn wishes_for_later_that_make_no_sense_are_refused() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("alarms", |options| options.payload_bytes(2));
    let name = bus.name();
    let says = |args: &[&str], code, says: &[&str]| {
        sandbox.run(&[&["pub", name], args].concat()).failed(code, says);
    };
    says(&["--at", "soon"], 2, &["\"soon\" is not a time", "write 10:30"]);
    says(&["--after", "5"], 2, &["not a duration"]);
    says(&["--every", "0s"], 2, &["1ms and more"]);
    says(&["--every", "1ms"], 2, &["ten milliseconds"]);
    says(&["--at", "10:30", "--after", "1s"], 2, &["--at"]);
    says(&["--after", "1s", "--rate", "5"], 2, &["--rate"]);
    says(&["--after", "1s", "--stdin", "hex"], 2, &["--stdin"]);
    says(&["--give-up-after", "1s"], 2, &["--give-up-after needs"]);
    says(&["--after", "1s", "--no-daemon"], 2, &["leave --no-daemon out"]);
    sandbox.run(&["schedule", "ls", "--no-daemon"]).failed(2, &["kept by the daemon"]);
    sandbox.run(&["schedule", "cancel", "x"]).failed(2, &["x"]);
    sandbox.run(&["pub", "nowhere", "--after", "1s"]).failed(3, &["no bus \"nowhere\""]);
    assert!(Bus::open(name).is_ok());
}
