//! `torture request`: a short run is clean, every promise that is broken on purpose is seen, and nothing is
//! left behind.

use crate::family::segments;
use crate::sandbox::Sandbox;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

#[test]
fn torture_of_a_service_accounts_for_every_call_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let args = ["torture", "request", "--seconds", "3", "--callers", "3", "--seed", "5"];
    let report = sandbox.document("busway.torture-request/1", &args);
    assert_eq!(report["violations"].as_array().unwrap().len(), 0, "{report}");
    let count = |name: &str| report[name].as_u64().unwrap();
    for name in ["workers", "replied", "handed_out", "replies_to_the_bystander"] {
        assert!(count(name) > 0, "{name}: {report}");
    }
    let ends = ["replied", "refused", "not_sent", "not_known", "without_end"];
    assert_eq!(ends.into_iter().map(count).sum::<u64>(), count("calls"), "{report}");
}

#[test]
fn services_that_break_a_promise_are_noticed() {
    let sandbox = Sandbox::new();
    for (kind, says) in
        [("twice", "handed out twice"), ("deny", "was not sent, and was handed out")]
    {
        let args = ["torture", "request", "--seconds", "4", "--seed", "5", "--sabotage", kind];
        let done = sandbox.run(&args);
        assert_eq!(done.code(), 9, "{kind}: {done:?}");
        assert!(done.stderr.contains(says), "{kind}: {done:?}");
    }
    let args =
        ["torture", "request", "--seconds", "30", "--seed", "5", "--sabotage", "swap", "--json"];
    let done = sandbox.run(&args);
    assert_eq!(done.code(), 9, "{done:?}");
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    assert!(!report["violations"].as_array().unwrap().is_empty(), "{report}");
}

#[test]
fn interrupted_torture_of_a_service_leaves_nothing() {
    let sandbox = Sandbox::new();
    let running = sandbox.start(&["torture", "request", "--seconds", "600"]);
    let pid = running.pid();
    crate::sandbox::eventually("it runs", || segments("torture-request", pid).len() == 2);
    // Workers are at it.
    std::thread::sleep(Duration::from_millis(100));
    running.signal(Signal::INT);
    let done = running.wait();
    assert_eq!(done.code(), 0, "nothing was broken until then: {done:?}");
    assert_eq!(segments("torture-request", pid), [""; 0]);
}
