//! Producers and consumers that are killed: the others go on, nothing that was committed is lost,
//! and the seat comes back.

use std::collections::BTreeMap;
use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use busway::{Bus, OnFull, PollError, PublishError, Role as End, Start, Topology, Wait};

use crate::support::PATIENCE;
use crate::support::bus::{TestBus, path_of};
use crate::support::ledger::{Expect, Ledger};
use crate::support::random::Random;
use crate::support::role::{Consume, Produce, Report, Role};
use crate::support::shared::Confirmed;
use crate::support::worker::{self, Worker};

const BATCH_MAX: u32 = 4;

/// Waits until something has come about.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} does not come about");
        thread::sleep(Duration::from_micros(200));
    }
}

/// A producer that runs until it is killed, and what it confirms.
fn endless(bus: &Bus, id: u32) -> (Worker, Confirmed) {
    let confirmed = Confirmed::new();
    let role = Produce {
        batch_max: BATCH_MAX,
        confirm: Some(confirmed.path()),
        ..Produce::new(bus.name(), id, u64::MAX)
    };
    let mut worker = Worker::attached(&Role::Produce(role));
    worker.go();
    (worker, confirmed)
}

/// Kills producers at random, one after the other, beside one that lives; another takes the lane
/// each time. Returns what the consumers saw and what each producer had confirmed.
fn killing(topology: Topology, kills: u32, readers: usize) -> (Vec<Report>, BTreeMap<u32, u64>) {
    let mut random = Random::of_run();
    let bus = TestBus::of(topology, OnFull::Block, 2, 256);
    let consumers: Vec<Worker> =
        (0..readers).map(|_| Worker::attached(&Role::Consume(Consume::new(bus.name())))).collect();
    let (mut survivor, survived) = endless(&bus, 0);
    let mut confirmed = BTreeMap::new();
    for id in 1..=kills {
        let (mut victim, count) = endless(&bus, id);
        until("the first frame", || count.get() > 0);
        thread::sleep(Duration::from_micros(random.within(0, 8_000)));
        victim.kill();
        confirmed.insert(id, count.get());
    }
    let before = survived.get();
    until("another frame of the survivor", || survived.get() > before);
    survivor.stop();
    confirmed.insert(0, survivor.published().count);
    (consumers.iter().map(Worker::report).collect(), confirmed)
}

fn check_killed(report: &Report, confirmed: &BTreeMap<u32, u64>) {
    assert_eq!(report.faults, [""; 0], "{report:?}");
    assert_eq!((report.ended.as_str(), report.lost), ("closed", 0));
    for (id, confirmed) in confirmed {
        let seen = report.producers[id];
        assert_eq!(seen.first, 0, "producer {id}");
        assert!(seen.next >= *confirmed, "producer {id}: {confirmed} confirmed, {seen:?}");
        let most = confirmed + u64::from(BATCH_MAX);
        assert!(seen.next <= most, "producer {id}: {confirmed} confirmed, {seen:?}");
    }
}

#[test]
fn single_loses_nothing_committed_when_producers_are_killed() {
    // One lane: the victims follow each other, and the bus closes now and then between two.
    let mut random = Random::of_run();
    let bus = TestBus::of(Topology::Single, OnFull::Block, 1, 256);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut ledger = Ledger::new(Expect::of(&bus));
    for id in 0..8 {
        let (mut victim, count) = endless(&bus, id);
        let kill_at = Instant::now() + Duration::from_micros(random.within(1_000, 20_000));
        while Instant::now() < kill_at || count.get() == 0 {
            if let Ok(Some(frame)) = consumer.poll() {
                ledger.note(frame);
            }
        }
        victim.kill();
        // `Closed` when a daemon on this host has already given the lane back.
        while let Ok(Some(frame)) = consumer.poll() {
            ledger.note(frame);
        }
        let (next, confirmed) = (ledger.producer(id).map_or(0, |seen| seen.next), count.get());
        assert!((confirmed..=confirmed + u64::from(BATCH_MAX)).contains(&next), "{next}");
    }
    assert_eq!(ledger.faults, [""; 0]);
    bus.reclaim().unwrap();
    assert_eq!(consumer.poll().map(|_| ()), Err(PollError::Closed));
}

/// Promise 2 (ARCHITECTURE.md).
#[test]
fn lanes_lose_nothing_committed_when_producers_are_killed() {
    let (reports, confirmed) = killing(Topology::Lanes, 12, 1);
    check_killed(&reports[0], &confirmed);
}

/// Promise 2 (ARCHITECTURE.md).
#[test]
fn ordered_loses_nothing_committed_when_producers_are_killed() {
    let (reports, confirmed) = killing(Topology::Ordered, 30, 2);
    for report in &reports {
        check_killed(report, &confirmed);
    }
    assert_eq!(reports[0].trace_hash, reports[1].trace_hash);
}

#[test]
fn dead_producer_is_reclaimed_and_its_frames_stay_readable() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::Block, 1, 64);
        let (mut victim, count) = endless(&bus, 0);
        until("some laps", || count.get() > 200);
        let pid = victim.pid();
        victim.kill();
        // A daemon on this host may be faster than this test at any point.
        if let Some(dead) = &bus.stat().lanes[0].producer {
            assert_eq!((dead.pid, dead.alive, dead.name.as_str()), (pid, false, "p0"));
        }
        for reclaimed in bus.reclaim().unwrap() {
            assert_eq!((reclaimed.role, reclaimed.pid, reclaimed.seat), (End::Producer, pid, 0));
            assert_eq!(reclaimed.position, bus.stat().lanes[0].position);
        }
        until("a free lane", || bus.stat().lanes[0].producer.is_none());
        assert_eq!(bus.reclaim().unwrap(), []);
        assert_eq!(bus.stat().recoveries, 1);
        let end = bus.stat().lanes[0].position;
        assert!((count.get()..=count.get() + u64::from(BATCH_MAX)).contains(&end));
        let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
        let mut ledger = Ledger::new(Expect::of(&bus));
        let ended = loop {
            match consumer.poll() {
                Ok(Some(frame)) => ledger.note(frame),
                Ok(None) => {}
                Err(error) => break error,
            }
        };
        assert_eq!((ended, ledger.faults.as_slice()), (PollError::Closed, &[][..]));
        // All but what the dead one might have been overwriting.
        assert!(ledger.read() >= 32, "{}", ledger.read());
        assert_eq!(ledger.producer(0).unwrap().next, end);
        assert_eq!(bus.producer().attach().unwrap().position(), end);
    }
}

#[test]
fn waiting_consumer_learns_that_the_last_producer_was_killed() {
    for wait in [Wait::Busy, Wait::Yielding, Wait::Parking, Wait::Adaptive] {
        let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, 64);
        let mut consumer = bus.consumer().wait(wait).attach().unwrap();
        let role = Produce { linger: true, ..Produce::new(bus.name(), 0, 10) };
        let mut victims = worker::producers([role]);
        assert_eq!(victims[0].published().count, 10);
        victims[0].kill();
        for _ in 0..10 {
            assert!(consumer.recv_timeout(PATIENCE).unwrap().is_some());
        }
        assert_eq!(consumer.recv_timeout(PATIENCE).map(|_| ()), Err(PollError::Closed), "{wait}");
    }
}

/// Promise 3 (ARCHITECTURE.md).
#[test]
fn killed_consumer_stops_holding_up_a_blocked_producer() {
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for wait in [Wait::Busy, Wait::Yielding, Wait::Parking, Wait::Adaptive] {
            let bus = TestBus::of(topology, OnFull::Block, 1, 64);
            // It reads, and then naps for good as far as the producer is concerned.
            let mut victim = Worker::attached(&Role::Consume(Consume {
                nap_every: 1,
                ..Consume::new(bus.name())
            }));
            let confirmed = Confirmed::new();
            let mut producer = Worker::attached(&Role::Produce(Produce {
                wait,
                confirm: Some(confirmed.path()),
                ..Produce::new(bus.name(), 0, 100_000)
            }));
            producer.go();
            until("a full ring", || bus.stat().lanes[0].blocked_count > 0);
            victim.kill();
            assert_eq!(producer.published().count, 100_000, "{topology} {wait}");
            assert_eq!(bus.stat().consumers.len(), 0);
        }
    }
}

/// Promise 3 (ARCHITECTURE.md).
#[test]
fn killed_consumer_stops_refusing_producers_that_do_not_wait() {
    for (topology, on_full) in [
        (Topology::Lanes, OnFull::Reject),
        (Topology::Ordered, OnFull::Reject),
        (Topology::Lanes, OnFull::Block),
    ] {
        let bus = TestBus::of(topology, on_full, 1, 4);
        let mut victim = Worker::attached(&Role::Consume(Consume::new(bus.name())));
        victim.kill();
        let mut producer = bus.producer().attach().unwrap();
        let mut published = 0;
        until("room behind a dead consumer", || {
            match producer.try_publish_bytes(0, &[1]) {
                Ok(_) => published += 1,
                Err(error) => assert_eq!(error, PublishError::Full),
            }
            published > 100
        });
    }
}

/// Promises 3, 4 (ARCHITECTURE.md): of a death that nobody declared, whoever took the lock after it.
#[test]
fn who_stops_with_the_lock_of_one_that_died_unnoticed_is_not_waited_for() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::of(topology, OnFull::Block, 1, 4);
        let mut victim = Worker::attached(&Role::Consume(Consume::new(bus.name())));
        let seat = i64::from(bus.stat().consumers[0].participant.seat);
        victim.kill();
        let stopped = File::options().read(true).write(true).open(path_of(bus.name())).unwrap();
        until("the dead one's lock", || lock(&stopped, 256 + seat).is_ok());
        let mut producer = bus.producer().attach().unwrap();
        for _ in 0..100 {
            producer.publish_bytes_timeout(0, &[1], PATIENCE).unwrap();
        }
        // It still has the seat, and another newcomer gets another.
        assert!(i64::from(bus.consumer().attach().unwrap().seat()) != seat);
    }
}

/// Takes the lock of whoever comes to a seat, by the segment format's page.
fn lock(file: &File, byte: i64) -> nix::Result<()> {
    let lock = nix::libc::flock {
        l_type: nix::libc::F_WRLCK.try_into().unwrap(),
        l_whence: nix::libc::SEEK_SET.try_into().unwrap(),
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    };
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).map(drop)
}

#[test]
fn short_waits_learn_of_deaths_as_long_ones_do() {
    let short = Duration::from_millis(1);
    let bus = TestBus::of(Topology::Lanes, OnFull::Block, 1, 4);
    let mut victim = Worker::attached(&Role::Consume(Consume::new(bus.name())));
    victim.kill();
    let mut producer = bus.producer().attach().unwrap();
    let mut published = 0;
    until("room behind a dead consumer", || {
        published += u32::from(producer.publish_bytes_timeout(0, &[1], short).is_ok());
        published > 100
    });
    drop(producer);

    let mut consumer = bus.consumer().attach().unwrap();
    let role = Produce { linger: true, ..Produce::new(bus.name(), 0, 1) };
    let mut victims = worker::producers([role]);
    assert_eq!(victims[0].published().count, 1);
    victims[0].kill();
    assert!(consumer.recv_timeout(PATIENCE).unwrap().is_some());
    until("the end of a dead producer's lane", || {
        match consumer.recv_timeout(short).map(|frame| frame.is_none()) {
            Ok(nothing) => assert!(nothing),
            Err(error) => assert_eq!(error, PollError::Closed),
        }
        consumer.recv_timeout(Duration::ZERO).is_err()
    });
}

#[test]
fn killed_consumers_seat_goes_to_the_next() {
    let bus = TestBus::new(&Bus::options().consumers(1));
    let mut victim = Worker::attached(&Role::Consume(Consume::new(bus.name())));
    assert_eq!(bus.consumer().attach().unwrap_err().code(), "seats_taken");
    victim.kill();
    assert_eq!(bus.consumer().attach().unwrap().seat(), 0);
    assert_eq!(bus.stat().recoveries, 1);
}
