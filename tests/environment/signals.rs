//! Signals without SA_RESTART that come all the time: no spurious error, no wait that ends early,
//! no call that is begun again for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use busway::{Bus, PublishError, Wait};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::PATIENCE;
use crate::child::{Roles, play};
use crate::scratch::Name;

pub const ROLES: Roles = &[("storm", storm)];

/// Time between two signals: much less than allocating the bus below takes, much more than a page.
const PERIOD: Duration = Duration::from_micros(300);
/// How long waits are.
const WAIT: Duration = Duration::from_millis(30);

static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn catch(_signal: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

/// Signals to the thread that started it, until it goes.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn begin() -> Self {
        let action = SigAction::new(SigHandler::Handler(catch), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler touches one atomic.
        unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let process = std::process::id();
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        let send = move || {
            while !told.load(Ordering::Relaxed) {
                // SAFETY: takes numbers only. The thread outlives this one, which it joins.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
                std::thread::sleep(PERIOD);
            }
        };
        Self { stop, thread: Some(std::thread::spawn(send)) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Promise 9 (ARCHITECTURE.md).
#[test]
fn storm_of_signals_disturbs_no_call() {
    let name = Name::new();
    play("storm", &name);
}

fn storm(name: &str) {
    let storm = Storm::begin();
    // 32 MiB: the kernel takes back what an interrupted allocation had got.
    let options = Bus::options().lanes(1).capacity_frames(1 << 19).payload_bytes(48);
    let bus = options.create(name).unwrap();
    for wait in [Wait::Parking, Wait::Adaptive, Wait::Yielding, Wait::Busy] {
        let mut consumer = bus.consumer().wait(wait).attach().unwrap();
        let start = Instant::now();
        assert!(consumer.recv_timeout(WAIT).unwrap().is_none());
        assert!(start.elapsed() >= WAIT, "{wait}");
        let mut observer = bus.observer().attach().unwrap();
        let start = Instant::now();
        assert!(observer.recv_timeout(WAIT).unwrap().is_none());
        assert!(start.elapsed() >= WAIT, "{wait}");
        drop(consumer);
    }
    Bus::remove(name).unwrap();

    let bus = options.capacity_frames(4).create(name).unwrap();
    for wait in [Wait::Parking, Wait::Adaptive, Wait::Yielding, Wait::Busy] {
        full_lane(&bus, wait);
        hand_over(&bus, wait);
    }
    assert!(bus.reclaim().unwrap().is_empty());
    Bus::remove(name).unwrap();
    drop(storm);
    assert!(CAUGHT.load(Ordering::Relaxed) > 100, "it was no storm");
}

fn full_lane(bus: &Bus, wait: Wait) {
    let _consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().wait(wait).timeout(Some(WAIT)).attach().unwrap();
    while producer.try_publish_bytes(0, &[0]).is_ok() {}
    let start = Instant::now();
    assert_eq!(producer.publish_bytes(0, &[0]), Err(PublishError::TimedOut));
    assert!(start.elapsed() >= WAIT, "{wait}");
    let start = Instant::now();
    assert!(producer.drain(WAIT).left > 0);
    assert!(start.elapsed() >= WAIT, "{wait}");
}

/// A thousand frames through four slots, to a consumer on another thread.
fn hand_over(bus: &Bus, wait: Wait) {
    let mut producer = bus.producer().wait(wait).timeout(Some(PATIENCE)).attach().unwrap();
    let mut consumer = bus.consumer().wait(wait).attach().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _storm = Storm::begin();
            for number in 0..1000_u64 {
                let frame = consumer.recv_timeout(PATIENCE).unwrap().unwrap();
                assert_eq!(frame.payload(), number.to_le_bytes());
            }
        });
        for number in 0..1000_u64 {
            producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        }
        assert_eq!(producer.drain(PATIENCE).left, 0);
    });
}
