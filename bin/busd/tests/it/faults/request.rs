//! Requests while system calls fail: each is answered rightly or its connection ends, the daemon
//! lives on, and what it says is so.

use std::cell::RefCell;

use busway::Bus;
use busway_faults::{Fault, Hit};
use nix::libc::SIGKILL;

use super::stage::{Faults, Seen, Stage, describe, is_kill, is_of, sweep};
use super::start::assert_no_panic;
use super::traced::Traced;
use crate::support::{Answer, eventually};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Create,
    Remove,
    List,
    Inspect,
}

/// Calls about the connection: when one fails there may be no answer.
const CONNECTION: &[&str] = &[
    "accept4",
    "close",
    "epoll_ctl",
    "getsockopt",
    "recvfrom",
    "sendto",
    "shutdown",
    "writev",
    "ioctl",
    "fcntl",
];

#[test]
fn creating_under_failure_is_answered_rightly() {
    failures(Request::Create, 4);
}

#[test]
fn removing_under_failure_is_answered_rightly() {
    failures(Request::Remove, 4);
}

#[test]
fn looking_under_failure_is_answered_rightly() {
    failures(Request::List, 4);
    failures(Request::Inspect, 4);
}

#[test]
fn daemon_killed_anywhere_in_a_request_is_followed_by_a_whole_one() {
    for request in [Request::Create, Request::Remove, Request::List] {
        sweep(&format!("{request:?}"), Faults::Kills, 16, |stage, fault| {
            in_a_fresh_daemon(stage, request, fault)
        });
    }
}

#[test]
fn first_request_under_failure_is_answered_rightly() {
    sweep("first Create", Faults::Failures, 12, |stage, fault| {
        in_a_fresh_daemon(stage, Request::Create, fault)
    });
}

/// All in one daemon, which has to survive each and to keep no descriptor of any.
fn failures(request: Request, every: usize) {
    // The daemon, and how many descriptors it may have in the end. It ends before its stage.
    let slot = RefCell::new(None);
    sweep(&format!("{request:?}"), Faults::Failures, every, |stage, fault| {
        let mut slot = slot.borrow_mut();
        let (daemon, most) = slot.get_or_insert_with(|| {
            let daemon = stage.daemon();
            let (_, outcome) = in_daemon(stage, &daemon, request, Fault::None);
            assert!(outcome.starts_with('2'), "{outcome} without a fault");
            let most = settled(stage, &daemon, usize::MAX);
            (daemon, most)
        });
        let (hit, outcome) = in_daemon(stage, daemon, request, fault);
        *most += usize::from(is_of(&hit, &["close"]));
        if hit == Hit::NotReached {
            settled(stage, daemon, *most);
            *slot = None;
        }
        (hit, outcome)
    });
}

/// How many descriptors the daemon has, once it has forgotten the bus of the requests and closed
/// everything but `most`.
fn settled(stage: &Stage, daemon: &Traced, most: usize) -> usize {
    let _gone = Bus::remove(&stage.wish);
    eventually("a daemon with nothing open that it does not need", || {
        let health = daemon.request("GET", "/v1/buses", "")?.json();
        let count = daemon.descriptors();
        let is_known = health.to_string().contains(&*stage.wish);
        (!is_known && count <= most).then_some(count)
    })
}

fn in_a_fresh_daemon(stage: &Stage, request: Request, fault: Fault) -> Seen {
    let mut daemon = stage.daemon();
    let (hit, outcome) = in_daemon(stage, &daemon, request, fault);
    let context = describe(fault, &hit);
    daemon.terminate();
    let end = daemon.wait();
    if is_kill(fault, &hit) {
        assert_eq!(end, busway_faults::End::Signal(SIGKILL), "{context}");
        stage.next_daemon_is_whole(&context);
    } else {
        assert_eq!(end, busway_faults::End::Code(0), "{context}: {}", daemon.log());
    }
    (hit, outcome)
}

fn in_daemon(stage: &Stage, daemon: &Traced, request: Request, fault: Fault) -> Seen {
    let name = &*stage.wish;
    // There or not there, as the request needs it.
    let _gone = Bus::remove(name);
    if request != Request::Create {
        drop(Bus::options().capacity_frames(4).create(name).unwrap());
    }
    daemon.plan.arm(fault);
    let answer = ask(daemon, request, name);
    let hit = daemon.plan.disarm();
    if is_kill(fault, &hit) {
        return (hit, "killed".to_owned());
    }
    let context = format!("{request:?}, {}: {answer:?}: {}", describe(fault, &hit), daemon.log());
    assert!(!daemon.has_ended(), "{context}");
    assert_no_panic(daemon, &context);
    let outcome = check(stage, request, &hit, answer.as_ref(), &context);
    let health = daemon.request("GET", "/v1/health", "").expect("an answer").json();
    assert_eq!(health["status"], "ok", "{context}");
    (hit, outcome)
}

fn ask(daemon: &Traced, request: Request, name: &str) -> Option<Answer> {
    let path = format!("/v1/buses/{name}");
    match request {
        Request::Create => {
            let wish = format!("{{\"name\": \"{name}\", \"capacity_frames\": 4}}");
            daemon.request("POST", "/v1/buses", &wish)
        }
        Request::Remove => daemon.request("DELETE", &path, ""),
        Request::List => daemon.request("GET", "/v1/buses", ""),
        Request::Inspect => daemon.request("GET", &path, ""),
    }
}

/// What is said is so, and something is said unless the connection itself failed.
fn check(
    stage: &Stage,
    request: Request,
    hit: &Hit,
    answer: Option<&Answer>,
    context: &str,
) -> String {
    let Some(answer) = answer else {
        assert!(is_of(hit, CONNECTION), "no answer: {context}");
        return "no answer".to_owned();
    };
    let is_done = answer.status < 300;
    let exists = stage.wish.segment().exists();
    match request {
        Request::Create => assert_eq!(exists, is_done, "{context}"),
        Request::Remove => assert_eq!(exists, !is_done, "{context}"),
        Request::List | Request::Inspect => assert!(exists, "{context}"),
    }
    if request == Request::List && is_done {
        let list = answer.json();
        let parts = ["buses", "unreadable"].map(|part| list[part].as_array().unwrap().clone());
        let is_listed = parts.iter().flatten().any(|bus| bus["name"] == *stage.wish);
        assert!(is_listed || is_of(hit, &["openat"]), "{context}");
    }
    if is_done {
        return answer.status.to_string();
    }
    format!("{} {}: {}", answer.status, answer.code(), answer.message())
}
