//! The lane under `loom`: every interleaving and every permitted staleness of a few operations.
//!
//! The code that runs here is the code that runs across processes; only the memory is loom's. In
//! lossless models the payload stands in cells that loom watches: a producer that wrote a slot
//! while somebody may read it, or a reader that was not ordered after the write, fails the model
//! even if the value happens to be right. In lossy models it is two atomic words per frame, which a
//! torn copy would show to be different.
//!
//! Frames hold their own position. Models begin just before positions wrap at 2^64.
//!
//! Run: `RUSTFLAGS="--cfg loom" cargo test --release --lib -p busway model`, with a target
//! directory of its own. `docs/models.md` lists what each model has been seen to catch.

#![allow(unsafe_code)] // reading and writing loom's cells

mod crash;
mod declare;
mod kept;
pub(crate) mod life;

use std::ops::Deref;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::thread;

use super::join::{self, Joining};
use super::lossy::{self, Check};
use super::reader::LaneReader;
use super::writer::LaneWriter;
use super::{Gates, is_before};
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use life::Life;

const CAPACITY: u64 = 2;
/// One position before the wrap.
const ORIGIN: u64 = u64::MAX - 1;

/// The words of a lane that stands at `at` and has never been ordered.
pub(crate) fn lane_words(at: u64) -> LaneWords {
    LaneWords {
        head: AtomicU64::new(at),
        reserve: AtomicU64::new(at),
        ticket: AtomicU64::new(0),
        ticket_at: AtomicU64::new(at.wrapping_sub(1)),
        unused_bytes: AtomicU64::new(0),
        batches: AtomicU64::new(0),
        batched_frames: AtomicU64::new(0),
        _line0: AtomicU64::new(0),
        rejected: AtomicU64::new(0),
        blocked_count: AtomicU64::new(0),
        blocked_ns: AtomicU64::new(0),
        held_since_ns: AtomicU64::new(0),
        held_frames: AtomicU64::new(0),
        kept_epoch: AtomicU64::new(0),
        kept_end: AtomicU64::new(0),
        _line1: AtomicU64::new(0),
    }
}

/// Explores with at most `preemptions` forced switches of threads; without a bound if `None`. A bound
/// is raised by as many as `MODEL_PREEMPTIONS` says. Says how many executions that were
/// (`--nocapture` shows it).
pub(crate) fn explore(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let executions = count_executions(preemptions, model);
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {executions} executions");
}

/// The same, without a word; returns how many executions there were.
fn count_executions(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) -> u64 {
    let more = std::env::var("MODEL_PREEMPTIONS").map_or(0, |more| more.parse().unwrap());
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions.map(|bound| bound + more);
    builder.max_branches = 10_000;
    let executions = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&executions);
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        model();
    });
    executions.load(Ordering::Relaxed)
}

/// One lane, its gates, and its slots in both kinds.
struct Memory {
    words: LaneWords,
    attached: AtomicU64,
    cursors: [AtomicU64; 2],
    /// Payload of lossless models.
    slots: Vec<UnsafeCell<u64>>,
    /// Payload of lossy models: every frame twice the same word.
    copies: Vec<[AtomicU64; 2]>,
    /// Of consumer 0, in models that ask how it stands.
    seat: Option<declare::Seat>,
}

// SAFETY: the cells are the only part that is not `Sync`, and loom watches each access to them.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

/// Leads one participant to the memory. Loom learns nothing from a plain `Arc`, so it hides nothing.
#[derive(Clone)]
struct Lane {
    memory: Arc<Memory>,
    life: Life,
}

impl Deref for Lane {
    type Target = LaneWords;

    fn deref(&self) -> &LaneWords {
        self.life.step();
        &self.memory.words
    }
}

impl Gates for Lane {
    fn attached(&self) -> &AtomicU64 {
        self.life.step();
        &self.memory.attached
    }

    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        self.life.step();
        self.memory.cursors.get(consumer as usize)
    }

    fn lets_go(&self, consumer: u32) -> bool {
        consumer == 0 && self.memory.seat.as_ref().is_some_and(declare::Seat::is_dead)
    }
}

impl Lane {
    fn new() -> Self {
        Self::of(None)
    }

    fn of(seat: Option<declare::Seat>) -> Self {
        let memory = Arc::new(Memory {
            words: lane_words(ORIGIN),
            attached: AtomicU64::new(0),
            cursors: [AtomicU64::new(ORIGIN), AtomicU64::new(ORIGIN)],
            slots: (0..CAPACITY).map(|_| UnsafeCell::new(0)).collect(),
            copies: (0..CAPACITY).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect(),
            seat,
        });
        Self { memory, life: Life::without_end() }
    }

    /// The same for a participant that will stop for ever.
    fn mortal(&self, life: &Life) -> Self {
        Self { memory: Arc::clone(&self.memory), life: life.clone() }
    }

    /// As `seat::recovery::clear_consumer` does.
    fn clear_consumer(&self, number: u32) {
        self.attached().fetch_and(!(1 << number), Ordering::Release);
    }

    fn slot(position: u64) -> usize {
        usize::try_from(position & (CAPACITY - 1)).unwrap()
    }
}

/// A producer on the lane.
struct Producer {
    lane: Lane,
    writer: LaneWriter<Lane, Lane>,
}

impl Producer {
    fn new(lane: &Lane) -> Self {
        let writer = LaneWriter::resume(lane.clone(), lane.clone(), CAPACITY);
        Self { lane: lane.clone(), writer }
    }

    /// Writes `count` frames if there is room for all of them, and publishes none.
    fn write(&mut self, count: u64) -> bool {
        let room = self.writer.has_room(count);
        for index in 0..if room { count } else { 0 } {
            let position = self.writer.head().wrapping_add(index);
            self.lane.life.step();
            let slot = &self.lane.memory.slots[Lane::slot(position)];
            // SAFETY: loom proves that nobody else is at the slot.
            slot.with_mut(|slot| unsafe { *slot = position });
        }
        room
    }

    /// Publishes `count` frames at once if there is room for all of them.
    fn try_publish(&mut self, count: u64) -> bool {
        let room = self.write(count);
        if room {
            self.writer.publish(count);
        }
        room
    }

    fn publish(&mut self, count: u64) {
        assert!(self.try_publish(count));
    }

    /// Writes both words of the next `count` frames, without any claim to the slots.
    fn store_words(&self, count: u64) {
        for index in 0..count {
            let position = self.writer.head().wrapping_add(index);
            for word in &self.lane.memory.copies[Lane::slot(position)] {
                self.lane.life.step();
                word.store(position, Ordering::Relaxed);
            }
        }
    }

    fn overwrite(&mut self, count: u64) {
        self.writer.overwrite(count);
        self.store_words(count);
        self.writer.publish(count);
    }
}

/// A gating consumer on the lane.
struct Consumer {
    lane: Lane,
    number: u32,
    reader: LaneReader<Lane>,
}

impl Consumer {
    /// One that was attached before the model begins.
    fn attached(lane: &Lane, number: u32) -> Self {
        lane.attached().fetch_or(1 << number, Ordering::Relaxed);
        Self { lane: lane.clone(), number, reader: LaneReader::new(lane.clone(), ORIGIN) }
    }

    /// One that joins at the oldest frame held, or at the head.
    fn join(lane: &Lane, number: u32, at_oldest: bool) -> Self {
        let cursor = lane.cursor(number).unwrap();
        let placed = if at_oldest {
            join::place(cursor, lane, CAPACITY, ORIGIN)
        } else {
            join::place_latest(cursor, lane)
        };
        let held = Joining::begin(lane.attached(), number).look(lane, CAPACITY, ORIGIN, placed);
        assert!(!is_before(held.head, held.oldest));
        let start = if at_oldest { held.oldest } else { held.head };
        let reader = LaneReader::new(lane.clone(), start);
        reader.release(lane.cursor(number).unwrap());
        Self { lane: lane.clone(), number, reader }
    }

    /// Reads what is there, all of it before giving any back. Returns how many frames there were.
    fn poll(&mut self) -> u64 {
        let available = self.reader.available_gated(CAPACITY).unwrap();
        self.read(available);
        self.reader.release(self.lane.cursor(self.number).unwrap());
        available
    }

    /// Reads the next frames, which are there.
    fn read(&mut self, frames: u64) {
        for _ in 0..frames {
            let position = self.reader.position();
            self.lane.life.step();
            // SAFETY: loom proves that nobody writes the slot meanwhile.
            let frame = self.lane.memory.slots[Lane::slot(position)].with(|slot| unsafe { *slot });
            assert_eq!(frame, position, "the frame of another position");
            self.reader.advance(1);
        }
    }

    fn leave(self) {
        self.lane.clear_consumer(self.number);
    }
}

#[test]
fn frames_are_handed_over_whole_and_slots_are_never_shared() {
    explore(None, || {
        let lane = Lane::new();
        let mut consumer = Consumer::attached(&lane, 0);
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let thread = thread::spawn(move || {
            for _ in 0..3 {
                producer.try_publish(1);
            }
            producer.writer.head()
        });
        consumer.poll();
        consumer.poll();
        let head = thread.join().unwrap();
        consumer.poll();
        assert_eq!(consumer.reader.position(), head);
    });
}

#[test]
fn batch_is_seen_whole_or_not_at_all() {
    explore(None, || {
        let lane = Lane::new();
        let mut consumer = Consumer::attached(&lane, 0);
        let mut producer = Producer::new(&lane);
        let thread = thread::spawn(move || {
            producer.try_publish(2);
            producer.try_publish(2);
            producer.writer.head()
        });
        assert_ne!(consumer.poll(), 1, "part of a batch");
        assert_ne!(consumer.poll(), 1, "part of a batch");
        let head = thread.join().unwrap();
        consumer.poll();
        assert_eq!(consumer.reader.position(), head);
    });
}

#[test]
fn slower_of_two_consumers_holds_the_producer() {
    explore(Some(3), || {
        let lane = Lane::new();
        let mut near = Consumer::attached(&lane, 0);
        let mut far = Consumer::attached(&lane, 1);
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let thread = thread::spawn(move || {
            near.poll();
            near.poll();
            near
        });
        let writing = thread::spawn(move || {
            producer.try_publish(1);
            producer.try_publish(1);
            producer.writer.head()
        });
        far.poll();
        let (mut near, head) = (thread.join().unwrap(), writing.join().unwrap());
        for consumer in [&mut near, &mut far] {
            consumer.poll();
            assert_eq!(consumer.reader.position(), head);
        }
    });
}

#[test]
fn refused_claim_leaves_everything_as_it_was() {
    explore(None, || {
        let lane = Lane::new();
        let mut consumer = Consumer::attached(&lane, 0);
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let thread = thread::spawn(move || {
            let (mut room, head) = (producer.try_publish(1), producer.writer.head());
            assert_eq!(head, ORIGIN.wrapping_add(2 + u64::from(room)));
            room |= producer.try_publish(2);
            (producer, room)
        });
        let mut read = consumer.poll();
        let (producer, _) = thread.join().unwrap();
        read += consumer.poll();
        assert_eq!(read, producer.writer.head().wrapping_sub(ORIGIN));
        assert_eq!(producer.writer.unread(), 0);
    });
}

/// A joiner beside a producer that spends credit, takes some back and renews it.
fn join_beside_a_producer(at_oldest: bool, published: u64) {
    let lane = Lane::new();
    let mut producer = Producer::new(&lane);
    for _ in 0..published {
        producer.publish(1);
    }
    let thread = thread::spawn(move || {
        // Credit for two; the second is spent with no look at anybody.
        if producer.writer.has_room(2) {
            producer.try_publish(1);
            producer.try_publish(1);
        }
        producer.try_publish(1);
        producer.writer.head()
    });
    let mut consumer = Consumer::join(&lane, 0, at_oldest);
    consumer.poll();
    let head = thread.join().unwrap();
    // Nothing published since is missed, nothing held is overwritten.
    assert!(head.wrapping_sub(consumer.reader.position()) <= CAPACITY);
    consumer.poll();
    assert_eq!(consumer.reader.position(), head);
}

#[test]
fn joiner_at_oldest_binds_a_producer_with_credit() {
    explore(Some(3), || join_beside_a_producer(true, 2));
}

#[test]
fn joiner_at_latest_misses_nothing_published_since() {
    explore(Some(3), || join_beside_a_producer(false, 1));
}

#[test]
fn seat_that_changes_hands_binds_the_producer_all_along() {
    explore(Some(3), || {
        let lane = Lane::new();
        let mut first = Consumer::attached(&lane, 0);
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        first.poll();
        let thread = thread::spawn(move || {
            producer.try_publish(1);
            producer.try_publish(1);
            producer.writer.head()
        });
        // The same bit and the same cursor, which now moves backwards.
        first.leave();
        let mut second = Consumer::join(&lane, 0, true);
        second.poll();
        let head = thread.join().unwrap();
        second.poll();
        assert_eq!(second.reader.position(), head);
    });
}

#[test]
fn consumer_that_leaves_has_read_before_its_slots_are_overwritten() {
    explore(None, || {
        let lane = Lane::new();
        let mut consumer = Consumer::attached(&lane, 0);
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let thread = thread::spawn(move || {
            producer.try_publish(1);
            producer.try_publish(1);
        });
        // Leaves without giving back what it read: only its bit says that it is done.
        assert_eq!(consumer.reader.available(), 2);
        consumer.read(2);
        consumer.leave();
        thread.join().unwrap();
    });
}

#[test]
fn announcement_taken_back_does_not_move_a_joiner_back() {
    explore(Some(2), || {
        let lane = Lane::new();
        let mut producer = Producer::new(&lane);
        producer.publish(2);
        let writing = thread::spawn(move || {
            // May be announced and taken back, for the first joiner's sake.
            producer.try_publish(2);
            producer.try_publish(2);
        });
        let joining = thread::spawn({
            let lane = lane.clone();
            move || Consumer::join(&lane, 1, true).poll()
        });
        Consumer::join(&lane, 0, true).poll();
        writing.join().unwrap();
        joining.join().unwrap();
    });
}

#[test]
fn tenant_of_a_lossless_lane_keeps_what_was_announced() {
    explore(None, || {
        let lane = Lane::new();
        let mut dead = Producer::new(&lane);
        dead.publish(2);
        // Dies with both slots of a claim written and nothing published.
        assert!(dead.write(2));
        let mut tenant = Producer::new(&lane);
        let thread = thread::spawn(move || tenant.publish(1));
        let mut consumer = Consumer::join(&lane, 0, true);
        consumer.poll();
        thread.join().unwrap();
        consumer.poll();
    });
}

/// Copies the frame at `position` and says whether the copy is to be believed.
fn copy(lane: &Lane, position: u64) -> bool {
    let words = &lane.memory.copies[Lane::slot(position)];
    let copied = [0, 1].map(|word: usize| words[word].load(Ordering::Relaxed));
    let whole = Check::after_copy(lane, CAPACITY).is_whole(position);
    if whole {
        assert_eq!(copied, [position; 2], "torn or of another lap, and believed");
    }
    whole
}

#[test]
fn copy_of_a_lossy_lane_is_whole_or_known_to_be_bad() {
    explore(None, || {
        let lane = Lane::new();
        let mut producer = Producer::new(&lane);
        producer.overwrite(2);
        let thread = thread::spawn(move || {
            producer.overwrite(1);
            producer.overwrite(1);
        });
        let mut reader = LaneReader::new(lane.clone(), ORIGIN);
        let last = ORIGIN.wrapping_add(reader.available()).wrapping_sub(1);
        copy(&lane, ORIGIN);
        copy(&lane, last);
        thread.join().unwrap();
        // All is quiet: what the lane says it holds can be had.
        let oldest = lossy::oldest(&lane, CAPACITY, ORIGIN);
        assert_eq!(oldest, ORIGIN.wrapping_add(2));
        assert!(copy(&lane, oldest) && copy(&lane, oldest.wrapping_add(1)));
        assert!(!copy(&lane, ORIGIN));
    });
}

#[test]
fn announcement_of_a_lossy_batch_covers_all_of_it() {
    explore(None, || {
        let lane = Lane::new();
        let mut producer = Producer::new(&lane);
        producer.overwrite(2);
        let thread = thread::spawn(move || producer.overwrite(2));
        copy(&lane, ORIGIN.wrapping_add(1));
        copy(&lane, ORIGIN);
        thread.join().unwrap();
    });
}

#[test]
fn tenant_after_a_death_keeps_what_was_announced() {
    explore(None, || {
        let lane = Lane::new();
        let mut dead = Producer::new(&lane);
        dead.overwrite(2);
        // Dies between the announcement and the head, both slots touched.
        dead.writer.overwrite(2);
        dead.store_words(2);
        let mut tenant = Producer::new(&lane);
        let thread = thread::spawn(move || tenant.overwrite(1));
        copy(&lane, ORIGIN);
        copy(&lane, ORIGIN.wrapping_add(1));
        thread.join().unwrap();
        assert!(copy(&lane, ORIGIN.wrapping_add(2)));
        assert!(!copy(&lane, ORIGIN.wrapping_add(1)));
    });
}

#[test]
fn observer_of_a_lossless_lane_detects_what_is_overwritten() {
    explore(None, || {
        let lane = Lane::new();
        let mut producer = Producer::new(&lane);
        for _ in 0..2 {
            assert!(producer.writer.has_room(1));
            producer.store_words(1);
            producer.writer.publish(1);
        }
        let thread = thread::spawn(move || {
            for _ in 0..2 {
                assert!(producer.writer.has_room(1));
                producer.store_words(1);
                producer.writer.publish(1);
            }
        });
        copy(&lane, ORIGIN);
        copy(&lane, ORIGIN.wrapping_add(1));
        thread.join().unwrap();
    });
}

#[test]
fn sleeper_and_publisher_cannot_both_miss_each_other() {
    // The shape of `park::park` against the publisher's `wake`, with real fences on both sides.
    explore(None, || {
        let lane = Lane::new();
        let bell = Arc::new((AtomicU64::new(0), AtomicU32::new(0)));
        let mut consumer = Consumer::attached(&lane, 0);
        let mut producer = Producer::new(&lane);
        let rings = Arc::clone(&bell);
        let thread = thread::spawn(move || {
            producer.publish(1);
            fence(Ordering::SeqCst);
            if rings.0.load(Ordering::Relaxed) != 0 {
                rings.1.fetch_add(1, Ordering::Release);
            }
        });
        let (sleepers, doorbell) = (&bell.0, &bell.1);
        let rung = doorbell.load(Ordering::Acquire);
        sleepers.fetch_or(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let asleep = consumer.reader.published() == consumer.reader.position();
        thread.join().unwrap();
        // futex(2) sleeps only while the doorbell is what it was; here nobody will ring any more.
        assert!(!asleep || doorbell.load(Ordering::Relaxed) != rung, "sleeps for good");
        assert_eq!(consumer.poll(), 1);
    });
}
