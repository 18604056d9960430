//! A member of a group: takes frames in every way that there is, acknowledges most of them, now or
//! later, and does now and then what makes a frame come back: refuses it, takes too long for it,
//! forgets it, leaves.

use super::super::board::{Phase, Stage};
use super::super::frame::Mark;
use super::super::plan::Sabotage;
use super::super::random::mix;
use super::super::violation::Violation;
use super::super::worker::{SEAT_PATIENCE, Worker, failed};
use super::GROUP;
use super::book::{Book, Fault, check};
use super::journal::{Counts, book_again};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{AckError, Bus, Delivered, Delivery, Group, GroupMember, Receipt};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One in so many frames is refused each time, by whoever gets it.
const POISONED_ONE_IN: u64 = 1_024;

/// Frames that a member has in hand at most.
const IN_HAND_MAX: usize = 24;

/// How long it is between two things that hold frames up, at most.
const MISCHIEF_MS_MAX: u64 = 60;

/// The longest that a refused frame is put off.
const DELAY_MS_MAX: u64 = 20;

/// How long a frame may take from the death of its member to being handed out again, in time that
/// counts: a thousand times what is promised of a member that runs.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Frames before what is broken on purpose, and how many are.
const SABOTAGE_AFTER: u64 = 300;
const SABOTAGED: u64 = 600;

/// A member at work.
struct Work {
    group: Group,
    member: GroupMember,
    book: Book,
    delivery: Delivery,
    attempts_max: Option<u32>,
    timeout: Duration,
    /// What it has in hand.
    hand: Vec<Receipt>,
    mischief_at_ns: u64,
    taken: u64,
    /// Sleeps now and then.
    naps: bool,
}

/// Works until it is told to leave, and nothing is left to be done.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    let group = bus.open_group(GROUP).map_err(failed("opening the group"))?;
    let book = Book::open(worker, &bus)?;
    let Some(member) = attach(worker, &group)? else {
        return Ok(());
    };
    worker.life().sit(member.seat());
    worker.life().enter(Stage::Working);
    let info = group.info();
    let (delivery, attempts_max) = (info.delivery, info.max_attempts);
    let timeout = info.processing_timeout;
    let naps = worker.random.percent(25);
    let mut work = Work {
        group,
        member,
        book,
        delivery,
        attempts_max,
        timeout,
        hand: Vec::new(),
        mischief_at_ns: monotonic_ns(),
        taken: 0,
        naps,
    };
    work.work(worker, &bus)?;
    worker.note_hits();
    if worker.sabotages(Sabotage::Desert) {
        let (seat, group) = (work.member.seat(), work.group);
        work.member.detach();
        return pretend(worker, &group, seat);
    }
    Ok(())
}

/// Goes on as if the seat were still held.
fn pretend(worker: &mut Worker, group: &Group, seat: u32) -> Result<(), Failure> {
    while worker.board().phase() == Phase::Work {
        turn(worker);
        check_seat(worker, group, seat, monotonic_ns())?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Looks, now and then, whether the seat is still its own.
fn check_seat(worker: &mut Worker, group: &Group, seat: u32, now_ns: u64) -> Result<(), Failure> {
    if !worker.looks_at_seat(now_ns) {
        return Ok(());
    }
    let stat = group.stat().map_err(failed("looking at the group"))?;
    let (pid, name) = (std::process::id(), worker.name());
    let mut sitting = stat.members.iter().map(|member| &member.participant);
    let occupant = sitting.find(|who| who.seat == seat);
    if occupant.is_some_and(|who| who.pid == pid && who.name == name && who.alive) {
        return Ok(());
    }
    let what = format!("member's seat {seat} of {name:?} (pid {pid}), alive, shows {occupant:?}");
    worker.report(Violation::WronglyReclaimed, &what)
}

/// Takes a member's seat. `None`: there is none to be had, which is reported.
pub fn attach(worker: &mut Worker, group: &Group) -> Result<Option<GroupMember>, Failure> {
    let deadline = Instant::now() + SEAT_PATIENCE;
    let (wait, name) = (worker.wait(), worker.name());
    let batch = u32::try_from(worker.random.any_size(worker.plan.batch_max)).unwrap_or(1);
    loop {
        match group.member().name(name.clone()).wait(wait).batch(batch).attach() {
            Ok(member) => return Ok(Some(member)),
            Err(error) if !matches!(error.code(), "seats_taken" | "group_busy") => {
                return Err(failed("attaching to the group")(error));
            }
            Err(error) if Instant::now() > deadline => {
                worker.report(Violation::LeakedSeat, &error.to_string())?;
                return Ok(None);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Says that a worker still goes round.
pub fn turn(worker: &Worker) {
    // ORDERING: relaxed; compared with a later look.
    worker.life().turns.fetch_add(1, Ordering::Relaxed);
}

impl Work {
    fn work(&mut self, worker: &mut Worker, bus: &Bus) -> Result<(), Failure> {
        loop {
            turn(worker);
            let now_ns = monotonic_ns();
            let is_calm = worker.board().phase() >= Phase::Drain;
            if !is_calm && worker.has_to_leave(now_ns) {
                // In order, with what it has in hand.
                return Ok(());
            }
            check_seat(worker, &self.group, self.member.seat(), now_ns)?;
            if !is_calm && self.naps && worker.random.percent(3) {
                std::thread::sleep(Duration::from_micros(worker.random.any_size(2_000)));
            }
            if worker.sabotages(Sabotage::Doze) && self.taken > SABOTAGE_AFTER {
                while worker.board().phase() == Phase::Work {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            match self.take(worker)? {
                Some((receipt, mark)) => self.deal_with(worker, receipt, mark, is_calm)?,
                None if self.hand.is_empty() => {
                    if is_calm && self.is_done(bus)? {
                        return Ok(());
                    }
                }
                None => self.settle_one(worker)?,
            }
            if worker.sabotages(Sabotage::Desert) && self.taken > SABOTAGE_AFTER {
                return Ok(());
            }
        }
    }

    /// Whether there is nothing to do any more, for anybody.
    fn is_done(&self, bus: &Bus) -> Result<bool, Failure> {
        let stat = self.group.stat().map_err(failed("looking at the group"))?;
        Ok(stat.backlog == 0 || bus.is_removed())
    }

    /// Takes a frame, notes that, and checks it.
    fn take(&mut self, worker: &mut Worker) -> Result<Option<(Receipt, Option<Mark>)>, Failure> {
        let waits = worker.random.percent(30);
        let timeout = Duration::from_micros(worker.random.any_size(2_000));
        let taken = if waits { self.member.receive(timeout) } else { self.member.poll() };
        let taken = taken.map_err(|error| failed("taking a frame")(error.into()))?;
        let Some(taken) = taken else {
            return Ok(None);
        };
        let receipt = taken.receipt();
        self.taken += 1;
        if is_sabotaged(worker, Sabotage::Swallow, self.taken) {
            return Ok(Some((receipt, None)));
        }
        let times = 1 + u64::from(is_sabotaged(worker, Sabotage::Overtry, self.taken)) * 300;
        let limits = Limits { delivery: self.delivery, attempts_max: self.attempts_max };
        let mut noted = Ok(None);
        for _ in 0..times {
            noted = note(worker, &self.book, &taken, limits);
        }
        // ORDERING: relaxed; a count with one writer.
        worker.life().read.store(self.taken, Ordering::Relaxed);
        match noted {
            Ok(mark) => Ok(Some((receipt, mark))),
            Err((violation, what)) => {
                worker.report(violation, &what)?;
                Ok(Some((receipt, None)))
            }
        }
    }

    /// Acknowledges a frame, or does something else with it.
    fn deal_with(
        &mut self,
        worker: &mut Worker,
        receipt: Receipt,
        mark: Option<Mark>,
        is_calm: bool,
    ) -> Result<(), Failure> {
        if is_sabotaged(worker, Sabotage::Swallow, self.taken) {
            // It is done, and nobody was told of it.
            let _done = self.member.ack(receipt);
            return Ok(());
        }
        if self.delivery == Delivery::AtMostOnce {
            return self.member.ack(receipt).map_err(|error| failed("acknowledging")(error.into()));
        }
        let has_letters = self.attempts_max.is_some();
        if has_letters && mark.is_some_and(is_poisoned) {
            let delay_ms = if is_calm { 0 } else { worker.random.within(0, 2) };
            return self.refuse(worker, receipt, delay_ms);
        }
        if is_calm {
            return self.acknowledge(worker, receipt);
        }
        let now_ns = monotonic_ns();
        if now_ns >= self.mischief_at_ns {
            self.mischief_at_ns = now_ns + worker.random.any_size(MISCHIEF_MS_MAX) * 1_000_000;
            return self.hold_up(worker, receipt);
        }
        match worker.random.within(0, 99) {
            0..=2 => self.refuse(worker, receipt, 0),
            3..=30 => {
                self.hand.push(receipt);
                if self.hand.len() < IN_HAND_MAX { Ok(()) } else { self.settle_one(worker) }
            }
            _ => self.acknowledge(worker, receipt),
        }
    }

    /// Does what holds a frame up for long.
    fn hold_up(&mut self, worker: &mut Worker, receipt: Receipt) -> Result<(), Failure> {
        match worker.random.within(0, 3) {
            0 => {
                let delay_ms = worker.random.any_size(DELAY_MS_MAX);
                self.refuse(worker, receipt, delay_ms)
            }
            1 => {
                // Longer than it may take, so that it learns that it was too late.
                std::thread::sleep(self.timeout + Duration::from_millis(2));
                self.acknowledge(worker, receipt)
            }
            // Its time ends, or it leaves before.
            2 => Ok(()),
            _ => {
                let batch = self.hand.len().min(IN_HAND_MAX / 2);
                (0..batch).try_for_each(|_| self.settle_one(worker))?;
                self.acknowledge(worker, receipt)
            }
        }
    }

    /// Acknowledges one of those in hand, in no order.
    fn settle_one(&mut self, worker: &mut Worker) -> Result<(), Failure> {
        let index = worker.random.next().checked_rem(u64::try_from(self.hand.len()).unwrap_or(0));
        match index.and_then(|index| usize::try_from(index).ok()) {
            Some(index) => {
                let receipt = self.hand.swap_remove(index);
                self.acknowledge(worker, receipt)
            }
            None => Ok(()),
        }
    }

    fn acknowledge(&mut self, worker: &mut Worker, receipt: Receipt) -> Result<(), Failure> {
        let (lane, position) = (receipt.lane(), receipt.position());
        let Ok(entry) = self.book.entry(lane, position) else {
            // It has been reported when the frame was taken.
            return Ok(());
        };
        entry.begin();
        match self.member.ack(receipt) {
            Ok(()) => {
                let mut counts = entry.done();
                if is_sabotaged(worker, Sabotage::Twice, self.taken) {
                    counts = entry.done();
                }
                settled(worker, lane, position, counts)
            }
            Err(AckError::TakenBack) => {
                entry.late();
                Ok(())
            }
            Err(error) => Err(failed("acknowledging")(error.into())),
        }
    }

    fn refuse(
        &mut self,
        worker: &mut Worker,
        receipt: Receipt,
        delay_ms: u64,
    ) -> Result<(), Failure> {
        if let Ok(entry) = self.book.entry(receipt.lane(), receipt.position()) {
            entry.refuse(worker.plan.life, (delay_ms == 0).then(monotonic_ns));
        }
        match self.member.nack(receipt, Duration::from_millis(delay_ms)) {
            Ok(()) => {
                // ORDERING: relaxed; a count.
                worker.life().deeds.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(AckError::TakenBack) => Ok(()),
            Err(error) => Err(failed("refusing")(error.into())),
        }
    }
}

/// What a group allows.
#[derive(Clone, Copy)]
struct Limits {
    delivery: Delivery,
    attempts_max: Option<u32>,
}

/// Notes that a frame was handed out, and checks it.
fn note(
    worker: &Worker,
    book: &Book,
    taken: &Delivered<'_>,
    limits: Limits,
) -> Result<Option<Mark>, Fault> {
    let frame = taken.frame();
    let (lane, position) = (frame.lane(), frame.position());
    let (counts, before) = book.entry(lane, position)?.hand_out(worker.plan.life);
    let waited_us = book_again(worker.board(), before, monotonic_ns());
    let mark = check(worker.board(), lane, position, frame.payload())?;
    let what =
        |says: &str| format!("lane {lane}, position {position}: {says}: {mark:?}, {counts:?}");
    if limits.delivery == Delivery::AtMostOnce && counts.handed > 1 {
        return Err((Violation::Doubled, what("handed out again")));
    }
    let attempt = taken.attempt();
    let is_over = |most: u32| attempt > most || counts.handed > u64::from(most);
    if limits.attempts_max.is_some_and(is_over) {
        return Err((Violation::Overtried, what(&format!("attempt {attempt}"))));
    }
    if waited_us.is_some_and(|us| Duration::from_micros(us) > AGAIN_MAX) {
        return Err((Violation::Wedged, what("its member had been dead for long")));
    }
    Ok(Some(mark))
}

/// A frame is done: for the first time, and by nobody else.
fn settled(worker: &mut Worker, lane: u32, position: u64, counts: Counts) -> Result<(), Failure> {
    if counts.done <= 1 {
        return Ok(());
    }
    let what = format!("lane {lane}, position {position}: acknowledged by two: {counts:?}");
    worker.report(Violation::Doubled, &what)
}

/// Whether everybody refuses a frame.
fn is_poisoned(mark: Mark) -> bool {
    mix(mark.life.rotate_left(32) ^ mark.sequence).is_multiple_of(POISONED_ONE_IN)
}

/// Whether a frame is one of those that are dealt with against a promise.
fn is_sabotaged(worker: &Worker, kind: Sabotage, taken: u64) -> bool {
    worker.sabotages(kind) && (SABOTAGE_AFTER..SABOTAGE_AFTER + SABOTAGED).contains(&taken)
}
