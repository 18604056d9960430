//! `kick`: tells everybody of a bus with one pid to leave, waits until they have, and says what became
//! of each.
//!
//! | what it is | what becomes of it |
//! |---|---|
//! | dead | its seat is given back |
//! | a consumer of a bus that evicts | holds up nobody from now on, whether or not it ever runs again |
//! | any other | is asked; it leaves at its next call, and not before |
//!
//! Works on the segment itself, like every look at a bus: whoever may write to it may do this.

use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::process::process_name;
use crate::units::{in_range, parse_duration};
use busd::api::ProcessState;
use busway::{Bus, Kicked, Participant, Role};
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often the wait looks.
const LOOK: Duration = Duration::from_millis(2);

/// Arguments of `kick`.
#[derive(Debug, Args)]
pub struct KickArgs {
    /// The bus
    name: String,
    /// The process, as `ps` shows it
    #[arg(value_parser = in_range::<u32>(1, u32::MAX.into()))]
    pid: u32,
    /// How long to wait until it has left; then code 6
    #[arg(long, value_name = "DUR", default_value = "500ms", value_parser = parse_duration)]
    wait: Duration,
}

/// The document of `kick --json`.
#[derive(Serialize)]
struct Report<'a> {
    bus: &'a str,
    pid: u32,
    participants: Vec<Fate>,
}

/// What became of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// It has left its seat.
    Left,
    /// It holds up nobody any more; it keeps its seat until its next call.
    LetGo,
    /// It was dead, or died meanwhile: its seat was given back.
    GivenBack,
    /// It was told, and has not left: it gets no further than its next call.
    Asked,
}

/// A participant with what became of it.
#[derive(Clone, Debug, Serialize)]
struct Fate {
    role: Role,
    seat: u32,
    epoch: u64,
    pid: u32,
    uid: u32,
    name: String,
    process_name: String,
    process_state: ProcessState,
    outcome: Outcome,
    #[serde(skip)]
    was_dead: bool,
    #[serde(skip)]
    at_once: bool,
}

/// Tells them to leave.
pub fn run(args: &KickArgs, context: &Context) -> Result<ExitCode, Failure> {
    let bus = Bus::open(&args.name)?;
    let kicked = bus.kick(args.pid)?;
    if kicked.is_empty() {
        let message = format!("nobody on bus {:?} has pid {}", args.name, args.pid);
        let hint = format!("`busctl ps {}` shows who is attached", args.name);
        return Err(Failure::new(Exit::NotFound, message).hint(hint));
    }
    let mut fates: Vec<Fate> = kicked.into_iter().map(Fate::new).collect();
    let deadline = Instant::now() + args.wait;
    loop {
        look(&bus, &mut fates)?;
        if fates.iter().all(Fate::is_settled) || Instant::now() >= deadline {
            break;
        }
        std::thread::sleep(LOOK);
    }
    for fate in &mut fates {
        fate.process_state = ProcessState::of(fate.pid);
    }
    let left_over = fates.iter().find(|fate| fate.outcome == Outcome::Asked).cloned();
    if context.out.json() {
        let report = Report { bus: &args.name, pid: args.pid, participants: fates };
        context.out.document("busway.kick/1", &report)?;
    } else {
        for fate in fates.iter().filter(|fate| fate.outcome != Outcome::Asked) {
            context.out.note(fate.describe());
        }
    }
    match left_over {
        Some(fate) => Err(fate.complain(args.wait)),
        None => Ok(Exit::Ok.code()),
    }
}

/// Takes note of who has left since, and gives back the seats of the dead.
fn look(bus: &Bus, fates: &mut [Fate]) -> Result<(), Failure> {
    let seated = bus.participants();
    if seated.iter().any(|who| !who.alive && fates.iter().any(|fate| fate.is_of(who))) {
        for seat in bus.reclaim()? {
            let same = |fate: &&mut Fate| (fate.role, fate.seat) == (seat.role, seat.seat);
            if let Some(fate) = fates.iter_mut().find(same) {
                fate.outcome = Outcome::GivenBack;
            }
        }
    }
    let consumers = bus.stat().consumers;
    for fate in fates.iter_mut().filter(|fate| fate.outcome != Outcome::GivenBack) {
        match seated.iter().find(|who| fate.is_of(who)) {
            // A peer or a daemon was faster than we were.
            None if fate.was_dead => fate.outcome = Outcome::GivenBack,
            None => fate.outcome = Outcome::Left,
            Some(who) if who.role == Role::Consumer => {
                if !consumers.iter().any(|one| fate.is_of(&one.participant)) {
                    fate.outcome = Outcome::LetGo;
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

impl Fate {
    fn new(kicked: Kicked) -> Self {
        let Kicked { participant: who, at_once } = kicked;
        Self {
            role: who.role,
            seat: who.seat,
            epoch: who.epoch,
            pid: who.pid,
            uid: who.uid,
            process_name: process_name(who.pid),
            process_state: ProcessState::of(who.pid),
            outcome: if at_once { Outcome::LetGo } else { Outcome::Asked },
            at_once,
            was_dead: !who.alive,
            name: who.name,
        }
    }

    /// Whether there is nothing to wait for. One that is let go by itself is about to leave.
    fn is_settled(&self) -> bool {
        self.at_once || matches!(self.outcome, Outcome::Left | Outcome::GivenBack)
    }

    /// Whether that is the one, and not somebody who has taken the seat since.
    fn is_of(&self, who: &Participant) -> bool {
        (self.role, self.seat, self.epoch) == (who.role, who.seat, who.epoch)
    }

    fn title(&self) -> String {
        let Self { role, seat, name, pid, process_name, .. } = self;
        format!("{role} seat {seat} {name:?} (pid {pid}, {process_name})")
    }

    fn describe(&self) -> String {
        let what = match self.outcome {
            Outcome::Left => "has left",
            Outcome::LetGo => "is let go: it holds up nobody any more, and leaves at its next call",
            Outcome::GivenBack if self.was_dead => "was dead: its seat is given back",
            Outcome::GivenBack => "has died: its seat is given back",
            Outcome::Asked => "is asked: it leaves at its next call",
        };
        format!("{} {what}", self.title())
    }

    /// What it means that it has not left, and what to do.
    fn complain(&self, waited: Duration) -> Failure {
        let state = match self.process_state {
            ProcessState::Stopped => "it is stopped",
            ProcessState::Traced => "a debugger has stopped it",
            ProcessState::Zombie | ProcessState::Gone => "it is ending",
            _ => "it has not called",
        };
        let waited = humantime::format_duration(waited);
        let message =
            format!("{} was asked, and has not left after {waited}: {state}", self.title());
        Failure::new(Exit::Timeout, message).hint(self.advice())
    }

    fn advice(&self) -> String {
        let pid = self.pid;
        let meaning = match self.role {
            Role::Consumer => {
                "a consumer of this bus reads in place, and nobody may take a frame from under a \
                 reader that lives: it holds its producers up until its next call. A bus made with \
                 `create --evict-after` lets such a consumer go"
            }
            Role::Producer => {
                "a producer holds up nobody; it learns of it when it next publishes, within a \
                 quarter of its ring, and keeps its lane until then"
            }
        };
        let remedy = match self.process_state {
            ProcessState::Zombie | ProcessState::Gone => {
                "its seat is given back by itself once the kernel has its memory".to_owned()
            }
            ProcessState::Stopped => format!(
                "`kill -CONT {pid}` has it go on and leave, `kill -KILL {pid}` ends it: its seat is \
                 then given back by itself"
            ),
            _ => format!("`kill {pid}` ends it: its seat is then given back by itself"),
        };
        format!("{meaning}. Now: {remedy}")
    }
}
