//! How late scheduled frames are, seen by a consumer: with a thread of this program, and with a daemon.
//!
//! ```sh
//! cargo run --release -p busd --example lateness [-- RUNTIME_DIR]
//! ```
//!
//! A thousand frames, one every 5 ms, each with the time at which it is due; the consumer is woken by each
//! (parking), and compares. With a runtime directory the daemon there publishes them instead.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use busd::api::{CreateSchedule, hex};
use busd::{Client, RuntimeDir};
use busway::{Bus, Wait};
use busway_schedule::{Event, Scheduler};

const FRAMES: u64 = 1_000;
const APART_NS: u64 = 5_000_000;

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("lateness-{}", std::process::id());
    let bus = Bus::options().create(&name)?;
    let mut consumer = bus.consumer().wait(Wait::Parking).attach()?;
    let daemon = std::env::args_os().nth(1).map(PathBuf::from);
    let daemon =
        daemon.map(|path| Client::connect(&RuntimeDir::resolve(Some(&path)))).transpose()?;
    // Far enough ahead for a daemon to put all of them on its disk.
    let first = unix_ns() + if daemon.is_some() { 20_000_000_000 } else { 100_000_000 };
    let dues = (0..FRAMES).map(|number| first + number * APART_NS);
    let (scheduler, _report) = Scheduler::publishing(bus.producer().attach()?)?;
    for due in dues {
        let payload = due.to_le_bytes();
        match &daemon {
            None => drop(
                scheduler.schedule(UNIX_EPOCH + Duration::from_nanos(due), Event::new(0, payload)),
            ),
            Some(client) => drop(client.create_schedule(&CreateSchedule {
                bus: name.clone(),
                payload_hex: hex::encode(&payload),
                at_unix_ns: Some(due),
                ..CreateSchedule::default()
            })?),
        }
    }
    println!(
        "scheduled {} ms before the first is due",
        first.saturating_sub(unix_ns()) / 1_000_000
    );
    let mut late_ns = Vec::new();
    while late_ns.len() < usize::try_from(FRAMES)? {
        let frame = consumer.recv()?;
        let due = u64::from_le_bytes(frame.payload().try_into()?);
        late_ns.push(unix_ns().saturating_sub(due));
    }
    late_ns.sort_unstable();
    let at = |share: f64| late_ns[((late_ns.len() - 1) as f64 * share) as usize] / 1_000;
    println!("late by p50 {} µs, p99 {} µs, max {} µs", at(0.5), at(0.99), at(1.0));
    drop(scheduler);
    Bus::remove(&name)?;
    Ok(())
}
