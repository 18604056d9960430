//! `sub` and `tap`: frames to stdout, by a gating consumer or by an observer.

use super::owned::OwnerArg;
use super::render::{Format, Renderer};
use super::source::several::{self, Reading};
use super::source::{End, Flow, Limits, Sink, Source};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use crate::units::{parse_count_from_one, parse_duration};
use busway::{Bus, FrameRef, Start};
use clap::{Args, ValueEnum};
use std::process::ExitCode;
use std::time::Duration;

/// Arguments of `sub`.
#[derive(Debug, Args)]
pub struct SubscribeArgs {
    /// The buses; lines of several begin with the bus's name
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    how: ReadArgs,
}

/// Arguments of `tap`.
#[derive(Debug, Args)]
pub struct TapArgs {
    /// The bus
    name: String,
    #[command(flatten)]
    how: ReadArgs,
}

/// What `sub` and `tap` have in common.
#[derive(Debug, Args)]
struct ReadArgs {
    #[command(flatten)]
    owner: OwnerArg,
    /// End after so many frames [default: at Ctrl-C, or when the bus is removed]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_count_from_one)]
    count: Option<u64>,
    /// Where to start: what the rings still hold, or what comes next
    #[arg(long, value_name = "WHERE", default_value = "latest")]
    from: From,
    /// End with exit code 6 when no frame comes for so long (500ms, 2s, 1m)
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// How frames are written [default: text; jsonl with --json]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    /// End with exit code 9 as soon as a frame is lost
    #[arg(long)]
    strict: bool,
}

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// At the oldest frame that each ring still holds
    Oldest,
    /// After everything that is published already
    Latest,
}

/// Runs `sub`: takes a consumer's seat, and holds producers up when it is slow.
pub fn run_consumer(args: &SubscribeArgs, context: &Context) -> Result<ExitCode, Failure> {
    match args.names.as_slice() {
        [name] => run(name, &args.how, context, |bus, start| Source::consumer(bus, "sub", start)),
        names => run_several(names, &args.how, context),
    }
}

/// Runs `tap`: takes no seat, costs the producers nothing, reports gaps.
pub fn run_observer(args: &TapArgs, context: &Context) -> Result<ExitCode, Failure> {
    run(&args.name, &args.how, context, Source::observer)
}

fn run(
    name: &str,
    how: &ReadArgs,
    context: &Context,
    attach: impl FnOnce(&Bus, Start) -> Result<Source, Failure>,
) -> Result<ExitCode, Failure> {
    let format = format(how.output, context.out.json())?;
    let stop = Stop::on_signals()?;
    let bus = how.owner.open(context, name)?;
    let mut source = attach(&bus, how.start())?;
    let mut printer =
        Printer { renderer: Renderer::new(&bus, format), text: String::new(), out: &context.out };
    context.out.bytes(printer.renderer.heading().as_bytes())?;
    let end = source.pump(&mut printer, how.limits(), &stop, &context.out)?;
    finish(end, &format!("bus {name:?} was"), how, context)
}

/// The same for several buses, in one stream.
fn run_several(names: &[String], how: &ReadArgs, context: &Context) -> Result<ExitCode, Failure> {
    let format = format(how.output, context.out.json())?;
    if format == Format::Csv {
        let message = "CSV has one heading, so it is for one bus";
        return Err(Failure::usage(message).hint("-o jsonl says the bus in each line"));
    }
    let stop = Stop::on_signals()?;
    let mut readings = Vec::with_capacity(names.len());
    for name in names {
        let bus = how.owner.open(context, name)?;
        let renderer = Renderer::new(&bus, format).naming_the_bus();
        let printer = Printer { renderer, text: String::new(), out: &context.out };
        readings.push(Reading::new(Source::consumer(&bus, "sub", how.start())?, printer));
    }
    let end = several::pump(&mut readings, how.limits(), &stop, &context.out)?;
    finish(end, "all of the buses were", how, context)
}

/// What the end of a stream comes to.
fn finish(end: End, subject: &str, how: &ReadArgs, context: &Context) -> Result<ExitCode, Failure> {
    match (end, how.count) {
        (End::Removed, Some(count)) => {
            let message = format!("{subject} removed before {count} frames had come");
            Err(Failure::new(Exit::NotFound, message))
        }
        (End::Removed, None) => {
            context.out.note(format_args!("{subject} removed"));
            Ok(Exit::Ok.code())
        }
        (End::Enough | End::Count | End::Stopped, _) => Ok(Exit::Ok.code()),
    }
}

impl ReadArgs {
    fn start(&self) -> Start {
        match self.from {
            From::Oldest => Start::Oldest,
            From::Latest => Start::Latest,
        }
    }

    fn limits(&self) -> Limits {
        Limits { count: self.count, timeout: self.timeout, strict: self.strict }
    }
}

/// `--json` is another word for `-o jsonl`.
fn format(asked: Option<Format>, json: bool) -> Result<Format, Failure> {
    match (asked, json) {
        (Some(format), true) if format != Format::Jsonl => {
            Err(Failure::usage("--json is -o jsonl; another -o cannot go with it"))
        }
        (Some(format), _) => Ok(format),
        (None, true) => Ok(Format::Jsonl),
        (None, false) => Ok(Format::Text),
    }
}

/// Writes frames to stdout and gaps to stderr.
struct Printer<'a> {
    renderer: Renderer,
    text: String,
    out: &'a Out,
}

impl Sink for Printer<'_> {
    fn frame(&mut self, frame: &FrameRef<'_>) -> Result<(), Failure> {
        self.text.clear();
        self.renderer.frame(frame, &mut self.text);
        self.out.bytes(self.text.as_bytes())
    }

    fn lost(&mut self, frames: u64, before: Option<(u32, u64)>) -> Result<(), Failure> {
        let place = before.map_or_else(String::new, |(lane, position)| {
            format!(" before lane {lane} #{position}")
        });
        // So that the two keep their order on a terminal.
        self.out.flush()?;
        self.out.warn(format_args!("gap: {frames} frames lost{place}"));
        Ok(())
    }

    fn pause(&mut self) -> Result<Flow, Failure> {
        self.out.flush()?;
        Ok(Flow::More)
    }
}
