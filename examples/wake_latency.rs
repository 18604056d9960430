//! How late a sleeper has a frame: `cargo run --release --features async --example wake_latency`.
//!
//! A thread publishes the time now and then; a reader that was asleep by then notes how late it has
//! it. Three ways of waiting: blocked on one bus, in a wait set of three, as a task.

use std::thread;
use std::time::Duration;

use busway::{Async, Bus, Consumer, PublishError, Wait, WaitSet};

const FRAMES: usize = 3000;
const PAUSE: Duration = Duration::from_micros(500);

type Failure = Box<dyn std::error::Error>;

/// Notes how late a frame is.
fn note(bus: &Bus, late: &mut Vec<u64>, payload: &[u8]) -> Result<(), Failure> {
    late.push(bus.now_ns() - u64::from_le_bytes(payload.try_into()?));
    Ok(())
}

fn measure(
    way: &str,
    wait: impl FnOnce(&Bus, Consumer, &mut Vec<u64>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let name = format!("wake-{}", std::process::id());
    let bus = Bus::options().payload_bytes(8).create(&name)?;
    let consumer = bus.consumer().wait(Wait::Parking).attach()?;
    let (clock, mut producer) = (bus.clone(), bus.producer().attach()?);
    let publisher = thread::spawn(move || -> Result<(), PublishError> {
        for _ in 0..FRAMES {
            thread::sleep(PAUSE);
            producer.publish_bytes(0, &clock.now_ns().to_le_bytes())?;
        }
        Ok(())
    });
    let mut late = Vec::new();
    let done = wait(&bus, consumer, &mut late);
    publisher.join().map_err(|_| "the publisher panicked")??;
    Bus::remove(&name)?;
    done?;
    late.sort_unstable();
    let at = |part: usize| late[late.len() * part / 1000] / 1000;
    println!("{way:<22} p50 {} us, p90 {} us, p99 {} us", at(500), at(900), at(990));
    Ok(())
}

fn main() -> Result<(), Failure> {
    measure("blocked on one bus", |bus, mut consumer, late| {
        while late.len() < FRAMES {
            note(bus, late, consumer.recv()?.payload())?;
        }
        Ok(())
    })?;
    let other = format!("idle-{}", std::process::id());
    let other_bus = Bus::options().create(&other)?;
    let (mut idle, mut silent) = (other_bus.consumer().attach()?, other_bus.consumer().attach()?);
    measure("in a wait set of three", |bus, mut consumer, late| {
        let mut set = WaitSet::with_wait(Wait::Parking);
        while late.len() < FRAMES {
            set.wait(&mut [&mut consumer, &mut idle, &mut silent], None);
            if let Some(frame) = consumer.poll()? {
                note(bus, late, frame.payload())?;
            }
        }
        Ok(())
    })?;
    Bus::remove(&other)?;
    measure("as a task", |bus, consumer, late| {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut consumer = Async::new(consumer);
        runtime.block_on(async {
            while let Ok(frame) = consumer.recv().await {
                note(bus, late, frame.payload())?;
            }
            Ok(())
        })
    })
}
