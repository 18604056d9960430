//! `group` and `dlq`: making and removing groups, and what becomes of frames that nobody can handle.

use crate::sandbox::Sandbox;
use busway::Bus;
use std::time::Duration;

/// Removes the bus of dead letters, which outlives its group and bus.
struct Letters(String);

impl Drop for Letters {
    fn drop(&mut self) {
        let _gone = Bus::remove(&self.0);
    }
}

#[test]
fn group_is_made_listed_reset_and_removed() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |o| o.capacity_frames(16));
    let _letters = Letters(format!("{}.work.dead", bus.name()));
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, b"before").unwrap();
    sandbox.ok(&[
        "group",
        "create",
        bus.name(),
        "work",
        "--start",
        "oldest",
        "--max-attempts",
        "2",
    ]);
    sandbox
        .run(&["group", "create", bus.name(), "work"])
        .failed(7, &["group \"work\"", "exists already"]);
    let again = ["group", "create", bus.name(), "work", "--max-attempts", "2", "--if-not-exists"];
    sandbox.ok(&again);
    let table = sandbox.ok(&["group", "ls", bus.name()]);
    assert!(table.contains("work") && table.contains("0/16"), "{table}");
    let document = sandbox.document("busway.groups/1", &["group", "ls"]);
    let groups = document["groups"].as_array().unwrap();
    let ours = groups.iter().find(|one| one["group"]["bus"] == bus.name()).unwrap();
    assert_eq!(ours["stat"]["backlog"], 1);

    let ps = sandbox.ok(&["ps", bus.name()]);
    assert!(ps.contains("group"), "{ps}");
    sandbox.ok(&["stat", bus.name()]);
    sandbox.run(&["rm", bus.name()]).failed(1, &["group \"work\""]);

    let member = bus.open_group("work").unwrap().member().name("worker").attach().unwrap();
    sandbox.run(&["group", "reset", bus.name(), "work"]).failed(1, &["members", "worker"]);
    sandbox.run(&["group", "rm", bus.name(), "work"]).failed(1, &["worker", "rm -f"]);
    drop(member);
    sandbox.ok(&["group", "reset", bus.name(), "work"]);
    assert_eq!(bus.open_group("work").unwrap().stat().unwrap().backlog, 0);
    sandbox.ok(&["group", "rm", bus.name(), "work"]);
    sandbox.run(&["group", "rm", bus.name(), "work"]).failed(3, &["does not exist", "group ls"]);
}

#[test]
fn affinity_is_asked_for_and_shown_with_what_each_member_owns() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |o| o.payload_bytes(16));
    let name = bus.name();
    let _letters = Letters(format!("{name}.work.dead"));
    sandbox.ok(&["group", "create", name, "work", "--affinity", "payload:0:8"]);
    let other = ["group", "create", name, "work", "--affinity", "kind", "--if-not-exists"];
    sandbox.run(&other).failed(7, &["affinity is payload:0:8, asked for is kind"]);
    let table = sandbox.ok(&["group", "ls", name]);
    assert!(table.contains("payload:0:8") && table.contains("SHARES"), "{table}");
    let mut member = bus.open_group("work").unwrap().member().attach().unwrap();
    assert!(member.poll().unwrap().is_none());
    let table = sandbox.ok(&["group", "ls", name]);
    assert!(table.contains("1/16") && table.contains("256"), "{table}");
    let document = sandbox.document("busway.groups/1", &["group", "ls", name]);
    let entry = &document["groups"][0];
    assert_eq!(entry["group"]["affinity"], "payload:0:8");
    assert_eq!(entry["stat"]["members"][0]["shares"], 256);
    for bad in ["key", "payload:9", "payload:0:65"] {
        let create = ["group", "create", name, "other", "--affinity", bad];
        sandbox.run(&create).failed(2, &["payload:OFFSET:LEN"]);
    }
    let beyond = ["group", "create", name, "other", "--affinity", "payload:9:8"];
    sandbox.run(&beyond).failed(2, &["16 on this bus"]);
}

#[test]
fn groups_that_cannot_be_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    let lossy = sandbox.bus("lossy", |o| o.on_full(busway::OnFull::DropOldest));
    sandbox.run(&["group", "create", lossy.name(), "g"]).failed(2, &["drops its oldest"]);
    sandbox.run(&["group", "create", "no-such-bus", "g"]).failed(3, &["no-such-bus"]);
    sandbox.run(&["group", "create", lossy.name(), "g", "--members", "65"]).failed(2, &["65"]);
    sandbox.run(&["dlq", "ls", lossy.name(), "g"]).failed(2, &["drops its oldest"]);
    let bus = sandbox.bus("bus", |o| o);
    sandbox.run(&["dlq", "ls", bus.name(), "g"]).failed(3, &["group \"g\"", "group ls"]);
    let args = ["group", "create", bus.name(), "g", "--delivery", "at-most-once"];
    sandbox.ok(&args);
    sandbox.run(&["dlq", "ls", bus.name(), "g"]).failed(3, &["has no dead letters"]);
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_purged() {
    let sandbox = Sandbox::new();
    let bus = sandbox.bus("bus", |o| o);
    let name = bus.name();
    let _letters = Letters(format!("{name}.work.dead"));
    sandbox.ok(&["group", "create", name, "work", "--max-attempts", "1"]);
    let mut producer = bus.producer().name("maker").attach().unwrap();
    let mut member = bus.open_group("work").unwrap().member().attach().unwrap();
    for payload in [b"one", b"two", b"six"] {
        producer.publish_bytes(9, payload).unwrap();
        let receipt = member.receive(Duration::from_secs(20)).unwrap().unwrap().receipt();
        member.nack(receipt, Duration::ZERO).unwrap();
        assert!(member.receive(Duration::from_millis(1)).unwrap().is_none());
    }
    let list = sandbox.ok(&["dlq", "ls", name, "work"]);
    assert_eq!(list.lines().filter(|line| line.contains("refused")).count(), 3, "{list}");
    let shown = sandbox.ok(&["dlq", "show", name, "work", "--position", "1"]);
    assert!(shown.contains("74776f") && shown.contains("maker"), "{shown}");
    let nothing = sandbox.run(&["dlq", "show", name, "work", "--position", "77"]);
    nothing.failed(3, &["no such dead letter"]);
    let document = sandbox.document("busway.dlq/1", &["dlq", "ls", name, "work"]);
    assert_eq!(document["letters"].as_array().unwrap().len(), 3);

    sandbox.ok(&["dlq", "replay", name, "work", "--max", "1"]);
    let again = member.receive(Duration::from_secs(20)).unwrap().unwrap();
    assert_eq!((again.frame().payload(), again.frame().kind()), (b"one".as_slice(), 9));
    let settled = sandbox.document("busway.dlq-settled/1", &["dlq", "purge", name, "work"]);
    assert_eq!(settled["letters"], 2);
    let list = sandbox.ok(&["dlq", "ls", name, "work"]);
    assert!(!list.contains("refused"), "{list}");
}
