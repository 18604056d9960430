//! One thread reads three buses: `cargo run --example wait_set`.
//!
//! Three producers publish at their own pace; the reader sleeps until any of them has something.

use std::thread;
use std::time::Duration;

use busway::{Bus, Consumer, PollError, Wait, WaitSet, Waitable};

const FRAMES: u32 = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names = ["fast", "slow", "slowest"].map(|bus| format!("{bus}-{}", std::process::id()));
    let mut consumers: Vec<Consumer> = Vec::new();
    let mut producers = Vec::new();
    for (name, pause_ms) in names.iter().zip([1, 5, 10]) {
        let bus = Bus::options().payload_bytes(8).create(name)?;
        consumers.push(bus.consumer().attach()?);
        let mut producer = bus.producer().attach()?;
        producers.push(thread::spawn(move || {
            for count in 0..FRAMES {
                producer.publish_bytes(1, &count.to_le_bytes())?;
                thread::sleep(Duration::from_millis(pause_ms));
            }
            Ok::<(), busway::PublishError>(())
        }));
    }
    let mut set = WaitSet::with_wait(Wait::Parking);
    let mut open = consumers.len();
    while open > 0 {
        let mut ends: Vec<&mut dyn Waitable> = Vec::new();
        ends.extend(consumers.iter_mut().map(|consumer| consumer as &mut dyn Waitable));
        let Some(index) = set.wait(&mut ends, None) else {
            break;
        };
        match consumers[index].poll() {
            Ok(Some(frame)) => println!("{}: frame {}", names[index], frame.position()),
            Ok(None) => {}
            Err(PollError::Closed) => {
                println!("{}: its producer has left", names[index]);
                open -= 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (producer, name) in producers.into_iter().zip(&names) {
        producer.join().map_err(|_| "a producer panicked")??;
        Bus::remove(name)?;
    }
    Ok(())
}
