//! A schedule under failures and kills, from the request to the emptied journal: what was confirmed is
//! published once, what was not at most once.

use std::time::{Duration, Instant};

use busway::{Bus, Consumer, PollError};
use busway_faults::{Begin, Fault, Hit};
use serde_json::json;

use super::stage::{Faults, Seen, Stage, describe, is_kill, sweep};
use super::start::assert_no_panic;
use super::traced::Traced;
use crate::support::{PATIENCE, eventually};

#[test]
fn schedule_is_published_once_wherever_the_daemon_is_killed() {
    sweep("schedule", Faults::Kills, 24, scheduled);
}

#[test]
fn schedule_is_published_once_whatever_fails() {
    sweep("schedule", Faults::Failures, 24, scheduled);
}

#[test]
fn schedules_are_settled_once_wherever_the_next_daemon_is_killed() {
    sweep("settle", Faults::Kills, 24, settled);
}

/// The bus of an experiment, and who counts its frames.
fn bus(stage: &Stage) -> (Bus, Consumer) {
    let _gone = Bus::remove(&stage.wish);
    let bus = Bus::options().capacity_frames(4).lanes(1).create(&stage.wish).unwrap();
    let consumer = bus.consumer().attach().unwrap();
    (bus, consumer)
}

/// Reads what there is.
fn count(consumer: &mut Consumer) -> usize {
    let mut frames = 0;
    loop {
        match consumer.poll() {
            Ok(Some(_)) => frames += 1,
            Ok(None) | Err(PollError::Closed) => return frames,
            Err(error) => panic!("{error}"),
        }
    }
}

fn journal_is_empty(stage: &Stage) -> bool {
    std::fs::metadata(stage.state().join("schedules.journal")).is_ok_and(|file| file.len() == 0)
}

/// One frame, due at once, in a fresh daemon with nothing kept.
fn scheduled(stage: &Stage, fault: Fault) -> Seen {
    let _fresh = std::fs::remove_dir_all(stage.state());
    let (_bus, mut consumer) = bus(stage);
    let mut daemon = stage.daemon();
    daemon.plan.arm(fault);
    let wish = json!({"bus": &*stage.wish, "after_ns": 0});
    let answer = daemon.request("POST", "/v1/schedules", &wish.to_string());
    let is_confirmed = answer.as_ref().is_some_and(|answer| answer.status == 201);
    let mut frames = 0;
    let start = Instant::now();
    // Until the database knows as well, or the daemon is dead; one that failed before may do neither.
    while !daemon.has_ended() && is_confirmed && !(frames > 0 && journal_is_empty(stage)) {
        assert!(start.elapsed() < PATIENCE, "neither published nor dead: {}", daemon.log());
        frames += count(&mut consumer);
        std::thread::sleep(Duration::from_millis(1));
    }
    let hit = daemon.plan.disarm();
    let context = format!("{}: {answer:?}: {}", describe(fault, &hit), daemon.log());
    if !is_kill(fault, &hit) {
        assert_no_panic(&daemon, &context);
        daemon.terminate();
    }
    daemon.wait();
    drop(daemon);
    frames += in_the_next_daemon(stage, &mut consumer, &context);
    if is_confirmed {
        assert_eq!(frames, 1, "{context}");
    } else {
        assert!(frames <= 1, "{context}");
        assert!(fault != Fault::None && matches!(hit, Hit::Done { .. }), "{context}");
    }
    let outcome = if is_confirmed { "confirmed" } else { "not confirmed" };
    (hit, format!("{outcome}, {frames} published"))
}

/// Frames that the next daemon publishes until it has nothing more to do.
fn in_the_next_daemon(stage: &Stage, consumer: &mut Consumer, context: &str) -> usize {
    let mut daemon = stage.untouched_daemon();
    eventually("an empty list", || {
        let list = daemon.request("GET", "/v1/schedules", "")?;
        assert_eq!(list.status, 200, "{list:?}: {context}");
        let list = list.json();
        let schedules = list["schedules"].as_array()?;
        assert!(schedules.iter().all(|one| one["doubtful_count"] == 0), "{list}: {context}");
        schedules.is_empty().then_some(())
    });
    daemon.terminate();
    daemon.wait();
    stage.assert_nothing_left(context);
    count(consumer)
}

/// A daemon that starts after one that died while it published: of two schedules the first stands in
/// the ring, the second does not.
fn settled(stage: &Stage, fault: Fault) -> Seen {
    let _fresh = std::fs::remove_dir_all(stage.state());
    let (bus, mut consumer) = bus(stage);
    let mut before = stage.untouched_daemon();
    let wish = json!({"bus": &*stage.wish, "after_ns": 3_600_000_000_000_u64});
    let ids = [0; 2].map(|_| {
        let answer = before.request("POST", "/v1/schedules", &wish.to_string()).unwrap();
        answer.json()["id"].as_u64().unwrap()
    });
    before.terminate();
    before.wait();
    let mut producer = bus.producer().keep_end(true).attach().unwrap();
    let (lane, epoch) = (producer.lane(), producer.epoch());
    let position = producer.publish_bytes(0, &[]).unwrap();
    drop(producer);
    let instance = bus.info().instance;
    let tenancy = json!({"tenancy": {"number": 1, "bus": &*stage.wish, "instance": instance,
        "lane": lane, "epoch": epoch}});
    let intent = |id: u64, position: u64| json!({"intent": {"tenancy": 1, "position": position, "id": id, "occurrence": 0}});
    let text =
        format!("{tenancy}\n{}\n{}\n", intent(ids[0], position), intent(ids[1], position + 1));
    std::fs::write(stage.state().join("schedules.journal"), text).unwrap();

    let begin = Begin::AtPath(stage.state().join("schedules.redb").to_str().unwrap().to_owned());
    let mut daemon = Traced::start(&stage.place, fault, begin);
    let is_up = daemon.is_up();
    let hit = daemon.plan.disarm();
    let context = format!("{}: {}", describe(fault, &hit), daemon.log());
    assert!(is_up || is_kill(fault, &hit), "{context}");
    daemon.terminate();
    daemon.wait();
    drop(daemon);
    let mut next = stage.untouched_daemon();
    let list = next.request("GET", "/v1/schedules", "").unwrap().json();
    let left: Vec<_> = list["schedules"].as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 1, "{list}: {context}");
    assert_eq!(
        (&left[0]["id"], &left[0]["state"]),
        (&json!(ids[1]), &json!("pending")),
        "{context}"
    );
    next.terminate();
    next.wait();
    assert_eq!(count(&mut consumer), 1, "{context}");
    (hit, "settled".to_owned())
}
