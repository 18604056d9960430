//! Schedules: what was confirmed is published once, whatever happens to the daemon; what is wrong is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use busway::{Bus, Consumer, FrameLayout, PollError, Topology};
use serde_json::{Value, json};

use crate::support::{Answer, BusName, Daemon, PATIENCE, eventually};

/// Later than any test takes.
const HOUR_NS: u64 = 3_600_000_000_000;

/// Asks for a schedule.
pub fn schedule(daemon: &Daemon, wish: &Value) -> Answer {
    daemon.request("POST", "/v1/schedules", &wish.to_string())
}

/// Asks for one that must be taken on; gives its number.
fn scheduled(daemon: &Daemon, wish: &Value) -> u64 {
    let answer = schedule(daemon, wish);
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_u64().unwrap()
}

fn list(daemon: &Daemon) -> Vec<Value> {
    daemon.get("/v1/schedules").json()["schedules"].as_array().unwrap().clone()
}

fn next(consumer: &mut Consumer) -> (u16, Vec<u8>) {
    let frame = consumer.recv_timeout(PATIENCE).unwrap().expect("a frame");
    (frame.kind(), frame.payload().to_vec())
}

/// Where the daemon keeps its schedules.
fn state_file(daemon: &Daemon, name: &str) -> PathBuf {
    daemon.runtime_dir().join("state").join(name)
}

fn unix_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

#[test]
fn frames_are_published_in_their_time_and_cancelled_ones_are_not() {
    let daemon = Daemon::start();
    assert!(list(&daemon).is_empty());
    assert!(!daemon.runtime_dir().join("state").exists(), "nothing is kept before there is any");
    let name = BusName::new();
    let bus = Bus::options().create(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let wish = |more: Value| {
        let mut wish = json!({"bus": &*name});
        wish.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        wish
    };
    let kept = scheduled(&daemon, &wish(json!({"after_ns": HOUR_NS, "kind": 9})));
    scheduled(&daemon, &wish(json!({"at_unix_ns": 0, "kind": 1, "payload_hex": "FF00"})));
    assert_eq!(next(&mut consumer), (1, vec![255, 0]), "a time in the past is now");
    let due = unix_ns() + 300_000_000;
    scheduled(&daemon, &wish(json!({"at_unix_ns": due, "kind": 3, "payload_hex": "03"})));
    assert_eq!(next(&mut consumer), (3, vec![3]));
    assert!(unix_ns() >= due, "not before its time");
    eventually("the rest", || (list(&daemon).len() == 1).then_some(()));
    let one = daemon.get(&format!("/v1/schedules/{kept}")).json();
    assert_eq!((&one["state"], &one["clock"]), (&json!("pending"), &json!("elapsed")));
    let cancelled = daemon.request("DELETE", &format!("/v1/schedules/{kept}"), "");
    assert_eq!((cancelled.status, cancelled.json()["id"].as_u64()), (200, Some(kept)));
    for method in ["GET", "DELETE"] {
        let answer = daemon.request(method, &format!("/v1/schedules/{kept}"), "");
        assert_eq!((answer.status, answer.code()), (404, "not_found".to_owned()));
        assert!(answer.message().contains(&format!("no schedule {kept}")), "{answer:?}");
    }
}

#[test]
fn periodic_frames_go_on_across_a_restart() {
    let mut daemon = Daemon::start();
    let name = BusName::new();
    let bus = Bus::options().create(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let wish = json!({"bus": &*name, "after_ns": 0, "every_ns": 20_000_000, "payload_hex": "aa"});
    let id = scheduled(&daemon, &wish);
    for _ in 0..3 {
        assert_eq!(next(&mut consumer).1, [0xaa]);
    }
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait_for_end().success());
    let daemon = daemon.start_again();
    // Until what was published before the end is read.
    while consumer.poll().unwrap().is_some() {}
    assert_eq!(next(&mut consumer).1, [0xaa]);
    let one = eventually("its count", || {
        let one = daemon.get(&format!("/v1/schedules/{id}")).json();
        (one["published_count"].as_u64() > Some(3)).then_some(one)
    });
    assert_eq!((&one["failed_count"], &one["doubtful_count"]), (&json!(0), &json!(0)));
    assert_eq!(daemon.request("DELETE", &format!("/v1/schedules/{id}"), "").status, 200);
    std::thread::sleep(Duration::from_millis(60));
    while consumer.poll().is_ok_and(|frame| frame.is_some()) {}
    std::thread::sleep(Duration::from_millis(60));
    assert!(consumer.poll().is_ok_and(|frame| frame.is_none()), "it is cancelled");
}

#[test]
fn frame_waits_for_its_bus_until_it_is_given_up() {
    let daemon = Daemon::start();
    let name = BusName::new();
    let small = Bus::options().capacity_frames(2).lanes(1);
    let bus = small.create(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let wish = |count: u8, give_up_after_ns: u64| {
        json!({"bus": &*name, "after_ns": 0, "payload_hex": format!("{count:02x}"),
            "give_up_after_ns": give_up_after_ns})
    };
    for count in 0..2 {
        scheduled(&daemon, &wish(count, 0));
    }
    eventually("a full lane", || (bus.stat().published == 2).then_some(()));
    let lost = scheduled(&daemon, &wish(7, 1_000_000));
    let waiting = scheduled(&daemon, &wish(8, HOUR_NS));
    let path = |id: u64| format!("/v1/schedules/{id}");
    let failed = eventually("one that is given up", || {
        let one = daemon.get(&path(lost)).json();
        (one["state"] == "failed").then_some(one)
    });
    assert_eq!((&failed["failed_count"], &failed["due_unix_ns"]), (&json!(1), &Value::Null));
    assert!(failed["last_error"].as_str().unwrap().contains("lane is full; given up after"));
    let held_up = eventually("one that is tried again", || {
        let one = daemon.get(&path(waiting)).json();
        (one["state"] == "retrying" && one["attempts"].as_u64() > Some(1)).then_some(one)
    });
    assert!(held_up["last_error"].as_str().unwrap().contains("lane is full"), "{held_up}");
    for count in [0, 1, 8] {
        assert_eq!(next(&mut consumer).1, [count]);
    }
    // The bus goes, and comes back as another.
    eventually("the rest", || (list(&daemon).len() == 1).then_some(()));
    drop(consumer);
    Bus::remove(&name).unwrap();
    let missing = {
        let other = small.create(&name).unwrap();
        let id = scheduled(&daemon, &json!({"bus": &*name, "after_ns": 200_000_000u64}));
        Bus::remove(&name).unwrap();
        drop(other);
        id
    };
    let held_up = eventually("one whose bus is missing", || {
        let one = daemon.get(&path(missing)).json();
        (one["state"] == "retrying").then_some(one)
    });
    assert!(held_up["last_error"].as_str().unwrap().contains("there is no bus"), "{held_up}");
    let bus = small.create(&name).unwrap();
    let mut consumer = bus.consumer().start(busway::Start::Oldest).attach().unwrap();
    assert!(next(&mut consumer).1.is_empty());
    assert_eq!(daemon.request("DELETE", &path(lost), "").status, 200, "seen and put away");
    eventually("an empty list", || list(&daemon).is_empty().then_some(()));
}

#[test]
fn wishes_that_make_no_sense_are_refused_in_words() {
    let daemon = Daemon::start();
    let (event, bare) = (BusName::new(), BusName::new());
    drop(Bus::options().payload_bytes(2).create(&event).unwrap());
    drop(Bus::options().payload_bytes(2).frames(FrameLayout::Bare).create(&bare).unwrap());
    let long = "00".repeat(16_385);
    let cases = [
        (json!({}), 400, "missing field `bus`"),
        (json!({"bus": "no bus"}), 400, "give one of \"at_unix_ns\" and \"after_ns\""),
        (json!({"bus": &*event, "after_ns": 1, "at_unix_ns": 1}), 400, "give one of"),
        (json!({"bus": "t-nobody", "after_ns": 1}), 404, "there is no bus \"t-nobody\""),
        (json!({"bus": "../x", "after_ns": 1}), 400, "bus name"),
        (json!({"bus": &*event, "after_ns": 1, "payload_hex": "0"}), 400, "hexadecimal"),
        (json!({"bus": &*event, "after_ns": 1, "payload_hex": long}), 400, "more than 16384"),
        (json!({"bus": &*event, "after_ns": 1, "payload_hex": "010203"}), 400, "the bus's 2"),
        (json!({"bus": &*bare, "after_ns": 1, "payload_hex": "01"}), 400, "of this bus is 2"),
        (json!({"bus": &*event, "after_ns": 1, "every_ns": 9_999_999}), 400, "ten milliseconds"),
        (json!({"bus": &*event, "after_ns": -1}), 400, "expected u64"),
        (json!({"bus": &*event, "when": "soon"}), 400, "unknown field `when`"),
    ];
    for (wish, status, says) in cases {
        let answer = schedule(&daemon, &wish);
        assert_eq!(answer.status, status, "{wish}: {answer:?}");
        assert!(answer.message().contains(says), "{wish}: {answer:?}");
    }
    let answer = daemon.get("/v1/schedules/soon");
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("not the number"), "{answer:?}");
    let brokered = BusName::new();
    daemon.create(&brokered, ", \"brokered\": true");
    let answer = schedule(&daemon, &json!({"bus": &*brokered, "after_ns": 1}));
    assert_eq!((answer.status, answer.code()), (400, "bad_option".to_owned()), "{answer:?}");
    assert!(list(&daemon).is_empty());
}

/// Has a frame published on a bus as a daemon does it, up to its death, and leaves the journal that such
/// a daemon would leave: `first` stands there, `second` was to come next.
fn leave_journal(daemon: &Daemon, bus: &Bus, first: u64, second: u64) {
    let mut producer = bus.producer().keep_end(true).attach().unwrap();
    let (lane, epoch, position) = (producer.lane(), producer.epoch(), producer.position());
    let instance = bus.info().instance;
    producer.publish_bytes(5, &[5]).unwrap();
    drop(producer);
    let tenancy = json!({"tenancy":
        {"number": 1, "bus": bus.name(), "instance": instance, "lane": lane, "epoch": epoch}});
    let intent = |id: u64, position: u64| json!({"intent": {"tenancy": 1, "position": position, "id": id, "occurrence": 0}});
    let lines =
        [tenancy, intent(second, position), intent(first, position), intent(second, position + 1)];
    let lines = lines.map(|line| line.to_string());
    let text = format!("{}\n{{\"intent\":{{\"tena", lines.join("\n"));
    std::fs::write(state_file(daemon, "schedules.journal"), text).unwrap();
}

#[test]
fn what_stands_in_the_ring_after_a_death_is_not_published_again() {
    let mut daemon = Daemon::start();
    let name = BusName::new();
    let bus = Bus::options().capacity_frames(4).lanes(1).create(&name).unwrap();
    let wish = json!({"bus": &*name, "after_ns": HOUR_NS});
    let [first, second, third] = [0; 3].map(|_| scheduled(&daemon, &wish));
    daemon.kill();
    leave_journal(&daemon, &bus, first, second);
    // Others have had the lane since, and nothing of the daemon's is left in it.
    for _ in 0..5 {
        let mut producer = bus.producer().attach().unwrap();
        for _ in 0..9 {
            producer.publish_bytes(6, &[6]).unwrap();
        }
    }
    let daemon = daemon.start_again();
    let left: Vec<u64> = list(&daemon).iter().map(|one| one["id"].as_u64().unwrap()).collect();
    assert_eq!(left, [second, third]);
    assert!(list(&daemon).iter().all(|one| one["state"] == "pending"));
    assert!(scheduled(&daemon, &wish) > third, "a number is never given twice");
}

#[test]
fn what_nobody_can_know_is_doubtful_and_is_not_published_again() {
    let mut daemon = Daemon::start();
    let name = BusName::new();
    let bus = Bus::options().create(&name).unwrap();
    let wish = json!({"bus": &*name, "after_ns": HOUR_NS});
    let [first, second, third] = [0; 3].map(|_| scheduled(&daemon, &wish));
    daemon.kill();
    leave_journal(&daemon, &bus, first, second);
    Bus::remove(&name).unwrap();
    let _another = Bus::options().create(&name).unwrap();
    let daemon = daemon.start_again();
    let states: Vec<Value> = list(&daemon).iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["doubtful", "doubtful", "pending"], "{:?}", list(&daemon));
    let one = daemon.get(&format!("/v1/schedules/{first}")).json();
    assert!(one["last_error"].as_str().unwrap().contains("the bus is not there any more"), "{one}");
    for id in [first, second, third] {
        assert_eq!(daemon.request("DELETE", &format!("/v1/schedules/{id}"), "").status, 200);
    }
    assert!(list(&daemon).is_empty());
}

#[test]
fn directory_of_another_daemons_schedules_is_left_alone() {
    let first = Daemon::start();
    let name = BusName::new();
    drop(Bus::options().create(&name).unwrap());
    let wish = json!({"bus": &*name, "after_ns": HOUR_NS});
    scheduled(&first, &wish);
    let state = first.runtime_dir().join("state");
    let second = Daemon::start_with(&["--state-dir", state.to_str().unwrap()]);
    let answer = schedule(&second, &wish);
    assert_eq!((answer.status, answer.code()), (500, "io".to_owned()));
    assert!(answer.message().contains(&format!("process {}", first.pid())), "{answer:?}");
    assert_eq!(second.get("/v1/buses").status, 200);
    assert_eq!(list(&first).len(), 1);
}

#[test]
fn damaged_database_is_told_and_the_daemon_goes_on_without_it() {
    let mut daemon = Daemon::start();
    let name = BusName::new();
    drop(Bus::options().create(&name).unwrap());
    let wish = json!({"bus": &*name, "after_ns": HOUR_NS});
    scheduled(&daemon, &wish);
    daemon.kill();
    let database = state_file(&daemon, "schedules.redb");
    let whole = std::fs::read(&database).unwrap();
    for damage in [vec![7; 20_000], whole[..5_000].to_vec(), Vec::new(), vec![0; 9_000]] {
        std::fs::write(&database, &damage).unwrap();
        let mut daemon = daemon.start_again();
        let answer = daemon.get("/v1/schedules");
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(daemon.get("/v1/buses").status, 200);
        daemon.kill();
    }
    std::fs::write(&database, whole).unwrap();
    assert_eq!(list(&daemon.start_again()).len(), 1);
}

/// Frames by their payload, until the consumer has been told to stop.
fn count_frames(
    mut consumer: Consumer,
    stop: &std::sync::mpsc::Receiver<()>,
) -> BTreeMap<u64, u32> {
    let mut seen = BTreeMap::new();
    loop {
        match consumer.recv_timeout(Duration::from_millis(20)) {
            Ok(Some(frame)) if frame.kind() == 7 => {
                let number = u64::from_le_bytes(frame.payload().try_into().unwrap());
                *seen.entry(number).or_default() += 1;
            }
            // Nobody is there to publish while the daemon is dead.
            Ok(None) | Err(PollError::Closed) if stop.try_recv().is_ok() => return seen,
            Ok(_) => {}
            Err(PollError::Closed) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Kills the daemon at random while a hundred schedules are due, with other producers on the same
/// lanes in between.
fn hundred_across_deaths(topology: Topology, lanes: u32) {
    const SCHEDULES: u64 = 100;
    let mut daemon = Daemon::start();
    let name = BusName::new();
    let options = Bus::options().topology(topology).lanes(lanes).capacity_frames(16);
    let bus = options.payload_bytes(8).create(&name).unwrap();
    let consumer = bus.consumer().attach().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || count_frames(consumer, &stopped));
    let mut random = unix_ns() | 1;
    let mut within = |most: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % most
    };
    for number in 0..SCHEDULES {
        let payload = busd::api::hex::encode(&number.to_le_bytes());
        let after_ns = 500_000_000 + within(2_500_000_000);
        let wish = json!({"bus": &*name, "kind": 7, "payload_hex": payload, "after_ns": after_ns});
        scheduled(&daemon, &wish);
    }
    let mut kills = 0;
    while !list(&daemon).is_empty() {
        std::thread::sleep(Duration::from_micros(within(120_000)));
        daemon.kill();
        kills += 1;
        // It may find no lane, or a full one.
        if let Ok(mut other) = bus.producer().attach() {
            for _ in 0..within(40) {
                let _full = other.try_publish_bytes(6, &[6; 8]);
            }
        }
        daemon = daemon.start_again();
        assert!(list(&daemon).iter().all(|one| one["doubtful_count"] == 0), "{:?}", list(&daemon));
    }
    stop.send(()).unwrap();
    let seen = reader.join().unwrap();
    let once: BTreeMap<u64, u32> = (0..SCHEDULES).map(|number| (number, 1)).collect();
    assert_eq!(seen, once, "after {kills} kills");
    println!("{SCHEDULES} schedules once each, {kills} kills");
    assert!(kills > 0);
}

#[test]
fn hundred_schedules_are_published_once_each_wherever_the_daemon_is_killed() {
    hundred_across_deaths(Topology::Lanes, 2);
}

#[test]
fn hundred_schedules_of_one_lane_are_published_once_each_wherever_the_daemon_is_killed() {
    hundred_across_deaths(Topology::Single, 1);
}

#[test]
fn hundred_schedules_of_an_order_are_published_once_each_wherever_the_daemon_is_killed() {
    hundred_across_deaths(Topology::Ordered, 2);
}
