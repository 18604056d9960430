//! `torture group`: short runs of both deliveries are clean, every promise that is broken on purpose is
//! named, and nothing is left behind.

use crate::family::{Family, segments};
use crate::sandbox::{Done, Sandbox, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// Runs `busctl torture group` with few processes, as the tests of other programs run beside it.
fn torture(sandbox: &Sandbox, args: &str) -> Done {
    let mut all = vec!["torture", "group", "--producers", "2", "--members", "2"];
    all.extend(args.split_whitespace());
    sandbox.run(&all)
}

fn document(done: &Done) -> Value {
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["schema"], "busway.torture-group/1", "{document}");
    document
}

fn count(document: &Value, name: &str) -> u64 {
    document[name].as_u64().unwrap_or_else(|| panic!("{name}: {document}"))
}

/// Checks that a run was clean and did something.
#[track_caller]
fn is_clean(done: &Done) -> Value {
    assert_eq!(done.code(), 0, "{done:?}");
    let document = document(done);
    let violations = document["violations"].as_object().unwrap();
    assert!(violations.len() >= 10 && violations.values().all(|count| *count == 0), "{document}");
    assert_eq!(document["told"].as_array().unwrap().len(), 0);
    for name in ["published_frames", "handed_out_frames", "point_hits", "groups_kept"] {
        assert!(count(&document, name) > 0, "{name}: {document}");
    }
    document
}

#[test]
fn group_loses_nothing_at_least_once_whoever_dies() {
    let sandbox = Sandbox::new();
    for topology in ["single", "lanes", "ordered"] {
        let args = "--delivery at-least-once --kills 60 --json --topology";
        let document = is_clean(&torture(&sandbox, &format!("{args} {topology}")));
        assert_eq!(document["buses"], 2, "one a policy: {document}");
        let known: u64 = ["acknowledged_frames", "acknowledged_or_not", "dead_letters"]
            .iter()
            .map(|name| count(&document, name))
            .sum();
        assert_eq!(known, count(&document, "published_frames"), "each is accounted for once");
        assert_eq!(count(&document, "lost_in_hand"), 0);
    }
}

#[test]
fn group_doubles_nothing_at_most_once_whoever_dies() {
    let sandbox = Sandbox::new();
    for topology in ["single", "lanes", "ordered"] {
        let args = "--delivery at-most-once --kills 60 --json --topology";
        let document = is_clean(&torture(&sandbox, &format!("{args} {topology}")));
        assert_eq!(count(&document, "handed_out_again"), 0);
        let (handed, lost) =
            (count(&document, "handed_out_frames"), count(&document, "lost_in_hand"));
        assert_eq!(handed + lost, count(&document, "published_frames"));
    }
}

#[test]
fn run_of_groups_prints_one_page_and_how_to_have_it_again() {
    let sandbox = Sandbox::new();
    let args = "--topology lanes --on-full block --seconds 2 --seed 11 --max-attempts 2 --batch 4";
    let done = torture(&sandbox, args);
    assert_eq!(done.code(), 0, "{done:?}");
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines.len() < 45, "a page has more: {}", lines.len());
    for row in ["frames lost", "doubled", "torn", "frames not done", "its member was killed"] {
        assert!(done.stdout.contains(row), "{row}: {}", done.stdout);
    }
    assert!(!done.stdout.contains("cell-set"), "points of others: {}", done.stdout);
    assert_eq!(
        lines.last(),
        Some(
            &"replay the schedule: busctl torture group --seed 11 --topology lanes --producers 2 \
              --on-full block --delivery all --members 2 --max-attempts 2 --batch 4 --seconds 2"
        )
    );
}

/// Has a worker break a promise; the run must name it.
#[track_caller]
fn is_noticed(limit: &str, kind: &str, violation: &str, group: &str) {
    let sandbox = Sandbox::new();
    for seed in 5..9 {
        let bus = "--topology lanes --on-full block --json";
        let args = format!("{limit} --seed {seed} --sabotage {kind} {bus} {group}");
        let done = torture(&sandbox, &args);
        done.failed(9, &[&format!("busctl torture group --seed {seed}")]);
        let document = document(&done);
        if document["violations"][violation].as_u64().unwrap() > 0 {
            assert!(done.stderr.contains(violation), "{done:?}");
            return;
        }
    }
    panic!("{kind} of {group} is not noticed as {violation}");
}

const LEAST: &str = "--delivery at-least-once --max-attempts 3";
const MOST: &str = "--delivery at-most-once";

#[test]
fn producers_that_break_a_promise_to_a_group_are_noticed() {
    for group in [LEAST, MOST] {
        is_noticed("--seconds 45", "skip", "lost", group);
        is_noticed("--seconds 45", "repeat", "doubled", group);
        is_noticed("--seconds 45", "flip", "torn", group);
        is_noticed("--seconds 45", "early", "uncommitted-seen", group);
        is_noticed("--seconds 45", "abort", "uncommitted-seen", group);
    }
}

#[test]
fn frames_that_are_dealt_with_twice_or_too_often_are_noticed() {
    is_noticed("--seconds 45", "twice", "doubled", LEAST);
    is_noticed("--seconds 45", "overtry", "overtried", LEAST);
    is_noticed("--seconds 45", "overtry", "doubled", MOST);
}

#[test]
fn frames_that_nobody_is_told_of_are_noticed_at_the_end() {
    is_noticed("--kills 30", "swallow", "lost", LEAST);
    is_noticed("--kills 30", "swallow", "lost", MOST);
    // With one attempt whatever is refused is a letter.
    is_noticed("--kills 30", "burn", "lost", "--delivery at-least-once --max-attempts 1");
}

#[test]
fn members_and_groups_that_go_astray_are_noticed() {
    is_noticed("--seconds 45", "desert", "wrongly-reclaimed", LEAST);
    is_noticed("--seconds 45", "doze", "wedged", MOST);
    is_noticed("--kills 20", "abandon", "leaked-segment", LEAST);
}

#[test]
fn members_die_at_the_points_that_were_asked_for() {
    let sandbox = Sandbox::new();
    let points = "group-ack-made,group-claimed";
    let args = format!("--topology lanes --kills 120 --json --points {points}");
    let document = is_clean(&torture(&sandbox, &args));
    let counts = document["points"].as_object().unwrap();
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["group-ack-made", "group-claimed"]);
    assert!(counts.values().all(|count| count["kills"].as_u64().unwrap() > 0), "{document}");
}

#[test]
fn points_of_groups_are_listed_and_those_of_others_are_not() {
    let sandbox = Sandbox::new();
    let args = ["torture", "group", "--list-points"];
    let document = sandbox.document("busway.torture-group-points/1", &args);
    let points = document["points"].as_array().unwrap();
    let names: Vec<&str> = points.iter().map(|point| point["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"group-letter-sent") && names.contains(&"ticket-taken"), "{names:?}");
    assert!(!names.contains(&"cell-set") && !names.contains(&"hole-found"), "{names:?}");
    let buses = sandbox.ok(&["torture", "--list-points"]);
    assert!(!buses.contains("group-") && !buses.contains("cell-set"), "{buses}");
}

#[test]
fn wrong_arguments_are_refused() {
    let sandbox = Sandbox::new();
    for (args, says) in [
        ("--on-full drop-oldest", "reject"),
        ("--delivery twice", "at-most-once"),
        ("--max-attempts 255", "allowed: 0 to 254"),
        ("--seconds 1 --kills 1", "cannot be used with"),
    ] {
        torture(&sandbox, args).failed(2, &[says]);
    }
}

#[test]
fn killed_run_of_groups_leaves_no_worker_and_no_bus() {
    let sandbox = Sandbox::new();
    let args = ["torture", "group", "--seconds", "600", "--delivery", "at-least-once"];
    let running = sandbox.start(&args);
    eventually("members run", || Family::of(running.pid()).pid_of("member").is_some());
    let family = Family::of(running.pid());
    let pid = running.pid();
    running.signal(Signal::KILL);
    family.ends();
    eventually("the buses are gone", || segments("torture", pid).is_empty());
}
