//! `bench limit`: what two processes of this machine can exchange at best, with no bus in between.
//!
//! The same process layout as every other measurement (two workers, pinned alike, shared memory),
//! so that a figure of a bus can be put beside the machine's own. The parts of each run follow one
//! another at once, since a virtual machine's cores change their distance within minutes.

mod board;
mod ping_pong;
mod ring;

pub use board::Mapping;

use super::affinity::{self, Pins};
use super::crew::Crew;
use super::latency::{self, Latency, Percentiles, Spread};
use super::plan::{self, Task};
use super::worker::Station;
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::signal::Stop;
use crate::table::{Side, Table};
use crate::units::{format_ns, format_rate, parse_interval};
use board::BoardFile;
use ping_pong::PingOrder;
use ring::{Read, WriteOrder, Written};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::time::Duration;

/// Pauses after each look of the backing-off reader at an empty ring; 4 to 32 measured alike.
const BACK_OFF_PAUSES: u32 = 16;

/// Frames that the batching writer makes visible at once.
const BATCH_FRAMES: u64 = 64;

/// How long the ping-pong beside other measurements takes.
const BESIDE: Duration = Duration::from_millis(20);

/// How long the bare lane beside other measurements takes.
const LANE_BESIDE: Duration = Duration::from_millis(200);

/// Arguments of `bench limit`.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Time that each measurement takes
    #[arg(long, value_name = "DURATION", default_value = "300ms", value_parser = parse_interval)]
    duration: Duration,
    #[command(flatten)]
    common: super::CommonArgs,
}

/// A part that a worker plays here; `board` is the number of the inherited descriptor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Calls and measures.
    Call,
    /// Answers.
    Answer,
    /// Writes the ring.
    Write,
    /// Reads the ring, pausing so often after each look at an empty one.
    Read(u32),
}

/// Plays a part.
pub fn work(station: &mut Station, board: i32, part: &Part) -> Result<(), Failure> {
    let board = Mapping::open(board)?;
    match part {
        Part::Call => ping_pong::call(station, &board),
        Part::Answer => ping_pong::answer(station, &board),
        Part::Write => ring::write(station, &board),
        Part::Read(pauses) => ring::read(station, &board, *pauses),
    }
}

/// How the bare lane is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Drive {
    OneByOne,
    OneByOneBackOff,
    Batches,
}

impl Drive {
    const ALL: [Self; 3] = [Self::OneByOne, Self::OneByOneBackOff, Self::Batches];

    fn batch_frames(self) -> u64 {
        if self == Self::Batches { BATCH_FRAMES } else { 1 }
    }

    fn pauses(self) -> u32 {
        if self == Self::OneByOne { 0 } else { BACK_OFF_PAUSES }
    }

    fn describe(self) -> String {
        match self {
            Self::OneByOne => String::from("one by one"),
            Self::OneByOneBackOff => format!("one by one, reader pauses {BACK_OFF_PAUSES} times"),
            Self::Batches => format!("batches of {BATCH_FRAMES}, reader pauses"),
        }
    }
}

/// The document of `bench limit --json`.
#[derive(Serialize)]
struct Document {
    processors: usize,
    pin: Vec<usize>,
    duration_ns: u64,
    ping_pong: PingPong,
    bare_lane: Vec<BareLane>,
}

#[derive(Serialize)]
struct PingPong {
    median: Percentiles,
    runs: Vec<Percentiles>,
}

#[derive(Serialize)]
struct BareLane {
    drive: Drive,
    batch_frames: u64,
    reader_pauses: u32,
    frame_bytes: u64,
    frames_per_second: Spread,
    runs_frames_per_second: Vec<u64>,
}

/// Measures and prints.
pub fn run(args: &LimitArgs, out: &Out) -> Result<ExitCode, Failure> {
    let pins = Pins::new(&args.common.pin)?;
    let stop = Stop::on_signals()?;
    let mut trips = Vec::new();
    let mut rates: [Vec<u64>; 3] = [const { Vec::new() }; 3];
    for _ in 0..args.common.runs {
        trips.push(ping_pong_for(
            &stop,
            [0, 1].map(|worker| pins.of_worker(worker)),
            args.duration,
        )?);
        for (drive, rates) in Drive::ALL.into_iter().zip(&mut rates) {
            rates.push(bare_lane(&stop, &pins, args.duration, drive)?);
        }
    }
    let median = Percentiles::median_of(&trips);
    let median = median.ok_or_else(|| Failure::failed("no round trip was measured"))?;
    let document = Document {
        processors: affinity::processors(),
        pin: pins.as_slice().to_vec(),
        duration_ns: super::nanoseconds(args.duration),
        ping_pong: PingPong { median, runs: trips },
        bare_lane: Drive::ALL
            .into_iter()
            .zip(rates)
            .map(|(drive, rates)| BareLane {
                drive,
                batch_frames: drive.batch_frames(),
                reader_pauses: drive.pauses(),
                frame_bytes: 64,
                frames_per_second: Spread::of(rates.iter().copied()),
                runs_frames_per_second: rates,
            })
            .collect(),
    };
    if out.json() {
        out.document("busway.bench.limit/1", &document)?;
    } else {
        print(out, &document, &pins)?;
    }
    Ok(Exit::Ok.code())
}

fn print(out: &Out, document: &Document, pins: &Pins) -> Result<(), Failure> {
    let runs = document.ping_pong.runs.len();
    out.line(format_args!(
        "{}: two processes and no bus, {}, median of {runs} runs of {}",
        out.paint(Paint::Bold, "this machine's limit"),
        pins.describe(),
        format_ns(document.duration_ns),
    ))?;
    out.line("")?;
    latency::print(out, "CACHE LINE, THERE AND BACK", document.ping_pong.median)?;
    out.line("")?;
    let mut table = Table::new([
        ("BARE LANE, 64-BYTE FRAMES", Side::Left),
        ("FRAMES/S", Side::Right),
        ("MIN", Side::Right),
        ("MAX", Side::Right),
    ]);
    for lane in &document.bare_lane {
        let Spread { median, min, max } = lane.frames_per_second;
        let [median, min, max] = [median, min, max].map(|rate| format_rate(super::float(rate)));
        table.row([lane.drive.describe(), median, min, max]);
    }
    table.print(out)
}

/// The ping-pong that stands beside another measurement: how near the cores are at the moment.
///
/// Between the processors of these two workers.
pub fn ping_pong_beside(
    stop: &Stop,
    pins: &Pins,
    between: [usize; 2],
) -> Result<Percentiles, Failure> {
    ping_pong_for(stop, between.map(|worker| pins.of_worker(worker)), BESIDE)
}

fn ping_pong_for(
    stop: &Stop,
    cpus: [Option<usize>; 2],
    duration: Duration,
) -> Result<Percentiles, Failure> {
    let [near, far] = cpus;
    let board = BoardFile::create()?;
    let mut crew = Crew::new(stop);
    let task = |part| Task::Limit { board: board.number(), part };
    let call = plan::hire(&mut crew, "caller", near, task(Part::Call))?;
    let answer = plan::hire(&mut crew, "answerer", far, task(Part::Answer))?;
    crew.gather::<()>(&[call, answer], || Ok(()))?;
    crew.order(call, &PingOrder { duration_ns: super::nanoseconds(duration) })?;
    let buckets = crew.gather(&[call], || Ok(()))?;
    crew.gather::<()>(&[answer], || Ok(()))?;
    crew.dismiss()?;
    let mut latency = Latency::new();
    for buckets in &buckets {
        latency.add(buckets);
    }
    latency.percentiles().ok_or_else(|| Failure::failed("no round trip was measured"))
}

/// The bare lane beside another measurement that publishes so many messages at once, in frames a
/// second. Its reader pauses, as a consumer of a bus does under a flood.
///
/// Between the processors of these two workers.
pub fn bare_lane_beside(
    stop: &Stop,
    pins: &Pins,
    between: [usize; 2],
    batch_messages: u32,
) -> Result<u64, Failure> {
    let drive = if batch_messages > 1 { Drive::Batches } else { Drive::OneByOneBackOff };
    bare_lane_for(stop, between.map(|worker| pins.of_worker(worker)), LANE_BESIDE, drive)
}

fn bare_lane(stop: &Stop, pins: &Pins, duration: Duration, drive: Drive) -> Result<u64, Failure> {
    bare_lane_for(stop, [0, 1].map(|worker| pins.of_worker(worker)), duration, drive)
}

fn bare_lane_for(
    stop: &Stop,
    cpus: [Option<usize>; 2],
    duration: Duration,
    drive: Drive,
) -> Result<u64, Failure> {
    let [writer, reader] = cpus;
    let board = BoardFile::create()?;
    let mut crew = Crew::new(stop);
    let task = |part| Task::Limit { board: board.number(), part };
    let write = plan::hire(&mut crew, "writer", writer, task(Part::Write))?;
    let reading = task(Part::Read(drive.pauses()));
    let read = plan::hire(&mut crew, "reader", reader, reading)?;
    crew.gather::<()>(&[write, read], || Ok(()))?;
    let duration_ns = super::nanoseconds(duration);
    crew.order(write, &WriteOrder { duration_ns, batch_frames: drive.batch_frames() })?;
    let written: Vec<Written> = crew.gather(&[write], || Ok(()))?;
    let seen: Vec<Read> = crew.gather(&[read], || Ok(()))?;
    crew.dismiss()?;
    let (Some(written), Some(seen)) = (written.first(), seen.first()) else {
        return Err(Failure::failed("a worker of the bare lane said nothing"));
    };
    if seen.frames != written.frames || !seen.sum_right {
        return Err(Failure::failed(format!(
            "the bare lane delivered {} of {} frames, their sum is {}",
            seen.frames,
            written.frames,
            if seen.sum_right { "right" } else { "wrong" }
        )));
    }
    Ok(super::per_second(written.counted_frames, written.elapsed_ns))
}
