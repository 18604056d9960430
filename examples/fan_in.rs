//! Four producers, one consumer, one total order, in one program: `cargo run --example fan_in`.
//!
//! The ends would do the same in processes of their own; threads keep the example in one file.

use std::thread;

use busway::{Bus, PollError, Topology};

const FRAMES: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("fan-in-{}", std::process::id());
    let bus = Bus::options().topology(Topology::Ordered).payload_bytes(8).lanes(4).create(&name)?;
    let mut consumer = bus.consumer().attach()?;
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            thread::spawn(move || -> Result<(), busway::Error> {
                let mut producer = bus.producer().attach()?;
                for count in 0..FRAMES {
                    producer.publish_bytes(0, &count.to_le_bytes())?;
                }
                Ok(())
            })
        })
        .collect();
    let mut next = [0_u64; 4];
    loop {
        match consumer.recv() {
            Ok(frame) => {
                let lane = &mut next[frame.lane() as usize];
                assert_eq!(frame.payload(), lane.to_le_bytes(), "each lane comes in order");
                *lane += 1;
                if next == [FRAMES; 4] {
                    break;
                }
            }
            // Producers may start one after the other: between them, nobody is there.
            Err(PollError::Closed) => thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    for producer in producers {
        producer.join().map_err(|_| "a producer panicked")??;
    }
    println!("read {} frames of 4 lanes in one order, lost {}", consumer.read(), consumer.lost());
    Bus::remove(&name)?;
    Ok(())
}
