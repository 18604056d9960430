//! The places of a play, and the workers that have them, one after the other.

use super::actor::Actor;
use super::board::{Mapping, Phase};
use super::fate::{Fate, Rules};
use super::plan::{Part, Plan, Sabotage};
use super::shape::Shape;
use super::wedge::Idle;
use crate::exit::Failure;
use std::io::PipeWriter;
use std::time::Instant;

/// A place in the cast.
pub struct Place {
    pub part: Part,
    pub number: u64,
    /// Who has it is never killed.
    pub stays: bool,
    /// How many have had it.
    had: u64,
    /// The bus that who has it works on, or makes.
    pub bus: String,
    /// Who has it breaks a promise.
    sabotage: Option<Sabotage>,
    pub role: Option<Role>,
}

/// A worker in its place.
pub struct Role {
    pub actor: Actor,
    pub life: u64,
    pub fate: Fate,
    /// What the times of its fate count from: its start, or its last stop if it stays.
    pub since: Instant,
    pub standing: Option<Standing>,
    /// The conductor has killed it.
    pub doom: Option<Doom>,
    pub idle: Idle,
    /// What the flow was when it was looked at last.
    pub flows: u64,
}

/// Where the conductor has killed a worker.
#[derive(Clone, Copy, Debug)]
pub enum Doom {
    /// Wherever it was.
    Anywhere,
    /// At the crash point at which it stood.
    At(&'static str),
}

/// Standing still, by SIGSTOP.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub until: Instant,
    /// Others may rightly wait for it.
    pub holds: bool,
    /// It is killed then, and does not go on.
    pub dies: bool,
    /// The crash point at which it stands.
    pub point: Option<&'static str>,
}

/// What starting a worker takes.
pub struct Stagehand<'a> {
    pub rules: &'a Rules,
    pub shape: &'a Shape,
    /// The number of the board's descriptor.
    pub board: i32,
    /// The same of the journal.
    pub journal: Option<i32>,
    pub voice: &'a PipeWriter,
}

/// The places of a bus, nobody in them yet.
pub fn places(shape: &Shape, bus: &str, sabotage: Option<Sabotage>) -> Vec<Place> {
    let mut places = Vec::new();
    let mut sabotage = sabotage;
    for (part, count, staying) in shape.cast() {
        for index in 0..count {
            let number = u64::try_from(places.len()).unwrap_or(0);
            let own = sabotage.take_if(|kind| kind.part() == part);
            let bus = match part {
                Part::Creator => format!("{bus}-made-{number}"),
                _ => bus.to_owned(),
            };
            let stays = index < staying || own.is_some();
            places.push(Place { part, number, stays, had: 0, bus, sabotage: own, role: None });
        }
    }
    places
}

impl Place {
    /// Starts the next worker in this place, as life `life`.
    pub fn fill(
        &mut self,
        hand: &Stagehand<'_>,
        board: &Mapping,
        life: u64,
    ) -> Result<(), Failure> {
        let fate = if board.phase() != Phase::Work {
            // It is to do what is left, and nothing is done to it any more.
            Fate::default()
        } else if self.stays {
            self.next_stop(hand, 0)
        } else {
            Fate::draw(hand.rules, hand.shape, self.part, self.number, self.had)
        };
        self.had += 1;
        board.begin_life(life);
        let plan = Plan {
            life,
            part: self.part,
            parent_pid: std::process::id(),
            board: hand.board,
            journal: hand.journal,
            bus: self.bus.clone(),
            seed: hand.rules.seed,
            batch_max: hand.shape.batch_max(self.part),
            arm: fate.arm.clone(),
            leave_after_ms: fate.leave_after_ms,
            stays: self.stays,
            sabotage: self.sabotage,
        };
        let actor = Actor::start(&plan, hand.voice)?;
        let (since, idle) = (Instant::now(), Idle::default());
        let role = Role { actor, life, fate, since, standing: None, doom: None, idle, flows: 0 };
        self.role = Some(role);
        Ok(())
    }

    /// When who stays here is stopped next, after `stops` stops. Who breaks a promise is left alone,
    /// and so are consumers that others wait for.
    pub fn next_stop(&self, hand: &Stagehand<'_>, stops: u64) -> Fate {
        let waited_for = self.part == Part::Consumer && hand.shape.on_full.is_lossless();
        if self.sabotage.is_some() || waited_for {
            return Fate::default();
        }
        Fate::of_one_that_stays(hand.rules, hand.shape, self.number, stops)
    }
}
