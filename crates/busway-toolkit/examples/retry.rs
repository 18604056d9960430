//! Failures tried again, and what fails for good on a dead-letter bus: `cargo run -p busway-toolkit
//! --example retry`.

use std::time::Duration;

use busway::Bus;
use busway_toolkit::{
    BusSource, Config, ConfigFormat, DeadLetter, DeadLetters, Dispatcher, Failure,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("toolkit-retry-{}", std::process::id());
    let dead = format!("{name}.dead");
    let bus = Bus::options().payload_bytes(8).create(&name)?;
    // Letters are kept for who is attached before they are written, or for a durable group.
    let dead_bus = DeadLetters::bus_options(8).create(&dead)?;
    let mut letters = dead_bus.consumer().attach()?;

    let config = format!(
        r#"
        [dispatcher.orders]
        dead-letter-bus = "{dead}"

        [[dispatcher.orders.kind]]
        kind = 1
        name = "orders"
        timeout = "100ms"
        retry = {{ attempts = 3, first = "1ms", factor = 2.0 }}
        breaker = {{ failures = 50, open-for = "1s" }}
        "#
    );
    let config = Config::parse(&config, ConfigFormat::Toml)?;
    let orders = config.dispatcher.get("orders").ok_or("it is above")?;
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus)?)
        .on(1, |context, event| match event.payload.first() {
            Some(b'b') if context.attempt() < 3 => Err("try me once more".into()),
            Some(b'a' | b'b') => Ok(()),
            Some(b'c') => Err("never any good".into()),
            _ => Err(Failure::permanent("an order of nothing")),
        })
        .config(orders)?
        .build()?;

    let mut producer = bus.producer().attach()?;
    for payload in [&b"a"[..], b"b", b"c", b""] {
        producer.publish_bytes(1, payload)?;
    }
    while dispatcher.monitor().metrics().total().received < 4 {
        dispatcher.poll(Duration::from_millis(10))?;
    }
    let report = dispatcher.close(Duration::from_secs(10));
    println!("{report}");

    while let Ok(Some(frame)) = letters.poll() {
        let letter = DeadLetter::read(frame.payload())?;
        println!(
            "{} {}:{} after {} attempt(s), {:?}: {} {:?}",
            letter.bus,
            letter.lane,
            letter.position,
            letter.attempts,
            letter.reason,
            letter.error,
            letter.payload
        );
    }
    assert_eq!((report.totals.processed, report.totals.dead_lettered), (2, 2));
    Bus::remove(&name)?;
    Bus::remove(&dead)?;
    Ok(())
}
