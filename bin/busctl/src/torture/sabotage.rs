//! Producers that lie: each kind breaks one promise, once, as a fault of the library would. Torture
//! that does not notice proves nothing.

use super::frame::Mark;
use super::pen::Pen;
use super::plan::Sabotage;
use super::worker::{Worker, failed};
use crate::exit::Failure;
use busway_crashable::{Producer, PublishError};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How late a frame is said to be begun: readers have seen it by then.
const LATE: Duration = Duration::from_millis(100);

/// Frames of the batch that a lie is about.
pub const COUNT: u32 = 4;

/// Publishes the batch of [`COUNT`] frames that begins at `first`, and lies about it.
pub fn publish(
    worker: &Worker,
    producer: &mut Producer,
    pen: &mut Pen,
    first: u64,
    sabotage: Sabotage,
) -> Result<(), Failure> {
    let life = worker.life();
    let batch: Vec<Mark> = (0..COUNT).map(|index| pen.mark(first, index, COUNT)).collect();
    let singles = |from: u64| (0..u64::from(COUNT)).map(move |step| from.wrapping_add(step));
    let end = first.wrapping_add(COUNT.into());
    // ORDERING: release for all; as an honest producer stores them.
    let begin = |end: u64| life.started.store(end, Ordering::Release);
    let finish = |end: u64| life.returned.store(end, Ordering::Release);
    if sabotage != Sabotage::Early {
        begin(end);
    }
    match sabotage {
        Sabotage::Skip => {
            begin(end.wrapping_add(1));
            for sequence in singles(first.wrapping_add(1)) {
                let mark = pen.mark(sequence, 0, 1);
                patiently(|| pen.copied(producer, mark, |_| {}))?;
            }
            finish(end.wrapping_add(1));
        }
        Sabotage::Repeat => {
            for sequence in [first, first] {
                let mark = pen.mark(sequence, 0, 1);
                patiently(|| pen.copied(producer, mark, |_| {}))?;
            }
            finish(first.wrapping_add(1));
            begin(first.wrapping_add(1));
        }
        Sabotage::Flip => {
            for sequence in singles(first) {
                let mark = pen.mark(sequence, 0, 1);
                patiently(|| pen.copied(producer, mark, |bytes| bytes[16] ^= 1))?;
            }
            finish(end);
        }
        Sabotage::Swap => {
            let swapped = [batch[1], batch[0], batch[2], batch[3]];
            patiently(|| pen.batch(producer, &swapped))?;
            finish(end);
        }
        Sabotage::HalfBatch => {
            let half = &batch[..batch.len() / 2];
            patiently(|| pen.batch(producer, half))?;
            finish(first.wrapping_add(u64::from(COUNT / 2)));
            begin(first.wrapping_add(u64::from(COUNT / 2)));
        }
        Sabotage::Early => {
            patiently(|| pen.batch(producer, &batch))?;
            std::thread::sleep(LATE);
            begin(end);
            finish(end);
        }
        Sabotage::Abort => {
            let never = pen.never();
            patiently(|| pen.copied(producer, never, |_| {}))?;
            finish(first.wrapping_add(1));
            begin(first.wrapping_add(1));
        }
        Sabotage::Boast => finish(end),
        Sabotage::Idle => {
            while worker.board().phase() == super::board::Phase::Work {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // The others do not lie with what they publish.
        Sabotage::Leave
        | Sabotage::Miscount
        | Sabotage::Litter
        | Sabotage::Swallow
        | Sabotage::Twice
        | Sabotage::Overtry
        | Sabotage::Desert
        | Sabotage::Doze
        | Sabotage::Abandon
        | Sabotage::Burn => {
            patiently(|| pen.batch(producer, &batch))?;
            finish(end);
        }
    }
    Ok(())
}

/// Publishes, however often it is refused.
fn patiently(mut publish: impl FnMut() -> Result<u64, PublishError>) -> Result<(), Failure> {
    loop {
        match publish() {
            Ok(_) => return Ok(()),
            Err(PublishError::Full | PublishError::TimedOut | PublishError::Contested) => {
                std::thread::yield_now();
            }
            Err(error) => return Err(failed("publishing")(error.into())),
        }
    }
}
