//! `rm`: what it removes, and when it refuses.

use crate::sandbox::Sandbox;
use busway::PollError;
use std::path::Path;

fn exists(name: &str) -> bool {
    Path::new(&format!("/dev/shm/busway.{name}")).exists()
}

#[test]
fn rm_removes_buses_that_nobody_uses() {
    let sandbox = Sandbox::new();
    let (one, two) = (sandbox.bus("one", |o| o), sandbox.bus("two", |o| o));
    let document = sandbox.document("busway.rm/1", &["rm", one.name(), two.name()]);
    let removed: Vec<_> =
        document["removed"].as_array().unwrap().iter().map(|one| &one["removed"]).collect();
    assert_eq!(removed, [one.name(), two.name()]);
    assert!(!exists(one.name()) && !exists(two.name()));
}

#[test]
fn rm_refuses_while_somebody_is_attached_and_names_them() {
    let sandbox = Sandbox::new();
    let (free, used) = (sandbox.bus("free", |o| o), sandbox.bus("used", |o| o));
    let mut producer = used.producer().name("feeder").attach().unwrap();
    let mut consumer = used.consumer().name("eater").attach().unwrap();
    let pid = std::process::id().to_string();
    let done = sandbox.run(&["rm", free.name(), used.name()]);
    done.failed(1, &[used.name(), "producer \"feeder\"", "consumer \"eater\"", &pid, "rm -f"]);
    assert!(exists(used.name()), "it is still there");
    assert!(exists(free.name()), "one refusal leaves all in place");
    producer.publish_bytes(0, b"still works").unwrap();

    sandbox.ok(&["rm", "-f", used.name()]);
    assert!(!exists(used.name()));
    assert_eq!(consumer.poll().unwrap().unwrap().payload(), b"still works");
    assert_eq!(consumer.poll().unwrap_err(), PollError::Removed, "who is attached learns of it");
}

#[test]
fn rm_goes_through_the_daemon_when_one_runs() {
    let sandbox = Sandbox::new();
    let name = sandbox.name("bus");
    sandbox.ok(&["create", &name]);
    sandbox.ok(&["rm", &name]);
    assert!(!exists(&name));
    let log = std::fs::read_to_string(sandbox.runtime_dir().join("busd.log")).unwrap();
    assert!(log.contains(&name), "the daemon's log tells of it: {log}");
}

#[test]
fn rm_of_what_is_not_there_removes_nothing_else() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |o| o);
    let none = sandbox.name("none");
    sandbox.run(&["rm", bus.name(), &none]).failed(3, &[&none]);
    sandbox.run(&["rm", bus.name(), "../../etc/passwd"]).failed(2, &["../../etc/passwd"]);
    sandbox.run(&["rm"]).failed(2, &["NAME"]);
    assert!(exists(bus.name()));
}
