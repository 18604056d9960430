//! `bench`, `bench rtt`, `bench limit`: counts come out exactly, figures are figures, and nothing
//! is left behind, however a measurement ends. No figure is compared with a time: machines differ.

use crate::family::{Family, segments};
use crate::sandbox::{Running, Sandbox, eventually};
use rustix::process::Signal;
use serde_json::Value;

/// Every number of messages here is small: what is tested are counts, not speed.
const MESSAGES: u64 = 8_000;

fn bench(sandbox: &Sandbox, args: &str) -> Value {
    let messages = MESSAGES.to_string();
    let mut all = vec!["bench", "--messages", &messages, "--runs", "1"];
    all.extend(args.split_whitespace());
    sandbox.document("busway.bench/1", &all)
}

/// Checks that everything that was published was read or, where that may be, lost.
#[track_caller]
fn counts_add_up(document: &Value, lossless: bool) {
    for run in document["runs"].as_array().unwrap() {
        let sum = |list: &str, field: &str| -> u64 {
            let list = run[list].as_array().unwrap();
            list.iter().map(|end| end[field].as_u64().unwrap()).sum()
        };
        let messages = run["messages"].as_u64().unwrap();
        assert_eq!(sum("producers", "published"), messages, "{run}");
        for consumer in run["consumers"].as_array().unwrap() {
            let (read, lost) = (consumer["read"].as_u64(), consumer["lost"].as_u64());
            assert_eq!(read.unwrap() + lost.unwrap(), messages, "{run}");
            assert!(!lossless || lost == Some(0), "{run}");
        }
        assert_eq!(sum("consumers", "read"), run["read"].as_u64().unwrap());
        assert_eq!(sum("consumers", "lost"), run["lost"].as_u64().unwrap());
        assert!(run["elapsed_ns"].as_u64().unwrap() > 0, "{run}");
        assert!(run["messages_per_second"].as_u64().unwrap() > 0, "{run}");
    }
}

/// Checks that percentiles are positive and in order.
#[track_caller]
fn percentiles_are_in_order(latency: &Value) {
    let fields = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "max_ns"];
    let values = fields.map(|field| latency[field].as_u64().unwrap_or_default());
    assert!(values[0] > 0 && values.is_sorted(), "{latency}");
    assert!(latency["samples"].as_u64().unwrap() > 0, "{latency}");
}

#[test]
fn every_topology_and_policy_accounts_for_every_message() {
    let sandbox = Sandbox::new();
    for topology in ["single", "lanes", "ordered"] {
        for policy in ["block", "reject", "drop-oldest"] {
            let producers = if topology == "single" { 1 } else { 2 };
            let document = bench(
                &sandbox,
                &format!(
                    "--topology {topology} --on-full {policy} --producers {producers} \
                     --consumers 2 --capacity 256"
                ),
            );
            counts_add_up(&document, policy != "drop-oldest");
            assert_eq!(document["topology"], topology);
            assert_eq!(document["on_full"], policy);
            let run = &document["runs"][0];
            assert_eq!(run["messages"], MESSAGES);
            assert_eq!(run["producers"].as_array().unwrap().len(), producers);
            assert_eq!(run["consumers"].as_array().unwrap().len(), 2);
        }
    }
}

#[test]
fn batches_and_bare_frames_of_any_size_arrive_whole() {
    let sandbox = Sandbox::new();
    for args in [
        "--batch 64",
        "--batch 7 --topology ordered --producers 2",
        "--batch 64 --on-full drop-oldest --capacity 128",
        "--batch 3 --on-full reject --capacity 8",
        "--frames bare --payload 1",
        "--frames bare --payload 64 --batch 16",
        "--payload 7",
        "--payload 1000 --capacity 16 --timestamps frame",
        "--payload 12 --on-full drop-oldest --frames bare --capacity 64",
    ] {
        let document = bench(&sandbox, args);
        counts_add_up(&document, !args.contains("drop-oldest"));
    }
}

#[test]
fn publishing_can_be_measured_without_a_consumer() {
    let sandbox = Sandbox::new();
    for policy in ["block", "reject", "drop-oldest"] {
        let document = bench(&sandbox, &format!("--consumers 0 --on-full {policy}"));
        counts_add_up(&document, true);
        assert_eq!(document["runs"][0]["read"], 0);
    }
}

#[test]
fn every_wait_strategy_delivers() {
    let sandbox = Sandbox::new();
    for wait in ["adaptive", "busy", "yielding", "parking"] {
        let document = bench(&sandbox, &format!("--wait {wait} --capacity 64"));
        counts_add_up(&document, true);
        assert_eq!(document["wait"], wait);
    }
}

#[test]
fn a_paced_run_has_latencies_of_every_message() {
    let sandbox = Sandbox::new();
    let document = sandbox.document(
        "busway.bench/1",
        &["bench", "--rate", "5k", "--duration", "200ms", "--runs", "2", "--producers", "2"],
    );
    counts_add_up(&document, true);
    assert_eq!(document["rate_hz"], 5000.0);
    for run in document["runs"].as_array().unwrap() {
        assert_eq!(run["messages"], 2000);
        assert_eq!(run["latency"]["samples"], run["read"]);
        percentiles_are_in_order(&run["latency"]);
    }
    percentiles_are_in_order(&document["median"]["latency"]);
}

#[test]
fn the_report_has_a_median_and_what_the_machine_allows() {
    let sandbox = Sandbox::new();
    let document = sandbox
        .document("busway.bench/1", &["bench", "--duration", "50ms", "--runs", "3", "--pin", "0"]);
    counts_add_up(&document, true);
    assert_eq!(document["runs"].as_array().unwrap().len(), 3);
    assert_eq!(document["pin"], serde_json::json!([0]));
    let rate = &document["median"]["messages_per_second"];
    let [min, median, max] = ["min", "median", "max"].map(|field| rate[field].as_u64().unwrap());
    assert!(0 < min && min <= median && median <= max, "{rate}");
    percentiles_are_in_order(&document["median"]["ping_pong"]);
    assert!(document["fill_ps_per_message"].as_u64().unwrap() > 0);
    assert!(document["check_ps_per_message"].as_u64().unwrap() > 0);

    let text = sandbox.ok(&["bench", "--messages", "1000", "--runs", "2"]);
    for part in ["bench lanes: 1 producer → 1 consumer", "messages/s", "consumer 0", "lane 0"] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn round_trips_have_percentiles() {
    let sandbox = Sandbox::new();
    for wait in ["adaptive", "busy", "parking"] {
        let document = sandbox.document(
            "busway.bench.rtt/1",
            &["bench", "rtt", "--messages", "200", "--runs", "2", "--wait", wait],
        );
        assert_eq!(document["runs"].as_array().unwrap().len(), 2);
        for run in document["runs"].as_array().unwrap() {
            assert_eq!(run["latency"]["samples"], 200);
            percentiles_are_in_order(&run["latency"]);
            percentiles_are_in_order(&run["ping_pong"]);
        }
        percentiles_are_in_order(&document["median"]);
    }
    let text = sandbox.ok(&["bench", "rtt", "--duration", "50ms", "--runs", "1"]);
    assert!(text.contains("P99.9") && text.contains("median"), "{text}");
}

#[test]
fn the_limit_has_a_ping_pong_and_a_bare_lane() {
    let sandbox = Sandbox::new();
    let args = ["bench", "limit", "--duration", "60ms", "--runs", "1"];
    let document = sandbox.document("busway.bench.limit/1", &args);
    percentiles_are_in_order(&document["ping_pong"]["median"]);
    let lanes = document["bare_lane"].as_array().unwrap();
    let drives: Vec<_> = lanes.iter().map(|lane| lane["drive"].as_str().unwrap()).collect();
    assert_eq!(drives, ["one_by_one", "one_by_one_back_off", "batches"]);
    for lane in lanes {
        assert!(lane["frames_per_second"]["median"].as_u64().unwrap() > 0, "{lane}");
    }
    let text = sandbox.ok(&args);
    assert!(text.contains("BARE LANE") && text.contains("batches of 64"), "{text}");
}

#[test]
fn bad_arguments_are_refused_by_value_and_change_nothing() {
    let sandbox = Sandbox::new();
    for (args, says) in [
        ("bench --topology single --producers 2", "--producers 2"),
        ("bench --topology ring", "ring"),
        ("bench --producers 0", "0"),
        ("bench --producers 257", "257"),
        ("bench --consumers 65", "65"),
        ("bench --payload 0", "0"),
        ("bench --payload 2M", "2097152"),
        ("bench --capacity 100", "100"),
        ("bench --batch 0", "0"),
        ("bench --batch 5000", "--batch 5000"),
        ("bench --messages 0", "0"),
        ("bench --messages 10 --duration 1s", "--duration"),
        ("bench --duration 0s", "0s"),
        ("bench --rate 0", "0"),
        ("bench --rate 1k --payload 8", "--payload 8"),
        ("bench --pin 100000", "100000"),
        ("bench --pin x", "x"),
        ("bench --runs 0", "0"),
        ("bench --wait never", "never"),
        ("bench rtt --payload 0", "0"),
        ("bench rtt --pin 9999", "9999"),
        ("bench limit --pin 9999", "9999"),
        ("bench worker {}", "plan"),
    ] {
        let running = sandbox.start(&args.split_whitespace().collect::<Vec<_>>());
        let pid = running.pid();
        let done = running.wait();
        assert_eq!(done.code(), 2, "{args}: {done:?}");
        let said = format!("{}{}", done.stderr, done.stdout);
        assert!(said.contains(says), "{args}: {says:?} is not in {said}");
        assert_eq!(segments("bench", pid), Vec::<String>::new(), "{args}");
    }
}

/// A measurement that goes on until something is done to it, with all its workers there.
fn long_run(sandbox: &Sandbox, args: &str) -> (Running, Family) {
    let mut all = vec!["bench", "--duration", "300s"];
    all.extend(args.split_whitespace());
    let running = sandbox.start(&all);
    let pid = running.pid();
    let mut family = Family::default();
    eventually("producer and consumer are attached", || {
        family = Family::of(pid);
        let named = |name: &str| family.pid_of(name).is_some();
        named("producer 0") && named("consumer 0") && !segments("bench", pid).is_empty()
    });
    (running, family)
}

#[test]
fn a_worker_that_dies_ends_the_measurement_and_is_named() {
    for worker in ["producer 0", "consumer 0"] {
        let sandbox = Sandbox::new();
        let (running, family) = long_run(&sandbox, "--rate 1k");
        let pid = running.pid();
        let victim = family.pid_of(worker).unwrap();
        rustix::process::kill_process(victim, Signal::KILL).unwrap();
        let done = running.wait();
        done.failed(1, &[worker, "signal 9"]);
        assert_eq!(segments("bench", pid), Vec::<String>::new());
        family.ends();
    }
}

#[test]
fn an_interrupted_measurement_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (running, family) = long_run(&sandbox, "");
    let pid = running.pid();
    running.signal(Signal::INT);
    running.wait().failed(1, &["interrupted"]);
    assert_eq!(segments("bench", pid), Vec::<String>::new());
    family.ends();
}

#[test]
fn a_killed_measurement_leaves_nothing() {
    let sandbox = Sandbox::new();
    let (running, family) = long_run(&sandbox, "--on-full drop-oldest");
    let pid = running.pid();
    running.signal(Signal::KILL);
    family.ends();
    eventually("the bus is removed", || segments("bench", pid).is_empty());
}

#[test]
fn ratio_to_the_bare_lane_is_that_of_the_runs() {
    let sandbox = Sandbox::new();
    let compared = ["bench", "--messages", "20k", "--runs", "3", "--compare", "limit"];
    let document = sandbox.document("busway.bench/1", &compared);
    let ratio = |run: &Value| {
        let [rate, limit] = ["messages_per_second", "limit_frames_per_second"]
            .map(|field| run[field].as_f64().unwrap());
        rate / limit
    };
    let mut ratios: Vec<f64> = document["runs"].as_array().unwrap().iter().map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let shown = document["median"]["of_limit"].as_f64().unwrap();
    assert!((shown - ratios[1]).abs() < 1e-9, "{shown} of {ratios:?}");
    let text = sandbox.ok(&compared);
    assert!(text.contains(" of a bare lane's "), "{text}");
    sandbox.run(&["bench", "--compare", "x"]).failed(2, &["limit"]);
}
