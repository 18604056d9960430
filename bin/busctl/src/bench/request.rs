//! `bench request`: how many calls a second one process answers to another, and how long each takes.
//!
//! The caller keeps so many calls in flight; each carries the time when it was sent, which comes back
//! in its reply. A call ends when the reply is in the caller's hands. Every call is accounted for: as
//! many replies as calls, each with what was asked.

use super::affinity::{self, Pins};
use super::crew::Crew;
use super::janitor::{Janitor, Litter};
use super::latency::{Buckets, Latency, Percentiles, Spread};
use super::plan::{self, Task};
use super::ticks::Ticks;
use super::worker::Station;
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::signal::Stop;
use crate::table::{Side, Table};
use crate::units::{choice, format_count, in_range, parse_interval};
use busway::{CallError, Caller, Service, Wait};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::time::Duration;

/// How long either end waits for the other before it gives up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls that may be in flight at most: a caller's slots.
const IN_FLIGHT_MAX: u64 = 1 << 16;
/// Bytes of what is asked and replied: when it was sent, and its number.
const BODY_BYTES: usize = 16;

/// Arguments of `bench request`.
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    /// Calls in flight
    #[arg(
        long,
        value_name = "N",
        default_value_t = 64,
        value_parser = in_range::<u64>(1, IN_FLIGHT_MAX)
    )]
    in_flight: u64,
    /// How long a run takes [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    duration: Option<Duration>,
    /// How both ends wait
    #[arg(
        long,
        value_name = "STRATEGY",
        default_value = "adaptive",
        value_parser = choice::<Wait>(Wait::NAMES)
    )]
    wait: Wait,
    #[command(flatten)]
    common: super::CommonArgs,
}

/// What both workers are told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestTask {
    service: String,
    in_flight: u64,
    duration_ns: u64,
    wait: Wait,
}

/// What the caller measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct CallerReport {
    calls: u64,
    elapsed_ns: u64,
    latency: Buckets,
}

/// What the server did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ServerReport {
    requests: u64,
}

/// The document of `bench request --json`.
#[derive(Serialize)]
struct Document {
    in_flight: u64,
    wait: Wait,
    processors: usize,
    pin: Vec<usize>,
    calls_per_s: Spread,
    median: Percentiles,
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Serialize)]
struct Run {
    calls: u64,
    calls_per_s: u64,
    latency: Percentiles,
}

/// Measures and prints.
pub fn run(args: &RequestArgs, out: &Out) -> Result<ExitCode, Failure> {
    let pins = Pins::new(&args.common.pin)?;
    let stop = Stop::on_signals()?;
    let mut runs = Vec::new();
    for _ in 0..args.common.runs {
        runs.push(one_run(args, &stop, &pins)?);
    }
    let latencies: Vec<_> = runs.iter().map(|run| run.latency).collect();
    let median = Percentiles::median_of(&latencies);
    let document = Document {
        in_flight: args.in_flight,
        wait: args.wait,
        processors: affinity::processors(),
        pin: pins.as_slice().to_vec(),
        calls_per_s: Spread::of(runs.iter().map(|run| run.calls_per_s)),
        median: median.ok_or_else(|| Failure::failed("no call was measured"))?,
        runs,
    };
    if out.json() {
        out.document("busway.bench.request/1", &document)?;
    } else {
        print(out, &document, &pins)?;
    }
    Ok(Exit::Ok.code())
}

fn one_run(args: &RequestArgs, stop: &Stop, pins: &Pins) -> Result<Run, Failure> {
    let mut janitor = Janitor::hire()?;
    let name = super::bus_name();
    let litter = [Litter::Bus(format!("{name}.req")), Litter::Bus(format!("{name}.rep"))];
    for bus in &litter {
        janitor.expect(bus.clone())?;
    }
    let frames = args.in_flight.next_power_of_two().max(1024);
    Service::options()
        .callers(1)
        .requests_frames(frames)
        .replies_frames(4 * frames)
        .create(&name)?;
    let duration_ns = super::nanoseconds(args.duration.unwrap_or(Duration::from_secs(1)));
    let task =
        RequestTask { service: name, in_flight: args.in_flight, duration_ns, wait: args.wait };
    let mut crew = Crew::new(stop);
    let server = Task::RequestServe(task.clone());
    let server = plan::hire(&mut crew, "server", pins.of_worker(1), server)?;
    crew.gather::<()>(&[server], || Ok(()))?;
    let caller = Task::RequestCall(task);
    let caller = plan::hire(&mut crew, "caller", pins.of_worker(0), caller)?;
    let called: Vec<CallerReport> = crew.gather(&[caller], || Ok(()))?;
    crew.order(server, &())?;
    let served: Vec<ServerReport> = crew.gather(&[server], || Ok(()))?;
    crew.dismiss()?;
    for bus in &litter {
        janitor.clear(bus)?;
    }
    let (Some(called), Some(served)) = (called.first(), served.first()) else {
        return Err(Failure::failed("a worker said nothing"));
    };
    if called.calls != served.requests {
        return Err(Failure::failed(format!(
            "counts do not add up: {} calls, {} requests",
            called.calls, served.requests
        )));
    }
    let mut latency = Latency::new();
    latency.add(&called.latency);
    let latency = latency.percentiles();
    Ok(Run {
        calls: called.calls,
        calls_per_s: super::per_second(called.calls, called.elapsed_ns),
        latency: latency.ok_or_else(|| Failure::failed("no call was measured"))?,
    })
}

fn print(out: &Out, document: &Document, pins: &Pins) -> Result<(), Failure> {
    out.line(format_args!(
        "{}: calls of one process, answered by another, {}",
        out.paint(Paint::Bold, "bench request"),
        pins.describe(),
    ))?;
    out.line(format_args!(
        "{} in flight, wait {}, {BODY_BYTES} bytes each way; every reply is checked",
        document.in_flight, document.wait
    ))?;
    out.line("")?;
    let mut table = Table::new([
        ("RUN", Side::Left),
        ("CALLS", Side::Right),
        ("CALLS/S", Side::Right),
        ("P50", Side::Right),
        ("P90", Side::Right),
        ("P99", Side::Right),
        ("P99.9", Side::Right),
        ("MAX", Side::Right),
    ]);
    let row = |name: String, calls: String, rate: u64, latency: Percentiles| {
        let [p50, p90, p99, p99_9, max] = latency.cells();
        [name, calls, format_count(rate), p50, p90, p99, p99_9, max]
    };
    for (run, number) in document.runs.iter().zip(1..) {
        let calls = format_count(run.calls);
        table.row(row(number.to_string(), calls, run.calls_per_s, run.latency));
    }
    let rate = document.calls_per_s.median;
    table.row(row(String::from("median"), String::new(), rate, document.median));
    table.print(out)
}

/// The calling process.
pub fn call(station: &mut Station, task: &RequestTask) -> Result<(), Failure> {
    let service = Service::open(&task.service)?;
    let in_flight = usize::try_from(task.in_flight).unwrap_or(usize::MAX);
    let options = service.caller().name("caller").wait(task.wait).in_flight(in_flight);
    let mut caller = options.attach()?;
    let ticks = Ticks::calibrate();
    let mut latency = Latency::new();
    let start = ticks.now();
    let end = start + ticks.ticks_of(task.duration_ns);
    let warm = start + ticks.ticks_of(task.duration_ns / 10);
    let (mut calls, mut ended) = (0_u64, 0_u64);
    let mut is_open = true;
    while is_open || ended < calls {
        while is_open && caller.in_flight() < in_flight {
            let now = ticks.now();
            is_open = now <= end;
            if is_open {
                send(&mut caller, now, calls)?;
                calls += 1;
            }
        }
        let patience = if ended < calls { PATIENCE } else { Duration::ZERO };
        let mut next = caller.recv(patience);
        if next.is_none() && ended < calls {
            return Err(Failure::failed("the server does not answer"));
        }
        // All that there is, before more is sent.
        while let Some(completion) = next {
            let now = ticks.now();
            let reply = completion.result.map_err(failed)?;
            let Some((sent, number)) = split(reply.payload()) else {
                return Err(Failure::failed("a reply is not what was asked"));
            };
            if number >= calls || sent < start {
                return Err(Failure::failed(format!("reply {number} of {calls} calls")));
            }
            ended += 1;
            if sent >= warm {
                latency.record(ticks.to_ns(now.saturating_sub(sent)));
            }
            next = caller.poll();
        }
    }
    let elapsed_ns = ticks.to_ns(ticks.now() - start);
    station.report(&CallerReport { calls, elapsed_ns, latency: latency.buckets() })?;
    Ok(())
}

fn send(caller: &mut Caller, now: u64, number: u64) -> Result<(), Failure> {
    let mut body = [0; BODY_BYTES];
    let (first, second) = body.split_at_mut(8);
    first.copy_from_slice(&now.to_le_bytes());
    second.copy_from_slice(&number.to_le_bytes());
    caller.send(1, &body, Some(PATIENCE)).map(drop).map_err(failed)
}

fn split(body: &[u8]) -> Option<(u64, u64)> {
    let (first, second) = body.split_at_checked(8)?;
    Some((u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(second.try_into().ok()?)))
}

#[allow(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn failed(error: CallError) -> Failure {
    Failure::failed(error.to_string())
}

/// The serving process: until it is told that the caller has all its replies.
pub fn serve(station: &mut Station, task: &RequestTask) -> Result<(), Failure> {
    let service = Service::open(&task.service)?;
    let mut server = service.server().name("server").wait(task.wait).attach()?;
    station.report(&())?;
    let mut requests = 0;
    let mut met = false;
    loop {
        while let Some(request) = server.recv_timeout(Duration::from_millis(100))? {
            let body = request.payload();
            let mut copy = [0; BODY_BYTES];
            if let Some(body) = body.get(..BODY_BYTES) {
                copy.copy_from_slice(body);
            }
            request.reply(2, &copy)?;
            requests += 1;
            met = true;
        }
        // Silence after the calls: the order to report is there, or comes.
        if met {
            break;
        }
    }
    station.next_order::<()>()?;
    station.report(&ServerReport { requests })?;
    Ok(())
}
