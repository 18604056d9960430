//! A producer: publishes frames that can be checked, in every way that there is, and says on the
//! board what it is about to commit and what it has committed.
//!
//! Before each commit it stores how many frames it has begun, after it how many have returned. So
//! when it dies, those that returned must be seen, and of the rest at most the one batch in flight,
//! wholly or not at all.

use super::board::{Phase, Stage};
use super::frame::Mark;
use super::group::journal::FRAMES;
use super::pen::Pen;
use super::plan::Sabotage;
use super::worker::{Worker, failed};
use super::{gaps, sabotage};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::{Bus, OnFull, Producer, PublishError, Role};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a publish waits at most before it looks whether it is time to leave.
const PATIENCE: Duration = Duration::from_millis(20);

/// Batches between two looks at the clock.
const BATCHES_PER_LOOK: u64 = 64;

/// Batches before the first that is sabotaged: by then the readers have settled.
const SABOTAGE_AFTER: u64 = 500;

/// One in so many batches is claimed, written and given up.
const ABORTED_ONE_IN: u64 = 16;

/// Publishes until it is told to leave.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    let (wait, name) = (worker.wait(), worker.name());
    let options = || bus.producer().name(name.clone()).wait(wait).timeout(Some(PATIENCE));
    let Some(mut producer) = worker.attach(|| options().attach())? else {
        return Ok(());
    };
    let life = worker.life();
    // ORDERING: relaxed; published by the release stores of the seat and of the tenant.
    life.start.store(producer.position(), Ordering::Relaxed);
    life.sit(producer.lane());
    // ORDERING: release, pairs with the acquire in `Ledger::join`.
    worker.board().tenant(producer.lane()).store(worker.plan.life, Ordering::Release);
    life.enter(Stage::Working);
    let mut pen = Pen::new(&bus, worker.plan.life);
    let lane = producer.lane();
    let lossy = bus.info().on_full == OnFull::DropOldest;
    let is_journaled = worker.plan.journal.is_some();
    for batches in 0_u64.. {
        if batches.is_multiple_of(BATCHES_PER_LOOK) {
            let now_ns = monotonic_ns();
            if worker.is_over(now_ns) {
                break;
            }
            worker.check_seat(&bus, Role::Producer, lane, now_ns)?;
            if is_journaled && !has_room(worker, bus.info().origin) {
                // What it published could not be accounted for any more.
                worker.life().enter(Stage::Left);
                while !worker.is_over(monotonic_ns()) {
                    std::thread::sleep(PATIENCE);
                }
                break;
            }
            if lossy || is_journaled {
                // Nobody holds it up: without a pause readers would see nothing but losses. Or others
                // have more to do with each frame.
                std::thread::sleep(Duration::from_micros(worker.random.within(0, 200)));
            }
        }
        match worker.plan.sabotage.filter(|_| batches == SABOTAGE_AFTER) {
            None => {
                if !publish(worker, &mut producer, &mut pen)? {
                    break;
                }
            }
            Some(Sabotage::Leave) => {
                producer.detach();
                return pretend(worker, &bus, lane);
            }
            Some(sabotage) => {
                // ORDERING: relaxed; this process's own word.
                let first = worker.life().returned.load(Ordering::Relaxed);
                sabotage::publish(worker, &mut producer, &mut pen, first, sabotage)?;
            }
        }
    }
    worker.note_hits();
    Ok(())
}

/// Whether the journal has room for what is published until the next look.
fn has_room(worker: &Worker, origin: u64) -> bool {
    let life = worker.life();
    // ORDERING: relaxed for both; this process's own words.
    let (start, returned) =
        (life.start.load(Ordering::Relaxed), life.returned.load(Ordering::Relaxed));
    let position = start.wrapping_add(returned).wrapping_sub(origin);
    let ahead = worker.plan.batch_max.saturating_mul(BATCHES_PER_LOOK);
    position.saturating_add(ahead) < u64::try_from(FRAMES).unwrap_or(0)
}

/// Publishes one batch, however often it is refused meanwhile. `false`: it is time to leave.
fn publish(worker: &mut Worker, producer: &mut Producer, pen: &mut Pen) -> Result<bool, Failure> {
    let count = u32::try_from(worker.random.any_size(worker.plan.batch_max)).unwrap_or(1);
    // ORDERING: relaxed; this process's own word.
    let first = worker.life().returned.load(Ordering::Relaxed);
    let end = first.wrapping_add(count.into());
    // ORDERING: release; whoever sees a frame of this batch sees that it was begun.
    worker.life().started.store(end, Ordering::Release);
    if worker.random.next().is_multiple_of(ABORTED_ONE_IN) {
        pen.abort(producer).map_err(|error| failed("giving a claim up")(error.into()))?;
    }
    let is_copied = count == 1 && worker.random.percent(50);
    let marks: Vec<Mark> = (0..count).map(|index| pen.mark(first, index, count)).collect();
    let begin_ns = monotonic_ns();
    let waited_before = producer.blocked_count();
    loop {
        let result = if is_copied {
            pen.copied(producer, pen.mark(first, 0, 1), |_| {})
        } else {
            pen.batch(producer, &marks)
        };
        match result {
            Ok(_) => break,
            Err(PublishError::Full | PublishError::TimedOut | PublishError::Contested) => {
                // ORDERING: relaxed; a count.
                worker.life().deeds.fetch_add(1, Ordering::Relaxed);
                if worker.is_over(monotonic_ns()) {
                    return Ok(false);
                }
                std::thread::yield_now();
            }
            // A recoverer has told it to leave.
            Err(PublishError::Evicted) => return Ok(false),
            Err(error) => return Err(failed("publishing")(error.into())),
        }
    }
    // ORDERING: release, pairs with the acquire in `audit`; the frames are published.
    worker.life().returned.store(end, Ordering::Release);
    if producer.blocked_count() != waited_before {
        gaps::book_wait(worker.board(), begin_ns, monotonic_ns());
    }
    Ok(true)
}

/// Goes on as if the seat were still held.
fn pretend(worker: &mut Worker, bus: &Bus, lane: u32) -> Result<(), Failure> {
    while worker.board().phase() == Phase::Work {
        worker.check_seat(bus, Role::Producer, lane, monotonic_ns())?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
