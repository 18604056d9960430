//! How the daemon starts, ends, and is killed.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    BusName, Child, Daemon, Leashed, Scratch, Task, command, eventually, exchange, in_company,
    refused,
};

/// Promise 5 (ARCHITECTURE.md).
#[test]
fn a_second_daemon_in_the_directory_is_refused_and_told_of_the_first() {
    let daemon = Daemon::start();
    let (code, text) = refused(&daemon.runtime_dir(), &[]);
    assert_eq!(code, 7, "{text}");
    assert!(text.contains(&format!("process {}", daemon.pid())), "{text}");
    assert_eq!(daemon.get("/v1/health").json()["pid"], json!(daemon.pid()));
}

#[test]
fn a_daemon_that_is_asked_to_log_little_serves_until_it_is_told() {
    for level in ["warn", "error"] {
        let mut daemon = Daemon::start_with(&["--log-level", level]);
        assert_eq!(daemon.get("/v1/health").status, 200);
        daemon.signal(Signal::TERM);
        assert!(daemon.wait_for_end().success(), "{level}");
    }
}

#[test]
fn a_signal_ends_it_cleanly_and_the_buses_stay() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut daemon = Daemon::start();
        let name = BusName::new();
        daemon.create(&name, "");
        daemon.signal(signal);
        assert!(daemon.wait_for_end().success(), "{signal:?}");
        let left = std::fs::read_dir(daemon.runtime_dir()).unwrap().count();
        assert_eq!(left, 0, "{signal:?} leaves files behind");
        assert!(name.segment().exists());
    }
}

/// Promise 5 (ARCHITECTURE.md).
#[test]
fn kill_and_start_again_loses_nothing_and_disturbs_nobody() {
    let mut daemon = Daemon::start();
    let (busy, idle) = (BusName::new(), BusName::new());
    daemon.create(&busy, ", \"capacity_frames\": 64");
    daemon.create(&idle, ", \"topology\": \"ordered\"");
    let consumer = Child::start(Task::Consume, &busy);
    let producer = Child::start(Task::Publish, &busy);
    let before = list_without_counts(&daemon, &[&busy, &idle]);
    let participants = daemon.get(&format!("/v1/buses/{}/participants", &*busy)).json();

    daemon.kill();
    assert!(daemon.socket().exists(), "a killed daemon cannot have cleaned up");
    let bus = busway::Bus::open(&busy).unwrap();
    let published = bus.stat().published;
    eventually("frames while no daemon runs", || {
        (bus.stat().published > published + 100).then_some(())
    });
    let daemon = daemon.start_again();
    daemon.wait_for_log(&[("message", json!("watching")), ("bus", json!(&*busy))]);
    daemon.wait_for_log(&[("message", json!("attached")), ("pid", json!(producer.pid()))]);

    assert_eq!(list_without_counts(&daemon, &[&busy, &idle]), before);
    let again = daemon.get(&format!("/v1/buses/{}/participants", &*busy)).json();
    for key in ["role", "seat", "pid", "uid", "name", "epoch", "attached_unix_ns", "alive"] {
        for index in 0..2 {
            let of = |list: &Value| list["participants"][index][key].clone();
            assert_eq!(of(&again), of(&participants), "{key}");
        }
    }
    let sent = producer.stop();
    assert_eq!(consumer.stop(), sent);
}

/// The list, without what moves on its own.
fn list_without_counts(daemon: &Daemon, names: &[&str]) -> Vec<Value> {
    let mut list = daemon.list(names);
    assert_eq!(list.len(), names.len());
    for bus in &mut list {
        bus.as_object_mut().unwrap().remove("published_frames");
    }
    list
}

#[test]
fn a_closed_stderr_does_not_end_it() {
    let _pass = in_company();
    let scratch = Scratch::new();
    let run = scratch.join("run");
    let mut process = Leashed::spawn(command(&run).stderr(Stdio::piped()));
    drop(process.stderr.take());
    let socket = run.join("busd.sock");
    let name = BusName::new();
    let wish = format!("{{\"name\": \"{}\"}}", &*name);
    let answer = eventually("the daemon", || exchange(&socket, "POST", "/v1/buses", &wish).ok());
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(exchange(&socket, "GET", "/v1/health", "").unwrap().status, 200);
}

#[test]
fn directories_that_others_may_write_and_files_in_the_sockets_place_are_refused() {
    let _pass = in_company();
    let scratch = Scratch::new();
    let run = scratch.join("run");
    std::fs::create_dir(&run).unwrap();
    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o770)).unwrap();
    let (code, text) = refused(&run, &[]);
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("0770") && text.contains("hint: chmod 700"), "{text}");

    std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(run.join("busd.sock"), "precious").unwrap();
    let (code, text) = refused(&run, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("is not a socket"), "{text}");
    assert_eq!(std::fs::read(run.join("busd.sock")).unwrap(), b"precious");
}

#[test]
fn the_service_manager_is_told() {
    let _pass = in_company();
    let scratch = Scratch::new();
    let path = scratch.join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    let mut command = command(&scratch.join("run"));
    let mut process = Leashed::spawn(command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null()));
    let hear = || {
        let mut bytes = [0; 4096];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    let mut heard = hear();
    while !heard.contains("READY=1") {
        heard += &hear();
    }
    assert!(heard.contains("STATUS="), "{heard}");
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    while !heard.contains("STOPPING=1") {
        heard += &hear();
    }
    assert!(process.wait().unwrap().success());
}
