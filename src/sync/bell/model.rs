//! One sleeper and the publishers of two buses, under `loom`.
//!
//! The bells are the real ones. The barriers are real fences, since membarrier(2) is the kernel's; so is
//! the futex, of which the models keep the rule: nobody sleeps on a word that is not what it was.

use std::sync::Arc;

use loom::model::Builder;
use loom::thread;

use super::Bell;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// What one bus has of it all: something to find, and the sleeper's bell.
struct Bus {
    head: AtomicU64,
    doorbell: AtomicU32,
    sleepers: AtomicU64,
}

impl Bus {
    fn new() -> Arc<Self> {
        let (head, doorbell, sleepers) = (0, 0, 0);
        Arc::new(Self {
            head: AtomicU64::new(head),
            doorbell: AtomicU32::new(doorbell),
            sleepers: AtomicU64::new(sleepers),
        })
    }

    fn bell(&self) -> Bell<'_> {
        Bell { doorbell: &self.doorbell, sleepers: &self.sleepers, bit: 2 }
    }

    /// As `Engine::commit` of a producer does it.
    fn publish(&self) {
        self.head.store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) != 0 {
            self.bell().ring();
        }
    }

    fn has_work(&self) -> bool {
        self.head.load(Ordering::Acquire) != 0
    }
}

/// As `park::park_any` does it, up to the sleep: on what it would sleep, if it would.
fn lie_down<'a>(buses: &[&'a Bus]) -> Option<Vec<(&'a AtomicU32, u32)>> {
    let beds: Vec<_> = buses.iter().map(|bus| bus.bell().announce()).collect();
    fence(Ordering::SeqCst);
    let has_work = buses.iter().any(|bus| bus.has_work());
    (!has_work).then_some(beds)
}

/// Explores with at most three forced switches, and says how many executions that were.
pub(crate) fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    let executions = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&executions);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {} executions", executions.load(Ordering::Relaxed));
}

#[test]
fn sleeper_on_two_buses_misses_neither() {
    explore(|| {
        let (first, second) = (Bus::new(), Bus::new());
        let publishers = [&first, &second].map(|bus| {
            let bus = Arc::clone(bus);
            thread::spawn(move || bus.publish())
        });
        let asleep = lie_down(&[&first, &second]);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        if let Some(beds) = asleep {
            // Both have published: each must have changed the bell that it found announced.
            for (doorbell, rung) in beds {
                assert_ne!(doorbell.load(Ordering::Relaxed), rung, "sleeps for good");
            }
        }
    });
}

/// As the members of a group do it: none of them takes the bit back, whatever woke it.
#[test]
fn sleepers_that_share_a_bell_are_all_rung_for() {
    explore(|| {
        let bus = Bus::new();
        let publisher = {
            let bus = Arc::clone(&bus);
            thread::spawn(move || bus.publish())
        };
        let other = {
            let bus = Arc::clone(&bus);
            thread::spawn(move || lie_down(&[&bus]).map(|beds| beds[0].1))
        };
        let own = lie_down(&[&bus]).map(|beds| beds[0].1);
        let other = other.join().unwrap();
        publisher.join().unwrap();
        for rung in own.into_iter().chain(other) {
            assert_ne!(bus.doorbell.load(Ordering::Relaxed), rung, "sleeps for good");
        }
    });
}

#[test]
fn sleeper_that_lies_down_again_is_not_kept_by_an_old_ring() {
    explore(|| {
        let bus = Bus::new();
        let publisher = {
            let bus = Arc::clone(&bus);
            thread::spawn(move || bus.publish())
        };
        let first = lie_down(&[&bus]).is_some();
        bus.bell().withdraw();
        // Woken for no reason, or by the other bus: looks and lies down once more.
        let beds = lie_down(&[&bus]);
        publisher.join().unwrap();
        if let Some(beds) = beds {
            assert!(first, "what was there once is still there");
            let (doorbell, rung) = beds[0];
            assert_ne!(doorbell.load(Ordering::Relaxed), rung, "sleeps for good");
        }
    });
}
