//! A consumer that is dead is passed over before its seat is put in order, while newcomers come to
//! that seat.
//!
//! The seats' states are the library's (`layout::state`). Who declares and who sits repeats what
//! `regions::standings` and `seat` do, with a word in the place of the kernel's lock.

use loom::thread;

use super::life::{explore_deaths, until_death};
use super::*;
use crate::layout::state::SeatState;

/// A consumer's seat, of which the kernel's lock and the state matter.
pub(super) struct Seat {
    /// Who holds the lock, with `SITS` when it is the read lock; 0: nobody.
    lock: AtomicU64,
    state: AtomicU64,
    /// Brings back orders that loom would not try, as in `order::model`.
    step: AtomicU64,
}

/// Who may hold the lock.
const DEAD: u64 = 1;
const NEWCOMER: u64 = 2;
const RECOVERER: u64 = 3;
/// Set with the holder once the lock is that of who sits there.
const SITS: u64 = 1 << 8;

impl Seat {
    /// One that is taken.
    fn new() -> Self {
        let taken = SeatState::from_word(0).sat();
        let (lock, state) = (AtomicU64::new(DEAD | SITS), AtomicU64::new(taken.word()));
        Self { lock, state, step: AtomicU64::new(0) }
    }

    fn step(&self) {
        self.step.fetch_add(1, Ordering::Relaxed);
    }

    /// As `Standings::is_dead` does.
    pub(super) fn is_dead(&self) -> bool {
        self.step();
        SeatState::from_word(self.state.load(Ordering::Acquire)).is_dead()
    }

    /// As `seat::state` does.
    fn state(&self) -> SeatState {
        SeatState::from_word(self.state.load(Ordering::Acquire))
    }

    fn store(&self, state: SeatState) {
        self.state.store(state.word(), Ordering::Release);
    }

    /// As `F_OFD_GETLK` does: whether it is the read lock that is held.
    fn is_inhabited(&self) -> bool {
        self.lock.load(Ordering::Acquire) & SITS != 0
    }

    /// As `F_OFD_SETLK` does for the write lock.
    fn try_lock(&self, holder: u64) -> bool {
        self.lock.compare_exchange(0, holder, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// As `F_OFD_SETLK` does for who has the write lock and asks for the read lock.
    fn sit(&self, holder: u64) {
        self.lock.store(holder | SITS, Ordering::Release);
    }

    /// As its holder does, or for one that died the kernel.
    fn unlock(&self) {
        self.lock.store(0, Ordering::Release);
    }

    /// As `regions::bury` does.
    fn bury(&self, state: SeatState) {
        if let Some(dead) = state.died() {
            let (old, new) = (state.word(), dead.word());
            let _said = self.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

impl Lane {
    /// A lane that consumer 0 reads, who has its seat.
    fn with_seat() -> Self {
        let lane = Self::of(Some(Seat::new()));
        Consumer::attached(&lane, 0);
        lane
    }

    fn seat(&self) -> &Seat {
        self.life.step();
        self.memory.seat.as_ref().unwrap()
    }

    /// Consumer 0 reads what is there, gives nothing back and dies.
    fn read_and_die(&self) {
        let reader = LaneReader::new(self.clone(), ORIGIN);
        let mut consumer = Consumer { lane: self.clone(), number: 0, reader };
        let frames = consumer.reader.available();
        consumer.read(frames);
        self.seat().unlock();
    }

    /// As `recovery::declare` does.
    fn declare(&self) {
        let state = self.seat().state();
        if state.is_taken() && !self.seat().is_inhabited() {
            self.seat().step();
            self.seat().bury(state);
        }
    }

    /// As `recovery::reclaim_seat` does.
    fn reclaim(&self, holder: u64) {
        self.declare();
        if self.seat().try_lock(holder) {
            self.put_in_order();
            self.seat().unlock();
        }
    }

    fn put_in_order(&self) {
        if self.seat().state().is_taken() {
            self.clear_consumer(0);
            let state = self.seat().state();
            self.seat().store(state.freed());
        }
    }

    /// As `Seat::take` and then `Engine::join` do.
    fn take(&self) -> Option<Consumer> {
        self.declare();
        if !self.seat().try_lock(NEWCOMER) {
            return None;
        }
        self.put_in_order();
        self.seat().sit(NEWCOMER);
        let state = self.seat().state();
        self.seat().store(state.sat());
        Some(Consumer::join(self, 0, true))
    }
}

/// A newcomer comes to a dead one's seat, beside one who declares and a producer that publishes.
fn succession() {
    let lane = Lane::with_seat();
    let mut producer = Producer::new(&lane);
    producer.publish(2);
    lane.read_and_die();
    let finding = thread::spawn({
        let lane = lane.clone();
        move || lane.declare()
    });
    let publishing = thread::spawn(move || {
        producer.try_publish(1);
        producer.try_publish(1);
        producer
    });
    let mut newcomer = lane.take().unwrap();
    newcomer.poll();
    finding.join().unwrap();
    let mut producer = publishing.join().unwrap();
    assert!(!lane.seat().is_dead(), "one who lives is declared dead");
    newcomer.poll();
    assert_eq!(newcomer.reader.position(), producer.writer.head());
    producer.publish(2);
    assert!(!producer.try_publish(1), "the newcomer gates nobody");
    assert_eq!(newcomer.poll(), 2);
}

#[test]
fn newcomer_in_a_dead_ones_seat_is_never_passed_over() {
    explore(Some(2), succession);
}

#[test]
fn dead_consumer_is_passed_over_after_its_last_read() {
    explore(None, || {
        let lane = Lane::with_seat();
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let publishing = thread::spawn(move || {
            producer.try_publish(1);
            producer
        });
        let finding = thread::spawn({
            let lane = lane.clone();
            move || lane.declare()
        });
        lane.read_and_die();
        let mut producer = publishing.join().unwrap();
        finding.join().unwrap();
        // Sooner or later somebody finds out.
        lane.declare();
        producer.publish(1);
    });
}

#[test]
fn recoverer_that_stops_anywhere_holds_up_nobody() {
    explore_deaths(Some(3), |life| {
        let lane = Lane::with_seat();
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let mortal = lane.mortal(life);
        // It comes while the holder still lives, or later.
        let stopping = thread::spawn(move || until_death(|| mortal.reclaim(RECOVERER)));
        lane.read_and_die();
        let publishing = thread::spawn(move || {
            producer.try_publish(1);
            producer
        });
        stopping.join().unwrap();
        // What the producer does that is held up. The lock may be held for ever.
        lane.declare();
        publishing.join().unwrap().publish(1);
    });
}
