//! The conductor: it starts everybody, kills one worker in the middle, and ends the others when all
//! that was published is done.

use super::summary::{Counts, Summary, end_text};
use super::view::{View, WorkerLine};
use super::worker::{Held, WorkerPlan};
use super::{ATTEMPTS, GROUP, ROWS, TIMEOUT, view};
use crate::bench::{Crew, Identity, Janitor, Litter};
use crate::demo::conduct::{self, FINISH, LINE, REDRAW};
use crate::demo::sample::{Sample, Source};
use crate::demo::sampler::{Published, Ready};
use crate::demo::screen::Screen;
use crate::demo::source::Sampler;
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use busway::{Bus, Frame as _, Group, Table};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The worker that is killed, and the one that refuses, in the order of hiring.
const VICTIM: usize = 0;
const FUSSY: usize = 1;

/// What the second one refuses.
const REFUSES_EVERY: u64 = 100;

/// Frames that a lane holds: what has to be done yet when the samplers end is little.
const CAPACITY_FRAMES: u64 = 4096;

/// Between two looks at signals, deaths and the clock.
const LOOK: Duration = Duration::from_millis(10);

/// Everything that runs. Fields drop in this order: workers end before what they use goes.
struct Stage {
    crew: Crew,
    /// Indexes in the crew.
    samplers: Vec<usize>,
    workers: Vec<WorkerLine>,
    /// The victim has been told to hold a frame.
    asked: bool,
    bus: Bus,
    group: Group,
    table: Table,
    /// What the gates of all lanes came to at the start.
    base: u64,
    litter: [Litter; 3],
    janitor: Janitor,
    stop: Stop,
}

/// Runs the demo for `duration`.
pub fn run(duration: Duration, out: &Out) -> Result<ExitCode, Failure> {
    let mut stage = Stage::set(out)?;
    let begin = Instant::now();
    stage.play(duration, out)?;
    let elapsed = begin.elapsed();
    let interrupted = stage.stop.requested();
    let published = stage.finish()?;
    let counts = Counts::take(&stage.group, &stage.table, stage.base, &published)?;
    let workers = stage.strike()?;
    let summary = Summary { elapsed, interrupted, workers, counts };
    if out.json() {
        out.document("busway.demo-pipeline/1", &summary.document())?;
    } else {
        end_text(out, &summary)?;
    }
    summary.counts.verdict()?;
    Ok(Exit::Ok.code())
}

impl Stage {
    /// Starts everything up to the point where the samplers wait for their order.
    fn set(out: &Out) -> Result<Self, Failure> {
        let stop = Stop::on_signals()?;
        let mut janitor = Janitor::hire()?;
        let name = format!("demo-{}", std::process::id());
        let table = format!("{name}.latest");
        let letters = format!("{name}.{GROUP}.dead");
        let litter = [name.clone(), table.clone(), letters.clone()].map(Litter::Bus);
        for thing in &litter {
            janitor.expect(thing.clone())?;
        }
        let lanes = u32::try_from(Sampler::ALL.len()).unwrap_or(u32::MAX);
        let options = Bus::options().lanes(lanes).consumers(4).capacity_frames(CAPACITY_FRAMES);
        let bus = options.schema(Sample::schema()).create(&name)?;
        let group = bus.group(GROUP).max_attempts(ATTEMPTS).processing_timeout(TIMEOUT);
        let group = group.dead_letter_bus(letters).create()?;
        let base = view::gates(&group.stat()?);
        let keys = u64::from(ROWS) * Source::ALL.len() as u64;
        let table =
            Table::options().text_keys().keys(keys).schema(Sample::schema()).create(&table)?;
        let mut crew = Crew::new(&stop);
        let mut samplers = Vec::new();
        for sampler in Sampler::ALL {
            samplers.push(conduct::hire(&mut crew, sampler, &name)?);
        }
        let mut stage = Self {
            crew,
            samplers,
            workers: Vec::new(),
            asked: false,
            bus,
            group,
            table,
            base,
            litter,
            janitor,
            stop,
        };
        for _ in 0..3 {
            stage.hire()?;
        }
        let workers: Vec<usize> = stage.workers.iter().map(|worker| worker.member).collect();
        stage.crew.gather::<()>(&workers, || Ok(()))?;
        for ready in stage.crew.gather::<Ready>(&stage.samplers, || Ok(()))? {
            if let Some(why) = &ready.unavailable {
                out.warn(format_args!("this machine does not show everything: {why}"));
            }
        }
        Ok(stage)
    }

    /// Starts one more worker.
    fn hire(&mut self) -> Result<(), Failure> {
        let number = self.workers.len();
        let name = format!("worker {}", number + 1);
        let parent_pid = std::process::id();
        let plan = WorkerPlan {
            identity: Identity { name: name.clone(), parent_pid, cpu: None },
            bus: self.bus.name().to_owned(),
            table: self.table.name().to_owned(),
            refuses_every: (number == FUSSY).then_some(REFUSES_EVERY),
        };
        let plan = serde_json::to_string(&plan).map_err(std::io::Error::from)?;
        let member = self.crew.hire(&name, &["demo", "worker", &plan])?;
        self.workers.push(WorkerLine { name, member, pid: self.crew.pid(member), killed: None });
        Ok(())
    }

    /// Lets the samplers publish, and shows what becomes of it until the time is over or the user
    /// says so.
    fn play(&mut self, duration: Duration, out: &Out) -> Result<(), Failure> {
        let live = conduct::is_live(out);
        if !out.json() && !live {
            view::introduce(out, self.bus.name(), self.table.name())?;
        }
        for &sampler in &self.samplers {
            self.crew.order(sampler, &())?;
        }
        let mut screen = Screen::default();
        let mut reader = self.table.reader().attach_typed::<Sample>()?;
        let begin = Instant::now();
        let every = if live { REDRAW } else { LINE };
        let mut next = every;
        while begin.elapsed() < duration && !self.stop.requested() {
            std::thread::sleep(LOOK.min(duration.saturating_sub(begin.elapsed())));
            let elapsed = begin.elapsed();
            if !self.asked && elapsed >= duration / 2 {
                self.asked = true;
                self.crew.order(self.workers[VICTIM].member, &())?;
            }
            self.crew.look()?;
            self.kill_who_holds()?;
            if out.json() || elapsed < next {
                continue;
            }
            next += every;
            let view = View { elapsed, duration, stat: self.group.stat()?, base: self.base };
            if live {
                let lines = view.lines(self.bus.name(), &self.workers, &mut reader)?;
                screen.put(out, lines)?;
            } else {
                out.line(view.one_line(&mut reader)?)?;
                out.flush()?;
            }
        }
        Ok(())
    }

    /// Kills the victim once it has a frame in its hands, and lets another take its place.
    fn kill_who_holds(&mut self) -> Result<(), Failure> {
        let member = self.workers[VICTIM].member;
        if self.asked && self.workers[VICTIM].killed.is_none() && self.crew.has_report(member) {
            let held = self.crew.gather::<Held>(&[member], || Ok(()))?;
            self.crew.kill(member)?;
            self.workers[VICTIM].killed = held.first().copied();
            self.hire()?;
        }
        Ok(())
    }

    /// Ends the samplers and waits until the group has passed all that they published.
    fn finish(&mut self) -> Result<Vec<Published>, Failure> {
        self.crew.ignore_stop();
        for &sampler in &self.samplers {
            self.crew.end_orders(sampler);
        }
        let deadline = Instant::now() + FINISH;
        loop {
            self.crew.look()?;
            self.kill_who_holds()?;
            let ended = self.samplers.iter().all(|&sampler| self.crew.has_report(sampler));
            if ended && view::is_done(&self.group.stat()?) {
                return self.crew.gather(&self.samplers, || Ok(()));
            }
            if Instant::now() > deadline {
                return Err(Failure::failed("the group did not finish in time"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends the workers and removes everything.
    fn strike(self) -> Result<Vec<WorkerLine>, Failure> {
        let Self { crew, workers, bus, group, table, litter, mut janitor, .. } = self;
        crew.dismiss()?;
        drop((group, bus, table));
        for thing in &litter {
            janitor.clear(thing)?;
        }
        Ok(workers)
    }
}
