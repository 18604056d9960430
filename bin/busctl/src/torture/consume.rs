//! A consumer: takes a seat, reads in every way that there is, and checks all that it reads.

use super::board::{Phase, Stage};
use super::gaps::Watch;
use super::ledger::is_before;
use super::plan::Sabotage;
use super::random::mix;
use super::reading::{Booked, Reading};
use super::violation::Violation;
use super::worker::{Worker, failed};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{Bus, Consumer, PollError, Role, Start, Topology};
use std::time::Duration;

/// Looks for frames before the seat and the phase are looked at.
const LOOKS: u32 = 64;

/// Runs before the one that is miscounted.
const SABOTAGE_AFTER: u64 = 200;

/// A consumer at work.
struct Work {
    consumer: Consumer,
    reading: Reading,
    watch: Watch,
    /// The first position of all.
    origin: u64,
    /// The ticket of the last run, on an `ordered` bus, counted from the first.
    ticket: Option<u64>,
    runs: u64,
    /// Sleeps now and then, so that lanes run full.
    naps: bool,
    /// What it had lost when it was looked at last.
    told: u64,
    /// How far each lane was published for sure when it was looked at last.
    floors: Vec<Option<u64>>,
}

/// What a look for frames gave.
enum Found {
    /// A run, and its ticket on an `ordered` bus.
    Run(Booked, Option<u64>),
    Nothing,
    /// Everything is read, and every producer has left.
    End,
    /// The bus has taken its place away, and so many frames with it.
    Evicted(u64),
}

/// Why a consumer has stopped reading.
enum After {
    Over,
    Evicted,
}

/// Reads until it is told to leave; attaches anew when it is evicted.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    while let Some(mut work) = attach(worker, &bus)? {
        match work.read(worker, &bus)? {
            After::Over => break,
            After::Evicted => {}
        }
    }
    worker.note_hits();
    Ok(())
}

/// Takes a seat.
fn attach(worker: &mut Worker, bus: &Bus) -> Result<Option<Work>, Failure> {
    let (wait, name) = (worker.wait(), worker.name());
    let start = if worker.random.percent(50) { Start::Oldest } else { Start::Latest };
    let options = || bus.consumer().name(name.clone()).wait(wait).start(start);
    let Some(consumer) = worker.attach(|| options().attach())? else {
        return Ok(None);
    };
    let info = bus.info();
    let mut reading = Reading::new(bus, info.on_full.is_lossless());
    for lane in 0..info.lanes {
        // On an `ordered` bus a lane's position is a lower bound until a run is found.
        let known = info.topology != Topology::Ordered;
        let at = consumer.lane_position(lane).filter(|_| known);
        let at = at.map(|position| (position, consumer.lane_lost(lane)));
        reading.ledger.join(worker.board(), lane, info.origin, at);
    }
    worker.life().sit(consumer.seat());
    worker.life().enter(Stage::Working);
    let watch = Watch::new(worker.board(), info.lanes, monotonic_ns());
    let naps = !worker.plan.stays && worker.random.percent(25);
    Ok(Some(Work {
        consumer,
        reading,
        watch,
        origin: info.origin,
        ticket: None,
        runs: 0,
        naps,
        told: 0,
        floors: Vec::new(),
    }))
}

impl Work {
    fn read(&mut self, worker: &mut Worker, bus: &Bus) -> Result<After, Failure> {
        loop {
            let now_ns = monotonic_ns();
            let phase = worker.board().phase();
            if phase != Phase::Drain && worker.has_to_leave(now_ns) {
                // In the middle of it, as consumers do.
                return Ok(After::Over);
            }
            worker.check_seat(bus, Role::Consumer, self.consumer.seat(), now_ns)?;
            if self.naps && worker.random.percent(10) {
                std::thread::sleep(Duration::from_micros(worker.random.any_size(3_000)));
            }
            self.floors =
                (0..bus.info().lanes).map(|lane| worker.board().published(lane)).collect();
            self.told = self.consumer.lost();
            self.watch.back(monotonic_ns());
            for _ in 0..LOOKS {
                match self.look(worker)? {
                    Found::Run(booked, ticket) => self.after(worker, booked, ticket)?,
                    // Who came after the last producer had left, and found nothing, never learns
                    // that there was one.
                    Found::Nothing if phase == Phase::Drain && self.is_idle() => {
                        return self.end(worker, bus);
                    }
                    Found::Nothing => std::hint::spin_loop(),
                    Found::End if phase == Phase::Drain => return self.end(worker, bus),
                    // `single` between two producers.
                    Found::End => std::thread::yield_now(),
                    Found::Evicted(lost) => return self.evicted(worker, bus, lost),
                }
            }
        }
    }

    /// Looks for frames once, in one way or another.
    fn look(&mut self, worker: &mut Worker) -> Result<Found, Failure> {
        let way = worker.random.within(0, 9);
        let Self { consumer, reading, .. } = self;
        let mut booked = None;
        let result = match way {
            0..=5 => {
                let max = usize::try_from(worker.random.any_size(512)).unwrap_or(1);
                consumer.poll_batch(max, |frames| booked = reading.book(worker, frames)).map(drop)
            }
            6 | 7 => consumer.poll().map(|frame| booked = reading.book(worker, frame.into_iter())),
            _ => {
                let timeout = Duration::from_micros(worker.random.any_size(2_000));
                let frame = consumer.recv_timeout(timeout);
                frame.map(|frame| booked = reading.book(worker, frame.into_iter()))
            }
        };
        let lane = booked.map(|booked: Booked| booked.lane);
        self.watch.look(worker.board(), lane, monotonic_ns(), way > 7);
        match (result, booked) {
            (Ok(()), Some(booked)) => {
                // The place is after the batch of the last frame once all of it has been handed out.
                let ended = booked.last.is_some_and(|last| last.index + 1 == last.count);
                let passed = u64::from(ended);
                let first = self.origin.wrapping_add(passed);
                let position = consumer.order_position();
                Ok(Found::Run(booked, position.map(|next| next.wrapping_sub(first))))
            }
            (Ok(()), None) => Ok(Found::Nothing),
            (Err(PollError::Closed), _) => Ok(Found::End),
            (Err(PollError::Evicted { lost }), _) => Ok(Found::Evicted(lost)),
            (Err(error), _) => Err(failed("polling")(error.into())),
        }
    }

    /// Whether it has seen nothing, and there is nothing to see.
    fn is_idle(&self) -> bool {
        self.runs == 0 && self.consumer.lag() == 0
    }

    /// After a run: whether the losses are right, and the order.
    fn after(
        &mut self,
        worker: &mut Worker,
        booked: Booked,
        ticket: Option<u64>,
    ) -> Result<(), Failure> {
        self.runs += 1;
        let lies = self.runs == SABOTAGE_AFTER && worker.sabotages(Sabotage::Miscount);
        let lane_lost = self.consumer.lane_lost(booked.lane) + u64::from(lies);
        let lost = self.consumer.lost();
        self.reading.settle(worker, booked.lane, lane_lost, lost)?;
        let Some((ticket, mark)) = ticket.zip(booked.last) else {
            return Ok(());
        };
        let before = self.ticket.replace(ticket);
        if let Some(before) = before.filter(|before| is_before(ticket, *before)) {
            let what = format!("ticket {ticket} comes after {before}: {mark:?}");
            worker.report(Violation::Reordered, &what)?;
        }
        let batch = mix(mark.life.rotate_left(32) ^ mark.batch());
        if !worker.board().agrees(ticket, batch) {
            let what = format!("ticket {ticket} is {mark:?} here and another batch elsewhere");
            worker.report(Violation::Reordered, &what)?;
        }
        Ok(())
    }

    /// Everything is read: every lane must have been read to its head.
    fn end(&mut self, worker: &mut Worker, bus: &Bus) -> Result<After, Failure> {
        for lane in bus.stat().lanes {
            let lane_lost = self.consumer.lane_lost(lane.lane);
            self.reading.ledger.end(lane.lane, lane.position, lane_lost);
        }
        self.reading.report(worker)?;
        Ok(After::Over)
    }

    /// It was evicted: what it is told it did not get must have been there to get.
    fn evicted(&mut self, worker: &mut Worker, bus: &Bus, lost: u64) -> Result<After, Failure> {
        for (lane, floor) in bus.stat().lanes.into_iter().zip(&self.floors) {
            let lane_lost = self.consumer.lane_lost(lane.lane);
            self.reading.ledger.evicted(lane.lane, *floor, lane.position, lane_lost);
        }
        // What it was told of before is not told again, and a call may count some of that first.
        let counted = self.consumer.lost().wrapping_sub(self.told);
        let lossless = bus.info().on_full.is_lossless();
        if lost > counted || (lossless && lost < counted) {
            let what = format!("evicted: told to have lost {lost}, and {counted} are counted");
            worker.report(Violation::Miscounted, &what)?;
        }
        self.reading.report(worker)?;
        Ok(After::Evicted)
    }
}
