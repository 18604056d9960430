//! Many callers, one call to something slow: `cargo run --release -p busway-toolkit --example batcher`.

use std::thread;
use std::time::{Duration, Instant};

use busway_toolkit::{Batcher, CallError, Workers};

const CALLERS: u64 = 16;
const CALLS: u64 = 50;

/// A look-up that takes as long for one as for a hundred.
fn look_up(ids: Vec<u64>) -> Vec<Result<u64, String>> {
    thread::sleep(Duration::from_millis(1));
    let one =
        |id: u64| if id % 100 == 99 { Err(format!("{id} is not there")) } else { Ok(id * id) };
    ids.into_iter().map(one).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batcher = Batcher::options()
        .items(64)
        .linger(Duration::from_micros(100))
        .queue(256)
        .workers(Workers::between(1, 4))
        .build(look_up)?;

    let began = Instant::now();
    let missing: u64 = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let batcher = batcher.clone();
                scope.spawn(move || {
                    let mut missing = 0;
                    for id in (0..CALLS).map(|call| caller * CALLS + call) {
                        match batcher.call(id) {
                            Ok(square) => assert_eq!(square, id * id),
                            Err(CallError::Item(_)) => missing += 1,
                            Err(other) => panic!("{other}"),
                        }
                    }
                    missing
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap_or(0)).sum()
    });
    let report = batcher.close(Duration::from_secs(10));
    let stats = report.stats;
    println!(
        "{} calls of {CALLERS} callers in {} batches and {:?}; {missing} were not there",
        stats.answered,
        stats.batches,
        began.elapsed()
    );
    assert_eq!((stats.submitted, stats.answered, missing), (800, 800, 8));
    assert_eq!((report.not_begun, report.running), (0, 0));
    Ok(())
}
