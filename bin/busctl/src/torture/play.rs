//! One bus under torture: what is done to its workers, and what becomes of them.
//!
//! The conductor looks at every worker about once a millisecond, sees what has become of it, and
//! does to it what its fate says. One that has ended is replaced at once. At the end all producers
//! leave, then consumers read to the end, and what is left is audited.

use super::actor::Change;
use super::audit::{self, Finding, Tenancy};
use super::board::{BoardFile, Mapping, Phase, Stage};
use super::cast::{self, Doom, Place, Role, Stagehand, Standing};
use super::fate::Rules;
use super::gaps::{Event, Kind};
use super::group;
use super::plan::{Part, Sabotage};
use super::say::Said;
use super::shape::Shape;
use super::tally::{Tally, Told};
use super::violation::Violation;
use super::wedge;
use crate::bench::monotonic_ns;
use crate::exit::{Exit, Failure};
use crate::signal::Stop;
use busway::Bus;
use rustix::process::Signal;
use std::io::PipeWriter;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long the conductor sleeps between looks.
const TICK: Duration = Duration::from_micros(800);

/// How often nothing is done, for comparison.
const NOTHING_EVERY: Duration = Duration::from_millis(97);

/// How long workers may take to come, or to leave when they are told to, in the conductor's time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all plays of a run share.
pub struct House<'a> {
    pub rules: &'a Rules,
    pub tally: &'a mut Tally,
    pub voice: &'a PipeWriter,
    pub heard: &'a Receiver<Said>,
    pub stop: &'a Stop,
    /// Lives so far.
    pub lives: &'a mut u64,
    /// Goes on after a violation.
    pub keep_going: bool,
}

/// One bus under torture.
pub struct Play<'a, 'h> {
    house: &'a mut House<'h>,
    shape: &'a Shape,
    bus: Bus,
    file: BoardFile,
    board: Mapping,
    places: Vec<Place>,
    tenancies: Vec<Tenancy>,
    /// The group that is tortured.
    group: Option<group::stage::Stage>,
    /// How many stand still on whom others may wait.
    holding: u32,
    /// Grows when any producer has come further.
    flow: (u64, u64),
    ticked: Instant,
    nothing_at: Instant,
}

impl<'a, 'h> Play<'a, 'h> {
    /// Makes the bus, and starts everybody.
    pub fn begin(
        house: &'a mut House<'h>,
        shape: &'a Shape,
        name: &str,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, Failure> {
        let bus = shape.options().create(name)?;
        let group = shape.group.map(|group| group::stage::Stage::set(&bus, &group)).transpose()?;
        let file = BoardFile::create()?;
        let board = Mapping::open(file.number())?;
        let places = cast::places(shape, name, sabotage);
        let now = Instant::now();
        house.tally.buses += 1;
        let mut play = Self {
            house,
            shape,
            bus,
            file,
            board,
            places,
            tenancies: Vec::new(),
            group,
            holding: 0,
            flow: (0, 0),
            ticked: now,
            nothing_at: now + NOTHING_EVERY,
        };
        for index in 0..play.places.len() {
            play.fill(index)?;
            if index == 0 && play.places[0].part == Part::Consumer {
                // It sees every frame there ever is: nobody may be faster.
                play.wait_for_the_first()?;
            }
        }
        Ok(play)
    }

    fn wait_for_the_first(&mut self) -> Result<(), Failure> {
        let mut left = PATIENCE;
        while self.stage(0) == Some(Stage::Born) {
            left = left.saturating_sub(self.tick()?);
            if left.is_zero() {
                return Err(Failure::failed("the first consumer does not attach"));
            }
        }
        Ok(())
    }

    fn stage(&self, index: usize) -> Option<Stage> {
        let role = self.places.get(index)?.role.as_ref()?;
        Some(self.board.life(role.life).stage())
    }

    /// Goes on until it is `over`, or a promise is broken, or the user wants no more.
    pub fn go_on(&mut self, mut over: impl FnMut(&Tally) -> bool) -> Result<(), Failure> {
        while !over(self.house.tally) && !self.is_broken() && !self.house.stop.requested() {
            self.tick()?;
        }
        Ok(())
    }

    fn is_broken(&self) -> bool {
        !self.house.tally.is_clean() && !self.house.keep_going
    }

    /// Has everybody leave, and audits what is left. After a violation nobody is waited for.
    pub fn end(mut self) -> Result<(), Failure> {
        for phase in [Phase::Leave, Phase::Drain, Phase::Close] {
            if !self.is_broken() {
                self.board.set_phase(phase);
                self.see_off(phase)?;
            }
        }
        // Kills whoever is left.
        self.places.iter_mut().for_each(|place| place.role = None);
        self.hear();
        self.house.tally.add_gaps(&self.board);
        let stat = self.bus.stat();
        self.house.tally.seats_given_back += stat.recoveries;
        self.house.tally.tickets_punched += stat.punches;
        self.house.tally.evictions += stat.evictions;
        if self.is_broken() {
            return Ok(());
        }
        let mut findings = audit::tenancies(self.shape.origin, &self.tenancies, &stat);
        findings.extend(audit::corruption(&stat));
        if let Some(group) = &self.group {
            findings.extend(group.audit(&self.bus, &stat, &mut self.house.tally.groups)?);
            self.bus.reclaim()?;
        }
        findings.extend(audit::seats(&self.bus));
        for finding in findings {
            self.find(finding);
        }
        Ok(())
    }

    /// Waits until all whose time has come have left.
    fn see_off(&mut self, phase: Phase) -> Result<(), Failure> {
        let mut left = PATIENCE;
        let late = |place: &&Place| place.role.is_some() && place.part.leaves_in() <= phase;
        while let Some(place) = self.places.iter().find(late) {
            if left.is_zero() {
                let what = format!("a {} does not leave ({phase:?})", place.part.name());
                self.find((Violation::Wedged, what));
                return Ok(());
            }
            left = left.saturating_sub(wedge::counted(self.tick()?));
        }
        Ok(())
    }

    /// Looks at everybody once, and sleeps a little. Returns how long it is since the last time.
    fn tick(&mut self) -> Result<Duration, Failure> {
        std::thread::sleep(TICK);
        let now = Instant::now();
        let elapsed = now.duration_since(self.ticked);
        self.ticked = now;
        let counted_us = u64::try_from(wedge::counted(elapsed).as_micros()).unwrap_or(0);
        // ORDERING: relaxed; a clock.
        self.board.clock_us.fetch_add(counted_us, Ordering::Relaxed);
        let working = self.board.phase() == Phase::Work;
        self.look_at_flow();
        for index in 0..self.places.len() {
            match self.places[index].role.as_mut().map(|role| role.actor.look()).transpose()? {
                None => {}
                Some(None) if working => {
                    self.afflict(index, now)?;
                    self.watch(index, elapsed);
                }
                Some(None) => self.send_on(index)?,
                Some(Some(Change::Stopped)) => self.stands_still(index, now),
                Some(Some(ended)) => {
                    self.has_ended(index, ended);
                    let part = self.places[index].part;
                    let is_missed = ended == Change::Killed && part.is_needed_to_the_end();
                    if working || (is_missed && part.leaves_in() >= self.board.phase()) {
                        self.fill(index)?;
                    }
                }
            }
        }
        if working && now > self.nothing_at {
            self.nothing_at = now + NOTHING_EVERY;
            self.tell(Kind::Nothing, None);
        }
        self.hear();
        Ok(elapsed)
    }

    fn fill(&mut self, index: usize) -> Result<(), Failure> {
        *self.house.lives += 1;
        self.house.tally.processes += 1;
        let hand = Stagehand {
            rules: self.house.rules,
            shape: self.shape,
            board: self.file.number(),
            journal: self.group.as_ref().map(group::stage::Stage::number),
            voice: self.house.voice,
        };
        self.places[index].fill(&hand, &self.board, *self.house.lives)
    }

    /// Does to a worker what is due.
    fn afflict(&mut self, index: usize, now: Instant) -> Result<(), Failure> {
        let place = &mut self.places[index];
        let Some(role) = place.role.as_mut().filter(|role| role.doom.is_none()) else {
            return Ok(());
        };
        if let Some(standing) = role.standing {
            if now < standing.until {
                return Ok(());
            }
            if standing.dies && !place.stays {
                return self.kill(index, standing.point.map_or(Doom::Anywhere, Doom::At));
            }
            return self.send_on(index);
        }
        let since = now.duration_since(role.since);
        if !place.stays && role.fate.kill_after.is_some_and(|after| since >= after) {
            return self.kill(index, Doom::Anywhere);
        }
        if let Some((_, time)) = role.fate.stop.take_if(|(after, _)| since >= *after) {
            role.actor.signal(Signal::STOP)?;
            let holds = place.part.is_waited_for();
            let (until, dies) = (now + time, role.fate.dies_standing);
            self.stand(index, Standing { until, holds, dies, point: None });
        }
        Ok(())
    }

    /// Kills a worker, and all of its part if that is its fate.
    fn kill(&mut self, index: usize, doom: Doom) -> Result<(), Failure> {
        let part = self.places[index].part;
        let takes_all = self.places[index].role.as_ref().is_some_and(|role| role.fate.takes_all);
        self.kill_one(index, doom)?;
        let is_taken = |place: &Place| {
            let lives = place.role.as_ref().is_some_and(|role| role.doom.is_none());
            takes_all && place.part == part && !place.stays && lives
        };
        for other in 0..self.places.len() {
            if is_taken(&self.places[other]) {
                self.kill_one(other, Doom::Anywhere)?;
            }
        }
        Ok(())
    }

    fn kill_one(&mut self, index: usize, doom: Doom) -> Result<(), Failure> {
        self.tell_of(index, true);
        if let Some(role) = &mut self.places[index].role {
            role.doom = Some(doom);
            let life = self.board.life(role.life);
            // ORDERING: relaxed; published by the next store.
            let clock_us = self.board.clock_us.load(Ordering::Relaxed);
            life.killed_clock_us.store(clock_us, Ordering::Relaxed);
            // ORDERING: release, pairs with the acquire in `book_again`.
            life.killed_ns.store(monotonic_ns(), Ordering::Release);
            role.actor.signal(Signal::KILL)?;
        }
        Ok(())
    }

    /// A worker has stopped, at its crash point unless the conductor has stopped it.
    fn stands_still(&mut self, index: usize, now: Instant) {
        let place = &self.places[index];
        let Some(role) = place.role.as_ref().filter(|role| role.standing.is_none()) else {
            return;
        };
        let point = role.fate.point();
        let holds = place.part.is_waited_for();
        let standing = Standing {
            until: now + role.fate.point_stop,
            holds,
            dies: role.fate.dies_standing,
            point: point.map(busway_crashable::CrashPoint::name),
        };
        self.stand(index, standing);
    }

    fn stand(&mut self, index: usize, standing: Standing) {
        self.house.tally.stopped(standing.point);
        self.hold(i32::from(standing.holds));
        self.tell_of(index, false);
        if let Some(role) = &mut self.places[index].role {
            role.standing = Some(standing);
        }
    }

    /// Has a worker that stands still go on.
    fn send_on(&mut self, index: usize) -> Result<(), Failure> {
        let place = &mut self.places[index];
        let Some(role) = &mut place.role else {
            return Ok(());
        };
        let Some(standing) = role.standing.take() else {
            return Ok(());
        };
        role.actor.signal(Signal::CONT)?;
        if place.stays {
            role.since = Instant::now();
            let hand = Stagehand {
                rules: self.house.rules,
                shape: self.shape,
                board: self.file.number(),
                journal: self.group.as_ref().map(group::stage::Stage::number),
                voice: self.house.voice,
            };
            let stops = self.house.tally.stops.total;
            let fate = place.next_stop(&hand, stops);
            if let Some(role) = &mut place.role {
                role.fate = fate;
            }
        }
        self.hold(-i32::from(standing.holds));
        Ok(())
    }

    /// Counts who stands still and may be waited for, and says so on the board.
    fn hold(&mut self, change: i32) {
        if change == 0 {
            return;
        }
        let before = self.holding;
        self.holding = before.saturating_add_signed(change);
        let (was, is) = (before > 0, self.holding > 0);
        // An even number while nobody does; another one after each change.
        let step = if was == is { 2 } else { 1 };
        // ORDERING: relaxed; compared with a later look.
        self.board.held.fetch_add(step, Ordering::Relaxed);
    }

    /// A worker is gone: counts why, keeps its record, and looks at what it left.
    fn has_ended(&mut self, index: usize, how: Change) {
        let place = &mut self.places[index];
        let part = place.part;
        let Some(role) = place.role.take() else {
            return;
        };
        let bus = place.bus.clone();
        if role.standing.is_some_and(|standing| standing.holds) {
            self.hold(-1);
        }
        let point = role.fate.point().map(busway_crashable::CrashPoint::name);
        match (how, role.doom) {
            (Change::Killed, Some(Doom::Anywhere)) => self.house.tally.killed(None),
            (Change::Killed, Some(Doom::At(point))) => self.house.tally.killed(Some(point)),
            (Change::Killed, None) if point.is_some() => {
                self.tell(kind_of_kill(part), self.lane_of(&role, part));
                self.house.tally.killed(point);
            }
            // It has said why.
            (Change::Exited(code), _) if code == Exit::Loss as i32 || code == 0 => {}
            (how, _) => {
                let what = format!("a {} (life {}) ended: {how:?}", part.name(), role.life);
                self.find((Violation::Failed, what));
            }
        }
        if let Some(group) = self.group.as_mut().filter(|_| part == Part::Member) {
            group.members_killed += u64::from(how == Change::Killed);
        }
        let life = self.board.life(role.life);
        self.house.tally.ended(part, life);
        if let (Part::Producer, Some(lane)) = (part, life.seat()) {
            // ORDERING: relaxed; the process has been reaped.
            let get = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
            let (start, started) = (get(&life.start), get(&life.started));
            let returned = get(&life.returned);
            self.tenancies.push(Tenancy { life: role.life, lane, start, started, returned });
        }
        if part == Part::Creator
            && let Some(finding) = audit::is_whole(&bus)
        {
            self.find(finding);
        }
    }

    fn lane_of(&self, role: &Role, part: Part) -> Option<u32> {
        self.board.life(role.life).seat().filter(|_| part == Part::Producer)
    }

    /// Tells readers that something is done to a worker.
    fn tell_of(&self, index: usize, kills: bool) {
        let place = &self.places[index];
        let Some(role) = &place.role else {
            return;
        };
        let kind = if kills { kind_of_kill(place.part) } else { Kind::Stop };
        self.tell(kind, self.lane_of(role, place.part));
    }

    fn tell(&self, kind: Kind, lane: Option<u32>) {
        let event = Event { kind, lane, at_us: monotonic_ns() / 1000 };
        // ORDERING: relaxed; the word is all that there is to an event.
        self.board.event.store(event.word(), Ordering::Relaxed);
    }

    /// Looks whether any producer has come further.
    fn look_at_flow(&mut self) {
        let producers = self.places.iter().filter(|place| place.part == Part::Producer);
        let roles = producers.filter_map(|place| place.role.as_ref());
        // ORDERING: relaxed; compared with the next look.
        let returned = |role: &Role| self.board.life(role.life).returned.load(Ordering::Relaxed);
        let sum = roles.map(returned).fold(0, u64::wrapping_add);
        if sum != self.flow.1 {
            self.flow = (self.flow.0 + 1, sum);
        }
    }

    /// Looks whether a worker does anything.
    fn watch(&mut self, index: usize, elapsed: Duration) {
        let flows = self.flow.0;
        let (holding, place) = (self.holding, &mut self.places[index]);
        let Some(role) = &mut place.role else {
            return;
        };
        let life = self.board.life(role.life);
        // That time does not count.
        if holding > 0 || role.standing.is_some() || role.doom.is_some() {
            return;
        }
        // ORDERING: relaxed; compared with the next look.
        let (progress, counts) = match (life.stage(), place.part) {
            (Stage::Working, Part::Producer) => (life.returned.load(Ordering::Relaxed), true),
            (Stage::Working, Part::Consumer) => {
                // With nobody to publish there is nothing to read.
                (
                    life.read.load(Ordering::Relaxed),
                    flows != std::mem::replace(&mut role.flows, flows),
                )
            }
            (Stage::Working, Part::Member | Part::Keeper | Part::Undertaker) => {
                (life.turns.load(Ordering::Relaxed), true)
            }
            _ => return,
        };
        if role.idle.is_too_long(progress, elapsed, counts) {
            let limit = wedge::IDLE_MAX.as_secs();
            let what = format!(
                "a {} (life {}) has done nothing for {limit} s after {progress} frames or turns, and \
                 nobody stands still",
                place.part.name(),
                role.life
            );
            self.find((Violation::Wedged, what));
        }
    }

    /// Takes in what workers have said.
    fn hear(&mut self) {
        for said in self.house.heard.try_iter() {
            let Said { life, part, violation, what } = said;
            let by = format!("{} (life {life})", part.name());
            self.house.tally.violated(Told { violation, bus: self.shape.name(), by, what });
        }
    }

    fn find(&mut self, finding: Finding) {
        self.house.tally.violated(audit::told(finding, &self.shape.name()));
    }
}

fn kind_of_kill(part: Part) -> Kind {
    if part == Part::Consumer { Kind::ConsumerKill } else { Kind::Kill }
}
