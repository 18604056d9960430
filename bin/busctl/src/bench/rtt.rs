//! `bench rtt`: how long a message and its echo take, between two processes over two buses.
//!
//! The caller publishes on `ping`, waits for the echo on `pong`, and notes the time between; one
//! message is under way at a time, so that nothing queues and every trip is a sample. The answerer
//! publishes what it gets. Both check every byte. The trip ends when the echo is in the caller's
//! hands, before it is checked.

use super::affinity::{self, Pins};
use super::crew::Crew;
use super::janitor::{Janitor, Litter};
use super::latency::{Buckets, Latency, Percentiles, Spread};
use super::limit;
use super::pattern::{self, Origin};
use super::plan::{self, Task};
use super::ticks::Ticks;
use super::worker::Station;
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::signal::Stop;
use crate::table::{Side, Table};
use crate::units::{
    choice, format_bytes, format_count, format_ns, parse_count_from_one, parse_interval,
    parse_size_u32,
};
use busway::{
    Bus, Consumer, FrameLayout, FrameRef, PollError, Producer, Timestamps, Topology, Wait,
};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::time::Duration;

/// Frames that each bus holds. One is under way at a time.
const CAPACITY_FRAMES: u64 = 64;

/// How long either end waits for the other before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Polls of a busy end between looks at the clock.
const POLLS_PER_LOOK: u32 = 1 << 16;

/// Trips before the first that is recorded, at most a tenth of all.
const WARM_UP_TRIPS: u64 = 10_000;

/// Arguments of `bench rtt`.
#[derive(Debug, clap::Args)]
pub struct RttArgs {
    /// Bytes of a message, 1 to 1M
    #[arg(long, value_name = "BYTES", default_value = "48", value_parser = parse_size_u32)]
    payload: u32,
    /// Round trips of a run
    #[arg(long, value_name = "N", value_parser = parse_count_from_one, conflicts_with = "duration")]
    messages: Option<u64>,
    /// How long a run takes [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    duration: Option<Duration>,
    /// How both ends wait
    #[arg(
        long,
        value_name = "STRATEGY",
        default_value = "busy",
        value_parser = choice::<Wait>(Wait::NAMES)
    )]
    wait: Wait,
    /// What a slot holds
    #[arg(
        long,
        value_name = "LAYOUT",
        default_value = "event",
        value_parser = choice::<FrameLayout>(FrameLayout::NAMES)
    )]
    frames: FrameLayout,
    /// When frames are stamped with the time
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "off",
        value_parser = choice::<Timestamps>(Timestamps::NAMES)
    )]
    timestamps: Timestamps,
    #[command(flatten)]
    common: super::CommonArgs,
}

/// What both workers are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RttTask {
    ping: String,
    pong: String,
    payload_bytes: u32,
    wait: Wait,
}

/// What the caller is to do: so many trips, or as many as fit the time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct RttOrder {
    trips: Option<u64>,
    duration_ns: u64,
}

/// What the caller measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CallerReport {
    /// All trips, those of the warm-up too.
    trips: u64,
    latency: Buckets,
}

/// What the answerer did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct AnswererReport {
    trips: u64,
}

/// The document of `bench rtt --json`.
#[derive(Serialize)]
struct Document {
    payload_bytes: u32,
    wait: Wait,
    frames: FrameLayout,
    timestamps: Timestamps,
    processors: usize,
    pin: Vec<usize>,
    median: Percentiles,
    p50_ns: Spread,
    runs: Vec<RttRun>,
}

#[derive(Serialize)]
struct RttRun {
    latency: Percentiles,
    /// The bare round trip between the same processors, just before.
    ping_pong: Percentiles,
}

/// Measures and prints.
pub fn run(args: &RttArgs, out: &Out) -> Result<ExitCode, Failure> {
    options(args).size_bytes()?;
    let pins = Pins::new(&args.common.pin)?;
    let stop = Stop::on_signals()?;
    let mut runs = Vec::new();
    for _ in 0..args.common.runs {
        let ping_pong = limit::ping_pong_beside(&stop, &pins, [0, 1])?;
        runs.push(RttRun { latency: one_run(args, &stop, &pins)?, ping_pong });
    }
    let latencies: Vec<_> = runs.iter().map(|run| run.latency).collect();
    let median = Percentiles::median_of(&latencies);
    let document = Document {
        payload_bytes: args.payload,
        wait: args.wait,
        frames: args.frames,
        timestamps: args.timestamps,
        processors: affinity::processors(),
        pin: pins.as_slice().to_vec(),
        median: median.ok_or_else(|| Failure::failed("no round trip was measured"))?,
        p50_ns: Spread::of(latencies.iter().map(|latency| latency.p50_ns)),
        runs,
    };
    if out.json() {
        out.document("busway.bench.rtt/1", &document)?;
    } else {
        print(out, &document, &pins)?;
    }
    Ok(Exit::Ok.code())
}

fn options(args: &RttArgs) -> busway::BusOptions {
    Bus::options()
        .topology(Topology::Single)
        .lanes(1)
        .consumers(1)
        .payload_bytes(args.payload)
        .capacity_frames(CAPACITY_FRAMES)
        .frames(args.frames)
        .timestamps(args.timestamps)
}

fn one_run(args: &RttArgs, stop: &Stop, pins: &Pins) -> Result<Percentiles, Failure> {
    let mut janitor = Janitor::hire()?;
    let (ping, pong) = (super::bus_name(), super::bus_name());
    let litter = [Litter::Bus(ping.clone()), Litter::Bus(pong.clone())];
    for bus in &litter {
        janitor.expect(bus.clone())?;
    }
    for name in [&ping, &pong] {
        options(args).create(name)?;
    }
    let task = RttTask { ping, pong, payload_bytes: args.payload, wait: args.wait };
    let mut crew = Crew::new(stop);
    let call = plan::hire(&mut crew, "caller", pins.of_worker(0), Task::RttCall(task.clone()))?;
    let answer = plan::hire(&mut crew, "answerer", pins.of_worker(1), Task::RttAnswer(task))?;
    // Both attach as consumers first and report; then each may publish.
    crew.gather::<()>(&[call, answer], || Ok(()))?;
    let duration_ns = super::nanoseconds(args.duration.unwrap_or(Duration::from_secs(1)));
    crew.order(answer, &())?;
    crew.order(call, &RttOrder { trips: args.messages, duration_ns })?;
    let called: Vec<CallerReport> = crew.gather(&[call], || Ok(()))?;
    let answered: Vec<AnswererReport> = crew.gather(&[answer], || Ok(()))?;
    crew.dismiss()?;
    for bus in &litter {
        janitor.clear(bus)?;
    }
    let (Some(called), Some(answered)) = (called.first(), answered.first()) else {
        return Err(Failure::failed("a worker said nothing"));
    };
    if called.trips != answered.trips {
        return Err(Failure::failed(format!(
            "counts do not add up: {} messages called, {} answered",
            called.trips, answered.trips
        )));
    }
    let mut latency = Latency::new();
    latency.add(&called.latency);
    latency.percentiles().ok_or_else(|| Failure::failed("no round trip was measured"))
}

fn print(out: &Out, document: &Document, pins: &Pins) -> Result<(), Failure> {
    out.line(format_args!(
        "{}: a message and its echo over two buses, {}",
        out.paint(Paint::Bold, "bench rtt"),
        pins.describe(),
    ))?;
    out.line(format_args!(
        "{} of payload, wait {}, {} frames, timestamps {}; every byte is checked",
        format_bytes(u64::from(document.payload_bytes)),
        document.wait,
        document.frames,
        document.timestamps
    ))?;
    out.line("")?;
    let mut table = Table::new([
        ("RUN", Side::Left),
        ("TRIPS", Side::Right),
        ("P50", Side::Right),
        ("P90", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
        ("MAX", Side::Right),
        ("PING-PONG", Side::Right),
    ]);
    let row = |name: String, latency: Percentiles, ping_pong: Percentiles| {
        let [p50, p90, p99, p99_9, max] = latency.cells();
        let beside = format_ns(ping_pong.p50_ns);
        [name, format_count(latency.samples), p50, p90, p99, p99_9, max, beside]
    };
    for (run, number) in document.runs.iter().zip(1..) {
        table.row(row(number.to_string(), run.latency, run.ping_pong));
    }
    let beside: Vec<_> = document.runs.iter().map(|run| run.ping_pong).collect();
    if let Some(beside) = Percentiles::median_of(&beside) {
        table.row(row(String::from("median"), document.median, beside));
    }
    table.print(out)
}

/// One worker's ends of both buses.
struct Ends {
    producer: Producer,
    consumer: Consumer,
    wait: Wait,
    lane: u32,
}

impl Ends {
    /// Attaches to read, reports, waits until the other has done so too, and attaches to write.
    fn attach(
        station: &mut Station,
        write: &str,
        read: &str,
        wait: Wait,
    ) -> Result<(Self, Option<RttOrder>), Failure> {
        let (write, read) = (Bus::open(write)?, Bus::open(read)?);
        let consumer = read.consumer().name("reader").wait(wait).attach()?;
        station.report(&())?;
        let order = station.next_order::<Option<RttOrder>>()?.flatten();
        let producer = write.producer().name("writer").wait(wait);
        let producer = producer.timeout(Some(PATIENCE)).attach()?;
        let lane = producer.lane();
        Ok((Self { producer, consumer, wait, lane }, order))
    }

    fn send(&mut self, sequence: u64, payload: &mut [u8]) -> Result<(), Failure> {
        let origin = Origin { lane: self.lane, sequence };
        pattern::fill(payload, origin, 0);
        let position = self.producer.publish_bytes(0, payload)?;
        if position == sequence {
            return Ok(());
        }
        Err(Failure::failed(format!("message {sequence} got position {position}")))
    }

    /// Waits for a message and hands it to `take`; `None` when there is none and no producer left.
    fn receive<T>(&mut self, take: impl FnOnce(&FrameRef<'_>) -> T) -> Result<Option<T>, Failure> {
        if self.wait != Wait::Busy {
            return match self.consumer.recv_timeout(PATIENCE) {
                Ok(Some(frame)) => Ok(Some(take(&frame))),
                Ok(None) => Err(Failure::failed("the other end does not answer")),
                Err(PollError::Closed) => Ok(None),
                Err(error) => Err(error.into()),
            };
        }
        let mut polls = 0_u32;
        let mut since = None;
        loop {
            match self.consumer.poll() {
                Ok(Some(frame)) => return Ok(Some(take(&frame))),
                Ok(None) => std::hint::spin_loop(),
                Err(PollError::Closed) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            polls += 1;
            if polls == POLLS_PER_LOOK {
                polls = 0;
                let since = since.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(Failure::failed("the other end does not answer"));
                }
            }
        }
    }
}

/// The calling process.
pub fn call(station: &mut Station, task: &RttTask) -> Result<(), Failure> {
    let (mut ends, order) = Ends::attach(station, &task.ping, &task.pong, task.wait)?;
    let Some(order) = order else { return Ok(()) };
    let ticks = Ticks::calibrate();
    let mut latency = Latency::new();
    let mut payload = vec![0; usize::try_from(task.payload_bytes).unwrap_or(0)];
    let trips_max =
        order.trips.map_or(u64::MAX, |trips| trips.saturating_add(trips.min(WARM_UP_TRIPS)));
    let warm_trips = order.trips.unwrap_or(u64::MAX).min(WARM_UP_TRIPS);
    let end = ticks.now() + ticks.ticks_of(order.duration_ns);
    let warm = ticks.now() + ticks.ticks_of(order.duration_ns / 10);
    let mut trips = 0;
    loop {
        let sent = ticks.now();
        if trips == trips_max || (order.trips.is_none() && sent > end) {
            break;
        }
        ends.send(trips, &mut payload)?;
        let origin = Origin { lane: ends.lane, sequence: trips };
        let echo = ends.receive(|frame| (ticks.now(), pattern::check(frame.payload(), origin)))?;
        let Some((received, checked)) = echo else {
            return Err(Failure::failed("the answerer is gone"));
        };
        checked.map_err(|mismatch| Failure::failed(mismatch.to_string()))?;
        let warming = if order.trips.is_some() { trips < warm_trips } else { sent < warm };
        if !warming {
            latency.record(ticks.to_ns(received.saturating_sub(sent)));
        }
        trips += 1;
    }
    station.report(&CallerReport { trips, latency: latency.buckets() })?;
    ends.producer.detach();
    ends.consumer.detach();
    Ok(())
}

/// The answering process: until the caller detaches.
pub fn answer(station: &mut Station, task: &RttTask) -> Result<(), Failure> {
    let (mut ends, _) = Ends::attach(station, &task.pong, &task.ping, task.wait)?;
    let mut payload = vec![0; usize::try_from(task.payload_bytes).unwrap_or(0)];
    let mut trips = 0;
    loop {
        let origin = Origin { lane: ends.lane, sequence: trips };
        match ends.receive(|frame| pattern::check(frame.payload(), origin))? {
            Some(Ok(_)) => ends.send(trips, &mut payload)?,
            Some(Err(mismatch)) => return Err(Failure::failed(mismatch.to_string())),
            None => break,
        }
        trips += 1;
    }
    station.report(&AnswererReport { trips })?;
    ends.producer.detach();
    ends.consumer.detach();
    Ok(())
}
