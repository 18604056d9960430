//! Clocks that jump and clocks that differ.
//!
//! Nobody can set CLOCK_REALTIME for one process only, so this binary has a `clock_gettime` of its
//! own, which the standard library and the library under test call instead of the C library's:
//! where a test asks for it, every reading of CLOCK_REALTIME is decades from the one before. It
//! counts the readings too, which shows that only display reads that clock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use busway::{Bus, OnFull, PublishError, Topology, Wait};
use nix::libc;

use crate::PATIENCE;
use crate::child::{Actor, Roles, namespaces, play, say, wait_for_end};
use crate::scratch::Name;

pub const ROLES: Roles = &[("jumping", jumping), ("elsewhen", elsewhen)];

/// How far the clock is from one reading to the next: a prime number of seconds, some 30 years.
const JUMP_SECONDS: i64 = 947_000_003;
/// Waits of the test.
const WAIT: Duration = Duration::from_millis(30);

static JUMPS: AtomicBool = AtomicBool::new(false);
static READINGS: AtomicU64 = AtomicU64::new(0);

/// What every caller in this process gets.
///
/// # Safety
/// As that of the C library: `time` is valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(
    clock: libc::clockid_t,
    time: *mut libc::timespec,
) -> libc::c_int {
    // SAFETY: as promised by the caller.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if clock == libc::CLOCK_REALTIME && result == 0 {
        let reading = READINGS.fetch_add(1, Ordering::Relaxed);
        if JUMPS.load(Ordering::Relaxed) {
            let sign = if reading.is_multiple_of(2) { -1 } else { 1 };
            // SAFETY: the kernel has just written there.
            unsafe { (*time).tv_sec += sign * JUMP_SECONDS * (1 + (reading % 3).cast_signed()) };
        }
    }
    if result == 0 { 0 } else { -1 }
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn jumps_of_the_time_of_day_change_nothing_but_what_is_shown() {
    let name = Name::new();
    play("jumping", &name);
}

/// Readings of CLOCK_REALTIME since the last call.
fn readings() -> u64 {
    READINGS.swap(0, Ordering::Relaxed)
}

fn jumping(name: &str) {
    JUMPS.store(true, Ordering::Relaxed);
    let (first, second) = (SystemTime::now(), SystemTime::now());
    assert!(first != second && readings() == 2, "the clock does not jump");
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::DropOldest] {
            let options = Bus::options().topology(topology).on_full(on_full).lanes(1);
            drop(options.capacity_frames(8).create(name).unwrap());
            session(name, on_full);
            Bus::remove(name).unwrap();
            readings();
        }
    }
}

fn session(name: &str, on_full: OnFull) {
    assert_eq!(readings(), 1, "its making is noted");
    let bus = Bus::open(name).unwrap();
    let mut producer = bus.producer().wait(Wait::Parking).timeout(Some(WAIT)).attach().unwrap();
    let mut consumer = bus.consumer().wait(Wait::Parking).attach().unwrap();
    assert_eq!(readings(), 2, "each attach is noted");
    let mut last = bus.now_ns();
    for number in 0..1000_u64 {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        let frame = consumer.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!(frame.payload(), number.to_le_bytes());
        assert!(frame.time_ns() >= last && frame.time_ns() <= bus.now_ns());
        last = frame.time_ns();
    }
    let start = Instant::now();
    assert!(consumer.recv_timeout(WAIT).unwrap().is_none());
    assert!(start.elapsed() >= WAIT);
    if on_full == OnFull::Block {
        while producer.try_publish_bytes(0, &[0]).is_ok() {}
        let start = Instant::now();
        assert_eq!(producer.publish_bytes(0, &[0]), Err(PublishError::TimedOut));
        assert!(start.elapsed() >= WAIT);
    }
    assert!(bus.reclaim().unwrap().is_empty());
    assert!(bus.stat().lanes[0].producer.is_some());
    drop((producer, consumer));
    assert_eq!(readings(), 0, "nothing but display reads the time of day");
}

#[test]
fn peer_whose_clock_is_another_works_and_is_recovered() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let name = Name::new();
        let options = Bus::options().topology(topology).lanes(2).capacity_frames(8);
        let bus = options.create(&name).unwrap();
        let mut consumer = bus.consumer().attach().unwrap();
        // Eleven days ahead.
        let program = namespaces(&["--time", "--monotonic", "1000000"]);
        let mut peer = Actor::start_through(&program, "elsewhen", &name);
        let its_now: u64 = peer.hear().expect("a time").parse().unwrap();
        assert!(its_now > bus.now_ns() + 900_000_000_000_000, "the clock is the same");
        let mut producer = bus.producer().timeout(Some(PATIENCE)).attach().unwrap();
        let mut next = [0_u64; 2];
        while next.iter().any(|next| *next < 1000) {
            if next[1] < 1000
                && producer.try_publish_bytes(1, &producer.published().to_le_bytes()).is_ok()
            {
                continue;
            }
            let frame = consumer.recv_timeout(PATIENCE).unwrap().unwrap();
            let which = usize::from(frame.kind());
            assert_eq!(frame.payload(), next[which].to_le_bytes());
            next[which] += 1;
        }
        drop(producer);
        peer.kill();
        let start = Instant::now();
        while bus.stat().lanes.iter().any(|lane| lane.producer.is_some()) {
            bus.reclaim().unwrap();
            assert!(start.elapsed() < PATIENCE, "the dead are not recovered");
        }
    }
}

/// Publishes a thousand frames and stays.
fn elsewhen(name: &str) {
    let bus = Bus::open(name).unwrap();
    let mut producer = bus.producer().wait(Wait::Parking).timeout(Some(PATIENCE)).attach().unwrap();
    say(bus.now_ns());
    for number in 0..1000_u64 {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
    }
    wait_for_end();
}
