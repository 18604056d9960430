//! Where frames come from, as one thing: a gating consumer (`sub`) or an observer (`tap`, `hz`,
//! `bw`), and the loop that carries its frames into a sink until something ends it.

pub mod several;

use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signal::Stop;
use busway::{Bus, Consumer, FrameRef, Observer, PollError, Start, Wait};
use std::time::{Duration, Instant};

/// The longest wait before Ctrl-C, the timeout and a reader that went away are looked at again.
const SLICE: Duration = Duration::from_millis(50);

/// Frames after which a sink gets its pause even though more are waiting.
const FRAMES_BETWEEN_PAUSES: u32 = 1024;

/// One end of a bus that frames can be read from.
pub struct Source {
    bus: Bus,
    end: Attached,
}

#[allow(clippy::large_enum_variant, reason = "a process has one")]
enum Attached {
    /// Takes a seat and holds producers up when it is slow.
    Consumer(Consumer),
    /// Costs the producers nothing; loses frames when it is slow.
    Observer(Observer),
}

/// What reading once came to.
enum Step {
    Frame { lane: u32, position: u64 },
    Nothing,
    Closed,
    Removed,
    Evicted { lost: u64 },
}

/// When to stop reading, besides Ctrl-C and the removal of the bus.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After so many frames.
    pub count: Option<u64>,
    /// When no frame has come for so long.
    pub timeout: Option<Duration>,
    /// As soon as a frame is lost.
    pub strict: bool,
}

/// Why reading ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The sink had enough.
    Enough,
    /// As many frames as were asked for.
    Count,
    /// Ctrl-C or SIGTERM.
    Stopped,
    /// The bus was removed and everything on it is read.
    Removed,
}

/// Whether a sink wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    More,
    /// That was enough.
    Enough,
}

/// Where frames go.
pub trait Sink {
    /// Takes a frame.
    fn frame(&mut self, frame: &FrameRef<'_>) -> Result<(), Failure>;

    /// Learns that so many frames were lost, right before the frame at this lane and position if
    /// that is known.
    fn lost(&mut self, frames: u64, before: Option<(u32, u64)>) -> Result<(), Failure>;

    /// Time to flush and to look at the clock: nothing is waiting, or many frames have gone by.
    fn pause(&mut self) -> Result<Flow, Failure>;
}

impl Source {
    /// Attaches a consumer.
    pub fn consumer(bus: &Bus, name: &str, start: Start) -> Result<Self, Failure> {
        let consumer = bus.consumer().name(name).wait(Wait::Parking).start(start).attach()?;
        Ok(Self { bus: bus.clone(), end: Attached::Consumer(consumer) })
    }

    /// Attaches an observer.
    pub fn observer(bus: &Bus, start: Start) -> Result<Self, Failure> {
        let observer = bus.observer().start(start).attach()?;
        Ok(Self { bus: bus.clone(), end: Attached::Observer(observer) })
    }

    /// Carries frames into `sink` until a limit, Ctrl-C or the removal of the bus.
    pub fn pump(
        &mut self,
        sink: &mut impl Sink,
        limits: Limits,
        stop: &Stop,
        out: &Out,
    ) -> Result<End, Failure> {
        let mut progress = Progress::new(self.lost());
        loop {
            let end = match () {
                () if limits.count.is_some_and(|count| progress.taken >= count) => Some(End::Count),
                () if stop.requested() => Some(End::Stopped),
                () => None,
            };
            if let Some(end) = end {
                sink.pause()?;
                return Ok(end);
            }
            // What was written is flushed before the first wait.
            let wait = if progress.idle_since.is_some() { SLICE } else { Duration::ZERO };
            let step = self.step(wait, sink)?;
            if let Step::Evicted { lost } = step {
                sink.pause()?;
                return Err(evicted(lost, limits.strict));
            }
            self.account(&step, &mut progress, sink, limits.strict)?;
            if let Step::Frame { .. } = step {
                if progress.is_between_pauses() {
                    continue;
                }
            } else {
                let is_removed = matches!(step, Step::Removed) || self.bus.is_removed();
                if progress.is_over(is_removed) {
                    sink.pause()?;
                    return Ok(End::Removed);
                }
                if matches!(step, Step::Closed) {
                    // Everybody has detached, so nobody wakes: the next may attach at any time.
                    std::thread::sleep(wait);
                }
                progress.check_idle(limits, out)?;
            }
            if sink.pause()? == Flow::Enough {
                return Ok(End::Enough);
            }
        }
    }

    /// Frames that this end was lapped by since it attached.
    fn lost(&self) -> u64 {
        match &self.end {
            Attached::Consumer(consumer) => consumer.lost(),
            Attached::Observer(observer) => observer.lost(),
        }
    }

    /// Reads at most one frame, waiting up to `wait`.
    fn step(&mut self, wait: Duration, sink: &mut impl Sink) -> Result<Step, Failure> {
        let result = match &mut self.end {
            Attached::Consumer(consumer) if wait.is_zero() => consumer.poll(),
            Attached::Consumer(consumer) => consumer.recv_timeout(wait),
            Attached::Observer(observer) if wait.is_zero() => observer.poll(),
            Attached::Observer(observer) => observer.recv_timeout(wait),
        };
        match result {
            Ok(Some(frame)) => {
                sink.frame(&frame)?;
                Ok(Step::Frame { lane: frame.lane(), position: frame.position() })
            }
            Ok(None) => Ok(Step::Nothing),
            Err(PollError::Closed) => Ok(Step::Closed),
            Err(PollError::Removed) => Ok(Step::Removed),
            Err(PollError::Evicted { lost }) => Ok(Step::Evicted { lost }),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes note of a step, and of what was lost in it. The counter can be read only once the
    /// frame is given back, so the sink learns of a gap right after the frame that follows it.
    fn account(
        &self,
        step: &Step,
        progress: &mut Progress,
        sink: &mut impl Sink,
        strict: bool,
    ) -> Result<(), Failure> {
        let mut place = None;
        if let Step::Frame { lane, position } = *step {
            progress.taken += 1;
            progress.idle_since = None;
            place = Some((lane, position));
        }
        let lost = self.lost();
        let newly = lost.wrapping_sub(progress.lost);
        if newly == 0 {
            return Ok(());
        }
        progress.lost = lost;
        sink.lost(newly, place)?;
        if strict {
            sink.pause()?;
            return Err(Failure::new(Exit::Loss, format!("{newly} frames were lost"))
                .hint("on a bus that blocks or rejects when full, `sub` loses none"));
        }
        Ok(())
    }
}

/// The end of a consumer that lost its place: a failure, and a loss if it missed anything.
fn evicted(lost: u64, strict: bool) -> Failure {
    let failure = Failure::from(PollError::Evicted { lost });
    if strict && lost > 0 { failure.with_exit(Exit::Loss) } else { failure }
}

/// How far the pump is.
struct Progress {
    taken: u64,
    lost: u64,
    since_pause: u32,
    idle_since: Option<Instant>,
    was_removed: bool,
}

impl Progress {
    fn new(lost: u64) -> Self {
        Self { taken: 0, lost, since_pause: 0, idle_since: None, was_removed: false }
    }

    fn is_between_pauses(&mut self) -> bool {
        self.since_pause = (self.since_pause + 1) % FRAMES_BETWEEN_PAUSES;
        self.since_pause != 0
    }

    /// Nothing is waiting: is that the end? Only when the bus had been removed before this look:
    /// frames may have come between the last look and the removal.
    fn is_over(&mut self, is_removed: bool) -> bool {
        std::mem::replace(&mut self.was_removed, is_removed) && is_removed
    }

    /// Nothing is waiting: has the timeout ended, or the reader of stdout gone away?
    fn check_idle(&mut self, limits: Limits, out: &Out) -> Result<(), Failure> {
        let idle_since = *self.idle_since.get_or_insert_with(Instant::now);
        if let Some(timeout) = limits.timeout.filter(|timeout| idle_since.elapsed() >= *timeout) {
            let timeout = humantime::format_duration(timeout);
            let message = format!("no frame came for {timeout} (after {} frames)", self.taken);
            return Err(Failure::new(Exit::Timeout, message));
        }
        if out.reader_is_gone() { Err(Failure::closed_pipe()) } else { Ok(()) }
    }
}
