//! The scenario `pipeline`: work that is shared, tried again and accounted for to the last frame.
//!
//! ```text
//! 5 samplers ─ lanes of demo-PID ─ group `work` ┬ worker 1  killed in the middle, with a frame in hand
//!                                               ├ worker 2  refuses every hundredth frame once
//!                                               ├ worker 3                 │
//!                                               └ worker 4  for worker 1   ├─ table demo-PID.latest
//!                                                                          └─ demo-PID.work.dead
//! ```
//! Every box is a process; this one, the conductor, only looks. Each worker writes what it was handed
//! into the table, if it is newer than what stands there, and acknowledges it then: whatever is done
//! twice gives the same table. Some frames are poison: everybody refuses them, so that they end as
//! dead letters. There is no daemon in this.
//!
//! `stage` starts, kills and ends; `worker` is a worker's process; `view` is what is seen meanwhile;
//! `summary` compares the counts at the end. What is compared are positions and lists, which a death
//! leaves exact; counters of attempts are shown and nothing depends on them.

mod stage;
mod summary;
mod view;
mod worker;

pub use stage::run;
pub use worker::run as worker;

use super::sample::{Sample, Source};
use std::time::Duration;

/// The group's name.
const GROUP: &str = "work";

/// Attempts after which a frame is a dead letter.
const ATTEMPTS: u32 = 2;

/// How long a worker may take: far longer than any is held up on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One in so many `load` readings is poison.
const POISON_EVERY: u64 = 64;

/// Poison frames of a demo at most: the bus for dead letters holds twice as many.
const POISON_MAX: u64 = 2048;

/// Rows of a source that the table keeps; a machine may have more processors than anybody reads of.
const ROWS: u16 = 64;

/// Whether nobody can deal with this frame.
fn is_poison(sample: &Sample) -> bool {
    sample.source == Source::Load as u16
        && sample.reading % POISON_EVERY == POISON_EVERY - 1
        && sample.reading / POISON_EVERY < POISON_MAX
}

/// Poison frames among the first so many readings.
fn poison_of(readings: u64) -> u64 {
    (readings / POISON_EVERY).min(POISON_MAX)
}

/// The reading of a source that the table has to end with, when so many were published: the last that
/// is no poison.
fn newest_of(source: Source, readings: u64) -> Option<u64> {
    let last = readings.checked_sub(1)?;
    let mut sample = Sample::new(source, 0, "");
    sample.reading = last;
    if is_poison(&sample) { last.checked_sub(1) } else { Some(last) }
}

/// The key of a row in the table.
fn key(source: Source, row: u16) -> String {
    format!("{}/{row}", source.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_is_counted_as_it_is_told() {
        let mut sample = Sample::new(Source::Load, 0, "");
        let mut seen = 0;
        for reading in 0..POISON_EVERY * (POISON_MAX + 2) {
            assert_eq!(poison_of(reading), seen);
            sample.reading = reading;
            seen += u64::from(is_poison(&sample));
        }
        assert_eq!(seen, POISON_MAX);
        sample = Sample::new(Source::Cpu, 0, "");
        sample.reading = POISON_EVERY - 1;
        assert!(!is_poison(&sample));
    }

    #[test]
    fn the_newest_reading_is_the_last_that_is_no_poison() {
        assert_eq!(newest_of(Source::Load, 0), None);
        assert_eq!(newest_of(Source::Load, POISON_EVERY), Some(POISON_EVERY - 2));
        assert_eq!(newest_of(Source::Load, POISON_EVERY + 1), Some(POISON_EVERY));
        assert_eq!(newest_of(Source::Cpu, POISON_EVERY), Some(POISON_EVERY - 1));
    }
}
