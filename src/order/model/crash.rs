//! The order ring when one of its participants stops for ever, at each of its steps in turn, and
//! those who put in order what it left: one who dies over it, two at once.

use super::*;
use crate::lane::model::life::{explore_deaths, until_death};

/// A producer's seat, of which the kernel's lock and the state matter.
pub(super) struct Seat {
    /// Who holds the lock; 0: nobody.
    lock: AtomicU64,
    /// 1: taken.
    state: AtomicU64,
}

impl Seat {
    /// One whose holder died.
    pub(super) fn new() -> Self {
        Self { lock: AtomicU64::new(0), state: AtomicU64::new(1) }
    }

    /// As `F_OFD_SETLK` does.
    fn try_lock(&self, holder: u64) -> bool {
        self.lock.compare_exchange(0, holder, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// As its holder does, or for one that died the kernel.
    fn unlock(&self, holder: u64) {
        let _held = self.lock.compare_exchange(holder, 0, Ordering::Release, Ordering::Relaxed);
    }

    fn is_taken(&self) -> bool {
        self.state.load(Ordering::Acquire) == 1
    }
}

impl Bus {
    fn seat(&self, number: usize) -> &Seat {
        self.life.step();
        &self.memory.lanes[number].seat
    }

    /// As `recovery::reclaim_seat` does. Whether the seat was this one's to put in order.
    fn reclaim(&self, number: usize, holder: u64) -> bool {
        if !self.seat(number).is_taken() || !self.seat(number).try_lock(holder) {
            return false;
        }
        // Between the look and the lock somebody else may have recovered it.
        let dead = self.seat(number).is_taken();
        if dead {
            self.recover(number);
            self.seat(number).state.store(0, Ordering::Release);
        }
        self.seat(number).unlock(holder);
        dead
    }

    /// As `Seat::take` does: who finds its last holder dead puts the seat in order first.
    fn take(&self, number: usize, holder: u64) -> Option<Producer> {
        if !self.seat(number).try_lock(holder) {
            return None;
        }
        if self.seat(number).is_taken() {
            self.recover(number);
        }
        self.seat(number).state.store(1, Ordering::Release);
        Some(Producer::new(self, number))
    }

    /// As `recovery::clear_consumer` does.
    fn clear_consumer(&self, number: usize) {
        self.attached().fetch_and(!(1 << number), Ordering::Release);
    }
}

/// A producer dies in its first or second run; its lane is recovered and let again, all while an
/// impatient consumer reads.
fn death_and_succession(life: &Life, run: u64) {
    let bus = Bus::new(4);
    let mut consumer = Consumer::attached(&bus, 0);
    let mortal = bus.mortal(life);
    let thread = thread::spawn(move || {
        until_death(|| {
            let mut dies = Producer::new(&mortal, 0);
            dies.try_publish(run);
            dies.try_publish(1);
        });
        let head = bus.recover(0);
        // Recovery that is cut short is begun anew.
        assert_eq!(bus.recover(0), head);
        let mut tenant = Producer::new(&bus, 0);
        tenant.try_publish(1);
        tenant.writer.head()
    });
    consumer.poll();
    let head = thread.join().unwrap();
    assert_complete(&consumer.end(), 0, head);
}

#[test]
fn runs_of_a_producer_that_dies_anywhere_are_seen_once_and_its_lane_goes_on() {
    explore_deaths(Some(2), |life| death_and_succession(life, 1));
}

#[test]
fn batch_of_a_producer_that_dies_anywhere_is_seen_whole_or_not_at_all() {
    explore_deaths(Some(2), |life| death_and_succession(life, 2));
}

#[test]
fn ring_goes_round_over_the_holes_of_a_producer_that_dies_anywhere() {
    explore_deaths(Some(2), |life| {
        let bus = Bus::new(2);
        let mut consumer = Consumer::attached(&bus, 0);
        let mut lives = Producer::new(&bus, 0);
        assert!(lives.try_publish(1));
        let mortal = bus.mortal(life);
        let dying = thread::spawn({
            let bus = bus.clone();
            move || {
                until_death(|| Producer::new(&mortal, 1).try_publish(1));
                bus.recover(1)
            }
        });
        let publishing = thread::spawn(move || {
            lives.try_publish(1);
            lives
        });
        consumer.poll();
        let (head, mut lives) = (dying.join().unwrap(), publishing.join().unwrap());
        // Every entry is wanted again, that of the hole too.
        for _ in 0..3 {
            consumer.drain();
            assert!(lives.try_publish(1), "the hole keeps the ring full");
        }
        let seen = consumer.end();
        assert_complete(&seen, 0, lives.writer.head());
        assert_complete(&seen, 1, head);
    });
}

#[test]
fn puncher_that_dies_anywhere_leaves_one_order() {
    explore_deaths(Some(1), |life| {
        let bus = Bus::new(2);
        let mut lives = Consumer::attached(&bus, 0);
        let mortal = bus.mortal(life);
        let mut dies = Consumer::attached(&bus, 1);
        dies.leads_to(&mortal);
        let mut producer = Producer::new(&bus, 0);
        let publishing = thread::spawn(move || {
            producer.try_publish(1);
            producer
        });
        let dying = thread::spawn({
            let bus = bus.clone();
            move || {
                until_death(|| dies.poll());
                bus.clear_consumer(1);
            }
        });
        lives.poll();
        dying.join().unwrap();
        let mut producer = publishing.join().unwrap();
        // Nothing of the dead one holds the producer up, for a whole lap and more.
        for _ in 0..3 {
            lives.drain();
            assert!(producer.try_publish(1));
        }
        assert_complete(&lives.end(), 0, producer.writer.head());
    });
}

#[test]
fn joiner_that_dies_anywhere_holds_nobody_once_it_is_recovered() {
    explore_deaths(Some(1), |life| {
        let bus = Bus::new(2);
        let mut producer = Producer::new(&bus, 0);
        assert!(producer.try_publish(1));
        let mortal = bus.mortal(life);
        let thread = thread::spawn({
            let bus = bus.clone();
            move || {
                until_death(|| Consumer::join(&mortal, 0, true).poll());
                bus.clear_consumer(0);
                let mut newcomer = Consumer::join(&bus, 0, true);
                newcomer.poll();
                newcomer
            }
        });
        producer.try_publish(1);
        let mut newcomer = thread.join().unwrap();
        for _ in 0..3 {
            newcomer.drain();
            assert!(producer.try_publish(1));
        }
        assert_joined(&newcomer.end(), &[producer]);
    });
}

/// Promise 4 (ARCHITECTURE.md).
#[test]
fn recoverer_that_dies_anywhere_leaves_the_rest_to_the_next() {
    explore_deaths(Some(2), |life| {
        let bus = Bus::new(2);
        let mut consumer = Consumer::attached(&bus, 0);
        die_after_commit(&bus);
        let mortal = bus.mortal(life);
        let dying = thread::spawn({
            let bus = bus.clone();
            move || {
                until_death(|| mortal.reclaim(0, 1));
                bus.seat(0).unlock(1);
            }
        });
        let taking = thread::spawn({
            let bus = bus.clone();
            move || bus.take(0, 2).map(|mut tenant| tenant.try_publish(1))
        });
        consumer.poll();
        dying.join().unwrap();
        // The tenant had its turn or finds the seat locked by who was recovering it.
        if taking.join().unwrap().is_none() {
            assert!(bus.take(0, 2).is_some_and(|mut tenant| tenant.try_publish(1)));
        }
        let head = bus.recover(0);
        assert!(is_before(ORIGIN, head));
        assert_complete(&consumer.end(), 0, head);
    });
}

#[test]
fn seat_that_two_recover_at_once_is_put_in_order_by_one_of_them() {
    explore(Some(2), || {
        let bus = Bus::new(2);
        let consumer = Consumer::attached(&bus, 0);
        die_after_commit(&bus);
        let recovering = [1, 2].map(|holder| {
            let bus = bus.clone();
            thread::spawn(move || bus.reclaim(0, holder))
        });
        let tenant = bus.take(0, 3).map(|mut tenant| {
            assert!(tenant.try_publish(1));
            tenant.writer.head()
        });
        let recovered = recovering.map(|thread| thread.join().unwrap());
        // A tenant that was first has put it in order itself, and then nobody else may.
        let times = recovered.into_iter().filter(|recovered| *recovered).count();
        assert!(times <= 1);
        assert!(times == 1 || tenant.is_some());
        let head = tenant.unwrap_or_else(|| ORIGIN.wrapping_add(1));
        assert_complete(&consumer.end(), 0, head);
    });
}
