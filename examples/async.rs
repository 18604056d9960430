//! Streams and back-pressure under tokio: `cargo run --features async --example async`.
//!
//! Three tasks publish, one reads them all; the ring is far smaller than what goes through it, so the
//! producers' tasks wait for the reader's. One thread of busway sleeps for all four.

use busway::{Async, Bus};
use futures_util::StreamExt as _;

const FRAMES: u64 = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("async-{}", std::process::id());
    let bus = Bus::options().lanes(3).capacity_frames(64).payload_bytes(8).create(&name)?;
    let mut frames = Async::new(bus.consumer().attach()?);
    let mut publishing = Vec::new();
    for _ in 0..3 {
        let mut producer = Async::new(bus.producer().attach()?);
        publishing.push(tokio::spawn(async move {
            for count in 0..FRAMES {
                producer.publish_bytes(1, &count.to_le_bytes()).await?;
            }
            Ok::<(), busway::PublishError>(())
        }));
    }
    let mut sums = [0_u64; 3];
    while let Some(frame) = frames.next().await {
        let frame = frame?;
        let count = u64::from_le_bytes(frame.payload().try_into()?);
        sums[frame.lane() as usize] += count;
    }
    for task in publishing {
        task.await??;
    }
    println!("{} frames of three tasks, sums {sums:?}", frames.get_ref().read());
    Bus::remove(&name)?;
    Ok(())
}
