//! From the config file to the first answer, and from the signal to the end.

use busway_faults::{Begin, End, Fault, Hit};
use nix::libc::SIGKILL;

use super::stage::{Faults, Seen, Stage, describe, is_kill, is_of, sweep};
use super::traced::Traced;

/// Calls that take a name away: one that is not made leaves the file.
const UNLINKS: &[&str] = &["unlink", "unlinkat"];

#[test]
fn start_under_failure_comes_up_or_says_why_not() {
    sweep("start", Faults::Failures, 6, start);
}

#[test]
fn daemon_killed_anywhere_in_its_start_is_followed_by_a_whole_one() {
    sweep("start", Faults::Kills, 16, start);
}

#[test]
fn end_under_failure_is_an_end() {
    sweep("end", Faults::Failures, 4, end);
}

#[test]
fn daemon_killed_anywhere_in_its_end_is_followed_by_a_whole_one() {
    sweep("end", Faults::Kills, 8, end);
}

fn start(stage: &Stage, fault: Fault) -> Seen {
    let mut daemon = Traced::start(&stage.place, fault, stage.begin_at_config());
    let is_up = daemon.is_up();
    let hit = daemon.plan.disarm();
    let context = format!("{}: {}", describe(fault, &hit), daemon.log());
    if is_up {
        assert!(stage.declared.segment().exists(), "{context}");
        daemon.terminate();
    }
    let outcome = check_end(&mut daemon, fault, &hit, is_up);
    if is_kill(fault, &hit) {
        stage.next_daemon_is_whole(&context);
    } else if ["error: cannot lock", "error: another busd"].iter().any(|it| outcome.starts_with(it))
    {
        // Whose the file is that could not be looked at or locked is not known; it bars nobody.
        stage.next_daemon_is_whole(&context);
    } else if !is_of(&hit, UNLINKS) {
        stage.assert_nothing_left(&context);
    }
    // Gone when the daemon could not make it.
    let _gone = busway::Bus::remove(&stage.declared);
    (hit, outcome)
}

fn end(stage: &Stage, fault: Fault) -> Seen {
    let mut daemon = stage.daemon();
    daemon.plan.arm(fault);
    daemon.terminate();
    let end = daemon.wait();
    let hit = daemon.plan.disarm();
    let context = format!("{}: {}", describe(fault, &hit), daemon.log());
    if is_kill(fault, &hit) {
        assert_eq!(end, End::Signal(SIGKILL), "{context}");
        stage.next_daemon_is_whole(&context);
        return (hit, "killed".to_owned());
    }
    assert_eq!(end, End::Code(0), "{context}");
    assert_no_panic(&daemon, &context);
    if !is_of(&hit, UNLINKS) {
        stage.assert_nothing_left(&context);
    }
    (hit, "ended".to_owned())
}

/// It was killed, or ended as told, or said in its last words why it did not start.
fn check_end(daemon: &mut Traced, fault: Fault, hit: &Hit, is_up: bool) -> String {
    let end = daemon.wait();
    let log = daemon.log();
    let context = format!("{}: {end:?}: {log}", describe(fault, hit));
    if is_kill(fault, hit) {
        assert_eq!(end, End::Signal(SIGKILL), "{context}");
        return "killed".to_owned();
    }
    assert_no_panic(daemon, &context);
    if is_up {
        assert_eq!(end, End::Code(0), "{context}");
        return "up".to_owned();
    }
    assert!(matches!(end, End::Code(1 | 2 | 5 | 7)), "{context}");
    let error = log.lines().find(|line| line.starts_with("error: "));
    let error = error.unwrap_or_else(|| panic!("no reason is given: {context}"));
    error.to_owned()
}

pub fn assert_no_panic(daemon: &Traced, context: &str) {
    assert!(!daemon.log().contains("panicked"), "{context}");
}

#[test]
fn fault_that_begins_nowhere_is_not_reached() {
    let stage = Stage::set();
    let fault = Fault::Fail { nth: 0, variant: 0 };
    let mut daemon = Traced::start(&stage.place, fault, Begin::AtPath("/no/such".to_owned()));
    assert!(daemon.is_up());
    assert_eq!(daemon.plan.disarm(), Hit::NotReached);
    daemon.terminate();
    assert_eq!(daemon.wait(), End::Code(0));
    stage.finish();
}
