//! A worker: a process that is a member of the group and writes the newest readings into the table.

use super::{GROUP, ROWS, is_poison, key};
use crate::bench::{Identity, Station, report_to_parent, run_worker};
use crate::demo::sample::{Sample, Source};
use crate::exit::Failure;
use busway::{AckError, Bus, Receipt, Table, TableWriter};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The longest sleep, so that orders are seen soon.
const WAIT: Duration = Duration::from_millis(20);

/// What the parent wants.
const WORK: u8 = 0;
const HOLD: u8 = 1;
const END: u8 = 2;

/// What a worker process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkerPlan {
    pub identity: Identity,
    pub bus: String,
    pub table: String,
    /// Refuses one in so many of the frames that nobody has tried yet.
    pub refuses_every: Option<u64>,
}

/// What it says when it was ordered to hold a frame, and does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Held {
    pub lane: u32,
    pub position: u64,
}

/// The worker process.
pub fn run(plan: &str) -> ExitCode {
    run_worker(|| {
        let plan: WorkerPlan = serde_json::from_str(plan)
            .map_err(|error| Failure::usage(format!("the plan of a worker: {error}")))?;
        work(Station::enter(&plan.identity)?, &plan)
    })
}

fn work(station: Station, plan: &WorkerPlan) -> Result<(), Failure> {
    let name = &plan.identity.name;
    let group = Bus::open(&plan.bus)?.open_group(GROUP)?;
    let mut member = group.member().name(name).attach()?;
    let mut latest = Table::open(&plan.table)?.writer().name(name).attach_typed::<Sample>()?;
    station.report(&())?;
    let wanted = listen(station);
    let mut fresh = 0_u64;
    loop {
        // ORDERING: relaxed; the word publishes nothing but itself.
        let order = wanted.load(Ordering::Relaxed);
        if order == END {
            return Ok(());
        }
        let Some(task) = member.receive(WAIT)? else {
            continue;
        };
        let receipt = task.receipt();
        let sample = task.frame().value::<Sample>().ok().copied();
        let Some(sample) = sample.filter(|sample| !is_poison(sample)) else {
            settled(member.nack(receipt, Duration::ZERO))?;
            continue;
        };
        // Frames that are tried a second time are always dealt with: there is no third time.
        if receipt.attempt() == 1 {
            if order == HOLD {
                return hold(receipt, &wanted);
            }
            fresh += 1;
            if plan.refuses_every.is_some_and(|every| fresh.is_multiple_of(every)) {
                settled(member.nack(receipt, Duration::ZERO))?;
                continue;
            }
        }
        keep(&mut latest, sample)?;
        settled(member.ack(receipt))?;
    }
}

/// Writes a row into the table unless a newer one stands there.
fn keep(latest: &mut TableWriter<Sample>, sample: Sample) -> Result<(), Failure> {
    if let Some(source) = Source::from_number(sample.source)
        && sample.row < ROWS
    {
        let key = key(source, sample.row);
        let written = latest.update(&*key, |old| newest(old, sample));
        written.map_err(busway::Error::from)?;
    }
    Ok(())
}

/// Of what stands in the table and what has come, the later reading.
fn newest(old: Option<Sample>, sample: Sample) -> Sample {
    old.filter(|old| old.reading > sample.reading).unwrap_or(sample)
}

/// What came too late is another worker's by now, which does the same with it.
fn settled(settled: Result<(), AckError>) -> Result<(), Failure> {
    match settled {
        Ok(()) | Err(AckError::TakenBack) => Ok(()),
        Err(error) => Err(busway::Error::from(error).into()),
    }
}

/// Says that it has a frame and does nothing with it, until it is killed.
fn hold(receipt: Receipt, wanted: &AtomicU8) -> Result<(), Failure> {
    report_to_parent(&Held { lane: receipt.lane(), position: receipt.position() })?;
    // ORDERING: relaxed; the word publishes nothing but itself.
    while wanted.load(Ordering::Relaxed) != END {
        std::thread::sleep(WAIT);
    }
    Ok(())
}

/// What the parent wants, as another thread hears it: an order is to hold a frame.
fn listen(mut station: Station) -> Arc<AtomicU8> {
    let wanted = Arc::new(AtomicU8::new(WORK));
    let heard = Arc::clone(&wanted);
    std::thread::spawn(move || {
        while let Ok(Some(())) = station.next_order() {
            // ORDERING: relaxed; the word publishes nothing but itself.
            heard.store(HOLD, Ordering::Relaxed);
        }
        // ORDERING: relaxed; the word publishes nothing but itself.
        heard.store(END, Ordering::Relaxed);
    });
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_reading_never_replaces_a_newer_one() {
        let [one, two] = [1, 2].map(|reading| {
            let mut sample = Sample::new(Source::Cpu, 0, "");
            sample.reading = reading;
            sample
        });
        assert_eq!(newest(None, one).reading, 1);
        assert_eq!(newest(Some(one), two).reading, 2);
        assert_eq!(newest(Some(two), one).reading, 2);
    }
}
