//! A broker that ends, refuses, or removes a bus.

use busway::host::{Allow, Event, Peer, Roles, Who};
use busway::{Bus, PollError, PublishError};

use crate::support::{PATIENCE, Running};

#[test]
fn those_attached_go_on_when_the_broker_has_ended_and_nobody_new_comes() {
    let mut running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2).capacity_frames(4));
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, b"before").unwrap();
    assert_eq!(bus.stat().published, 1);
    running.end();
    for _ in 0..100 {
        producer.publish_bytes(0, b"after").unwrap();
        assert!(consumer.poll().unwrap().is_some());
        consumer.release();
    }
    assert_eq!(bus.consumer().attach().unwrap_err().code(), "broker");
    assert_eq!(bus.producer().attach().unwrap_err().code(), "broker");
    assert_eq!(bus.observer().attach().unwrap_err().code(), "broker");
    assert_eq!(Bus::connect(running.socket(), "bus").unwrap_err().code(), "broker");
    assert_eq!(bus.stat().published, 101);
}

#[test]
fn who_would_wait_for_ever_is_told_that_the_broker_is_gone() {
    let mut running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(2));
    let mut consumer = bus.consumer().attach().unwrap();
    let mut observer = bus.observer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    running.end();
    producer.publish_bytes(0, b"1").unwrap();
    producer.publish_bytes(0, b"2").unwrap();
    assert_eq!(producer.publish_bytes(0, b"3"), Err(PublishError::BrokerGone));
    while consumer.poll().unwrap().is_some() {}
    // Room again: it goes on as before.
    producer.publish_bytes(0, b"3").unwrap();
    assert_eq!(consumer.recv().unwrap().payload(), b"3");
    assert_eq!(consumer.recv().err(), Some(PollError::BrokerGone));
    while observer.poll().unwrap().is_some() {}
    assert_eq!(observer.recv_timeout(PATIENCE).err(), Some(PollError::BrokerGone));
}

/// Promise 8 (ARCHITECTURE.md).
#[test]
fn roles_are_what_the_access_list_says() {
    let stranger = Peer { pid: 1, uid: 40_001, gid: 40_002, groups: vec![40_003] };
    let running = Running::start_as(stranger);
    let user = |roles| vec![Allow { who: Who::User(40_001), roles }];
    running.create_for(&Bus::options(), "nothing", Vec::new());
    running.create_for(&Bus::options(), "produce", user(Roles::Producer));
    running.create_for(&Bus::options(), "consume", user(Roles::Consumer));
    for (name, group) in [("first-group", 40_002), ("further-group", 40_003)] {
        let line = Allow { who: Who::Group(group), roles: Roles::Both };
        running.create_for(&Bus::options(), name, vec![line]);
    }

    let refused = Bus::connect(running.socket(), "nothing").unwrap_err();
    assert_eq!(refused.code(), "permission");

    let bus = running.connect("produce");
    bus.producer().attach().unwrap().publish_bytes(0, b"x").unwrap();
    assert_eq!(bus.consumer().attach().unwrap_err().code(), "permission");
    assert_eq!(bus.observer().attach().unwrap_err().code(), "permission");
    assert_eq!(bus.stat().published, 0, "what it may not read is not shown");

    let bus = running.connect("consume");
    assert_eq!(bus.producer().attach().unwrap_err().code(), "permission");
    bus.consumer().attach().unwrap();
    bus.observer().attach().unwrap();

    for name in ["first-group", "further-group"] {
        let bus = running.connect(name);
        bus.producer().attach().unwrap();
        bus.consumer().attach().unwrap();
    }
    running.wait_for_event("a refusal", |event| {
        matches!(event, Event::Refused { code, message }
            if code == "permission" && message.contains("uid 40001"))
    });
}

#[test]
fn removal_is_learnt_by_who_is_attached_and_the_name_is_free_again() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2).capacity_frames(2));
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, b"last").unwrap();
    producer.publish_bytes(0, b"last").unwrap();
    running.broker.lock().unwrap().remove("bus").unwrap();
    assert!(bus.is_removed());
    assert_eq!(producer.publish_bytes(0, b"x"), Err(PublishError::Removed));
    assert!(consumer.poll().unwrap().is_some() && consumer.poll().unwrap().is_some());
    assert_eq!(consumer.poll().err(), Some(PollError::Removed));
    assert_eq!(bus.producer().attach().unwrap_err().code(), "not_found");
    running.create(&Bus::options(), "bus");
    // Another bus of the name is not the one that this handle is on.
    assert_eq!(bus.producer().attach().unwrap_err().code(), "not_found");
    running.connect("bus").producer().attach().unwrap();
}
