//! Streams and back-pressure under tokio: `cargo run --features async --example async`.
//!
//! A task publishes orders into a ring far smaller than they are many; three tasks share them as members of a
//! group; one watches the table in which they keep count. One thread of busway sleeps for all five.

use busway::{Async, Bus, Table};
use futures_util::StreamExt as _;

const ORDERS: u64 = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [orders, done] =
        ["orders", "done"].map(|name| format!("async-{name}-{}", std::process::id()));
    let bus = Bus::options().capacity_frames(64).payload_bytes(8).create(&orders)?;
    let group = bus.group("workers").max_attempts(0).create()?;
    let table = Table::options().keys(3).value_bytes(8).create(&done)?;

    let mut working = Vec::new();
    for worker in 0..3 {
        let mut member = Async::new(group.member().attach()?);
        let mut counts = table.writer().attach()?;
        working.push(tokio::spawn(async move {
            let mut count = 0_u64;
            // The stream ends with the group.
            while let Some(order) = member.next().await {
                member.get_mut().ack(order?.receipt())?;
                count += 1;
                counts.set_bytes(worker, &count.to_le_bytes())?;
            }
            Ok::<u64, Box<dyn std::error::Error + Send + Sync>>(count)
        }));
    }
    let mut producer = Async::new(bus.producer().attach()?);
    let publishing = tokio::spawn(async move {
        for order in 0..ORDERS {
            producer.publish_bytes(1, &order.to_le_bytes()).await?;
        }
        Ok::<(), busway::PublishError>(())
    });

    let mut counts = [0_u64; 3];
    let mut changes = Async::new(table.reader().attach()?.watch());
    while counts.iter().sum::<u64>() < ORDERS {
        let change = changes.recv().await?;
        let busway::OwnedKey::U64(worker) = change.key() else {
            return Err("keys are numbers".into());
        };
        counts[usize::try_from(*worker)?] = u64::from_le_bytes(change.bytes().try_into()?);
    }
    publishing.await??;
    bus.remove_group("workers")?;
    let mut sum = 0;
    for worker in working {
        sum += worker.await?.map_err(|error| error.to_string())?;
    }
    println!("{sum} orders of three tasks: {counts:?}");
    Table::remove(&done)?;
    Bus::remove(&orders)?;
    Ok(())
}
