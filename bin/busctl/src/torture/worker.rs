//! A worker's life: a process that uses a bus for the conductor, until it is told to leave, or is
//! killed.
//!
//! Workers use `busway_crashable`, the library with its crash points compiled in. They must be quick
//! to start, since most of them die young.

use super::board::{Board, Life, Mapping, Phase, Stage};
use super::plan::{Part, Plan, Sabotage};
use super::random::Random;
use super::say::Voice;
use super::violation::Violation;
use super::{consume, create, group, observe, produce, recover};
use crate::bench::monotonic_ns;
use crate::exit::{Exit, Failure};
use busway_crashable::{Bus, Role, Wait};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::CString;
use std::io;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a newcomer tries to get a seat: longer than anybody stands still.
pub const SEAT_PATIENCE: Duration = Duration::from_secs(3);

/// How often a worker looks whether its seat is still its own.
const SEAT_LOOK_NS: u64 = 40_000_000;

/// What every worker has.
pub struct Worker {
    pub plan: Plan,
    pub board: Mapping,
    pub random: Random,
    voice: Voice,
    leave_at_ns: u64,
    seat_look_ns: u64,
}

/// The worker process: does what the plan says.
pub fn run(plan: &str) -> ExitCode {
    let work = || {
        let plan: Plan = serde_json::from_str(plan)
            .map_err(|error| Failure::usage(format!("the plan of a worker: {error}")))?;
        let mut worker = Worker::enter(plan)?;
        let done = worker.work();
        // ORDERING: relaxed; a count.
        worker.life().hits.store(busway_crashable::hits(), Ordering::Relaxed);
        worker.life().enter(Stage::Left);
        match done {
            Ok(()) => Ok(Exit::Ok),
            // With this code the conductor knows that it has been told.
            Err(failure) => {
                worker.report(Violation::Failed, failure.message()).map(|()| Exit::Loss)
            }
        }
    };
    work().map_or_else(|failure: Failure| failure.exit().code(), Exit::code)
}

impl Worker {
    /// Ties this process to its parent, names it, and arms it.
    fn enter(plan: Plan) -> Result<Self, Failure> {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
        // A parent that died before the line above sends no signal any more.
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if i64::from(parent) != i64::from(plan.parent_pid) {
            return Err(Failure::failed("the process that started this worker is gone"));
        }
        if let Ok(name) = CString::new(plan.part.name()) {
            // For `ps` and `top` only.
            let _ = rustix::thread::set_name(&name);
        }
        let board = Mapping::open(plan.board)?;
        if let Some(arm) = &plan.arm {
            arm.put_into_force().map_err(Failure::usage)?;
        }
        let now_ns = monotonic_ns();
        let leave_at_ns = plan.leave_after_ms.map_or(u64::MAX, |ms| now_ns + ms * 1_000_000);
        let (random, voice) =
            (Random::of(plan.seed, &[plan.life]), Voice::new(plan.life, plan.part));
        Ok(Self { plan, board, random, voice, leave_at_ns, seat_look_ns: now_ns })
    }

    fn work(&mut self) -> Result<(), Failure> {
        match self.plan.part {
            Part::Producer => produce::run(self),
            Part::Consumer => consume::run(self),
            Part::Observer => observe::run(self),
            Part::Recoverer => recover::run(self),
            Part::Creator => create::run(self),
            Part::Member => group::member::run(self),
            Part::Keeper => group::keeper::run(self),
            Part::Undertaker => group::undertaker::run(self),
        }
    }

    /// This worker's record.
    pub fn life(&self) -> &Life {
        self.board.life(self.plan.life)
    }

    /// The memory shared with everybody.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Whether this worker is to break this promise.
    pub fn sabotages(&self, kind: Sabotage) -> bool {
        self.plan.sabotage == Some(kind)
    }

    /// Reports a violation.
    pub fn report(&mut self, violation: Violation, what: &str) -> Result<(), Failure> {
        self.voice.report(violation, what)
    }

    /// Whether this worker's own time to leave has come.
    pub fn has_to_leave(&self, now_ns: u64) -> bool {
        now_ns >= self.leave_at_ns
    }

    /// Whether it is time to leave for one who works until nobody does any more.
    pub fn is_over(&self, now_ns: u64) -> bool {
        self.board.phase() != Phase::Work || self.has_to_leave(now_ns)
    }

    /// Says how often it has come to a crash point, so that it is known when it is dead.
    pub fn note_hits(&self) {
        // ORDERING: relaxed; a count.
        self.life().hits.store(busway_crashable::hits(), Ordering::Relaxed);
    }

    /// Opens the bus.
    pub fn open(&self) -> Result<Bus, Failure> {
        Bus::open(&self.plan.bus).map_err(failed("opening the bus"))
    }

    /// The name that this worker has on the bus.
    pub fn name(&self) -> String {
        format!("life {}", self.plan.life)
    }

    /// A strategy to wait by: all of them occur.
    pub fn wait(&mut self) -> Wait {
        let all = [Wait::Adaptive, Wait::Parking, Wait::Yielding, Wait::Adaptive];
        self.random.one_of(&all).unwrap_or(Wait::Adaptive)
    }

    /// Attaches by `attach`, again and again while the seats are taken: who recovers a dead one's may
    /// stand still itself. `None`: there is no seat to be had, which is reported.
    pub fn attach<T>(
        &mut self,
        attach: impl Fn() -> Result<T, busway_crashable::Error>,
    ) -> Result<Option<T>, Failure> {
        let deadline = Instant::now() + SEAT_PATIENCE;
        loop {
            match attach() {
                Ok(attached) => return Ok(Some(attached)),
                Err(error) if error.code() != "seats_taken" => {
                    return Err(failed("attaching")(error));
                }
                Err(error) if Instant::now() > deadline => {
                    self.report(Violation::LeakedSeat, &error.to_string())?;
                    return Ok(None);
                }
                Err(_) if self.board.phase() != Phase::Work => return Ok(None),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Whether it is time to look at one's seat once more.
    pub fn looks_at_seat(&mut self, now_ns: u64) -> bool {
        let looks = now_ns.saturating_sub(self.seat_look_ns) >= SEAT_LOOK_NS;
        if looks {
            self.seat_look_ns = now_ns;
            self.note_hits();
        }
        looks
    }

    /// Looks, now and then, whether the seat that this process holds is still its own.
    pub fn check_seat(
        &mut self,
        bus: &Bus,
        role: Role,
        seat: u32,
        now_ns: u64,
    ) -> Result<(), Failure> {
        if !self.looks_at_seat(now_ns) {
            return Ok(());
        }
        let sitting = bus.participants();
        let occupant = sitting.iter().find(|who| who.role == role && who.seat == seat);
        let (pid, name) = (std::process::id(), self.name());
        if occupant.is_some_and(|who| who.pid == pid && who.name == name && who.alive) {
            return Ok(());
        }
        let what = format!("{role} seat {seat} of {name:?} (pid {pid}), alive, shows {occupant:?}");
        self.report(Violation::WronglyReclaimed, &what)
    }
}

/// An error of the library as a failure of this worker.
pub fn failed(what: &'static str) -> impl FnOnce(busway_crashable::Error) -> Failure {
    move |error| Failure::failed(format!("{what}: {error} ({})", error.code()))
}
