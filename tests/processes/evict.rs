//! Consumers that are made to leave: by the bus's rule when they are slow, or by `kick`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use busway::{Bus, BusOptions, OnFull, PollError, PublishError, Start, Topology};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::matrix::check;
use crate::support::PATIENCE;
use crate::support::bus::{TestBus, options, path_of, unique_name};
use crate::support::role::{Consume, Produce, Role};
use crate::support::worker::{self, Worker};

const TOPOLOGIES: [Topology; 3] = [Topology::Single, Topology::Lanes, Topology::Ordered];
const CAPACITY: u64 = 16;
/// Long enough for whoever is not stopped never to be taken for it.
const LONG: Duration = Duration::from_secs(2);
/// Longer still: nobody is stopped.
const GENEROUS: Duration = Duration::from_secs(120);

fn evicting(topology: Topology, on_full: OnFull) -> BusOptions {
    options(topology, on_full, 1, CAPACITY).evict_after(Some(Duration::from_millis(20)))
}

fn signal(worker: &Worker, signal: Signal) {
    let pid = Pid::from_raw(worker.pid().cast_signed()).expect("a pid");
    kill_process(pid, signal).expect("a worker to signal");
}

/// Stops a worker; returns when it stands, whichever processor it ran on.
fn stop(worker: &Worker) {
    signal(worker, Signal::STOP);
    let pid = Pid::from_raw(worker.pid().cast_signed()).expect("a pid");
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), stopped).expect("a child that stops");
}

/// Promise 3 (ARCHITECTURE.md).
#[test]
fn consumer_that_stands_still_is_evicted_and_told_its_exact_loss() {
    for topology in TOPOLOGIES {
        let bus = TestBus::new(&evicting(topology, OnFull::Block));
        let mut slow = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        for number in 0..CAPACITY {
            producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        }
        for number in 0..5_u64 {
            let frame = slow.poll().unwrap().expect("a frame that it gates");
            assert_eq!(frame.payload(), number.to_le_bytes(), "{topology}");
        }
        // Would block for ever, were it not for the eviction.
        for number in CAPACITY..100 {
            producer.publish_bytes_timeout(0, &number.to_le_bytes(), PATIENCE).unwrap();
        }
        // What was copied before is whole and still handed out.
        let error = loop {
            match slow.poll() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an evicted consumer sees nothing and no error"),
                Err(error) => break error,
            }
        };
        let lost = 100 - slow.read();
        assert_eq!(error, PollError::Evicted { lost }, "{topology}");
        assert_eq!(slow.lost(), lost);
        assert_eq!(slow.poll().err(), Some(error), "it stays evicted");
        assert_eq!(bus.stat().evictions, 1);
        assert_eq!(bus.stat().corruptions, 0);
    }
}

#[test]
fn refused_producer_evicts_as_a_blocked_one_does() {
    for topology in TOPOLOGIES {
        let bus = TestBus::new(&evicting(topology, OnFull::Reject));
        let _slow = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        let start = Instant::now();
        let mut published = 0;
        while published < 100 {
            match producer.publish_bytes(0, &[1]) {
                Ok(_) => published += 1,
                Err(error) => assert_eq!(error, PublishError::Full),
            }
            assert!(start.elapsed() < PATIENCE, "{topology}: refused for ever");
        }
        assert_eq!(bus.stat().evictions, 1);
    }
}

#[test]
fn consumer_too_far_behind_is_evicted_and_one_that_is_not_stays() {
    for topology in TOPOLOGIES {
        let bus = TestBus::new(
            &options(topology, OnFull::Block, 1, CAPACITY).evict_lag_frames(CAPACITY / 2),
        );
        let mut slow = bus.consumer().name("slow").attach().unwrap();
        let mut fast = bus.consumer().name("fast").attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        for number in 0..1000_u64 {
            producer.publish_bytes_timeout(0, &number.to_le_bytes(), PATIENCE).unwrap();
            let frame = fast.poll().unwrap().expect("the frame just published");
            assert_eq!(frame.payload(), number.to_le_bytes());
            fast.release();
        }
        assert_eq!(slow.poll().err(), Some(PollError::Evicted { lost: 1000 }), "{topology}");
        assert_eq!(bus.stat().evictions, 1);
    }
}

#[test]
fn producer_that_drains_waits_for_who_is_far_behind() {
    for topology in TOPOLOGIES {
        let options = options(topology, OnFull::Block, 1, CAPACITY).evict_lag_frames(CAPACITY / 2);
        let bus = TestBus::new(&options);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        // As far behind as the rule allows, and nobody wants its room.
        for _ in 0..CAPACITY / 2 {
            producer.publish_bytes(0, &[1]).unwrap();
        }
        assert_eq!(bus.stat().evictions, 0, "{topology}");
        assert_eq!(producer.drain(Duration::from_millis(1)).left, CAPACITY / 2, "{topology}");
        for _ in 0..CAPACITY / 2 {
            assert!(consumer.poll().unwrap().is_some(), "{topology}");
        }
        consumer.release();
        assert_eq!(producer.drain(PATIENCE).left, 0, "{topology}");
    }
}

#[test]
fn joiner_at_latest_is_not_evicted_for_frames_before_its_start() {
    for topology in TOPOLOGIES {
        let lag = 512;
        let bus = TestBus::new(&options(topology, OnFull::Block, 1, 1024).evict_lag_frames(lag));
        let mut producer = bus.producer().attach().unwrap();
        let (allowed, published) = (AtomicU64::new(4096), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while allowed.load(Ordering::Acquire) < u64::MAX {
                    if published.load(Ordering::Relaxed) < allowed.load(Ordering::Acquire) {
                        producer.publish_bytes_timeout(0, &[1], PATIENCE).unwrap();
                        published.fetch_add(1, Ordering::Release);
                    }
                }
            });
            // Fewer frames than the rule allows are published from before an attach to after it.
            let evicted = (0..1000).find_map(|_| {
                let start = Instant::now();
                while published.load(Ordering::Acquire) < allowed.load(Ordering::Relaxed) {
                    assert!(start.elapsed() < PATIENCE, "{topology}: nothing is published");
                }
                allowed.fetch_add(lag - 1, Ordering::Release);
                bus.consumer().attach().unwrap().poll().err()
            });
            allowed.store(u64::MAX, Ordering::Release);
            assert_eq!(evicted, None, "{topology}: evicted when it was less than {lag} behind");
        });
    }
}

#[test]
fn stopped_consumer_is_evicted_and_has_read_only_whole_frames() {
    for topology in TOPOLOGIES {
        let bus =
            TestBus::new(&options(topology, OnFull::Block, 1, CAPACITY).evict_after(Some(LONG)));
        let victim = Worker::attached(&Role::Consume(Consume::new(bus.name())));
        let survivor = Worker::attached(&Role::Consume(Consume::new(bus.name())));
        let mut producers = worker::producers([Produce {
            batch_max: 3,
            linger: true,
            ..Produce::new(bus.name(), 0, 200_000)
        }]);
        stop(&victim);
        let published = producers[0].published();
        producers[0].stop();
        check(&survivor.report(), std::slice::from_ref(&published), OnFull::Block);
        signal(&victim, Signal::CONT);
        let report = victim.report();
        assert_eq!(report.faults, [""; 0], "{topology}: {report:?}");
        assert_eq!(report.read + report.lost, published.count, "{topology}: {report:?}");
        assert_eq!(report.ended, "evicted");
        assert!(report.lost > 0, "{topology}: {report:?}");
    }
}

#[test]
fn consumers_that_keep_up_on_a_bus_that_evicts_lose_nothing() {
    for topology in TOPOLOGIES {
        let producers = if topology == Topology::Single { 1 } else { 3 };
        let bus = TestBus::new(
            &options(topology, OnFull::Block, producers, 64).evict_after(Some(GENEROUS)),
        );
        let readers = [1, 40].map(|batch| {
            Worker::attached(&Role::Consume(Consume { batch, ..Consume::new(bus.name()) }))
        });
        let workers = worker::producers((0..producers).map(|id| Produce {
            batch_max: 5,
            abort_every: 7,
            ..Produce::new(bus.name(), id, 4_000)
        }));
        let published: Vec<_> = workers.iter().map(Worker::published).collect();
        for reader in &readers {
            check(&reader.report(), &published, OnFull::Block);
        }
        assert_eq!(bus.stat().evictions, 0);
    }
}

#[test]
fn kicked_consumer_that_reads_in_place_goes_at_its_next_call() {
    for topology in TOPOLOGIES {
        let bus = TestBus::of(topology, OnFull::Block, 1, CAPACITY);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        for number in 0..CAPACITY {
            producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        }
        let frame = consumer.poll().unwrap().expect("a frame");
        let kicked = bus.kick(std::process::id()).unwrap();
        let consumers: Vec<_> =
            kicked.iter().filter(|kick| kick.participant.role == busway::Role::Consumer).collect();
        assert_eq!(consumers.len(), 1);
        assert!(!consumers[0].at_once && !consumers[0].participant.evicted);
        // It still gates: the frame that it holds is not overwritten.
        assert_eq!(producer.publish_bytes(0, &[9]).err(), Some(PublishError::Evicted));
        drop(producer);
        let mut successor = bus.producer().attach().unwrap();
        assert_eq!(successor.try_publish_bytes(0, &[9]).err(), Some(PublishError::Full));
        assert_eq!(frame.payload(), 0_u64.to_le_bytes());
        let error = loop {
            match consumer.poll() {
                Ok(frame) => assert!(frame.is_some(), "{topology}: no frame and no error"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, PollError::Evicted { lost: CAPACITY - consumer.read() });
        successor.publish_bytes_timeout(0, &[9], PATIENCE).unwrap();
    }
}

#[test]
fn kicked_consumer_that_waits_learns_of_it() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    let waiting = Worker::attached(&Role::Consume(Consume::new(bus.name())));
    assert_eq!(bus.kick(waiting.pid()).unwrap().len(), 1);
    let report = waiting.report();
    assert_eq!((report.ended.as_str(), report.read, report.lost), ("evicted", 0, 0));
}

#[test]
fn kicked_producer_of_every_policy_learns_of_it() {
    for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
        let bus = TestBus::of(Topology::Lanes, on_full, 1, CAPACITY);
        let mut producer = bus.producer().attach().unwrap();
        assert_eq!(bus.kick(std::process::id()).unwrap().len(), 1);
        let ends = (0..2 * CAPACITY).find_map(|_| producer.publish_bytes(0, &[1]).err());
        assert_eq!(ends, Some(PublishError::Evicted), "{on_full}");
    }
}

#[test]
fn kick_names_nobody_who_is_not_there() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    let _consumer = bus.consumer().attach().unwrap();
    assert_eq!(bus.kick(u32::MAX).unwrap(), []);
    assert!(bus.participants().iter().all(|one| !one.evicted));
}

#[test]
fn newcomer_in_an_evicted_ones_seat_starts_afresh() {
    let bus = TestBus::new(&evicting(Topology::Lanes, OnFull::Block).consumers(1));
    let first = bus.consumer().attach().unwrap();
    assert!(bus.kick(std::process::id()).unwrap()[0].at_once);
    assert!(bus.participants()[0].evicted);
    drop(first);
    let mut producer = bus.producer().attach().unwrap();
    let mut second = bus.consumer().start(Start::Latest).attach().unwrap();
    assert!(!bus.participants().iter().any(|one| one.evicted));
    producer.publish_bytes(0, b"x").unwrap();
    assert_eq!(second.poll().unwrap().unwrap().payload(), b"x");
}

/// Promise 4 (ARCHITECTURE.md).
#[test]
fn killed_while_evicted_is_recovered_like_anybody() {
    let bus = TestBus::new(&evicting(Topology::Lanes, OnFull::Block).consumers(1));
    let mut victim = Worker::attached(&Role::Consume(Consume::new(bus.name())));
    stop(&victim);
    bus.kick(victim.pid()).unwrap();
    victim.kill();
    assert!(bus.consumer().attach().is_ok());
    assert_eq!((bus.stat().recoveries, bus.stat().evictions), (1, 1));
}

#[test]
fn rules_that_make_no_sense_are_refused_with_what_would() {
    let cases = [
        (options(Topology::Lanes, OnFull::DropOldest, 1, 16).evict_lag_frames(4), "block, reject"),
        (options(Topology::Lanes, OnFull::Block, 1, 16).evict_lag_frames(17), "1 to 16"),
        (
            options(Topology::Lanes, OnFull::Block, 1, 16).evict_after(Some(Duration::ZERO)),
            "from a nanosecond",
        ),
    ];
    for (options, allowed) in cases {
        let error = options.create(&unique_name()).unwrap_err().to_string();
        assert!(error.contains(allowed), "{error}");
    }
}

#[test]
fn rule_is_told_and_compared() {
    let options = evicting(Topology::Lanes, OnFull::Block).evict_lag_frames(8);
    let bus = TestBus::new(&options);
    let info = Bus::open(bus.name()).unwrap().info().clone();
    assert_eq!((info.evict_lag_frames, info.evict_after_ns), (Some(8), Some(20_000_000)));
    assert!(options.difference(&bus).unwrap().is_none());
    let other = options.evict_lag_frames(9).difference(&bus).unwrap().unwrap();
    assert!(other.contains("eviction is 8 frames"), "{other}");
}

/// Nobody honest says so of who is alive; whoever can write to a bus can.
#[test]
fn consumer_that_a_liar_declares_dead_learns_that_it_lost_its_place() {
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, CAPACITY);
    let mut consumer = bus.consumer().attach().unwrap();
    let file = File::options().read(true).write(true).open(path_of(bus.name())).unwrap();
    let mut control = [0; 8];
    // The header says where the control region is; the seats follow its words, producers' first.
    file.read_exact_at(&mut control, 216 + 16).unwrap();
    let state = u64::from_le_bytes(control) + 384 + 128;
    file.write_all_at(&((1_u64 << 8) | 3).to_le_bytes(), state).unwrap();
    assert_eq!(consumer.poll().err(), Some(PollError::Evicted { lost: 0 }));
}
