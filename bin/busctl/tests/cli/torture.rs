//! `torture`: a short run of every kind is clean, every promise that is broken on purpose is named,
//! and nothing is left behind, however a run ends.

use crate::family::{Family, segments};
use crate::sandbox::{Done, Running, Sandbox, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// Runs `busctl torture` with few processes, as the tests of other programs run beside it.
fn torture(sandbox: &Sandbox, args: &str) -> Done {
    let mut all = vec!["torture", "--producers", "3", "--consumers", "2"];
    all.extend(args.split_whitespace());
    sandbox.run(&all)
}

fn document(done: &Done) -> Value {
    let document: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(document["schema"], "busway.torture/1", "{document}");
    document
}

/// Checks that a run was clean and did something.
#[track_caller]
fn is_clean(done: &Done) -> Value {
    assert_eq!(done.code(), 0, "{done:?}");
    let document = document(done);
    let violations = document["violations"].as_object().unwrap();
    assert!(violations.len() >= 10 && violations.values().all(|count| *count == 0), "{document}");
    assert_eq!(document["told"].as_array().unwrap().len(), 0);
    for count in ["published_frames", "read_frames", "point_hits", "processes"] {
        assert!(document[count].as_u64().unwrap() > 0, "{count}: {document}");
    }
    let kills = &document["kills"];
    let [total, at_random, at_points] =
        ["total", "at_random", "at_points"].map(|count| kills[count].as_u64().unwrap());
    assert!(total > 0 && at_random + at_points == total, "{document}");
    let points = document["points"].as_object().unwrap();
    let of_points: u64 = points.values().map(|point| point["kills"].as_u64().unwrap()).sum();
    assert_eq!(of_points, at_points, "{document}");
    document
}

#[test]
fn every_kind_of_bus_keeps_its_promises() {
    let sandbox = Sandbox::new();
    for topology in ["single", "lanes", "ordered"] {
        let done = torture(&sandbox, &format!("--topology {topology} --kills 90 --json"));
        let document = is_clean(&done);
        assert_eq!(document["buses"], 3, "one a policy: {document}");
        assert!(document["kills"]["total"].as_u64().unwrap() >= 90, "{document}");
    }
}

#[test]
fn a_run_ends_when_its_time_is_over_and_prints_one_page() {
    let sandbox = Sandbox::new();
    let args = "--topology lanes --on-full block --seconds 2 --seed 11";
    let done = torture(&sandbox, args);
    assert_eq!(done.code(), 0, "{done:?}");
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines.len() < 45, "a page has more: {}", lines.len());
    for row in ["frames lost", "doubled", "torn", "reordered", "batches split", "seats leaked"] {
        assert!(done.stdout.contains(&format!("{row} ")), "{row}: {}", done.stdout);
    }
    // Nobody here comes to those of tables and groups.
    assert!(
        !done.stdout.contains("cell-set") && !done.stdout.contains("group-"),
        "{}",
        done.stdout
    );
    assert_eq!(
        lines.last(),
        Some(
            &"replay the schedule: busctl torture --seed 11 --topology lanes --producers 3 \
              --on-full block --consumers 2 --seconds 2"
        )
    );
}

/// Has a worker break a promise on a bus of this kind; the run must name it.
#[track_caller]
fn is_noticed(kind: &str, violation: &str, bus: &str) {
    // Time for the promise to be broken; the run ends as soon as it is.
    is_noticed_within("--seconds 45", kind, violation, bus);
}

#[track_caller]
fn is_noticed_within(limit: &str, kind: &str, violation: &str, bus: &str) {
    let sandbox = Sandbox::new();
    // A reader that joins just when the lie is told sees something else broken first.
    for seed in 5..9 {
        let args = format!("{limit} --seed {seed} --json --sabotage {kind} {bus}");
        let done = torture(&sandbox, &args);
        done.failed(9, &[&format!("busctl torture --seed {seed}")]);
        let document = document(&done);
        assert_eq!(document["seed"], seed);
        if document["violations"][violation].as_u64().unwrap() > 0 {
            assert!(done.stderr.contains(violation), "{done:?}");
            let told = document["told"].as_array().unwrap();
            assert!(told.iter().any(|told| told["violation"] == violation), "{kind}: {document}");
            return;
        }
    }
    panic!("{kind} on {bus} is not noticed as {violation}");
}

#[test]
fn frames_that_are_left_out_repeated_or_exchanged_are_noticed() {
    for bus in ["--topology single", "--topology lanes", "--topology ordered"] {
        is_noticed("skip", "lost", &format!("{bus} --on-full block"));
        is_noticed("repeat", "doubled", &format!("{bus} --on-full reject"));
        is_noticed("swap", "reordered", &format!("{bus} --on-full block"));
    }
}

#[test]
fn frames_that_are_spoiled_or_in_part_or_too_early_are_noticed() {
    for bus in ["--topology lanes --on-full block", "--topology ordered --on-full reject"] {
        is_noticed("flip", "torn", bus);
        is_noticed("half-batch", "batch-split", bus);
        is_noticed("early", "uncommitted-seen", bus);
        is_noticed("abort", "uncommitted-seen", bus);
        is_noticed("boast", "lost", bus);
    }
}

#[test]
fn readers_that_miscount_are_noticed() {
    for bus in ["--topology lanes --on-full drop-oldest", "--topology ordered --on-full block"] {
        is_noticed("miscount", "miscounted", bus);
    }
}

#[test]
fn seats_and_segments_that_go_astray_are_noticed() {
    is_noticed("leave", "wrongly-reclaimed", "--topology lanes --on-full block");
    // What is left is looked for at the end.
    let bus = "--topology lanes --on-full block";
    is_noticed_within("--kills 20", "litter", "leaked-segment", bus);
}

#[test]
fn who_stands_still_for_good_is_noticed() {
    is_noticed("idle", "wedged", "--topology lanes --on-full reject");
}

#[test]
fn workers_die_at_the_points_that_were_asked_for() {
    let sandbox = Sandbox::new();
    let points = "head-stored,cursor-not-stored";
    let args = "--topology lanes --on-full block --kills 150 --json --points";
    let document = is_clean(&torture(&sandbox, &format!("{args} {points}")));
    let counts = document["points"].as_object().unwrap();
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["cursor-not-stored", "head-stored"]);
    assert!(counts.values().all(|count| count["kills"].as_u64().unwrap() > 0), "{document}");
    assert!(document["replay"].as_str().unwrap().ends_with(points), "{document}");
}

#[test]
fn every_point_is_listed_with_who_comes_there() {
    let sandbox = Sandbox::new();
    let table = sandbox.ok(&["torture", "--list-points"]);
    assert!(table.starts_with("POINT"), "{table}");
    let document = sandbox.document("busway.torture-points/1", &["torture", "--list-points"]);
    let points = document["points"].as_array().unwrap();
    assert_eq!(points.len(), table.lines().count() - 1);
    for point in points {
        assert!(table.contains(point["name"].as_str().unwrap()), "{point}");
    }
    let entry_set = points.iter().find(|point| point["name"] == "entry-set").unwrap();
    assert_eq!(
        (&entry_set["reached_by"], &entry_set["on_buses"]),
        (&Value::from("producer"), &Value::from("ordered"))
    );
}

#[test]
fn wrong_arguments_are_refused() {
    let sandbox = Sandbox::new();
    for (args, says) in [
        ("--topology ring", "ordered"),
        ("--on-full wait", "drop-oldest"),
        ("--kills 0", "allowed: 1 or more"),
        ("--seconds 0", "allowed: 1 to"),
        ("--seconds 1 --kills 1", "cannot be used with"),
        ("--points head-stored,nowhere", "--list-points"),
        ("--seed x", "invalid"),
    ] {
        let done = torture(&sandbox, args);
        done.failed(2, &[says]);
    }
    let done = sandbox.run(&["torture", "--producers", "0"]);
    done.failed(2, &["0 is out of range; allowed: 1 to 16"]);
}

/// Starts a long run, and returns once it kills.
fn long_run(sandbox: &Sandbox) -> (Running, Family) {
    let args = ["torture", "--seconds", "600", "--topology", "lanes", "--on-full", "block"];
    let running = sandbox.start(&args);
    eventually("workers run", || Family::of(running.pid()).pid_of("recoverer").is_some());
    let family = Family::of(running.pid());
    assert!(!segments("torture", running.pid()).is_empty());
    (running, family)
}

#[test]
fn interrupted_run_reports_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (running, family) = long_run(&sandbox);
    let pid = running.pid();
    running.signal(Signal::INT);
    let done = running.wait();
    done.failed(1, &["interrupted"]);
    assert!(done.stdout.contains("frames lost"), "{done:?}");
    family.ends();
    assert_eq!(segments("torture", pid), [""; 0]);
}

#[test]
fn killed_run_leaves_no_worker_and_no_bus() {
    let sandbox = Sandbox::new();
    let (running, family) = long_run(&sandbox);
    let pid = running.pid();
    running.signal(Signal::KILL);
    family.ends();
    eventually("the buses are gone", || segments("torture", pid).is_empty());
}

#[test]
fn daemons_that_are_killed_keep_their_word() {
    let sandbox = Sandbox::new();
    let args = "--topology lanes --on-full block --kills 100 --daemon --json";
    let document = is_clean(&torture(&sandbox, args));
    assert_eq!(document["daemon_kills"], 2, "{document}");
}
