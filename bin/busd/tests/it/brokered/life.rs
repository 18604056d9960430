//! Processes that come, go and die, and a daemon that dies.

use busway::{Bus, Consumer, PollError, Start};
use serde_json::json;

use super::{connect, make};
use crate::support::{Child, Daemon, PATIENCE, Task, eventually};

#[test]
fn processes_publish_and_read_without_a_gap() {
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"capacity_frames\": 64");
    let socket = daemon.broker_socket();
    let consumer = Child::start_brokered(Task::Consume, &name, &socket);
    let producer = Child::start_brokered(Task::Publish, &name, &socket);
    daemon.wait_for_attach(&name, consumer.pid());
    daemon.wait_for_attach(&name, producer.pid());
    let bus = connect(&daemon, &name);
    eventually("frames", || (bus.stat().published > 500).then_some(()));
    let sent = producer.stop();
    assert_eq!(consumer.stop(), sent);
}

/// Reads numbers that begin anew with each tenant of the only lane, until `tenants` have been
/// met and the present one's numbers have come to `far`.
fn read_tenants(consumer: &mut Consumer, tenants: u64, far: u64) {
    let (mut position, mut next, mut met) = (0, 0, 0);
    while met < tenants || next < far {
        match consumer.recv_timeout(PATIENCE) {
            Ok(Some(frame)) => {
                assert_eq!(frame.position(), position, "a position is missing");
                let number = u64::from_le_bytes(frame.payload().try_into().unwrap());
                met += u64::from(number == 0);
                assert!(number == next || number == 0, "{number} after {next}");
                (position, next) = (position + 1, number + 1);
            }
            Ok(None) => panic!("nothing came for {PATIENCE:?}"),
            Err(PollError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_killed_producers_lane_goes_to_a_successor_and_nothing_is_lost() {
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"lanes_max\": 1, \"capacity_frames\": 64");
    let bus = connect(&daemon, &name);
    let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
    let socket = daemon.broker_socket();
    for tenants in 1..4 {
        let mut producer = Child::start_brokered(Task::Publish, &name, &socket);
        let pid = producer.pid();
        // All that is left of the tenants before, and some of this one.
        let (mut position, seen) = (consumer.lane_position(0).unwrap(), consumer.read());
        while consumer.read() < seen + 100 {
            match consumer.recv_timeout(PATIENCE) {
                Ok(Some(frame)) => {
                    assert_eq!(frame.position(), position, "a position is missing");
                    position += 1;
                }
                Ok(None) => panic!("nothing came for {PATIENCE:?}"),
                Err(PollError::Closed) => {}
                Err(error) => panic!("{error}"),
            }
        }
        producer.kill();
        let line = daemon.wait_for_log(&[("pid", json!(pid)), ("level", json!("WARN"))]);
        assert!(line["message"].as_str().unwrap().contains("lane is free again"), "{line}");
        assert_eq!(bus.stat().recoveries, tenants);
    }
    assert_eq!(consumer.lost(), 0);
}

#[test]
fn numbers_of_each_tenant_come_without_a_gap() {
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"lanes_max\": 1, \"capacity_frames\": 64");
    let bus = connect(&daemon, &name);
    let mut consumer = bus.consumer().attach().unwrap();
    let socket = daemon.broker_socket();
    let reader = std::thread::spawn(move || {
        read_tenants(&mut consumer, 3, 100);
        consumer.lost()
    });
    for _ in 0..2 {
        let producer = Child::start_brokered(Task::Publish, &name, &socket);
        let before = bus.stat().published;
        eventually("frames", || (bus.stat().published > before + 100).then_some(()));
        producer.stop();
    }
    let last = Child::start_brokered(Task::Publish, &name, &socket);
    assert_eq!(reader.join().unwrap(), 0);
    last.stop();
}

#[test]
fn a_killed_consumer_holds_nobody_up_any_more() {
    let daemon = Daemon::start();
    let name = make(&daemon, ", \"lanes_max\": 1, \"capacity_frames\": 4");
    let mut consumer = Child::start_brokered(Task::HoldConsumer, &name, &daemon.broker_socket());
    let bus = connect(&daemon, &name);
    let mut producer = bus.producer().timeout(Some(PATIENCE)).attach().unwrap();
    for _ in 0..4 {
        producer.publish_bytes(0, b"held").unwrap();
    }
    assert!(producer.try_publish_bytes(0, b"held").is_err());
    consumer.kill();
    producer.publish_bytes(0, b"free").unwrap();
    assert_eq!(bus.stat().consumers.len(), 0);
    let pid = consumer.pid();
    daemon.wait_for_log(&[("pid", json!(pid)), ("level", json!("WARN"))]);
}

#[test]
fn a_killed_daemon_leaves_those_attached_to_go_on_and_another_has_no_such_bus() {
    let mut daemon = Daemon::start();
    let name = make(&daemon, ", \"capacity_frames\": 64");
    let socket = daemon.broker_socket();
    let consumer = Child::start_brokered(Task::Consume, &name, &socket);
    let producer = Child::start_brokered(Task::Publish, &name, &socket);
    let bus = connect(&daemon, &name);
    let mut observer = bus.observer().attach().unwrap();
    daemon.kill();
    for _ in 0..200 {
        assert!(observer.recv_timeout(PATIENCE).unwrap().is_some());
    }
    assert_eq!(bus.producer().attach().unwrap_err().code(), "broker");
    let daemon = daemon.start_again();
    assert_eq!(Bus::connect(&socket, &name).unwrap_err().code(), "not_found");
    // The name is free: what is left of the bus is in the memory of those attached to it.
    daemon.create(&name, ", \"brokered\": true");
    // Nobody is left to say that the producer has gone for good, so the consumer is not asked.
    assert_ne!(producer.stop(), "0");
    drop(consumer);
}
