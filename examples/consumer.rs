//! Prints what `cargo run --example producer` publishes, without knowing its type: the bus carries
//! a schema. `cargo run --example consumer -- oldest` begins with what the ring still holds.

use busway::{Bus, PollError, Start};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Bus::open("example")?;
    let start = match std::env::args().nth(1).as_deref() {
        Some("oldest") => Start::Oldest,
        _ => Start::Latest,
    };
    let mut consumer = bus.consumer().start(start).attach()?;
    loop {
        match consumer.recv() {
            Ok(frame) => {
                let age_us = bus.now_ns().saturating_sub(frame.time_ns()) / 1000;
                print!("lane {} at {}, {age_us} us ago:", frame.lane(), frame.position());
                for (name, value) in
                    bus.schema().map(|s| s.decode(frame.payload())).iter().flatten()
                {
                    print!(" {name}={value}");
                }
                println!();
            }
            Err(PollError::Closed) => {
                println!("every producer has left");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
