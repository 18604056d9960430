//! What one publish and one poll cost on one core: `cargo bench --manifest-path benches/Cargo.toml`.
//!
//! Question: how many nanoseconds does the library itself add per frame, with both ends in one
//! thread so that no cache line travels? Each sample publishes a run of frames and polls them all;
//! payloads are checked. For what processes on two cores see of each other, use `busctl bench`.

use std::sync::atomic::{AtomicU64, Ordering};

use busway::{Bus, BusOptions, Consumer, FrameLayout, OnFull, Producer, Timestamps, Topology};
use divan::Bencher;
use divan::counter::ItemsCount;

/// Frames per sample: a quarter of the default ring.
const FRAMES: u64 = 1024;

fn main() {
    divan::main();
}

/// A bus of its own, with both ends attached; removed at the end.
struct Ends {
    name: String,
    producer: Producer,
    consumer: Consumer,
}

impl Ends {
    fn new(options: &BusOptions) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("micro-{}-{count}", std::process::id());
        let bus = options.create(&name).expect("shared memory for a small bus");
        let consumer = bus.consumer().attach().expect("a free seat");
        let producer = bus.producer().attach().expect("a free lane");
        Self { name, producer, consumer }
    }

    /// Publishes `FRAMES` frames and polls them.
    fn round(&mut self, payload: &mut [u8; 48]) {
        for count in 0..FRAMES {
            payload[..8].copy_from_slice(&count.to_le_bytes());
            self.producer.publish_bytes(0, payload).expect("room for a quarter ring");
        }
        let mut expected = 0_u64;
        while expected < FRAMES {
            self.consumer
                .poll_batch(usize::MAX, |frames| {
                    for frame in frames {
                        assert_eq!(frame.payload()[..8], expected.to_le_bytes());
                        expected += 1;
                    }
                })
                .expect("an honest lane");
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Err(error) = Bus::remove(&self.name) {
            eprintln!("{error}");
        }
    }
}

fn measure(bencher: Bencher<'_, '_>, options: &BusOptions) {
    let mut ends = Ends::new(&options.clone().payload_bytes(48));
    let mut payload = [7; 48];
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| ends.round(&mut payload));
}

#[divan::bench(args = ["single", "lanes", "ordered"])]
fn event_frames(bencher: Bencher<'_, '_>, topology: &str) {
    let topology: Topology = topology.parse().expect("a topology");
    measure(bencher, &Bus::options().topology(topology).timestamps(Timestamps::Off));
}

#[divan::bench]
fn bare_frames(bencher: Bencher<'_, '_>) {
    measure(bencher, &Bus::options().frames(FrameLayout::Bare));
}

#[divan::bench]
fn stamped_frames(bencher: Bencher<'_, '_>) {
    measure(bencher, &Bus::options().timestamps(Timestamps::Frame));
}

#[divan::bench]
fn lossy_frames(bencher: Bencher<'_, '_>) {
    let options = Bus::options().on_full(OnFull::DropOldest).timestamps(Timestamps::Off);
    measure(bencher, &options);
}
