//! Events to handlers by kind, on a pool of workers: `cargo run -p busway-toolkit --example dispatcher`.
//!
//! The producer would do the same in a process of its own; a thread keeps the example in one file.

use std::thread;
use std::time::Duration;

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{Bus, Frame};
use busway_toolkit::{BusSource, Context, Dispatcher, Event, Failure, Middleware, Workers};

#[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(kind = 1, name = "order")]
#[repr(C)]
struct Order {
    item: u32,
    count: u32,
}

/// Around every handler.
struct Log;

impl Middleware for Log {
    fn on_error(&self, context: &Context<'_>, event: &Event<'_>, failure: &Failure) {
        println!("{} at {}: {failure}", context.handler(), event.position);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("toolkit-dispatcher-{}", std::process::id());
    let bus = Bus::options().payload_bytes(8).create(&name)?;
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus)?)
        .on_frame(|_, order: &Order| match order.item % 250 {
            249 => Err(Failure::permanent("no such item")),
            _ => Ok(()),
        })
        .on(2, |_, event| {
            println!("a note: {}", String::from_utf8_lossy(event.payload));
            Ok(())
        })
        .middleware(Log)
        .workers(Workers::between(1, 4))
        .build()?;

    let publishing = bus.clone();
    let producer = thread::spawn(move || -> Result<(), busway::Error> {
        let mut producer = publishing.producer().attach()?;
        for item in 0..1000_u32 {
            producer.publish_bytes(Order::KIND, Order { item, count: 1 }.as_bytes())?;
        }
        producer.publish_bytes(2, b"the end")?;
        producer.publish_bytes(3, b"nobody")?;
        Ok(())
    });
    while dispatcher.monitor().metrics().total().received < 1002 {
        dispatcher.poll(Duration::from_millis(10))?;
    }
    producer.join().map_err(|_| "the producer panicked")??;

    let report = dispatcher.close(Duration::from_secs(10));
    println!("{report}");
    assert_eq!((report.totals.processed, report.totals.failed), (997, 4));
    Bus::remove(&name)?;
    Ok(())
}
