//! Every peer of this build goes through every scenario, shortly; and whatever happens to the
//! driver, nothing is left behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long what a killed driver has left may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// One driver at a time: they would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn driver(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_busway-peers"));
    command.args(arguments);
    command
}

/// Runs the driver to its end, and returns what it said and what it left in `/dev/shm`.
fn run(arguments: &[&str]) -> (Output, Vec<String>) {
    let child = driver(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the driver starts");
    let pid = child.id();
    let output = child.wait_with_output().expect("the driver ends");
    (output, left_of(pid))
}

/// What there is in `/dev/shm` of a driver.
fn left_of(pid: u32) -> Vec<String> {
    let names = std::fs::read_dir("/dev/shm").expect("/dev/shm").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(&format!("bp-{pid}-"))).collect()
}

/// A file that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("busway-peers-{}-{name}", std::process::id())))
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn peers() -> Vec<String> {
    let (output, _) = run(&["peers"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// What is wrong with the result of one peer in all scenarios: nothing, if all is well.
fn faults(document: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    // Of a peer that is not built, every case says how to build it.
    let (mut measured, mut built) = (0, true);
    for scenario in document["scenarios"].as_array().expect("scenarios") {
        for case in scenario["cases"].as_array().expect("cases") {
            let row = &case["rows"][0];
            let left_out = row["left_out"].as_str();
            measured += usize::from(left_out.is_none());
            built &= !left_out.is_some_and(|reason| reason.contains("--features"));
            let right = match left_out {
                Some(reason) => !reason.is_empty() && row["samples"] == serde_json::json!([]),
                None => row["summary"]["samples"].as_u64() > Some(0),
            };
            if !right {
                faults.push(format!("{}: {}: {row}", scenario["scenario"], case["case"]["name"]));
            }
        }
    }
    if measured == 0 && built {
        faults.push(String::from("left out of every case"));
    }
    faults
}

#[test]
fn every_peer_does_every_scenario_or_says_why_not() {
    let _alone = alone();
    let json = Scratch::new("smoke.json");
    let mut wrong = Vec::new();
    for peer in peers() {
        let arguments =
            ["all", "--quick", "--duration-ms", "20", "--peers", &peer, "--json", json.text()];
        let (output, left) = run(&arguments);
        let text = std::fs::read_to_string(&json.0).unwrap_or_default();
        let faults = serde_json::from_str(&text).map(|document| faults(&document));
        match faults {
            Ok(faults) => wrong.extend(faults.into_iter().map(|fault| format!("{peer}: {fault}"))),
            Err(error) => wrong.push(format!("{peer}: no result: {error}")),
        }
        if !output.status.success() {
            wrong.push(format!("{peer}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        if !left.is_empty() {
            wrong.push(format!("{peer}: left {left:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_driver_that_is_killed_leaves_nothing() {
    let _alone = alone();
    let arguments = ["throughput", "--peers", "busway,posix-mq,limit:lane", "--runs", "1000"];
    let mut child = driver(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the driver starts");
    let pid = child.id();
    wait_until("it works", || !left_of(pid).is_empty() && children(pid).len() > 1);
    let children = children(pid);
    child.kill().expect("killed");
    child.wait().expect("reaped");
    wait_until("its files are gone", || left_of(pid).is_empty());
    wait_until("its workers are gone", || children.iter().all(|&child| !runs(child)));
}

#[test]
fn a_result_says_how_and_where_it_was_made() {
    let _alone = alone();
    let (json, plot) = (Scratch::new("made.json"), Scratch::new("made.svg"));
    let arguments = ["rtt", "--quick", "--peers", "busway:event,limit:ping-pong", "--runs", "2"];
    let files = ["--json", json.text(), "--plot", plot.text()];
    let (output, left) = run(&[arguments.as_slice(), files.as_slice()].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left, Vec::<String>::new());
    let document = std::fs::read_to_string(&json.0).expect("a document");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["schema"], "busway.peers/1");
    assert!(document["command"].as_str().is_some_and(|command| command.contains("rtt --quick")));
    assert!(document["machine"]["kernel"].as_str().is_some_and(|kernel| !kernel.is_empty()));
    let rows = &document["scenarios"][0]["cases"][0]["rows"];
    assert_eq!(rows[0]["samples"].as_array().map(Vec::len), Some(2));
    assert_eq!(rows[0]["summary"]["ratio"], 1.0);
    let svg = std::fs::read_to_string(&plot.0).expect("a plot");
    assert!(svg.contains("<svg") && svg.contains("limit:ping-pong") && svg.contains("--quick"));
}

#[test]
fn what_is_not_known_is_named() {
    let (output, _) = run(&["rtt", "--peers", "carrier-pigeon"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("\"carrier-pigeon\"") && said.contains("busway:event"), "{said}");
    let (output, _) = run(&["rtt", "--pin", "1000000"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("processor 1000000"));
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that a process has started.
fn children(pid: u32) -> BTreeSet<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = std::fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether a process is there and is no zombie.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}
