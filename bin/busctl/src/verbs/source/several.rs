//! Frames of several buses, each bus into a sink of its own, by one thread that waits for all of them.

use super::{Attached, End, Flow, Limits, Progress, SLICE, Sink, Source, Step, evicted};
use crate::exit::Failure;
use crate::output::Out;
use crate::signal::Stop;
use busway::{Wait, WaitSet, Waitable};
use std::time::Duration;

/// Frames of one bus before the others are looked at again.
const BURST_FRAMES: u32 = 256;

/// One bus, and where its frames go.
pub struct Reading<S> {
    source: Source,
    sink: S,
    progress: Progress,
    is_over: bool,
}

impl<S: Sink> Reading<S> {
    /// Reads this source, a consumer, into this sink.
    pub fn new(source: Source, sink: S) -> Self {
        let progress = Progress::new(source.lost());
        Self { source, sink, progress, is_over: false }
    }

    /// Takes what there is, `most` frames at most.
    fn take(&mut self, most: u64, strict: bool) -> Result<u64, Failure> {
        let before = self.progress.taken;
        while self.progress.taken - before < most {
            let step = self.source.step(Duration::ZERO, &mut self.sink)?;
            if let Step::Evicted { lost } = step {
                self.sink.pause()?;
                return Err(evicted(lost, strict));
            }
            self.source.account(&step, &mut self.progress, &mut self.sink, strict)?;
            if let Step::Frame { .. } = step {
                continue;
            }
            self.is_over = matches!(step, Step::Removed);
            break;
        }
        Ok(self.progress.taken - before)
    }

    /// Nothing is waiting: has the bus been removed?
    fn check_removed(&mut self) {
        let is_removed = self.source.bus.is_removed();
        self.is_over |= self.progress.is_over(is_removed);
    }
}

/// Carries frames into the sinks until a limit, Ctrl-C or the removal of all buses. Limits are of all buses
/// together.
pub fn pump<S: Sink>(
    readings: &mut [Reading<S>],
    limits: Limits,
    stop: &Stop,
    out: &Out,
) -> Result<End, Failure> {
    let mut set = WaitSet::with_wait(Wait::Parking);
    let mut all = Progress::new(0);
    loop {
        let left = limits.count.map_or(u64::MAX, |count| count.saturating_sub(all.taken));
        let end = match () {
            () if left == 0 => Some(End::Count),
            () if stop.requested() => Some(End::Stopped),
            () if readings.iter().all(|reading| reading.is_over) => Some(End::Removed),
            () => None,
        };
        if let Some(end) = end {
            pause(readings)?;
            return Ok(end);
        }
        // What was written is flushed before the first wait.
        let wait = if all.idle_since.is_some() { SLICE } else { Duration::ZERO };
        let found = wait_for(&mut set, readings, wait);
        if found.is_none() {
            readings.iter_mut().for_each(Reading::check_removed);
        }
        if let Some(reading) = found.and_then(|index| readings.get_mut(index)) {
            let taken = reading.take(left.min(BURST_FRAMES.into()), limits.strict)?;
            all.taken += taken;
            if taken > 0 {
                all.idle_since = None;
                continue;
            }
        }
        all.check_idle(limits, out)?;
        if pause(readings)? == Flow::Enough {
            return Ok(End::Enough);
        }
    }
}

/// Waits for those that are not over, and says which has something.
fn wait_for<S>(set: &mut WaitSet, readings: &mut [Reading<S>], wait: Duration) -> Option<usize> {
    let mut indexes = Vec::with_capacity(readings.len());
    let mut ends: Vec<&mut dyn Waitable> = Vec::with_capacity(readings.len());
    for (index, reading) in readings.iter_mut().enumerate().filter(|(_, one)| !one.is_over) {
        if let Attached::Consumer(consumer) = &mut reading.source.end {
            indexes.push(index);
            ends.push(consumer);
        }
    }
    let found = if wait.is_zero() { set.poll(&mut ends) } else { set.wait(&mut ends, Some(wait)) };
    found.and_then(|found| indexes.get(found).copied())
}

fn pause<S: Sink>(readings: &mut [Reading<S>]) -> Result<Flow, Failure> {
    let mut flow = Flow::More;
    for reading in readings {
        if reading.sink.pause()? == Flow::Enough {
            flow = Flow::Enough;
        }
    }
    Ok(flow)
}
