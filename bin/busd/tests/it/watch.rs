//! What the daemon notices of other processes.

use serde_json::json;

use crate::support::{BusName, Child, Daemon, Task, eventually};

#[test]
fn attach_and_detach_are_logged() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, "");
    for (task, role) in [(Task::HoldProducer, "producer"), (Task::HoldConsumer, "consumer")] {
        let child = Child::start(task, &name);
        let who = |message: &str| {
            [
                ("message", json!(message)),
                ("bus", json!(&*name)),
                ("role", json!(role)),
                ("pid", json!(child.pid())),
                ("name", json!("holder")),
                ("seat", json!(0)),
            ]
        };
        let (attached, detached) = (who("attached"), who("detached"));
        daemon.wait_for_log(&attached);
        child.stop();
        daemon.wait_for_log(&detached);
    }
}

#[test]
fn a_dead_producers_lane_is_free_again_and_its_frames_stay() {
    let daemon = Daemon::start_alone();
    let name = BusName::new();
    daemon.create(&name, ", \"topology\": \"single\"");
    let mut child = Child::start(Task::Publish, &name);
    let bus = busway::Bus::open(&name).unwrap();
    eventually("a few frames", || (bus.stat().published > 5).then_some(()));
    assert!(bus.producer().attach().is_err(), "a single bus has one producer");
    daemon.wait_for_attach(&name, child.pid());
    child.kill();
    let line = daemon.wait_for_recovery(&name, "producer", child.pid());
    let published = bus.stat().published;
    if let Some(line) = line {
        assert_eq!(line["name"], "counter");
        assert_eq!((&line["seat"], &line["lane"]), (&json!(0), &json!(0)));
        assert_eq!(line["position"], json!(published));
        assert_eq!(line["proof"], "the kernel has released the lock of its last mapping");
        eventually("the count of recovered seats", || {
            (daemon.get("/v1/health").json()["seats_recovered"] != 0).then_some(())
        });
    }
    let mut consumer = bus.consumer().start(busway::Start::Oldest).attach().unwrap();
    for count in 0..published {
        let frame = consumer.poll().unwrap().expect("a frame of the dead");
        assert_eq!(frame.payload(), count.to_le_bytes());
    }
    let next = bus.producer().attach().unwrap();
    assert_eq!(next.position(), published);
}

#[test]
fn a_dead_consumer_holds_nobody_up() {
    let daemon = Daemon::start_alone();
    let name = BusName::new();
    daemon.create(&name, ", \"capacity_frames\": 4, \"on_full\": \"reject\"");
    let mut child = Child::start(Task::HoldConsumer, &name);
    let bus = busway::Bus::open(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    while producer.publish_bytes(0, b"x").is_ok() {}
    daemon.wait_for_attach(&name, child.pid());
    child.kill();
    daemon.wait_for_recovery(&name, "consumer", child.pid());
    producer.publish_bytes(0, b"x").unwrap();
    let list = daemon.get(&format!("/v1/buses/{}/participants", &*name)).json();
    assert_eq!(list["participants"].as_array().unwrap().len(), 1);
}

#[test]
fn many_deaths_at_once_are_all_recovered() {
    let daemon = Daemon::start_alone();
    let names = [BusName::new(), BusName::new()];
    for name in &names {
        daemon.create(name, ", \"topology\": \"ordered\"");
    }
    let mut children = Vec::new();
    for name in &names {
        for task in [Task::HoldProducer, Task::HoldConsumer, Task::HoldProducer] {
            children.push(Child::start(task, name));
        }
    }
    for child in &mut children {
        child.kill();
    }
    for name in &names {
        let bus = busway::Bus::open(name).unwrap();
        eventually("free seats", || {
            let stat = bus.stat();
            let is_free = stat.lanes.iter().all(|lane| lane.producer.is_none());
            (is_free && stat.consumers.is_empty() && stat.recoveries == 3).then_some(())
        });
    }
}

#[test]
fn those_who_died_while_no_daemon_ran_are_recovered_at_start() {
    let mut daemon = Daemon::start_alone();
    let name = BusName::new();
    daemon.create(&name, "");
    let mut child = Child::start(Task::HoldProducer, &name);
    daemon.kill();
    child.kill();
    let daemon = daemon.start_again();
    let bus = busway::Bus::open(&name).unwrap();
    eventually("a free lane", || bus.stat().lanes[0].producer.is_none().then_some(()));
    assert_eq!(bus.stat().recoveries, 1);
    let list = daemon.get(&format!("/v1/buses/{}/participants", &*name)).json();
    assert_eq!(list["participants"], json!([]));
}

#[test]
fn buses_of_others_are_noticed_when_they_come_and_go() {
    let daemon = Daemon::start();
    let name = BusName::new();
    let bus = busway::Bus::options().create(&name).unwrap();
    daemon.wait_for_log(&[("message", json!("watching")), ("bus", json!(&*name))]);
    let consumer = bus.consumer().name("mine").attach().unwrap();
    daemon.wait_for_log(&[("message", json!("attached")), ("bus", json!(&*name))]);
    drop(consumer);
    daemon.wait_for_log(&[("message", json!("detached")), ("bus", json!(&*name))]);
    busway::Bus::remove(&name).unwrap();
    daemon.wait_for_log(&[("message", json!("bus is gone")), ("bus", json!(&*name))]);
}

/// Whoever may write to a segment's file may truncate it under the daemon's feet.
#[test]
fn a_segment_that_is_cut_short_does_not_end_the_daemon() {
    let daemon = Daemon::start_alone();
    let (broken, whole) = (BusName::new(), BusName::new());
    daemon.create(&broken, "");
    daemon.create(&whole, "");
    for name in [&broken, &whole] {
        daemon.wait_for_log(&[("message", json!("watching")), ("bus", json!(&**name))]);
    }
    let file = std::fs::OpenOptions::new().write(true).open(broken.segment()).unwrap();
    file.set_len(0).unwrap();
    daemon.wait_for_log(&[("level", json!("WARN")), ("bus", json!(&*broken))]);
    let answer = daemon.get(&format!("/v1/buses/{}", &*broken));
    assert_eq!((answer.status, &*answer.code()), (409, "corrupt"));
    let consumer = Child::start(Task::HoldConsumer, &whole);
    let who = [("message", json!("attached")), ("pid", json!(consumer.pid()))];
    daemon.wait_for_log(&who);
    assert_eq!(daemon.get("/v1/health").json()["status"], "ok");
}

/// Daemons in different directories watch the same buses; either may be the first.
#[test]
fn two_daemons_both_see_a_death_and_one_recovers_the_seat() {
    let daemons = [Daemon::start(), Daemon::start()];
    let name = BusName::new();
    daemons[0].create(&name, "");
    let mut child = Child::start(Task::HoldProducer, &name);
    for daemon in &daemons {
        daemon.wait_for_attach(&name, child.pid());
    }
    child.kill();
    let recovered = daemons
        .each_ref()
        .map(|daemon| daemon.wait_for_recovery(&name, "producer", child.pid()))
        .iter()
        .flatten()
        .count();
    assert!(recovered <= 1, "both say that they did it");
    assert_eq!(busway::Bus::open(&name).unwrap().stat().recoveries, 1);
}
