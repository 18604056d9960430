//! The client that busctl uses, against a real daemon.

use std::time::Duration;

use busd::api::{CreateBus, HealthStatus};
use busd::{Client, RuntimeDir, wait_until_ready};

use crate::support::{
    BusName, Child, Daemon, Leashed, PATIENCE, Scratch, Task, command, in_company,
};

fn client(daemon: &Daemon) -> Client {
    Client::connect(&RuntimeDir::resolve(Some(&daemon.runtime_dir()))).unwrap()
}

#[test]
fn every_call_gives_what_the_daemon_says() {
    let daemon = Daemon::start();
    let client = client(&daemon);
    let name = BusName::new();
    assert_eq!(client.version().unwrap().name, "busd");
    let health = client.health().unwrap();
    assert_eq!((health.status, health.pid), (HealthStatus::Ok, daemon.pid()));

    let wish = CreateBus { payload_bytes: Some(64), ..CreateBus::new(&*name) };
    let (bus, is_new) = client.create_bus(&wish).unwrap();
    assert!(is_new && bus.payload_bytes == 64);
    let accept = CreateBus { if_not_exists: true, ..wish.clone() };
    assert!(!client.create_bus(&accept).unwrap().1);
    let error = client.create_bus(&wish).unwrap_err();
    assert_eq!(error.code(), "already_exists");
    assert!(error.to_string().contains(&*name) && error.hint().is_some());

    assert!(client.buses().unwrap().buses.contains(&bus));
    let child = Child::start(Task::HoldProducer, &name);
    let detail = client.bus(&name).unwrap();
    assert_eq!(detail.participants().map(|who| who.pid).collect::<Vec<_>>(), [child.pid()]);
    assert_eq!(client.participants(Some(&name)).unwrap().participants.len(), 1);
    assert!(!client.participants(None).unwrap().participants.is_empty());
    assert_eq!(client.openapi().unwrap()["openapi"], "3.1.0");

    assert_eq!(client.remove_bus(&name, false).unwrap_err().code(), "in_use");
    assert_eq!(client.remove_bus(&name, true).unwrap().removed, *name);
    assert_eq!(client.bus(&name).unwrap_err().code(), "not_found");
}

#[test]
fn a_bad_name_never_becomes_another_path() {
    let daemon = Daemon::start();
    let client = client(&daemon);
    for name in ["", "../version", "a/participants", "a?force=true", "a b"] {
        assert_eq!(client.bus(name).unwrap_err().code(), "bad_name", "{name:?}");
        assert_eq!(client.remove_bus(name, false).unwrap_err().code(), "bad_name", "{name:?}");
    }
}

#[test]
fn where_nobody_listens_the_client_says_so() {
    let scratch = Scratch::new();
    let nowhere = RuntimeDir::resolve(Some(&scratch.join("run")));
    assert_eq!(Client::connect(&nowhere).unwrap_err().code(), "daemon_unreachable");
    let waited = wait_until_ready(&nowhere, Duration::from_millis(20));
    assert_eq!(waited.unwrap_err().code(), "daemon_unreachable");

    let mut daemon = Daemon::start();
    let client = client(&daemon);
    daemon.kill();
    let error = client.version().unwrap_err();
    assert_eq!(error.code(), "daemon_unreachable");
    assert!(error.to_string().contains("busd.sock"), "{error}");
}

#[test]
fn waiting_ends_when_the_daemon_answers() {
    let _pass = in_company();
    let scratch = Scratch::new();
    let run = scratch.join("run");
    let process = Leashed::spawn(command(&run).stderr(std::process::Stdio::null()));
    let client = wait_until_ready(&RuntimeDir::resolve(Some(&run)), PATIENCE).unwrap();
    assert_eq!(client.health().unwrap().pid, process.id());
}
