//! `hz` and `bw`: how fast frames and bytes come, over a sliding window of frames, as robotics
//! people know them from `rostopic hz` and `rostopic bw`.
//!
//! Both observe: they cost the producers nothing. An observer may be lapped on a fast bus; what was
//! lost is counted in the rate, and not in the distribution. Times are the frames' own where the
//! bus keeps timestamps (frames of one batch then share one), else those of their arrival.

#![allow(clippy::cast_precision_loss, reason = "rates are rounded for people anyway")]

mod window;

use super::owned::OwnerArg;
use super::source::{End, Flow, Limits, Sink, Source};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{format_byte_rate, format_count, format_ns, format_rate};
use crate::units::{parse_count_from_one, parse_duration, parse_interval};
use busway::{Bus, FrameRef, Start};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use window::{ByteRate, FrameRate, Mark, Window};

/// The widest window: as many frames as fit 32 MiB here.
const WINDOW_FRAMES_MAX: u64 = 1 << 20;

/// Arguments of `hz` and `bw`.
#[derive(Debug, Args)]
pub struct RateArgs {
    /// The bus
    name: String,
    #[command(flatten)]
    owner: OwnerArg,
    /// Frames that the figures are taken over, at most
    #[arg(short, long, value_name = "FRAMES", default_value = "10000", value_parser = parse_window)]
    window: usize,
    /// Time between two reports
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = parse_interval)]
    every: Duration,
    /// End after so many reports [default: at Ctrl-C, or when the bus is removed]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count_from_one)]
    count: Option<u64>,
    /// End with exit code 6 when no frame comes for so long (500ms, 2s, 1m)
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Frames,
    Bytes,
}

/// A line of either when no frame came since the last one.
#[derive(Serialize)]
struct Nothing<'a> {
    bus: &'a str,
    window_frames: usize,
    total_frames: u64,
}

/// Runs `hz`.
pub fn run_hz(args: &RateArgs, context: &Context) -> Result<ExitCode, Failure> {
    run(args, Measure::Frames, context)
}

/// Runs `bw`.
pub fn run_bw(args: &RateArgs, context: &Context) -> Result<ExitCode, Failure> {
    run(args, Measure::Bytes, context)
}

fn run(args: &RateArgs, measure: Measure, context: &Context) -> Result<ExitCode, Failure> {
    let stop = Stop::on_signals()?;
    let bus = args.owner.open(context, &args.name)?;
    let mut source = Source::observer(&bus, Start::Latest)?;
    let mut reporter = Reporter {
        bus: &bus,
        measure,
        window: Window::new(args.window),
        every: args.every,
        next: Instant::now() + args.every,
        reports_left: args.count,
        reported_frames: 0,
        out: &context.out,
    };
    let limits = Limits { timeout: args.timeout, ..Limits::default() };
    if source.pump(&mut reporter, limits, &stop, &context.out)? == End::Removed {
        context.out.note(format_args!("bus {:?} was removed", args.name));
    }
    Ok(Exit::Ok.code())
}

fn parse_window(text: &str) -> Result<usize, String> {
    let frames = crate::units::parse_count(text)?;
    let fits = (2..=WINDOW_FRAMES_MAX).contains(&frames);
    let frames = usize::try_from(frames).ok().filter(|_| fits);
    frames.ok_or_else(|| format!("{text} is out of range; allowed: 2 to {WINDOW_FRAMES_MAX}"))
}

/// Gathers frames and reports now and then.
struct Reporter<'a> {
    bus: &'a Bus,
    measure: Measure,
    window: Window,
    every: Duration,
    next: Instant,
    reports_left: Option<u64>,
    reported_frames: u64,
    out: &'a Out,
}

impl Sink for Reporter<'_> {
    fn frame(&mut self, frame: &FrameRef<'_>) -> Result<(), Failure> {
        let time_ns = match frame.time_ns() {
            0 => self.bus.now_ns(),
            stamped => stamped,
        };
        self.window.push(Mark { time_ns, len: frame.payload().len(), lost_before: 0 });
        Ok(())
    }

    fn lost(&mut self, frames: u64, _before: Option<(u32, u64)>) -> Result<(), Failure> {
        self.window.lost(frames);
        Ok(())
    }

    fn pause(&mut self) -> Result<Flow, Failure> {
        let now = Instant::now();
        if now < self.next {
            return Ok(Flow::More);
        }
        // On the schedule, unless it was missed altogether (a suspended laptop).
        self.next = (self.next + self.every).max(now);
        self.report()?;
        self.out.flush()?;
        if let Some(left) = &mut self.reports_left {
            *left -= 1;
            if *left == 0 {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }
}

impl Reporter<'_> {
    fn report(&mut self) -> Result<(), Failure> {
        let total_frames = self.window.total();
        let is_new = total_frames > self.reported_frames;
        self.reported_frames = total_frames;
        match self.measure {
            Measure::Frames => match self.window.frame_rate(self.bus.name()).filter(|_| is_new) {
                Some(rate) => self.report_frames(&rate),
                None => self.report_nothing("busway.hz/1"),
            },
            Measure::Bytes => match self.window.byte_rate(self.bus.name()).filter(|_| is_new) {
                Some(rate) => self.report_bytes(&rate),
                None => self.report_nothing("busway.bw/1"),
            },
        }
    }

    fn report_frames(&self, rate: &FrameRate) -> Result<(), Failure> {
        if self.out.json() {
            return self.out.record("busway.hz/1", rate);
        }
        self.out.line(format_args!(
            "average rate: {} /s  min: {}  max: {}  std dev: {}  window: {}{}",
            format_rate(rate.rate_hz),
            format_ns(rate.interval_min_ns),
            format_ns(rate.interval_max_ns),
            format_ns(rate.interval_std_dev_ns),
            rate.window_frames,
            lost_words(rate.window_lost_frames),
        ))
    }

    fn report_bytes(&self, rate: &ByteRate) -> Result<(), Failure> {
        if self.out.json() {
            return self.out.record("busway.bw/1", rate);
        }
        self.out.line(format_args!(
            "average: {}  mean: {:.1} B  min: {} B  max: {} B  window: {}{}",
            format_byte_rate(rate.bytes_per_s),
            rate.frame_mean_bytes,
            rate.frame_min_bytes,
            rate.frame_max_bytes,
            rate.window_frames,
            lost_words(rate.window_lost_frames),
        ))
    }

    fn report_nothing(&self, schema: &str) -> Result<(), Failure> {
        if self.out.json() {
            let (bus, total_frames) = (self.bus.name(), self.window.total());
            return self.out.record(schema, &Nothing { bus, window_frames: 0, total_frames });
        }
        self.out.line("no new frames")
    }
}

fn lost_words(frames: u64) -> String {
    if frames == 0 { String::new() } else { format!("  lost: {}", format_count(frames)) }
}
