//! A sampler: a process that reads its part of /proc at up to 1 kHz and publishes what it read.
//!
//! Each reading is one batch: visible all or none. A reading that takes long is made less often,
//! so that a sampler never uses more than a tenth of a processor however large the machine is.

use super::sample::{Sample, Source};
use super::source::Sampler;
use crate::bench::{Identity, Station, monotonic_ns, report_to_parent, run_worker, sleep_until};
use crate::exit::Failure;
use busway::{Bus, Producer};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The shortest time between two readings.
const PERIOD_NS: u64 = 1_000_000;

/// A reading and its publishing may take one part in so many of the time.
const SHARE: u64 = 10;

/// How long the last frames may take to be read, once the demo is over.
const DRAIN: Duration = Duration::from_secs(5);

/// What a sampler process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SamplerPlan {
    pub identity: Identity,
    pub bus: String,
    pub sampler: Sampler,
}

/// What it says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Why this machine does not show what it should read; then it publishes nothing.
    pub unavailable: Option<String>,
}

/// What it says last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    /// Frames of each source, by [`Source::index`].
    pub frames: [u64; Source::ALL.len()],
    /// Readings.
    pub readings: u64,
    /// Frames that nobody had read when it gave up waiting.
    pub left: u64,
}

/// The sampler process.
pub fn run(plan: &str) -> ExitCode {
    run_worker(|| {
        let plan: SamplerPlan = serde_json::from_str(plan)
            .map_err(|error| Failure::usage(format!("the plan of a sampler: {error}")))?;
        work(Station::enter(&plan.identity)?, &plan)
    })
}

fn work(mut station: Station, plan: &SamplerPlan) -> Result<(), Failure> {
    let mut reader = match plan.sampler.open() {
        Ok(reader) => reader,
        Err(error) => {
            let why = format!("{}: {error}", plan.sampler.name());
            station.report(&Ready { unavailable: Some(why) })?;
            while station.next_order::<()>()?.is_some() {}
            return station.report(&Published { frames: [0; 6], readings: 0, left: 0 });
        }
    };
    let bus = Bus::open(&plan.bus)?;
    let mut producer: Producer<Sample> =
        bus.producer().name(plan.sampler.name()).attach_typed::<Sample>()?;
    station.report(&Ready { unavailable: None })?;
    if station.next_order::<()>()?.is_none() {
        return Ok(());
    }
    let over = over_when_orders_end(station);
    let mut published = Published { frames: [0; 6], readings: 0, left: 0 };
    let mut samples = Vec::new();
    let (mut cost_ns, mut next_ns) = (0, monotonic_ns());
    // ORDERING: relaxed; the flag publishes nothing but itself.
    while !over.load(Ordering::Relaxed) {
        let begin_ns = monotonic_ns();
        samples.clear();
        reader.read(&mut samples)?;
        stamp(&mut samples, begin_ns, published.readings);
        producer.publish_batch(&samples)?;
        published.readings += 1;
        for sample in &samples {
            if let Some(source) = Source::from_number(sample.source) {
                published.frames[source.index()] += 1;
            }
        }
        let end_ns = monotonic_ns();
        // Smoothed over some readings, so that one interruption does not slow the sampler down.
        cost_ns = (cost_ns * 7 + (end_ns - begin_ns)) / 8;
        // Beats that were missed are left out: old readings are of no use to anybody.
        next_ns = end_ns.max(next_ns + PERIOD_NS.max(cost_ns * SHARE));
        sleep_until(next_ns);
    }
    published.left = producer.drain(DRAIN).left;
    producer.detach();
    report_to_parent(&published)
}

/// Numbers the rows of each source and notes when they were read.
fn stamp(samples: &mut [Sample], read_ns: u64, reading: u64) {
    let mut rows = [0_u16; Source::ALL.len()];
    for sample in samples {
        let Some(source) = Source::from_number(sample.source) else {
            continue;
        };
        let row = &mut rows[source.index()];
        (sample.read_ns, sample.reading, sample.row) = (read_ns, reading, *row);
        *row = row.saturating_add(1);
    }
}

/// A flag that another thread raises when the parent ends this worker's orders.
fn over_when_orders_end(station: Station) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let (flag, wait) = (Arc::clone(&over), station.end_of_orders());
    std::thread::spawn(move || {
        wait();
        // ORDERING: relaxed; the flag publishes nothing but itself.
        flag.store(true, Ordering::Relaxed);
    });
    over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbered_by_source() {
        let mut samples =
            [Source::Memory, Source::Memory, Source::Load].map(|source| Sample::new(source, 0, ""));
        stamp(&mut samples, 5, 6);
        assert_eq!(samples.map(|sample| sample.row), [0, 1, 0]);
        assert!(samples.iter().all(|sample| (sample.read_ns, sample.reading) == (5, 6)));
    }
}
