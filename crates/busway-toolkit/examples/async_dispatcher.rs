//! Handlers that are futures, under tokio:
//! `cargo run -p busway-toolkit --features async --example async_dispatcher`.
//!
//! A hundred orders, each of which waits for something that takes a while, and a price that many of them
//! ask for at once. One task does it all; the look-ups are put together into few calls.

use std::time::{Duration, Instant};

use busway_toolkit::{Batcher, BusSource, Dispatcher, Policy, Retry};

const ORDERS: u64 = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("async-orders-{}", std::process::id());
    let bus = busway::Bus::options().payload_bytes(8).create(&name)?;

    let look_up = |items: Vec<u64>| {
        std::thread::sleep(Duration::from_millis(1));
        items
            .into_iter()
            .map(|item| if item % 10 == 9 { Err("sold out") } else { Ok(item * 7) })
            .collect()
    };
    let prices = Batcher::options().items(64).build(look_up)?;
    let ask = prices.clone();
    let policy = Policy {
        timeout: Some(Duration::from_secs(1)),
        retry: Retry { first: Duration::from_millis(1), ..Retry::attempts(2) },
        ..Policy::default()
    };
    let mut dispatcher = Dispatcher::builder(BusSource::attach(&bus)?)
        .on_async(7, move |_, event| {
            let prices = ask.clone();
            async move {
                let item = u64::from_le_bytes(event.as_event().payload.try_into()?);
                let _price = prices.call_async(item).await?;
                tokio::time::sleep(Duration::from_millis(20)).await; // the bank
                Ok(())
            }
        })
        .policy(7, policy)
        .build_async(32)?;

    let began = Instant::now();
    let mut producer = bus.producer().attach()?;
    for item in 0..ORDERS {
        producer.publish_bytes(7, &item.to_le_bytes())?;
    }
    drop(producer);
    dispatcher.run_until_closed().await?;
    let report = dispatcher.close(Duration::from_secs(1)).await;
    println!("{report}, in {:?}, {} look-ups", began.elapsed(), prices.stats().batches);
    assert_eq!((report.totals.processed, report.totals.failed), (90, 10));
    prices.close(Duration::from_secs(1));
    busway::Bus::remove(&name)?;
    Ok(())
}
