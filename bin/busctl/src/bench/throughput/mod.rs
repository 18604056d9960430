//! `bench` itself: messages a second from P producers to C consumers, each a process of its own.
//!
//! A run is a new bus with new workers: they attach, warm up, and then do a known number of
//! messages as fast as they can (or at `--rate`), measured from the first publish to the last read.
//! `--duration` is turned into a number of messages by the warm-up, so that a run always ends with
//! a count that both sides know and that has to come out exactly.

mod consume;
mod produce;
mod report;
mod session;

pub use consume::{ConsumerTask, consume};
pub use produce::{ProducerTask, produce};

use super::affinity::Pins;
use super::{limit, pattern};
use crate::exit::Failure;
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{
    Rate, choice, in_range, parse_count_from_one, parse_interval, parse_rate, parse_size,
    parse_size_u32,
};
use busway::{FrameLayout, OnFull, Timestamps, Topology, Wait};
use report::{Report, RunReport};
use serde::{Deserialize, Serialize};
use session::Session;
use std::process::ExitCode;
use std::time::Duration;

/// How long a run takes unless the command line says otherwise.
const DURATION: Duration = Duration::from_secs(1);

/// The warm-up, by time and at most by messages.
const WARM_UP: Duration = Duration::from_millis(100);
const WARM_UP_MESSAGES_MAX: u64 = 1_000_000;

/// The first guess at a speed is made with this many messages a producer, or as many as fit the
/// bytes.
const PROBE_MESSAGES: u64 = 2_000;
const PROBE_BYTES: u64 = 64 * 1024 * 1024;

/// Messages of one run, so that counts and rates stay far inside 64 bits.
const MESSAGES_MAX: u64 = 1 << 40;

/// Arguments of `bench` without a verb.
#[derive(Debug, clap::Args)]
pub struct ThroughputArgs {
    /// How the lanes are used
    #[arg(
        long,
        value_name = "TOPOLOGY",
        default_value = "lanes",
        value_parser = choice::<Topology>(Topology::NAMES)
    )]
    topology: Topology,
    /// Producer processes, 1 to 256
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = in_range::<u32>(1, 256)
    )]
    producers: u32,
    /// Consumer processes, 0 to 64; each reads every message. With 0 publishing alone is measured
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = in_range::<u32>(0, 64)
    )]
    consumers: u32,
    /// Bytes of a message, 1 to 1M
    #[arg(long, value_name = "BYTES", default_value = "48", value_parser = parse_size_u32)]
    payload: u32,
    /// Messages that are claimed and become visible together
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count_from_one)]
    batch: u64,
    /// Messages that a consumer takes at most in one visit [default: 256]
    #[arg(
        long,
        value_name = "N",
        default_value = "256",
        hide_default_value = true,
        value_parser = parse_count_from_one
    )]
    poll: u64,
    /// Messages of a run, over all producers
    #[arg(long, value_name = "N", value_parser = parse_count_from_one, conflicts_with = "duration")]
    messages: Option<u64>,
    /// About how long a run takes [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    duration: Option<Duration>,
    /// What a producer does when its lane is full
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "block",
        value_parser = choice::<OnFull>(OnFull::NAMES)
    )]
    on_full: OnFull,
    /// How both ends wait
    #[arg(
        long,
        value_name = "STRATEGY",
        default_value = "adaptive",
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
        default_value = "batch",
        value_parser = choice::<Timestamps>(Timestamps::NAMES)
    )]
    timestamps: Timestamps,
    /// Frames that a lane holds: a power of two
    #[arg(long, value_name = "FRAMES", default_value = "4096", value_parser = parse_size)]
    capacity: u64,
    /// Messages a second of each producer, for latencies from the intended send time
    #[arg(long, value_name = "HZ", default_value = "max", value_parser = parse_rate)]
    rate: Rate,
    /// Measure this beside each run, and print the ratio
    #[arg(long, value_name = "WHAT", value_enum)]
    compare: Option<Yardstick>,
    #[command(flatten)]
    common: super::CommonArgs,
}

/// What a bus can be measured against.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Yardstick {
    /// The bare lane of `bench limit`: 64-byte frames, one by one or in batches of 64
    Limit,
}

/// What is measured: the arguments, checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    topology: Topology,
    producers: u32,
    consumers: u32,
    payload_bytes: u32,
    batch_messages: u32,
    poll_messages: u32,
    on_full: OnFull,
    wait: Wait,
    frames: FrameLayout,
    timestamps: Timestamps,
    capacity_frames: u64,
    /// Of each producer; `None` as fast as possible.
    rate_hz: Option<f64>,
}

/// How much a run does.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Messages(u64),
    Time(Duration),
}

/// Measures and prints.
pub fn run(args: &ThroughputArgs, out: &Out) -> Result<ExitCode, Failure> {
    let shape = Shape::new(args)?;
    let amount = match args.messages {
        Some(messages) => Amount::Messages(messages.min(MESSAGES_MAX)),
        None => Amount::Time(args.duration.unwrap_or(DURATION)),
    };
    let pins = Pins::new(&args.common.pin)?;
    let stop = Stop::on_signals()?;
    let cost = pattern::cost(shape.payload_bytes);
    // The first producer and the first consumer.
    let ends = [0, usize::try_from(shape.producers).unwrap_or(1)];
    let mut report = Report::begin(out, &shape, &pins, cost)?;
    for _ in 0..args.common.runs {
        let ping_pong = limit::ping_pong_beside(&stop, &pins, ends)?;
        let mut session = Session::open(&shape, &stop, &pins)?;
        let messages = warm_up(&mut session, &shape, amount)?;
        let phase = session.phase(messages)?;
        session.close()?;
        let limit = match args.compare {
            Some(Yardstick::Limit) => {
                Some(limit::bare_lane_beside(&stop, &pins, ends, shape.batch_messages)?)
            }
            None => None,
        };
        report.add(RunReport::new(&shape, &phase, ping_pong, limit), out)?;
    }
    report.end(out)
}

impl Shape {
    fn new(args: &ThroughputArgs) -> Result<Self, Failure> {
        if args.topology == Topology::Single && args.producers > 1 {
            return Err(Failure::usage(format!(
                "--producers {}: a single bus has one producer; allowed: 1",
                args.producers
            ))
            .hint("--topology lanes gives each producer a lane of its own"));
        }
        let within = |flag: &str, value: u64, max: u64| {
            u32::try_from(value).ok().filter(|_| value <= max).ok_or_else(|| {
                Failure::usage(format!("{flag} {value} is out of range; allowed: 1 to {max}"))
            })
        };
        let rate_hz = match args.rate {
            Rate::Max => None,
            Rate::Hz(hz) => Some(hz),
        };
        if rate_hz.is_some() && args.payload < pattern::TIMED_BYTES_MIN {
            return Err(Failure::usage(format!(
                "--payload {}: a paced message carries its send time; allowed: {} and more",
                args.payload,
                pattern::TIMED_BYTES_MIN
            )));
        }
        let shape = Self {
            topology: args.topology,
            producers: args.producers,
            consumers: args.consumers,
            payload_bytes: args.payload,
            batch_messages: within("--batch", args.batch, args.capacity)?,
            poll_messages: within("--poll", args.poll, 1 << 24)?,
            on_full: args.on_full,
            wait: args.wait,
            frames: args.frames,
            timestamps: args.timestamps,
            capacity_frames: args.capacity,
            rate_hz,
        };
        // Says now what is wrong with the rest, before anything is started.
        shape.options().size_bytes()?;
        Ok(shape)
    }

    fn options(&self) -> busway::BusOptions {
        busway::Bus::options()
            .topology(self.topology)
            .payload_bytes(self.payload_bytes)
            .capacity_frames(self.capacity_frames)
            .lanes(self.producers)
            .consumers(self.consumers.max(1))
            .on_full(self.on_full)
            .timestamps(self.timestamps)
            .frames(self.frames)
    }
}

/// Warms the session up and returns how many messages the measured phase is to have.
fn warm_up(session: &mut Session<'_>, shape: &Shape, amount: Amount) -> Result<u64, Failure> {
    let producers = u64::from(shape.producers);
    if let Some(hz) = shape.rate_hz {
        let total_hz = hz * f64::from(shape.producers);
        let of =
            |time: Duration| whole(total_hz * time.as_secs_f64()).clamp(producers, MESSAGES_MAX);
        session.phase(of(WARM_UP))?;
        return Ok(match amount {
            Amount::Messages(messages) => messages,
            Amount::Time(time) => of(time),
        });
    }
    let batch = u64::from(shape.batch_messages);
    let by_bytes = PROBE_BYTES / u64::from(shape.payload_bytes);
    let probe = PROBE_MESSAGES.min(by_bytes).max(batch) * producers;
    if let Amount::Messages(messages) = amount {
        session.phase(probe.max(messages / 10).min(WARM_UP_MESSAGES_MAX).min(messages))?;
        return Ok(messages);
    }
    let first = session.phase(probe)?;
    let warm = first.messages_in(WARM_UP).clamp(probe, WARM_UP_MESSAGES_MAX * 100);
    let second = session.phase(warm)?;
    let Amount::Time(time) = amount else {
        return Ok(warm);
    };
    Ok(second.messages_in(time).clamp(producers, MESSAGES_MAX))
}

/// The part of `total` that one of `among` gets.
fn share(total: u64, among: u32, index: u32) -> u64 {
    let among = u64::from(among);
    total / among + u64::from(u64::from(index) < total % among)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and the figure was computed from positive ones"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (total, among) in [(10, 3), (2, 4), (0, 1), (7, 7)] {
            let sum: u64 = (0..among).map(|index| share(total, among, index)).sum();
            assert_eq!(sum, total, "{total} among {among}");
        }
    }
}
