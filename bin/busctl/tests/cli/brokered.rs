//! Buses that the daemon hands out, from the command line.

use crate::sandbox::{Sandbox, eventually, until_consumers};
use busway::Bus;

/// A sandbox whose daemon holds a bus.
fn with_bus(options: &[&str]) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    sandbox.ok(&[&["create", &name, "--brokered", "--payload", "8"], options].concat());
    (sandbox, name)
}

#[test]
fn every_verb_works_on_a_brokered_bus() {
    let (sandbox, name) = with_bus(&["--allow", "65534:consumer", "--allow", "@root"]);
    assert!(!std::path::Path::new(&format!("/dev/shm/busway.{name}")).exists());
    let table = sandbox.ok(&["ls"]);
    let row = table.lines().find(|line| line.starts_with(&name)).unwrap();
    assert!(row.contains("brokered"), "{row}");

    let subscriber = sandbox.start(&["sub", &name, "-o", "hex", "--count", "2"]);
    let bus = Bus::connect(sandbox.runtime_dir().join("broker.sock"), &name).unwrap();
    until_consumers(&bus, 1);
    let table = sandbox.ok(&["ps", &name]);
    assert!(table.contains("consumer") && table.contains("sub"), "{table}");
    let done = sandbox.run_with(&["pub", &name, "--stdin", "hex"], "deadbeef\n01020304\n");
    assert_eq!(done.code(), 0, "{done:?}");
    let done = subscriber.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stdout.contains("deadbeef") && done.stdout.contains("01020304"), "{done:?}");

    let stat = sandbox.document("busway.stat/1", &["stat", &name]);
    assert_eq!(stat["buses"][0]["bus"]["published_frames"], 2, "{stat}");
    let tap = sandbox.ok(&["tap", &name, "--from", "oldest", "--count", "2", "-o", "hex"]);
    assert!(tap.contains("01020304"), "{tap}");
    sandbox.ok(&["rm", &name]);
    assert!(!sandbox.ok(&["ls"]).contains(&name));
    assert!(bus.is_removed());
}

#[test]
fn a_bus_in_use_is_removed_by_force_alone_and_its_reader_learns_it() {
    let (sandbox, name) = with_bus(&[]);
    let subscriber = sandbox.start(&["sub", &name, "-o", "hex"]);
    let bus = Bus::connect(sandbox.runtime_dir().join("broker.sock"), &name).unwrap();
    until_consumers(&bus, 1);
    let done = sandbox.run(&["rm", &name]);
    assert_eq!(done.code(), 1, "{done:?}");
    assert!(done.stderr.contains("in use by consumer"), "{done:?}");
    sandbox.ok(&["rm", "-f", &name]);
    let done = subscriber.wait();
    assert_eq!(done.code(), 0, "{done:?}");
    assert!(done.stderr.contains("was removed"), "{done:?}");
}

#[test]
fn without_its_daemon_a_brokered_bus_is_not_there() {
    let (sandbox, name) = with_bus(&[]);
    let done = sandbox.run(&["stat", &name, "--no-daemon"]);
    assert_eq!(done.code(), 3, "{done:?}");
    assert!(done.stderr.contains("a brokered one needs the daemon that made it"), "{done:?}");
    let pid = sandbox.daemon_pid().unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("the daemon's end", || sandbox.daemon_pid().is_none());
    for verb in ["stat", "sub", "tap", "rm"] {
        let done = sandbox.run(&[verb, &name]);
        assert_eq!(done.code(), 3, "{verb}: {done:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_before_a_daemon_is_started() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    for (more, want) in [
        (&["--allow", "root"][..], "--brokered"),
        (&["--brokered", "--allow", "no-such-user-here"], "no user \"no-such-user-here\""),
        (&["--brokered", "--allow", "root:owner"], "root:owner"),
        (&["--brokered", "--no-daemon"], "--no-daemon cannot make one"),
    ] {
        let done = sandbox.run(&[&["create", &name], more].concat());
        assert_eq!(done.code(), 2, "{more:?}: {done:?}");
        assert!(done.stderr.contains(want), "{more:?}: {done:?}");
    }
    assert!(!sandbox.runtime_dir().exists());
    let done = sandbox.run(&["create", &name, "--brokered", "--topology", "ordered"]);
    assert_eq!(done.code(), 2, "{done:?}");
    assert!(done.stderr.contains("on a brokered bus"), "{done:?}");
}
