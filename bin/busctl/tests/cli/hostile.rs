//! A peer with write access that scribbles over everything but the header, while everybody works.
//!
//! It may have its way with what is published and whether anybody gets on; it must not bring any
//! process down: no panic, no signal, no end of patience when asked to stop, and a daemon that goes on.
//! `BUSWAY_HOSTILE_SECONDS=60` runs it for a minute.

use crate::sandbox::{Done, PATIENCE, Running, Sandbox};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a verb may run before it is told to end.
const SHIFT: Duration = Duration::from_millis(400);
/// What the header takes: the segment's first page.
const HEADER_BYTES: u64 = 4096;

/// A small generator, so that a failure names its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators",
        // OOPSLA 2014.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64);
        &from[usize::try_from(index).unwrap()]
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Stores random words anywhere after the header until told to stop; returns how many.
fn scribble(name: &str, seed: u64, stop: &AtomicBool) -> u64 {
    let path = format!("/dev/shm/busway.{name}");
    let file = File::options().read(true).write(true).open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let mut random = Random(seed);
    let mut stored = 0;
    while !stop.load(Ordering::Relaxed) {
        // Half of it where the protocol lives, which is small.
        let end = if random.below(2) == 0 { bytes } else { bytes.min(HEADER_BYTES + 16_384) };
        let offset = HEADER_BYTES + random.below((end - HEADER_BYTES) / 8) * 8;
        let mut old = [0; 8];
        file.read_exact_at(&mut old, offset).unwrap();
        let old = u64::from_le_bytes(old);
        // Nonsense is found out at once; what is nearly right goes further.
        let word = match random.below(6) {
            0 => random.next(),
            1 => old.wrapping_add(random.below(64)),
            2 => old.wrapping_sub(random.below(64)),
            3 => random.below(512),
            4 => old ^ (1 << random.below(64)),
            _ => u64::MAX << random.below(64),
        };
        file.write_all_at(&word.to_le_bytes(), offset).unwrap();
        stored += 1;
        if stored % 16 == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    stored
}

/// Runs a verb for a shift, then asks it to end.
fn shift(sandbox: &Sandbox, args: &[&str]) -> Done {
    let mut running = Running::start(&mut sandbox.command(args), None);
    let start = Instant::now();
    while running.is_running() && start.elapsed() < SHIFT {
        std::thread::sleep(Duration::from_millis(2));
    }
    if running.is_running() {
        running.signal(Signal::INT);
    }
    running.wait()
}

/// Ended by itself with a code of ours, or by the signal that asked it to: a verb that only looks
/// leaves nothing behind, and does not catch it.
fn is_clean(done: &Done) -> bool {
    let asked = done.status.signal() == Some(Signal::INT.as_raw());
    let code_is_ours = done.status.code().is_some_and(|code| code < 10);
    (asked || code_is_ours) && !done.stderr.contains("panicked")
}

/// Promise 6 (ARCHITECTURE.md).
#[test]
fn scribbling_peer_brings_nobody_down() {
    let seconds = std::env::var("BUSWAY_HOSTILE_SECONDS").map_or(5, |text| text.parse().unwrap());
    let seed = u64::from(std::process::id());
    let sandbox = Sandbox::new();
    let kinds: [(&str, &[&str]); 5] = [
        ("single", &["--topology", "single"]),
        ("lanes", &["--lanes", "3"]),
        ("lossy", &["--on-full", "drop-oldest"]),
        ("ordered", &["--topology", "ordered", "--lanes", "3"]),
        ("ordered-lossy", &["--topology", "ordered", "--on-full", "drop-oldest"]),
    ];
    let names: Vec<String> = kinds.iter().map(|(kind, _)| sandbox.name(kind)).collect();
    for ((_, options), name) in kinds.iter().zip(&names) {
        sandbox.ok(&[&["create", name, "--capacity", "64"], *options].concat());
    }
    let daemon = sandbox.daemon_pid().expect("the daemon that made the buses");

    let stop = AtomicBool::new(false);
    let (shifts, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let scribblers: Vec<_> = names
            .iter()
            .zip(seed..)
            .map(|(name, seed)| (name, seed, &stop))
            .map(|(name, seed, stop)| scope.spawn(move || scribble(name, seed, stop)))
            .collect();
        for worker in 0..4 {
            let (sandbox, names, stop) = (&sandbox, &names, &stop);
            let (shifts, errors) = (&shifts, &errors);
            scope.spawn(move || {
                let mut random = Random(seed ^ (worker << 32));
                while !stop.load(Ordering::Relaxed) {
                    let name = random.pick(names);
                    let verbs: [&[&str]; 10] = [
                        &["pub", name, "--rate", "max", "--batch", "3"],
                        &["pub", name, "--rate", "5000"],
                        &["sub", name, "--from", "oldest", "-o", "hex", "-n", "20000"],
                        &["sub", name, "-o", "hex", "--timeout", "100ms"],
                        &["tap", name, "--from", "oldest", "-o", "hex", "-n", "20000"],
                        &["hz", name],
                        &["stat", name, "--json"],
                        &["ps", name],
                        &["ls"],
                        &["doctor", name],
                    ];
                    let args = random.pick(&verbs);
                    let done = shift(sandbox, args);
                    assert!(is_clean(&done), "seed {seed}, {args:?}: {done:?}");
                    shifts.fetch_add(1, Ordering::Relaxed);
                    errors.fetch_add(u64::from(!done.status.success()), Ordering::Relaxed);
                }
            });
        }
        // The daemon answers all along.
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let done = sandbox.run(&["ls", "--json"]);
            assert!(is_clean(&done), "seed {seed}: {done:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        let stored: u64 = scribblers.into_iter().map(|one| one.join().unwrap()).sum();
        assert!(stored > 1000, "{stored} words");
        println!("{stored} words scribbled, {} verbs run", shifts.load(Ordering::Relaxed));
    });
    let (shifts, errors) = (shifts.into_inner(), errors.into_inner());
    assert!(0 < errors && errors < shifts, "{errors} of {shifts} verbs ended in an error");
    assert_eq!(sandbox.daemon_pid(), Some(daemon), "the same daemon, after all of it");
    for name in &names {
        let start = Instant::now();
        sandbox.ok(&["rm", "-f", name]);
        assert!(start.elapsed() < PATIENCE);
    }
}
