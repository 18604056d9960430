//! What the daemon says of participants that were told to leave, of words that nobody should store,
//! and of who holds whom up.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use busway::{Bus, PollError};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{BusName, Child, Daemon, Task, eventually};

/// The log lines of a bus with this message.
fn lines(daemon: &Daemon, bus: &str, message: &str) -> Vec<Value> {
    daemon
        .log_lines()
        .into_iter()
        .filter(|line| line["bus"] == bus && line["message"] == message)
        .collect()
}

/// The watch's words stand in one file, as literals that end a call or an arm of a match.
#[test]
fn the_handbook_lists_every_line_of_the_journal() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/");
    let handbook = std::fs::read_to_string(format!("{root}../../docs/api.md")).unwrap();
    let journal = std::fs::read_to_string(format!("{root}src/watch/journal.rs")).unwrap();
    let listed: Vec<&str> = handbook
        .lines()
        .filter(|line| line.starts_with("| INFO |") || line.starts_with("| WARN |"))
        .map(|line| line.split('|').nth(2).unwrap().trim())
        .collect();
    for message in &listed {
        assert!(journal.contains(&format!("\"{message}\"")), "{message:?} is never said");
    }
    let said = journal.lines().filter_map(|line| {
        let end = line.split("=> ").last()?.trim().trim_end_matches(',');
        end.strip_prefix('"')?.strip_suffix('"')
    });
    let mut count = 0;
    for message in said.filter(|message| *message != "{message}") {
        assert!(listed.contains(&message), "{message:?} is not in docs/api.md");
        count += 1;
    }
    assert!(count > 8, "the literals are where they were");
}

#[test]
fn kick_is_logged_with_its_cause_and_the_end_of_the_kicked() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, "");
    let bus = Bus::open(&name).unwrap();
    let mut consumer = bus.consumer().name("slow").attach().unwrap();
    let producer = bus.producer().name("quiet").attach().unwrap();
    daemon.wait_for_attach(&name, std::process::id());
    assert_eq!(bus.kick(std::process::id()).unwrap().len(), 2);
    for (role, who, message) in [
        ("producer", "quiet", "kicked; it publishes nothing more once it next looks up"),
        (
            "consumer",
            "slow",
            "kicked; it reads in place, so it leaves at its next call and not before",
        ),
    ] {
        let line = daemon.wait_for_log(&[
            ("message", json!(message)),
            ("bus", json!(&*name)),
            ("role", json!(role)),
            ("name", json!(who)),
        ]);
        assert_eq!((&line["level"], &line["seat"]), (&json!("WARN"), &json!(0)));
        assert_eq!(line["cause"], "somebody called kick");
        assert_eq!(line["pid"], json!(std::process::id()));
    }
    // It has been told and keeps its seat: it is shown still, and holds up nobody.
    assert_eq!(consumer.poll().err(), Some(PollError::Evicted { lost: 0 }));
    let detail = daemon.get(&format!("/v1/buses/{}", &*name)).json();
    assert_eq!(detail["consumers"], json!([]));
    assert_eq!(detail["bystanders"][0]["standing"], "evicted");
    assert_eq!(detail["evictions"], 2);
    drop((consumer, producer));
    daemon.wait_for_log(&[
        ("message", json!("detached, as it was told to")),
        ("bus", json!(&*name)),
        ("role", json!("consumer")),
    ]);
    assert!(lines(&daemon, &name, "detached").is_empty());
}

#[test]
fn eviction_by_the_rule_is_logged_once_and_names_the_rule() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, ", \"capacity_frames\": 4, \"evict_after_ns\": 1000000");
    let list = daemon.list(&[&name]);
    assert_eq!(
        (&list[0]["evict_after_ns"], &list[0]["evict_lag_frames"]),
        (&json!(1_000_000), &Value::Null)
    );
    let child = Child::start(Task::HoldConsumer, &name);
    daemon.wait_for_attach(&name, child.pid());
    let bus = Bus::open(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for _ in 0..100 {
        producer.publish_bytes(0, b"x").unwrap();
    }
    let message = "evicted; it holds nobody up any more";
    let line = daemon.wait_for_log(&[("message", json!(message)), ("bus", json!(&*name))]);
    assert_eq!(line["cause"], "the bus's rule for slow consumers, or a kick");
    assert_eq!((&line["pid"], &line["name"]), (&json!(child.pid()), &json!("holder")));
    child.stop();
    let gone = [("message", json!("detached, as it was told to")), ("bus", json!(&*name))];
    daemon.wait_for_log(&gone);
    assert_eq!(lines(&daemon, &name, message).len(), 1);
    let unseen = "evicted participants, which had left before they could be named";
    assert!(lines(&daemon, &name, unseen).is_empty());
}

#[test]
fn impossible_words_are_one_line_however_often_they_are_met() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, "");
    let bus = Bus::open(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    daemon.wait_for_attach(&name, std::process::id());
    let file = OpenOptions::new().read(true).write(true).open(name.segment()).unwrap();
    // The header says at 264 where the lanes' words are; a lane's first is its head.
    let mut heads = [0; 8];
    file.read_exact_at(&mut heads, 264).unwrap();
    file.write_all_at(&77_777_u64.to_le_bytes(), u64::from_le_bytes(heads)).unwrap();
    for _ in 0..10 {
        assert!(matches!(consumer.poll(), Err(PollError::Corrupt { .. })));
    }
    // Who leaves makes the watch look.
    drop(consumer);
    let message =
        "participants met impossible words; somebody stores there what no honest program does";
    let line = daemon.wait_for_log(&[("message", json!(message)), ("bus", json!(&*name))]);
    assert_eq!((&line["count"], &line["total"]), (&json!(10), &json!(10)));
    // Two more looks, which the end of the second shows to be over.
    let again = bus.consumer().name("again").attach().unwrap();
    let of = |message: &str| [("message", json!(message)), ("name", json!("again"))];
    daemon.wait_for_log(&of("attached"));
    drop(again);
    daemon.wait_for_log(&of("detached"));
    assert_eq!(lines(&daemon, &name, message).len(), 1);
}

#[test]
fn who_holds_whom_up_is_told_with_the_state_of_the_process() {
    let daemon = Daemon::start();
    let name = BusName::new();
    daemon.create(&name, ", \"capacity_frames\": 4, \"on_full\": \"reject\"");
    let child = Child::start(Task::HoldConsumer, &name);
    let pid = Pid::from_raw(child.pid().cast_signed()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let bus = Bus::open(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    while producer.publish_bytes(0, b"x").is_ok() {}
    let path = format!("/v1/buses/{}", &*name);
    let detail = eventually("the stop", || {
        let detail = daemon.get(&path).json();
        (detail["consumers"][0]["participant"]["process_state"] == "stopped").then_some(detail)
    });
    let lane = &detail["lanes"][0];
    assert!(lane["held_up_ns"].as_u64().is_some_and(|ns| ns > 0), "{lane}");
    assert_eq!(lane["held_up_by"], json!([0]));
    assert_eq!(lane["producer"]["held_up_by"], json!([0]));
    let consumer = &detail["consumers"][0]["participant"];
    assert_eq!((&consumer["holds_up"], &consumer["standing"]), (&json!([0]), &json!("attached")));
    assert_eq!(
        (&detail["lanes"][1]["held_up_ns"], &detail["lanes"][1]["held_up_by"]),
        (&Value::Null, &json!([]))
    );
    kill_process(pid, Signal::CONT).unwrap();
}
