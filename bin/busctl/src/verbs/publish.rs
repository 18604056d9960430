//! `pub`: frames from the command line or stdin onto a bus, at a rate or as fast as it goes.
//!
//! A paced run has a schedule: frame i is due at start + i / rate. A frame that comes late does not
//! move those after it, so the rate holds on average however rough the clock.

use super::input::{Input, StdinFormat};
use super::later::LaterArgs;
use super::owned::OwnerArg;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::signal::Stop;
use crate::units::{Rate, format_bytes, format_frames, format_ns, parse_count_from_one};
use crate::units::{in_range, parse_duration, parse_rate};
use busway::{Bus, Producer, PublishError, Wait};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The longest wait before Ctrl-C and the timeout are looked at again.
const SLICE: Duration = Duration::from_millis(50);

/// How often `--wait-consumers` looks.
const LOOK: Duration = Duration::from_millis(5);

/// Arguments of `pub`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The bus
    name: String,
    #[command(flatten)]
    owner: OwnerArg,
    /// Publish so many frames [default: 1; without end with --rate, to its end with --stdin]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count_from_one)]
    count: Option<u64>,
    /// Frames a second (100, 0.5, 10k), or max
    #[arg(short, long, value_name = "HZ", value_parser = parse_rate)]
    rate: Option<Rate>,
    /// Publish so many frames at once: all become visible together
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_count_from_one)]
    batch: u64,
    /// Read the frames from stdin
    #[arg(long, value_name = "FORMAT")]
    stdin: Option<StdinFormat>,
    /// Set a field of the payload, which is zero otherwise
    #[arg(long, value_name = "FIELD=VALUE", conflicts_with = "stdin")]
    set: Vec<String>,
    /// Event kind, 0 to 65535 [default: the schema's, or 0]
    #[arg(long, value_name = "K", value_parser = in_range::<u16>(0, u16::MAX.into()))]
    kind: Option<u16>,
    /// Wait until so many consumers are attached
    #[arg(long, value_name = "K", default_value_t = 0)]
    wait_consumers: usize,
    /// End with exit code 6 when a wait for consumers or for room takes so long (500ms, 2s, 1m)
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    later: LaterArgs,
}

/// The document of `pub --json`.
#[derive(Debug, Default, Serialize)]
struct Summary {
    bus: String,
    lane: u32,
    published_frames: u64,
    published_bytes: u64,
    rejected_frames: u64,
    first_position: Option<u64>,
    next_position: u64,
    blocked_ns: u64,
    elapsed_ns: u64,
}

/// Publishes.
pub fn run(args: &PublishArgs, context: &Context) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let bus = args.owner.open(context, &args.name)?;
    let template = || Input::template(&bus, args.kind, &args.set);
    if let Some(done) = args.later.hand_over(&args.name, context, template)? {
        return Ok(done);
    }
    let batch_max = bus.info().batch_frames_max;
    if args.batch > batch_max {
        let batch = args.batch;
        return Err(Failure::usage(format!(
            "--batch {batch} is out of range; this bus takes 1 to {batch_max} frames at once"
        )));
    }
    let mut input = match args.stdin {
        Some(format) => Input::stdin(&bus, args.kind, format, &stop),
        None => template()?,
    };
    // On a bus that blocks, each try waits for a slice, so that Ctrl-C is heard between two.
    let slice = args.timeout.map_or(SLICE, |timeout| timeout.min(SLICE));
    let options = bus.producer().name("pub").wait(Wait::Parking).timeout(Some(slice));
    let mut producer = options.attach()?;
    wait_for_consumers(&bus, args, &stop)?;
    let start = Instant::now();
    let mut summary =
        Summary { bus: args.name.clone(), lane: producer.lane(), ..Summary::default() };
    let result = publish_all(&bus, args, &mut input, &mut producer, &stop, &mut summary);
    summary.next_position = producer.position();
    summary.blocked_ns = producer.blocked_ns();
    summary.elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    producer.detach();
    if context.out.json() {
        context.out.document("busway.pub/1", &summary)?;
    } else if result.is_ok() || summary.published_frames > 0 {
        context.out.note(describe(&summary));
    }
    result?;
    if summary.rejected_frames > 0 {
        return Err(Failure::failed(format!(
            "{} frames were refused because the lane was full",
            summary.rejected_frames
        ))
        .hint("a bus made with --on-full block waits instead; --rate slows down"));
    }
    Ok(Exit::Ok.code())
}

fn publish_all(
    bus: &Bus,
    args: &PublishArgs,
    input: &mut Input,
    producer: &mut Producer,
    stop: &Stop,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let endless = args.rate.is_some() || args.stdin.is_some();
    let mut left = args.count.unwrap_or(if endless { u64::MAX } else { 1 });
    let mut next_look = Instant::now();
    let mut pace = Pace::new(args.rate.unwrap_or(Rate::Max));
    let mut frames = Frames::default();
    while left > 0 && !stop.requested() {
        let wanted = args.batch.min(left);
        frames.fill(input, wanted)?;
        let count = frames.len();
        if count == 0 || !pace.wait(count, stop) {
            break;
        }
        // A lane that has room takes frames even when nobody will ever read them.
        if Instant::now() >= next_look {
            next_look = Instant::now() + SLICE;
            if bus.is_removed() {
                return Err(PublishError::Removed.into());
            }
        }
        match publish(producer, &frames, args.timeout, stop) {
            Ok(Some(position)) => {
                summary.first_position.get_or_insert(position);
                summary.published_frames += count;
                summary.published_bytes += frames.payload_bytes();
            }
            Ok(None) => break,
            Err(PublishError::Full) => summary.rejected_frames += count,
            Err(error) => return Err(explain(error, input)),
        }
        left -= count;
    }
    Ok(())
}

/// Publishes one frame or one batch, looking up from the wait for room now and then. Returns the
/// first position; `None` when it was asked to stop meanwhile.
fn publish(
    producer: &mut Producer,
    frames: &Frames,
    timeout: Option<Duration>,
    stop: &Stop,
) -> Result<Option<u64>, PublishError> {
    let start = Instant::now();
    loop {
        match frames.publish(producer) {
            Err(PublishError::TimedOut) => {}
            result => return result.map(Some),
        }
        if stop.requested() {
            return Ok(None);
        }
        if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
            return Err(PublishError::TimedOut);
        }
    }
}

fn explain(error: PublishError, input: &Input) -> Failure {
    let failure = Failure::from(error);
    match error {
        PublishError::TimedOut => failure.hint("`busctl stat` shows which consumer holds it up"),
        PublishError::Evicted => {
            failure.hint("somebody used `busctl kick`; start it again to go on")
        }
        _ => match input.place() {
            Some(place) => failure.context(format_args!("stdin, {place}")),
            None => failure,
        },
    }
}

fn wait_for_consumers(bus: &Bus, args: &PublishArgs, stop: &Stop) -> Result<(), Failure> {
    let max = bus.info().consumers as usize;
    if args.wait_consumers > max {
        let wanted = args.wait_consumers;
        return Err(Failure::usage(format!(
            "--wait-consumers {wanted} is out of range; this bus takes at most {max} consumers"
        )));
    }
    let start = Instant::now();
    loop {
        let attached = bus.stat().consumers.iter().filter(|one| one.participant.alive).count();
        if attached >= args.wait_consumers || stop.requested() {
            return Ok(());
        }
        if args.timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
            let wanted = args.wait_consumers;
            let message = format!("{attached} of {wanted} consumers attached in time");
            return Err(Failure::new(Exit::Timeout, message));
        }
        std::thread::sleep(LOOK);
    }
}

fn describe(summary: &Summary) -> String {
    format!(
        "published {} ({}) on lane {} in {}",
        format_frames(summary.published_frames),
        format_bytes(summary.published_bytes),
        summary.lane,
        format_ns(summary.elapsed_ns),
    )
}

/// The frames that are published together. Buffers are kept from one batch to the next.
#[derive(Default)]
struct Frames {
    payloads: Vec<Vec<u8>>,
    kinds: Vec<u16>,
}

impl Frames {
    fn fill(&mut self, input: &mut Input, wanted: u64) -> Result<(), Failure> {
        self.kinds.clear();
        for index in 0..usize::try_from(wanted).unwrap_or(usize::MAX) {
            if self.payloads.len() == index {
                self.payloads.push(Vec::new());
            }
            match input.next(&mut self.payloads[index])? {
                Some(kind) => self.kinds.push(kind),
                None => break,
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.kinds.len() as u64
    }

    fn iter(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.kinds.iter().copied().zip(self.payloads.iter().map(Vec::as_slice))
    }

    fn payload_bytes(&self) -> u64 {
        self.iter().map(|(_, payload)| payload.len() as u64).sum()
    }

    fn publish(&self, producer: &mut Producer) -> Result<u64, PublishError> {
        if let (1, Some((kind, payload))) = (self.kinds.len(), self.iter().next()) {
            return producer.publish_bytes(kind, payload);
        }
        let count = u32::try_from(self.kinds.len()).unwrap_or(u32::MAX);
        let mut batch = producer.claim_batch(count)?;
        for (index, (kind, payload)) in self.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let Some(mut slot) = batch.frame(index) else {
                break;
            };
            write(&mut slot, kind, payload)?;
        }
        batch.commit()
    }
}

fn write(slot: &mut busway::Slot<'_>, kind: u16, payload: &[u8]) -> Result<(), PublishError> {
    // Checks that it fits, or on bare frames that it is whole.
    slot.set_len(payload.len())?;
    for (room, byte) in slot.payload_mut().iter_mut().zip(payload) {
        *room = *byte;
    }
    slot.set_kind(kind);
    Ok(())
}

/// The schedule of a paced run.
struct Pace {
    rate: Rate,
    start: Instant,
    scheduled: u64,
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self { rate, start: Instant::now(), scheduled: 0 }
    }

    /// Waits until the next frame is due, and takes so many off the schedule. `false` when it was
    /// asked to stop meanwhile.
    fn wait(&mut self, frames: u64, stop: &Stop) -> bool {
        let Rate::Hz(hz) = self.rate else { return true };
        #[allow(clippy::cast_precision_loss, reason = "exact below 2^53 frames: 104 days at 1 GHz")]
        let seconds = self.scheduled as f64 / hz;
        // A rate near zero puts the next frame past the end of any clock.
        let due = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.scheduled += frames;
        loop {
            let left = due.saturating_sub(self.start.elapsed());
            if left.is_zero() {
                return true;
            }
            if stop.requested() {
                return false;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}
