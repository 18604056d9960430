//! What the toolkit costs: `cargo bench -p busway-toolkit`.
//!
//! Question: how long from one event to the next, produced in other processes and handled here; how
//! long an empty poll takes; how many requests a second a batcher answers, and after how long. Unit:
//! nanoseconds an event, requests a second, microseconds. Not pinned. Each row: median of five runs and
//! their range, after one that does not count. Each run checks that every event and every request was
//! done exactly once. An argument keeps to the rows of the dispatcher whose name contains it.

#![allow(clippy::cast_precision_loss)] // figures for people

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use busway::{Bus, Wait};
use busway_toolkit::{Batcher, BusSource, Dispatcher, Workers};
use hdrhistogram::Histogram;

const RUNS: usize = 5;
/// What a producing process reads: `BUS:FRAMES`.
const ROLE: &str = "BUSWAY_TOOLKIT_BENCH_PRODUCER";
const CAPACITY: u64 = 1 << 16;
const EVENTS: u64 = 1 << 20;

/// A bus of the benchmark, removed whatever happens.
struct Scratch(String, Bus);

impl Scratch {
    fn new(lanes: u32) -> Self {
        let name = format!("toolkit-bench-{}", std::process::id());
        let options = Bus::options().payload_bytes(48).lanes(lanes).capacity_frames(CAPACITY);
        let bus = options.create(&name).expect("room in shared memory");
        Self(name, bus)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = Bus::remove(&self.0);
    }
}

fn produce(role: &str) {
    let (bus, frames) = role.split_once(':').expect("BUS:FRAMES");
    let bus = Bus::open(bus).expect("the bus is there");
    let mut producer = bus.producer().attach().expect("a seat");
    for count in 0..frames.parse::<u64>().expect("a number") {
        let mut payload = [0; 48];
        payload[..8].copy_from_slice(&count.to_le_bytes());
        producer.publish_bytes(1, &payload).expect("published");
    }
}

/// What the row's name has to contain, if anything was asked for.
fn asked_for() -> Option<String> {
    std::env::args().skip(1).find(|argument| !argument.starts_with('-'))
}

/// Runs, and the median and range of what they give.
fn rows(what: &str, unit: &str, mut run: impl FnMut() -> f64) {
    if asked_for().is_some_and(|part| !what.contains(&part)) {
        return;
    }
    run();
    let mut figures: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    figures.sort_by(f64::total_cmp);
    let (low, median, high) = (figures[0], figures[RUNS / 2], figures[RUNS - 1]);
    println!("| {what} | {median:.1} {unit} | {low:.1}–{high:.1} |");
}

/// A dispatcher whose handler adds up what it is given.
fn adding(bus: &Bus, workers: Workers) -> (Dispatcher<BusSource>, Arc<AtomicU64>) {
    let sum = Arc::new(AtomicU64::new(0));
    let own = Arc::clone(&sum);
    let consumer = bus.consumer().wait(Wait::Adaptive).attach().expect("a seat");
    let dispatcher = Dispatcher::builder(BusSource::new(bus, consumer))
        .on(1, move |_, event| {
            let number = event.payload.first_chunk().copied().map_or(0, u64::from_le_bytes);
            own.fetch_add(number, Ordering::Relaxed);
            Ok(())
        })
        .workers(workers)
        .buffer(8192)
        .build();
    (dispatcher.expect("it fits together"), sum)
}

/// Nanoseconds an event, from the first that comes to the last that is done.
fn across_processes(producers: u64, workers: Workers) -> f64 {
    let scratch = Scratch::new(u32::try_from(producers).expect("few"));
    let (mut dispatcher, sum) = adding(&scratch.1, workers);
    let each = EVENTS / producers;
    let children: Vec<_> = (0..producers)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe().expect("its own name"));
            command.env(ROLE, format!("{}:{each}", scratch.0)).stdout(Stdio::null());
            command.spawn().expect("a process")
        })
        .collect();
    let mut taken = 0;
    let mut began = None;
    while taken < EVENTS {
        let events = dispatcher.poll(Duration::from_millis(100)).expect("polled").events;
        if events > 0 {
            began.get_or_insert_with(Instant::now);
        }
        taken += events as u64;
    }
    assert_eq!(dispatcher.drain(Duration::from_secs(60)).expect("drained"), 0);
    let took = began.expect("something came").elapsed();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    let report = dispatcher.close(Duration::from_secs(1));
    assert_eq!(report.totals.processed, EVENTS);
    assert_eq!(sum.load(Ordering::Relaxed), producers * (each * (each - 1) / 2));
    took.as_nanos() as f64 / EVENTS as f64
}

/// Nanoseconds an event that is in the ring already.
fn of_a_full_ring(workers: Workers) -> f64 {
    let scratch = Scratch::new(1);
    let (mut dispatcher, _) = adding(&scratch.1, workers);
    produce(&format!("{}:{CAPACITY}", scratch.0));
    let began = Instant::now();
    let mut taken = 0;
    while taken < CAPACITY {
        taken += dispatcher.poll(Duration::ZERO).expect("polled").events as u64;
    }
    assert_eq!(dispatcher.drain(Duration::from_secs(60)).expect("drained"), 0);
    let took = began.elapsed();
    assert_eq!(dispatcher.close(Duration::ZERO).totals.processed, CAPACITY);
    took.as_nanos() as f64 / CAPACITY as f64
}

/// The same ring, read by a bare consumer.
fn by_a_bare_consumer() -> f64 {
    let scratch = Scratch::new(1);
    let mut consumer = scratch.1.consumer().attach().expect("a seat");
    produce(&format!("{}:{CAPACITY}", scratch.0));
    let began = Instant::now();
    let (mut taken, mut sum) = (0, 0);
    while taken < CAPACITY {
        let run = consumer.poll_batch(256, |frames| {
            for frame in frames {
                sum += frame.payload().first_chunk().copied().map_or(0, u64::from_le_bytes);
            }
        });
        taken += run.expect("polled") as u64;
    }
    let took = began.elapsed();
    assert_eq!(sum, CAPACITY * (CAPACITY - 1) / 2);
    took.as_nanos() as f64 / CAPACITY as f64
}

fn empty_poll() -> f64 {
    const POLLS: u32 = 1_000_000;
    let scratch = Scratch::new(1);
    let (mut dispatcher, _) = adding(&scratch.1, Workers::fixed(0));
    let _producer = scratch.1.producer().attach().expect("a seat");
    let began = Instant::now();
    for _ in 0..POLLS {
        black_box(dispatcher.poll(Duration::ZERO).expect("polled"));
    }
    began.elapsed().as_nanos() as f64 / f64::from(POLLS)
}

/// Requests a second, and the time of one in microseconds at the median and at p99.
fn requests(callers: u64, at_once: u64, linger: Duration) -> (f64, f64, f64) {
    let each = if at_once == 1 { (400_000 / callers).min(50_000) } else { 2_000_000 / callers };
    let batcher = Batcher::options()
        .items(256)
        .linger(linger)
        .build(|items: Vec<u64>| items.into_iter().map(|item| Ok::<_, ()>(item + 1)).collect());
    let batcher = batcher.expect("it starts");
    let began = Instant::now();
    let mut all = Histogram::<u64>::new(3).expect("digits");
    thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                let batcher = batcher.clone();
                scope.spawn(move || {
                    let mut times = Histogram::<u64>::new(3).expect("digits");
                    let mut done = 0;
                    while done < each {
                        let asked = Instant::now();
                        let results = batcher.call_many(done..done + at_once);
                        let took = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        for (item, result) in (done..).zip(&results) {
                            assert_eq!(*result, Ok(item + 1));
                        }
                        times.record_n(took, at_once).expect("it fits");
                        done += at_once;
                    }
                    times
                })
            })
            .collect();
        for thread in threads {
            all.add(thread.join().expect("no panic")).expect("it fits");
        }
    });
    let took = began.elapsed();
    let report = batcher.close(Duration::from_secs(10));
    assert_eq!(report.stats.answered, all.len());
    let at = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    (all.len() as f64 / took.as_secs_f64(), at(0.5), at(0.99))
}

fn request_row(callers: u64, at_once: u64, linger_us: u64) {
    let linger = Duration::from_micros(linger_us);
    requests(callers, at_once, linger);
    let mut runs: Vec<_> = (0..RUNS).map(|_| requests(callers, at_once, linger)).collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (rate, _, _) = runs[RUNS / 2];
    let middle = |of: fn(&(f64, f64, f64)) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[RUNS / 2]
    };
    println!(
        "| {callers} | {at_once} | {linger_us} µs | {:.0} k/s | {:.0}–{:.0} | {:.1} µs | {:.1} µs |",
        rate / 1e3,
        runs[0].0 / 1e3,
        runs[RUNS - 1].0 / 1e3,
        middle(|run| run.1),
        middle(|run| run.2)
    );
}

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        produce(&role);
        return;
    }
    println!("| dispatcher | median | range |\n|---|---|---|");
    rows("an empty poll", "ns", empty_poll);
    rows("a ring that is full: bare consumer", "ns/event", by_a_bare_consumer);
    rows("a ring that is full: inline", "ns/event", || of_a_full_ring(Workers::fixed(0)));
    rows("a ring that is full: pool of 1", "ns/event", || of_a_full_ring(Workers::fixed(1)));
    for producers in [1, 4, 8] {
        for (what, workers) in [("inline", 0), ("pool of 1", 1), ("pool of 2", 2)] {
            let row = format!("{producers} producing process(es): {what}");
            rows(&row, "ns/event", || across_processes(producers, Workers::fixed(workers)));
        }
    }
    if asked_for().is_some() {
        return;
    }
    println!(
        "\n| callers | at once | linger | requests | range | p50 | p99 |\n|---|---|---|---|---|---|---|"
    );
    for (callers, at_once, linger_us) in [
        (1, 1, 0),
        (8, 1, 0),
        (64, 1, 0),
        (64, 1, 50),
        (2, 32, 0),
        (4, 32, 0),
        (2, 64, 0),
        (4, 64, 0),
        (8, 64, 0),
    ] {
        request_row(callers, at_once, linger_us);
    }
}
