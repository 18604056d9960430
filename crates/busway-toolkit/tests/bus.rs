//! The dispatcher over real buses: producers in processes of their own, dead letters, the end.
//!
//! A producing process is this very test binary, asked for the test `producer_process` alone.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::resume_unwind;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use busway::{Bus, OnFull, Producer};
use busway_toolkit::{
    BusSource, Config, ConfigFormat, DeadLetter, DeadLetters, Dispatcher, Failure, GroupSource,
    LETTER_EXTRA_BYTES, Policy, Reason, Received, Report, Retry, Unhandled, Workers,
};

/// What a producing process reads: `BUS:NUMBER:FRAMES`.
const ROLE: &str = "BUSWAY_TOOLKIT_TEST_PRODUCER";
const PRODUCERS: u32 = 8;
const FRAMES: u32 = 10_000;
/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A bus of a test, removed whatever happens.
struct Scratch(String);

impl Scratch {
    fn new(what: &str) -> Self {
        Self(format!("toolkit-{what}-{}", std::process::id()))
    }

    fn dead(&self) -> Self {
        Self(format!("{}.dead", self.0))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Bus::remove(&self.0);
    }
}

/// A producing process, killed whatever happens.
struct Process(Child);

impl Process {
    fn start(bus: &Scratch, number: u32, frames: u32) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["producer_process", "--exact", "--test-threads=1"])
            .env(ROLE, format!("{}:{number}:{frames}", bus.0))
            .stdout(std::process::Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    fn succeed(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The test that a producing process is; nothing otherwise.
#[test]
fn producer_process() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let mut parts = role.split(':');
    let bus = Bus::open(parts.next().unwrap()).unwrap();
    let [number, frames] = [(); 2].map(|()| parts.next().unwrap().parse::<u32>().unwrap());
    let mut producer = bus.producer().attach().unwrap();
    for count in 0..frames {
        let id = u64::from(number) * u64::from(frames) + u64::from(count);
        // Kinds 0 to 4; nobody handles 4.
        producer.publish_bytes(u16::try_from(count % 5).unwrap(), &id.to_le_bytes()).unwrap();
    }
}

fn id_of(payload: &[u8]) -> usize {
    usize::try_from(u64::from_le_bytes(payload.try_into().unwrap())).unwrap()
}

/// Kind 0 succeeds, 1 fails twice and succeeds, 2 fails for good, 3 panics once; 4 has no handler.
/// Whatever the workers: each event is done exactly once, and the dead letters are those that failed.
fn nothing_is_lost_or_doubled(what: &str, workers: Workers) {
    let scratch = Scratch::new(what);
    let dead = scratch.dead();
    let bus = Bus::options().lanes(PRODUCERS).capacity_frames(256).payload_bytes(8);
    let bus = bus.create(&scratch.0).unwrap();
    let dead_bus = DeadLetters::bus_options(8).capacity_frames(64).create(&dead.0).unwrap();
    let mut letters = dead_bus.consumer().attach().unwrap();

    let total = (PRODUCERS * FRAMES) as usize;
    let done: Arc<Vec<AtomicU8>> = Arc::new((0..total).map(|_| AtomicU8::new(0)).collect());
    let handler = |fails: fn(u32) -> bool| {
        let done = Arc::clone(&done);
        move |context: &busway_toolkit::Context<'_>, event: &busway_toolkit::Event<'_>| {
            if fails(context.attempt()) {
                return Err("not this time".into());
            }
            done[id_of(event.payload)].fetch_add(1, Ordering::Relaxed);
            Ok::<(), Failure>(())
        }
    };
    let third = handler(|_| false);
    let retry = Retry { attempts: 3, first: Duration::from_micros(20), ..Retry::default() };
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on(0, handler(|_| false))
        .on(1, handler(|attempt| attempt < 3))
        .on(2, handler(|_| true))
        .on(3, move |context, event| {
            if context.attempt() == 1 {
                // A panic that prints nothing.
                resume_unwind(Box::new("the first attempt panics"));
            }
            third(context, event)
        })
        .default_policy(Policy { retry, ..Policy::default() })
        .policy(1, Policy { retry, concurrency: NonZeroU32::new(2), ..Policy::default() })
        .dead_letters(DeadLetters::attach(&dead_bus).unwrap())
        .workers(workers)
        .build()
        .unwrap();

    let processes: Vec<_> =
        (0..PRODUCERS).map(|number| Process::start(&scratch, number, FRAMES)).collect();
    let mut dead_ids = Vec::new();
    let began = Instant::now();
    let monitor = dispatcher.monitor();
    loop {
        dispatcher.poll(Duration::from_millis(1)).unwrap();
        while let Ok(Some(frame)) = letters.poll() {
            let letter = DeadLetter::read(frame.payload()).unwrap();
            assert_eq!((letter.kind, letter.attempts), (2, 3));
            dead_ids.push(id_of(letter.payload));
        }
        let totals = monitor.metrics().total();
        if totals.received == total as u64 && totals.in_flight == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{totals}");
    }
    processes.into_iter().for_each(Process::succeed);
    let report = dispatcher.close(PATIENCE);
    while let Ok(Some(frame)) = letters.poll() {
        dead_ids.push(id_of(DeadLetter::read(frame.payload()).unwrap().payload));
    }

    let fifth = total as u64 / 5;
    let totals = &report.totals;
    assert_eq!(
        (totals.processed, totals.dead_lettered, totals.unhandled),
        (3 * fifth, fifth, fifth)
    );
    assert_eq!((totals.failed, totals.not_done, totals.in_flight), (0, 0, 0));
    assert_eq!((totals.panicked, totals.retried), (fifth, 5 * fifth));
    assert!(report.is_complete(), "{report}");
    for (id, count) in done.iter().enumerate() {
        let kind = id % FRAMES as usize % 5;
        let want = u8::from(matches!(kind, 0 | 1 | 3));
        assert_eq!(count.load(Ordering::Relaxed), want, "event {id} of kind {kind}");
    }
    dead_ids.sort_unstable();
    let want: Vec<_> = (0..total).filter(|id| id % FRAMES as usize % 5 == 2).collect();
    assert_eq!(dead_ids, want, "each that failed is one dead letter");
}

#[test]
fn eight_producers_inline_lose_and_double_nothing() {
    nothing_is_lost_or_doubled("inline", Workers::fixed(0));
}

#[test]
fn eight_producers_on_a_pool_lose_and_double_nothing() {
    nothing_is_lost_or_doubled("pool", Workers::between(1, 4));
}

#[test]
fn dead_letter_says_from_where_and_why() {
    let scratch = Scratch::new("letter");
    let dead = scratch.dead();
    let bus = Bus::options().payload_bytes(16).create(&scratch.0).unwrap();
    let dead_bus = DeadLetters::bus_options(16).create(&dead.0).unwrap();
    let mut letters = dead_bus.consumer().attach().unwrap();
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on(7, |_, _| Err("the shelf is empty".into()))
        .dead_letters(DeadLetters::attach(&dead_bus).unwrap())
        .unhandled(Unhandled::DeadLetter)
        .build()
        .unwrap();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(1, b"stranger").unwrap();
    producer.publish_bytes(7, b"order").unwrap();
    dispatcher.poll(Duration::from_secs(1)).unwrap();
    let stranger = letters.poll().unwrap().unwrap().to_owned();
    let letter = DeadLetter::read(stranger.payload()).unwrap();
    let about = (letter.reason, letter.attempts, letter.handler.as_str(), letter.payload);
    assert_eq!(about, (Reason::Unhandled, 0, "", &b"stranger"[..]));
    let order = letters.poll().unwrap().unwrap();
    assert_eq!(order.kind(), 7);
    let letter = DeadLetter::read(order.payload()).unwrap();
    assert_eq!((&letter.bus, letter.payload), (&scratch.0, &b"order"[..]));
    assert_eq!((letter.lane, letter.position, letter.kind), (producer.lane(), 1, 7));
    let why = (letter.attempts, letter.delivery, letter.reason, letter.error.as_str());
    assert_eq!(why, (1, 1, Reason::Failed, "the shelf is empty"));
    assert_eq!(letter.handler, "kind 7");
    assert!(letter.dead_unix_ns > 0);
    let report = dispatcher.close(Duration::from_secs(1));
    assert_eq!(report.totals.dead_lettered, 2);
}

#[test]
fn full_dead_letter_bus_is_waited_for_and_reported_at_the_end() {
    let scratch = Scratch::new("full");
    let dead = scratch.dead();
    let bus = Bus::options().payload_bytes(8).create(&scratch.0).unwrap();
    let dead_bus = DeadLetters::bus_options(8).capacity_frames(2).create(&dead.0).unwrap();
    let mut letters = dead_bus.consumer().attach().unwrap();
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on(0, |_, _| Err("no".into()))
        .dead_letters(DeadLetters::attach(&dead_bus).unwrap())
        .build()
        .unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for id in 0..5_u64 {
        producer.publish_bytes(0, &id.to_le_bytes()).unwrap();
    }
    dispatcher.poll(Duration::from_secs(1)).unwrap();
    assert_eq!(dispatcher.drain(Duration::from_millis(30)).unwrap(), 3);
    assert!(letters.poll().unwrap().is_some());
    letters.release();
    assert_eq!(dispatcher.drain(Duration::from_millis(200)).unwrap(), 2, "one more has room");
    let report = dispatcher.close(Duration::ZERO);
    assert_eq!((report.totals.dead_lettered, report.totals.not_done), (3, 2));
    assert_eq!(report.not_done.iter().map(|one| one.position).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn close_says_what_was_not_read() {
    let scratch = Scratch::new("unread");
    let bus = Bus::options().payload_bytes(8).create(&scratch.0).unwrap();
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on(0, |_, _| Ok(()))
        .batch(10)
        .build()
        .unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for id in 0..25_u64 {
        producer.publish_bytes(0, &id.to_le_bytes()).unwrap();
    }
    assert_eq!(dispatcher.poll(Duration::from_secs(1)).unwrap().events, 10);
    let report: Report = dispatcher.close(Duration::from_secs(1));
    assert_eq!((report.totals.processed, report.unread), (10, 15));
    assert!(!report.is_complete());
}

#[test]
fn frame_on_a_worker_stays_whole_when_its_slot_is_written_again() {
    let scratch = Scratch::new("copy");
    let bus = Bus::options().payload_bytes(256).capacity_frames(4).create(&scratch.0).unwrap();
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let log = Arc::clone(&seen);
    let written = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&written);
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus).unwrap())
        .on(0, move |_, event| {
            // Not before the whole ring has been written twice more.
            while count.load(Ordering::Acquire) < 12 {
                std::thread::yield_now();
            }
            log.lock().unwrap().insert(event.position, event.payload.to_vec());
            Ok(())
        })
        .workers(Workers::fixed(2))
        .build()
        .unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for number in 0..12_u8 {
        producer.publish_bytes(0, &[number; 256]).unwrap();
        written.fetch_add(1, Ordering::Release);
        while dispatcher.poll(Duration::ZERO).unwrap().events > 0 {}
    }
    assert!(dispatcher.close(PATIENCE).is_complete());
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 12);
    assert!(
        seen.iter().all(|(&position, payload)| *payload == [u8::try_from(position).unwrap(); 256])
    );
}

#[test]
fn removed_and_closed_buses_end_a_run() {
    let scratch = Scratch::new("ends");
    let bus = Bus::options().payload_bytes(8).create(&scratch.0).unwrap();
    let source = BusSource::attach(&bus).unwrap();
    let mut dispatcher = Dispatcher::builder(source).on(0, |_, _| Ok(())).build().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let publish = |producer: &mut Producer, kind| producer.publish_bytes(kind, &[0; 8]).unwrap();
    publish(&mut producer, 0);
    assert_eq!(dispatcher.poll(Duration::from_secs(1)).unwrap().received, Received::Events(1));
    assert_eq!(dispatcher.poll(Duration::ZERO).unwrap().received, Received::Nothing);
    publish(&mut producer, 1);
    drop(producer);
    dispatcher.run_until_closed().unwrap();
    Bus::remove(&scratch.0).unwrap();
    dispatcher.run(&busway_toolkit::Cancel::new()).unwrap();
    let totals = dispatcher.close(Duration::ZERO).totals;
    assert_eq!((totals.processed, totals.unhandled), (1, 1));
}

#[test]
fn dispatcher_is_built_from_a_configuration() {
    let scratch = Scratch::new("config");
    let dead = scratch.dead();
    let bus = Bus::options().payload_bytes(8).create(&scratch.0).unwrap();
    let dead_bus = DeadLetters::bus_options(8).create(&dead.0).unwrap();
    let mut letters = dead_bus.consumer().attach().unwrap();
    let text = format!(
        "[dispatcher.orders]\nworkers = 1\ndead-letter-bus = {:?}\n\
         [[dispatcher.orders.kind]]\nkind = 3\nname = \"third\"\nretry = {{ attempts = 2, first = \"1us\" }}\n",
        dead.0
    );
    let config = Config::parse(&text, ConfigFormat::Toml).unwrap();
    let builder = Dispatcher::builder(BusSource::attach(&bus).unwrap());
    let builder = builder.on(3, |_, _| Err("no".into())).config(&config.dispatcher["orders"]);
    let mut dispatcher = builder.unwrap().build().unwrap();
    assert_eq!(dispatcher.workers(), 1);
    bus.producer().attach().unwrap().publish_bytes(3, b"12345678").unwrap();
    dispatcher.poll(Duration::from_secs(1)).unwrap();
    let report = dispatcher.close(PATIENCE);
    let third = report.metrics.kind(3).unwrap();
    assert_eq!((third.name.as_str(), third.failures, third.dead_lettered), ("third", 2, 1));
    assert!(letters.poll().unwrap().is_some());
}

#[test]
fn bus_that_cannot_hold_dead_letters_is_refused_by_name() {
    let scratch = Scratch::new("unfit");
    let dead = scratch.dead();
    let bus = Bus::options().payload_bytes(64).create(&scratch.0).unwrap();
    let lossy = DeadLetters::bus_options(64).on_full(OnFull::DropOldest).create(&dead.0).unwrap();
    let error = DeadLetters::attach(&lossy).unwrap_err().to_string();
    assert!(error.contains("drops its oldest"), "{error}");
    drop(lossy);
    Bus::remove(&dead.0).unwrap();
    let small = DeadLetters::bus_options(63).create(&dead.0).unwrap();
    let letters = DeadLetters::attach(&small).unwrap();
    let builder = Dispatcher::builder(BusSource::attach(&bus).unwrap()).dead_letters(letters);
    let error = builder.build().unwrap_err().to_string();
    let need = LETTER_EXTRA_BYTES + 64;
    assert!(error.contains(&format!("{need} are needed")), "{error}");
}

#[test]
fn members_of_a_group_share_events_and_each_is_acknowledged_once() {
    let scratch = Scratch::new("group");
    let dead = Scratch(format!("{}.work.dead", scratch.0));
    let bus = Bus::options().payload_bytes(8).create(&scratch.0).unwrap();
    let group = bus.group("work").max_attempts(2).create().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    for number in 0..1000_u64 {
        producer.publish_bytes(1, &number.to_le_bytes()).unwrap();
    }
    let seen = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let mut dispatchers: Vec<_> = (0..2)
        .map(|_| {
            let seen = Arc::clone(&seen);
            let source = GroupSource::new(&bus, &group, group.member().attach().unwrap());
            Dispatcher::builder(source)
                .on(1, move |_, event| {
                    let number = u64::from_le_bytes(event.payload.try_into().unwrap());
                    *seen.lock().unwrap().entry(number).or_default() += 1;
                    if number % 100 == 7 { Err("not this one".into()) } else { Ok(()) }
                })
                .build()
                .unwrap()
        })
        .collect();
    let began = Instant::now();
    while group.stat().unwrap().backlog > 0 {
        for dispatcher in &mut dispatchers {
            dispatcher.poll(Duration::from_millis(1)).unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", group.stat());
    }
    drop(dispatchers);
    let stat = group.stat().unwrap();
    assert_eq!((stat.acknowledged, stat.dead_letters), (990, 10), "{stat:?}");
    for (number, times) in seen.lock().unwrap().iter() {
        assert_eq!(*times, if number % 100 == 7 { 2 } else { 1 }, "{number}");
    }
    assert_eq!(seen.lock().unwrap().len(), 1000);
    drop(dead);
}
