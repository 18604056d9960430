//! Publishes typed frames at a steady rate: `cargo run --example producer`.
//!
//! It creates the bus, so the first one comes before `cargo run --example consumer`; after that, as
//! many of either as you like, in any order.

use std::time::Duration;

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{Bus, Frame, Schema};

/// The size of this process's shared and resident memory.
#[derive(Frame, FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(name = "memory", kind = 1)]
#[repr(C)]
struct Memory {
    /// Counts the samples of this producer.
    sample: u64,
    #[frame(unit = "pages")]
    resident: u64,
    #[frame(unit = "pages")]
    shared: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus =
        Bus::options().schema(Schema::of::<Memory>()).if_not_exists(true).create("example")?;
    let mut producer = bus.producer().attach_typed::<Memory>()?;
    println!("lane {} of bus {:?}; stop with Ctrl-C", producer.lane(), bus.name());
    for sample in 0.. {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let mut pages = statm.split_whitespace().skip(1).map_while(|word| word.parse().ok());
        let resident = pages.next().unwrap_or(0);
        let shared = pages.next().unwrap_or(0);
        producer.publish(&Memory { sample, resident, shared })?;
        if bus.is_removed() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
