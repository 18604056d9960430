//! Prints what `cargo run --example producer` publishes, without knowing its type: the bus carries
//! a schema. `cargo run --example consumer -- oldest` begins with what the ring still holds.

use std::io::Write;
use std::process::ExitCode;

use busway::{Bus, Error, PollError, Start};

fn main() -> ExitCode {
    match print_frames() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_frames() -> Result<(), Error> {
    let bus = Bus::open("example")?;
    let start = match std::env::args().nth(1).as_deref() {
        Some("oldest") => Start::Oldest,
        _ => Start::Latest,
    };
    let mut consumer = bus.consumer().start(start).attach()?;
    loop {
        let line = match consumer.recv() {
            Ok(frame) => {
                let age_us = bus.now_ns().saturating_sub(frame.time_ns()) / 1000;
                let fields = bus.schema().map(|schema| schema.decode(frame.payload()));
                let fields: Vec<String> = fields
                    .iter()
                    .flatten()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                let (lane, position) = (frame.lane(), frame.position());
                format!("lane {lane} at {position}, {age_us} us ago: {}", fields.join(" "))
            }
            Err(PollError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Whoever reads this has gone: so does this program.
        if writeln!(std::io::stdout(), "{line}").is_err() {
            return Ok(());
        }
    }
}
