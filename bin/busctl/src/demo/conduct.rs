//! The demo's own process: it starts the others, polls the bus until the time is over, and leaves
//! nothing behind, however it ends.
//!
//! In order: janitor, directory, daemon, bus, consumer, samplers. At the end the samplers are told
//! first; they wait until all they published has been read, and this process polls until the bus
//! says that everybody has detached. Only then are the counts compared.

use super::aggregate::Aggregate;
use super::host;
use super::sample::{Sample, Source};
use super::sampler::{Published, Ready, SamplerPlan};
use super::screen::{self, Screen, Title};
use super::source::Sampler;
use super::summary::{Summary, end_text};
use crate::bench::{Crew, Identity, Janitor, Litter, monotonic_ns};
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::private_dir;
use crate::signal::Stop;
use busd::api::CreateBus;
use busway::{Bus, Consumer, Frame, PollError};
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two drawings on a terminal.
pub const REDRAW: Duration = Duration::from_millis(200);

/// Between two lines elsewhere.
pub const LINE: Duration = Duration::from_secs(1);

/// How long the last frames may take to come, once the samplers have been told to end.
pub const FINISH: Duration = Duration::from_secs(15);

/// Frames that are taken from a lane at a time.
const POLL_FRAMES: usize = 256;

/// The longest wait for a frame, so that signals and dead samplers are seen soon.
const WAIT: Duration = Duration::from_millis(50);

/// Frames that a lane holds: a second's worth and more, for when this process is stopped for a
/// while.
const CAPACITY_FRAMES: u64 = 16_384;

/// Everything that runs. Fields drop in this order: workers end before what they use goes.
struct Stage {
    consumer: Consumer<Sample>,
    crew: Crew,
    /// Index in the crew, and why there is nothing to read if there is not.
    samplers: Vec<(Sampler, usize, Ready)>,
    bus: Bus,
    litter: [Litter; 2],
    janitor: Janitor,
    stop: Stop,
}

/// Runs the demo for `duration`.
pub fn run(duration: Duration, out: &Out) -> Result<ExitCode, Failure> {
    let mut stage = Stage::set()?;
    let mut aggregate = Aggregate::new();
    let begin = Instant::now();
    stage.play(duration, out, &mut aggregate)?;
    let elapsed = begin.elapsed();
    let interrupted = stage.stop.requested();
    let (published, lost) = stage.finish(&mut aggregate)?;
    let pids = stage.pids();
    let name = stage.bus.name().to_owned();
    stage.strike()?;
    let summary = Summary::new(name, elapsed, interrupted, pids, &published, lost, &aggregate);
    if out.json() {
        out.document("busway.demo/1", &summary)?;
    } else {
        end_text(out, &summary)?;
    }
    summary.verdict()?;
    Ok(Exit::Ok.code())
}

impl Stage {
    /// Starts everything up to the point where the samplers wait for their order.
    fn set() -> Result<Self, Failure> {
        let stop = Stop::on_signals()?;
        let mut janitor = Janitor::hire()?;
        let directory = private_dir::path("demo");
        let name = format!("demo-{}", std::process::id());
        let litter = [Litter::Bus(name.clone()), Litter::Directory(directory.clone())];
        for thing in &litter {
            janitor.expect(thing.clone())?;
        }
        private_dir::make(&directory)?;
        let mut crew = Crew::new(&stop);
        let (_, client) = host::start(&mut crew, &directory)?;
        client.create_bus(&wish(&name)?).map_err(|error| {
            Failure::failed(format!("the demo's daemon did not make the bus: {error}"))
        })?;
        let bus = Bus::open(&name)?;
        let consumer = bus.consumer().name("aggregator").attach_typed::<Sample>()?;
        let mut members = Vec::new();
        for sampler in Sampler::ALL {
            members.push(hire(&mut crew, sampler, &name)?);
        }
        let ready: Vec<Ready> = crew.gather(&members, || Ok(()))?;
        let samplers = Sampler::ALL.into_iter().zip(members).zip(ready);
        let samplers = samplers.map(|((sampler, member), ready)| (sampler, member, ready));
        let samplers = samplers.collect();
        Ok(Self { consumer, crew, samplers, bus, litter, janitor, stop })
    }

    /// Lets the samplers publish, and polls and shows until the time is over or the user says so.
    fn play(
        &mut self,
        duration: Duration,
        out: &Out,
        aggregate: &mut Aggregate,
    ) -> Result<(), Failure> {
        for (_, _, ready) in &self.samplers {
            if let Some(why) = &ready.unavailable {
                out.warn(format_args!("this machine does not show everything: {why}"));
            }
        }
        let live = is_live(out);
        if !out.json() && !live {
            introduce(out, &self.bus)?;
        }
        for (_, member, _) in &self.samplers {
            self.crew.order(*member, &())?;
        }
        let mut screen = Screen::default();
        aggregate.tick(monotonic_ns());
        let begin = Instant::now();
        let every = if live { REDRAW } else { LINE };
        let mut next = every;
        loop {
            let elapsed = begin.elapsed();
            if elapsed >= duration || self.stop.requested() {
                break;
            }
            let left = duration.min(next).saturating_sub(elapsed);
            self.poll(aggregate, WAIT.min(left))?;
            if begin.elapsed() < next {
                continue;
            }
            next += every;
            self.crew.look()?;
            aggregate.tick(monotonic_ns());
            if live {
                screen.draw(out, &self.title(begin.elapsed(), duration), aggregate)?;
            } else if !out.json() {
                out.line(screen::one_line(begin.elapsed(), aggregate))?;
                out.flush()?;
            }
        }
        aggregate.tick(monotonic_ns());
        if live {
            screen.draw(out, &self.title(begin.elapsed(), duration), aggregate)?;
        }
        Ok(())
    }

    /// Takes in a run of frames, or waits for one. Returns whether everybody has detached.
    fn poll(&mut self, aggregate: &mut Aggregate, wait: Duration) -> Result<bool, Failure> {
        let polled = self.consumer.poll_batch(POLL_FRAMES, |frames| {
            for frame in frames {
                take(aggregate, &frame);
            }
        });
        match polled {
            Ok(0) => {}
            Ok(_) => return Ok(false),
            Err(PollError::Closed) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        match self.consumer.recv_timeout(wait) {
            Ok(Some(frame)) => take(aggregate, &frame),
            Ok(None) => {}
            Err(PollError::Closed) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Ends the samplers and polls what is left. Returns what each published, and what was lost.
    fn finish(&mut self, aggregate: &mut Aggregate) -> Result<(Vec<Published>, u64), Failure> {
        self.crew.ignore_stop();
        let members: Vec<usize> = self.samplers.iter().map(|(_, member, _)| *member).collect();
        for &member in &members {
            self.crew.end_orders(member);
        }
        let deadline = Instant::now() + FINISH;
        // Closed may also be said before the last sampler has attached anew; only its report
        // counts.
        while !members.iter().all(|&member| self.crew.has_report(member)) {
            if Instant::now() > deadline {
                return Err(Failure::failed("the samplers did not end in time"));
            }
            if self.poll(aggregate, WAIT)? {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.crew.look()?;
        }
        while !self.poll(aggregate, Duration::ZERO)? && self.consumer.lag() > 0 {}
        let published = self.crew.gather(&members, || Ok(()))?;
        Ok((published, self.consumer.lost()))
    }

    /// Ends the daemon and removes bus and directory.
    fn strike(self) -> Result<(), Failure> {
        let Self { consumer, crew, bus, litter, mut janitor, .. } = self;
        consumer.detach();
        crew.dismiss()?;
        drop(bus);
        for thing in &litter {
            janitor.clear(thing)?;
        }
        Ok(())
    }

    fn pids(&self) -> [Option<u32>; Sampler::ALL.len()] {
        let mut pids = [None; Sampler::ALL.len()];
        for (slot, (_, member, ready)) in pids.iter_mut().zip(&self.samplers) {
            *slot = ready.unavailable.is_none().then(|| self.crew.pid(*member));
        }
        pids
    }

    fn title(&self, elapsed: Duration, duration: Duration) -> Title {
        let (bus, lost) = (self.bus.name().to_owned(), self.consumer.lost());
        Title { bus, elapsed: elapsed.min(duration), duration, pids: self.pids(), lost }
    }
}

/// Whether stdout is a terminal on which something can be drawn anew.
pub fn is_live(out: &Out) -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !out.json() && !dumb && std::io::stdout().is_terminal()
}

/// What the daemon is asked for: a lane for each sampler, and the frame's schema for every tool.
fn wish(name: &str) -> Result<CreateBus, Failure> {
    let schema = Sample::schema().to_json().map_err(busway::Error::from)?;
    let schema = serde_json::from_str(&schema).map_err(std::io::Error::from)?;
    Ok(CreateBus {
        lanes_max: u32::try_from(Sampler::ALL.len()).ok(),
        consumers_max: Some(4),
        capacity_frames: Some(CAPACITY_FRAMES),
        schema: Some(schema),
        ..CreateBus::new(name)
    })
}

/// Starts a sampler of this bus.
pub fn hire(crew: &mut Crew, sampler: Sampler, bus: &str) -> Result<usize, Failure> {
    let name = format!("sampler {}", sampler.name());
    let parent_pid = std::process::id();
    let identity = Identity { name: name.clone(), parent_pid, cpu: None };
    let plan = SamplerPlan { identity, bus: bus.to_owned(), sampler };
    let plan = serde_json::to_string(&plan).map_err(std::io::Error::from)?;
    crew.hire(&name, &["demo", "sampler", &plan])
}

fn take(aggregate: &mut Aggregate, frame: &busway::FrameRef<'_>) {
    match frame.value::<Sample>() {
        Ok(sample) => aggregate.take(sample, frame.time_ns(), monotonic_ns()),
        Err(_) => aggregate.strange += 1,
    }
}

/// What a reader of a pipe sees first.
fn introduce(out: &Out, bus: &Bus) -> Result<(), Failure> {
    out.line(format_args!(
        "{}: 5 sampler processes → bus {} → this process",
        out.paint(Paint::Bold, "busway demo"),
        bus.name()
    ))?;
    let names: Vec<_> = Source::ALL.iter().map(|source| source.name()).collect();
    out.line(format_args!("sources: {}; age: since /proc was read", names.join(", ")))?;
    out.flush()
}
