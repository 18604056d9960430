//! How fast a group is: `cargo bench --manifest-path benches/Cargo.toml --bench group`.
//!
//! Question: how many frames of 48 bytes a second go from one producer through one group, each claimed,
//! read and acknowledged, by 1 to 4 members and batches of 1, 8 and 64, without keys and with as many
//! keys as frames? Beside it, in the same run, one plain consumer. Threads, not pinned; best read as
//! ratios. Each round counts its frames, and the group must have done with all of them. One round warms
//! up; then the median of seven, with the extremes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use busway::{Affinity, Bus, Timestamps};

/// Frames of a round.
const FRAMES: u64 = 1_000_000;
const ROUNDS: usize = 7;

/// A bus that is removed at the end.
struct Scratch(Bus);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = Bus::remove(self.0.name()) {
            eprintln!("{error}");
        }
    }
}

fn main() {
    println!("{:<28}{:>10}{:>10}{:>10}  M frames/s", "", "median", "least", "most");
    report("consumer", || round(0, 0, Affinity::Off));
    let keyed = Affinity::Payload { offset: 0, len: 8 };
    for (affinity, name) in [(Affinity::Off, ""), (keyed, ", keyed")] {
        for batch in [1, 8, 64] {
            for members in 1..=4 {
                let name = format!("{members} members, batch {batch}{name}");
                report(&name, || round(members, batch, affinity));
            }
        }
    }
}

fn report(name: &str, round: impl Fn() -> f64) {
    round();
    let mut rates: Vec<f64> = (0..ROUNDS).map(|_| round()).collect();
    rates.sort_by(f64::total_cmp);
    println!("{name:<28}{:>10.2}{:>10.2}{:>10.2}", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
}

/// Millions of frames a second through `members` of a group, or one consumer when there are none.
fn round(members: u32, batch: u32, affinity: Affinity) -> f64 {
    let name = format!("group-bench-{}", std::process::id());
    let options = Bus::options().timestamps(Timestamps::Off).lanes(1).capacity_frames(16 << 10);
    let scratch = Scratch(options.create(&name).expect("shared memory for a small bus"));
    let bus = &scratch.0;
    let options = bus.group("g").max_attempts(0).affinity(affinity);
    let group = (members > 0).then(|| options.create().expect("a seat"));
    let mut consumer = group.is_none().then(|| bus.consumer().attach().expect("a free seat"));
    let mut producer = bus.producer().attach().expect("a free lane");
    let over = AtomicBool::new(false);
    let start = Instant::now();
    let done: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..members)
            .map(|_| {
                let mut member = group
                    .as_ref()
                    .expect("a group")
                    .member()
                    .batch(batch)
                    .attach()
                    .expect("a seat");
                let over = &over;
                scope.spawn(move || {
                    let mut done = 0;
                    while !over.load(Ordering::Relaxed) {
                        let wait = Duration::from_millis(1);
                        let Some(taken) = member.receive(wait).expect("an honest lane") else {
                            continue;
                        };
                        std::hint::black_box(taken.frame().payload());
                        let receipt = taken.receipt();
                        member.ack(receipt).expect("in time");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        scope.spawn(move || {
            for number in 0..FRAMES {
                let mut payload = [0_u8; 48];
                payload[..8].copy_from_slice(&number.to_le_bytes());
                producer.publish_bytes(1, &payload).expect("room in the end");
            }
            // Attached until everything is taken: a consumer is not told that it is closed.
            producer.drain(Duration::from_secs(60));
        });
        let mut read = 0;
        if let Some(consumer) = &mut consumer {
            while read < FRAMES {
                let wait = Duration::from_secs(60);
                let frame = consumer.recv_timeout(wait).expect("an honest lane").expect("a frame");
                std::hint::black_box(frame.payload());
                read += 1;
            }
            consumer.release();
        } else {
            let group = group.as_ref().expect("a group");
            while group.stat().expect("an honest lane").acknowledged < FRAMES {
                std::thread::sleep(Duration::from_micros(200));
            }
            over.store(true, Ordering::Relaxed);
        }
        read + workers.into_iter().map(|one| one.join().expect("a member")).sum::<u64>()
    });
    let elapsed = start.elapsed();
    assert_eq!(done, FRAMES, "each frame once");
    #[allow(clippy::cast_precision_loss)] // far below 2^53
    let rate = FRAMES as f64 / elapsed.as_secs_f64() / 1e6;
    rate
}
