//! `sub` and `tap`: frames to stdout, by a gating consumer or by an observer.

use super::owned::OwnerArg;
use super::render::{Format, Renderer};
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

/// Arguments of `sub` and `tap`.
#[derive(Debug, Args)]
pub struct SubscribeArgs {
    /// The bus
    name: String,
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
    run(args, context, |bus, start| Source::consumer(bus, "sub", start))
}

/// Runs `tap`: takes no seat, costs the producers nothing, reports gaps.
pub fn run_observer(args: &SubscribeArgs, context: &Context) -> Result<ExitCode, Failure> {
    run(args, context, Source::observer)
}

fn run(
    args: &SubscribeArgs,
    context: &Context,
    attach: impl FnOnce(&Bus, Start) -> Result<Source, Failure>,
) -> Result<ExitCode, Failure> {
    let format = format(args.output, context.out.json())?;
    let start = match args.from {
        From::Oldest => Start::Oldest,
        From::Latest => Start::Latest,
    };
    let stop = Stop::on_signals()?;
    let bus = args.owner.open(context, &args.name)?;
    let mut source = attach(&bus, start)?;
    let mut printer =
        Printer { renderer: Renderer::new(&bus, format), text: String::new(), out: &context.out };
    context.out.bytes(printer.renderer.heading().as_bytes())?;
    let limits = Limits { count: args.count, timeout: args.timeout, strict: args.strict };
    match (source.pump(&mut printer, limits, &stop, &context.out)?, args.count) {
        (End::Removed, Some(count)) => Err(Failure::new(
            Exit::NotFound,
            format!("bus {:?} was removed before {count} frames had come", args.name),
        )),
        (End::Removed, None) => {
            context.out.note(format_args!("bus {:?} was removed", args.name));
            Ok(Exit::Ok.code())
        }
        (End::Enough | End::Count | End::Stopped, _) => Ok(Exit::Ok.code()),
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
