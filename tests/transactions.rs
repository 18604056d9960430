//! Transactions: all of their frames or none, whoever looks, whoever dies.

use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use busway::{
    Bus, Consumer, Deduplicator, FrameLayout, KeyedTransaction, OnFull, PublishError, Topology,
};

mod scratch;
use scratch::Name;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What carries a bus's name to a worker process.
const WORKER: &str = "BUSWAY_TRANSACTIONS_BUS";
const KILLS: u32 = 40;

fn payloads(consumer: &mut Consumer) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    while let Ok(Some(frame)) = consumer.poll() {
        seen.push(frame.payload().to_vec());
    }
    seen
}

#[test]
fn transaction_is_seen_whole_or_not_at_all_on_every_kind_of_bus() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::DropOldest] {
            for layout in [FrameLayout::Event, FrameLayout::Bare] {
                let name = Name::new();
                let options = Bus::options().topology(topology).on_full(on_full).frames(layout);
                let bus = options.payload_bytes(8).capacity_frames(64).create(&name).unwrap();
                let mut consumer = bus.consumer().attach().unwrap();
                let mut producer = bus.producer().attach().unwrap();
                let mut dropped = producer.transaction();
                dropped.publish_bytes(0, b"never no").unwrap();
                drop(dropped);
                let mut given_up = producer.transaction();
                given_up.publish_bytes(0, b"neither.").unwrap();
                given_up.rollback();
                assert_eq!(payloads(&mut consumer), [[0; 0]; 0]);
                let mut kept = producer.transaction();
                assert!(kept.is_empty());
                for count in 0..9_u64 {
                    kept.publish_bytes(3, &count.to_le_bytes()).unwrap();
                }
                assert_eq!((kept.len(), consumer.lag()), (9, 0));
                let first = kept.commit().unwrap();
                assert_eq!(first, producer.position() - 9);
                let expected: Vec<_> = (0..9).map(u64::to_le_bytes).collect();
                assert_eq!(payloads(&mut consumer), expected, "{topology} {on_full} {layout}");
                let at = producer.position();
                assert_eq!(producer.transaction().commit(), Ok(at), "nothing is nothing");
            }
        }
    }
}

#[test]
fn transaction_that_outgrows_the_lane_says_so_and_keeps_what_it_has() {
    let name = Name::new();
    let bus = Bus::options().capacity_frames(8).payload_bytes(8).create(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut much = producer.transaction();
    for _ in 0..8 {
        much.publish_bytes(0, b"x").unwrap();
    }
    let too_many = Err(PublishError::BatchSize { frames: 9, max: 8 });
    assert_eq!(much.publish_bytes(0, b"x"), too_many);
    assert_eq!(much.publish_bytes(0, &[0; 9]), Err(PublishError::TooLarge { len: 9, max: 8 }));
    assert_eq!(much.commit(), Ok(0));
    assert_eq!(producer.position(), 8);
}

#[test]
fn transaction_without_room_is_refused_and_can_go_on() {
    let name = Name::new();
    let bus = Bus::options().capacity_frames(8).payload_bytes(8).create(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for _ in 0..6 {
        producer.publish_bytes(0, b"old").unwrap();
    }
    let mut next = producer.try_transaction();
    next.publish_bytes(0, b"a").unwrap();
    next.publish_bytes(0, b"b").unwrap();
    assert_eq!(next.publish_bytes(0, b"c"), Err(PublishError::Full));
    assert_eq!(payloads(&mut consumer).len(), 6);
    next.publish_bytes(0, b"c").unwrap();
    next.commit().unwrap();
    assert_eq!(payloads(&mut consumer), [b"a", b"b", b"c"]);
}

/// Not a test: what a worker does until it is killed. Its transactions have 1 to 31 frames, each of which
/// holds the transaction's number, its own, and how many there are.
#[test]
fn worker() {
    let Ok(bus) = std::env::var(WORKER) else {
        return;
    };
    let mut producer = Bus::open(&bus).unwrap().producer().attach().unwrap();
    for number in 0_u64.. {
        let count = number * 7 % 31 + 1;
        let mut transaction = producer.transaction();
        for index in 0..count {
            let frame = [number, index, count].map(u64::to_le_bytes).concat();
            transaction.publish_bytes(0, &frame).unwrap();
        }
        transaction.commit().unwrap();
    }
}

/// A worker, killed by its own handle when this goes.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
fn producers_killed_in_the_middle_of_transactions_leave_none_in_part() {
    let name = Name::new();
    let bus = Bus::options()
        .topology(Topology::Ordered)
        .lanes(2)
        .capacity_frames(64)
        .payload_bytes(24)
        .create(&name)
        .unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let mut whole = 0_u32;
    for _ in 0..KILLS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["worker", "--exact", "--test-threads=1"]).env(WORKER, &*name);
        let mut victim = Victim(command.stdout(std::process::Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        let mut is_killed = false;
        let mut expected = (0, 0);
        let before = whole;
        loop {
            assert!(Instant::now() < deadline, "nothing comes");
            if whole > before + 20 && !is_killed {
                // A moment that has nothing to do with what was read.
                thread::sleep(Duration::from_micros(u64::from(whole) % 700));
                victim.0.kill().unwrap();
                victim.0.wait().unwrap();
                is_killed = true;
            }
            match consumer.poll() {
                Ok(Some(frame)) => {
                    let word = |at: usize| {
                        u64::from_le_bytes(frame.payload()[at..at + 8].try_into().unwrap())
                    };
                    let (number, index, count) = (word(0), word(8), word(16));
                    assert_eq!((number, index), expected, "frames come whole and in order");
                    whole += u32::from(index + 1 == count);
                    expected =
                        if index + 1 == count { (number + 1, 0) } else { (number, index + 1) };
                }
                Ok(None) | Err(busway::PollError::Closed) if is_killed => break,
                _ => {}
            }
        }
        drop(victim);
    }
    assert!(whole > KILLS * 20);
}

#[test]
fn repeated_part_is_dropped_and_nothing_else() {
    let (first, second) = (Name::new(), Name::new());
    let bus = |name: &str| Bus::options().payload_bytes(32).capacity_frames(64).create(name);
    let (one, two) = (bus(&first).unwrap(), bus(&second).unwrap());
    let mut readers = [one.consumer().attach().unwrap(), two.consumer().attach().unwrap()];
    let mut known = [Deduplicator::new(2), Deduplicator::new(2)];
    let attempt = |key: u128, both: bool| {
        // A producer of its own each time, as of a process that started anew: another lane, perhaps.
        let (mut left, mut right) =
            (one.producer().attach().unwrap(), two.producer().attach().unwrap());
        left.publish_bytes(0, b"plain").unwrap();
        let mut transaction = KeyedTransaction::new(key);
        let part = transaction.join(&mut left).unwrap();
        transaction.publish_bytes(part, 1, b"l1").unwrap();
        transaction.publish_bytes(part, 1, b"l2").unwrap();
        if both {
            let part = transaction.join(&mut right).unwrap();
            transaction.publish_bytes(part, 1, b"r1").unwrap();
        }
        transaction.commit().unwrap();
        left.publish_bytes(0, b"after").unwrap();
    };
    let mut read = |reader: usize| {
        let mut seen = Vec::new();
        while let Ok(Some(frame)) = readers[reader].poll() {
            if known[reader].admits(&frame) {
                seen.push(String::from_utf8(frame.payload().to_vec()).unwrap());
            }
        }
        seen.join(" ")
    };
    // Died between the two commits, then repeated.
    attempt(7, false);
    assert_eq!((read(0), read(1)), ("plain l1 l2 after".into(), String::new()));
    attempt(7, true);
    assert_eq!((read(0), read(1)), ("plain after".into(), "r1".into()));
    // The window: after two others, it is a new one.
    attempt(8, true);
    attempt(9, true);
    attempt(7, true);
    assert_eq!(read(0), "plain l1 l2 after plain l1 l2 after plain l1 l2 after");
    assert_eq!(known[0].repeated(), 1);
}

#[test]
fn part_of_a_bus_with_small_frames_is_refused() {
    let name = Name::new();
    let bus = Bus::options().payload_bytes(8).capacity_frames(64).create(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut transaction = KeyedTransaction::new(1);
    assert_eq!(transaction.join(&mut producer), Err(PublishError::TooLarge { len: 32, max: 8 }));
    assert_eq!(
        transaction.publish_bytes(0, 0, b""),
        Err(PublishError::BatchSize { frames: 1, max: 0 })
    );
}
