//! The order ring under `loom`: every interleaving and every permitted staleness of a few steps.
//!
//! Producers, consumers and recoverers here are those of `crate::producer`, `crate::consumer` and
//! `crate::seat` with everything but the protocol left out: `Producer::commit` does what the
//! engine's commit does, `Consumer::poll` what the consumer's does. Payloads stand in cells that
//! loom watches, as in `lane::model`. Consumers are impatient: their clock jumps by more than the
//! patience whenever it is read, so that the second look at a hole punches it.
//!
//! Whatever happens, each model ends with the same question (`Consumer::end`): has every consumer
//! seen exactly the frames that were committed, each once, in the order of their tickets?

#![allow(unsafe_code)] // reading and writing loom's cells

mod crash;

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;

use super::reader::{Next, OrderReader, locate, recorded};
use super::writer::{NotCommitted, OrderWriter, PATIENCE_MAX_NS, PATIENCE_NS};
use super::{Laps, OrderWords, join, recover};
use crate::lane::join::Joining;
use crate::lane::model::life::Life;
use crate::lane::model::{explore, lane_words};
use crate::lane::reader::LaneReader;
use crate::lane::writer::LaneWriter;
use crate::lane::{self, Gates, is_before, later};
use crate::layout::entry::Entry;
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering};

const LANES: usize = 2;
const CAPACITY: u64 = 2;
/// One position, and one ticket, before the wrap.
const ORIGIN: u64 = u64::MAX;

/// A lane, its cursors, its slots and the tickets beside them, and its producer's seat.
struct LaneMemory {
    words: LaneWords,
    seat: crash::Seat,
    cursors: [AtomicU64; 2],
    slots: Vec<UnsafeCell<u64>>,
    tickets: Vec<AtomicU64>,
}

/// A whole ordered bus.
struct Memory {
    tail: AtomicU64,
    entries: Vec<AtomicU64>,
    attached: AtomicU64,
    cursors: [AtomicU64; 2],
    patience_ns: AtomicU64,
    punches: AtomicU64,
    lanes: [LaneMemory; LANES],
    /// Touched between steps by everybody. Loom tries both orders of two accesses only if nobody,
    /// not even one of the two, touched the word in between, so a load before a CAS would hide an
    /// earlier load by another thread. Relaxed, it orders nothing that a model could rely on.
    step: AtomicU64,
}

// SAFETY: the cells are the only part that is not `Sync`, and loom watches each access to them.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

/// Leads one participant to the bus. Loom learns nothing from a plain `Arc`, so it hides nothing.
#[derive(Clone)]
struct Bus {
    memory: Arc<Memory>,
    life: Life,
}

impl OrderWords for Bus {
    fn tail(&self) -> &AtomicU64 {
        self.life.step();
        &self.memory.tail
    }
    fn entries(&self) -> &[AtomicU64] {
        self.life.step();
        &self.memory.entries
    }
    fn attached(&self) -> &AtomicU64 {
        self.life.step();
        &self.memory.attached
    }
    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        self.life.step();
        self.memory.cursors.get(consumer as usize)
    }
    fn patience_ns(&self) -> &AtomicU64 {
        self.life.step();
        &self.memory.patience_ns
    }
    fn punches(&self) -> &AtomicU64 {
        self.life.step();
        &self.memory.punches
    }
}

/// One lane of the bus.
#[derive(Clone)]
struct Lane {
    bus: Bus,
    number: usize,
}

impl Lane {
    fn memory(&self) -> &LaneMemory {
        &self.bus.memory.lanes[self.number]
    }
}

impl Deref for Lane {
    type Target = LaneWords;

    fn deref(&self) -> &LaneWords {
        self.bus.life.step();
        &self.memory().words
    }
}

impl Gates for Lane {
    fn attached(&self) -> &AtomicU64 {
        self.bus.attached()
    }

    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        self.bus.life.step();
        self.memory().cursors.get(consumer as usize)
    }
}

fn slot(position: u64) -> usize {
    usize::try_from(position & (CAPACITY - 1)).unwrap()
}

/// What the frame at a position of a lane holds.
fn payload(lane: usize, position: u64) -> u64 {
    position.wrapping_mul(8).wrapping_add(lane as u64)
}

impl Bus {
    fn new(entries: usize) -> Self {
        let memory = Arc::new(Memory {
            tail: AtomicU64::new(ORIGIN),
            entries: (0..entries).map(|_| AtomicU64::new(0)).collect(),
            attached: AtomicU64::new(0),
            cursors: [AtomicU64::new(ORIGIN), AtomicU64::new(ORIGIN)],
            patience_ns: AtomicU64::new(PATIENCE_NS),
            punches: AtomicU64::new(0),
            step: AtomicU64::new(0),
            lanes: std::array::from_fn(|_| LaneMemory {
                words: lane_words(ORIGIN),
                seat: crash::Seat::new(),
                cursors: [AtomicU64::new(ORIGIN), AtomicU64::new(ORIGIN)],
                slots: (0..CAPACITY).map(|_| UnsafeCell::new(0)).collect(),
                tickets: (0..CAPACITY).map(|_| AtomicU64::new(0)).collect(),
            }),
        });
        Self { memory, life: Life::without_end() }
    }

    /// The same for a participant that will stop for ever.
    fn mortal(&self, life: &Life) -> Self {
        Self { memory: Arc::clone(&self.memory), life: life.clone() }
    }

    fn laps(&self) -> Laps {
        Laps::new(self.memory.entries.len() as u64, ORIGIN)
    }

    fn step(&self) {
        self.memory.step.fetch_add(1, Ordering::Relaxed);
    }

    fn lane(&self, number: usize) -> Lane {
        Lane { bus: self.clone(), number }
    }

    /// Settles a dead producer's lane, as `seat::recovery` does.
    fn recover(&self, number: usize) -> u64 {
        self.step();
        let lane = self.lane(number);
        let cursor = |consumer| Gates::cursor(&lane, consumer);
        let lane_number = u32::try_from(number).unwrap();
        let head = recover::head(lane_number, &lane, self, self.laps(), CAPACITY, cursor);
        lane.head.store(head, Ordering::Release);
        head
    }
}

/// A producer of an ordered bus.
struct Producer {
    lane: Lane,
    writer: LaneWriter<Lane, Lane>,
    order: OrderWriter<Bus>,
}

impl Producer {
    fn new(bus: &Bus, number: usize) -> Self {
        let lane = bus.lane(number);
        let writer = LaneWriter::resume(lane.clone(), lane.clone(), CAPACITY);
        let name = u8::try_from(number).unwrap();
        // A margin of one ticket: the rings of these models are no longer than two entries.
        let order = OrderWriter::new(bus.clone(), bus.laps(), name, 1, true);
        Self { lane, writer, order }
    }

    /// Writes `count` frames to the lane, if there is room for them.
    fn write(&mut self, count: u64) -> bool {
        let room = self.writer.has_room(count);
        for index in 0..if room { count } else { 0 } {
            let position = self.writer.head().wrapping_add(index);
            let frame = payload(self.lane.number, position);
            self.lane.bus.life.step();
            // SAFETY: loom proves that nobody else is at the slot.
            self.lane.memory().slots[slot(position)].with_mut(|slot| unsafe { *slot = frame });
        }
        room
    }

    /// Stores a ticket beside the first slot, and where recovery finds it.
    fn record(lane: &Lane, first: u64, ticket: u64) {
        lane.bus.life.step();
        lane.memory().tickets[slot(first)].store(ticket, Ordering::Relaxed);
        lane.ticket.store(ticket, Ordering::Relaxed);
        lane.ticket_at.store(first, Ordering::Release);
    }

    /// Commits what was written and goes no further: `head` stays.
    fn order(&mut self, count: u64) -> Result<u64, NotCommitted> {
        let (first, lane) = (self.writer.head(), &self.lane);
        let result = self.order.commit(count, |ticket| Self::record(lane, first, ticket));
        lane.bus.step();
        result
    }

    /// Publishes `count` frames if neither the lane nor the ring is full.
    fn try_publish(&mut self, count: u64) -> bool {
        let done = self.write(count) && self.order(count).is_ok();
        if done {
            self.writer.publish(count);
        }
        done
    }

    /// Takes a ticket and dies, before or after having recorded it.
    fn die_with_ticket(self, recorded: bool) {
        let ticket = self.lane.bus.memory.tail.fetch_add(1, Ordering::Relaxed);
        if recorded {
            Self::record(&self.lane, self.writer.head(), ticket);
        }
        self.lane.bus.step();
    }
}

/// A gating consumer of an ordered bus.
struct Consumer {
    bus: Bus,
    number: usize,
    reader: OrderReader<Bus>,
    lanes: Vec<LaneReader<Lane>>,
    clock: Cell<u64>,
    /// Lane and position of each frame read, in order.
    seen: Vec<(usize, u64)>,
}

impl Consumer {
    /// One that was attached before the model begins.
    fn attached(bus: &Bus, number: usize) -> Self {
        bus.memory.attached.fetch_or(1 << number, Ordering::Relaxed);
        Self {
            bus: bus.clone(),
            number,
            reader: OrderReader::new(bus.clone(), bus.laps(), ORIGIN, true),
            lanes: (0..LANES).map(|lane| LaneReader::new(bus.lane(lane), ORIGIN)).collect(),
            clock: Cell::new(0),
            seen: Vec::new(),
        }
    }

    /// From now on leads to the bus through `bus`.
    fn leads_to(&mut self, bus: &Bus) {
        self.bus = bus.clone();
        self.reader = OrderReader::new(bus.clone(), bus.laps(), self.reader.position(), true);
        let at = |lane: &LaneReader<Lane>| lane.position();
        let positions: Vec<u64> = self.lanes.iter().map(at).collect();
        let lanes = positions.into_iter().enumerate();
        self.lanes = lanes.map(|(lane, at)| LaneReader::new(bus.lane(lane), at)).collect();
    }

    /// One that joins at the oldest ticket held, or at the tail.
    fn join(bus: &Bus, number: usize, at_oldest: bool) -> Self {
        let bit = u32::try_from(number).unwrap();
        let placed = [0, 1].map(|lane: usize| {
            let lane = bus.lane(lane);
            let cursor = Gates::cursor(&lane, bit).unwrap();
            if at_oldest {
                lane::join::place(cursor, &lane, CAPACITY, ORIGIN)
            } else {
                lane::join::place_latest(cursor, &lane)
            }
        });
        join::place(bus, bus.laps(), ORIGIN, OrderWords::cursor(bus, bit).unwrap());
        let joining = Joining::begin(bus.attached(), bit);
        let held = [0, 1].map(|lane| joining.look(&bus.lane(lane), CAPACITY, ORIGIN, placed[lane]));
        let tail = bus.tail().load(Ordering::Relaxed);
        let oldest = join::oldest(bus.laps(), tail, ORIGIN);
        let target = if at_oldest { oldest } else { tail };
        let (ticket, back) = join::walk_back(bus, bus.laps(), &held, tail, target);
        let at = |lane: usize| later(held[lane].head.wrapping_sub(back[lane]), held[lane].oldest);
        let lanes = (0..LANES).map(|lane| LaneReader::new(bus.lane(lane), at(lane)));
        let consumer = Self {
            bus: bus.clone(),
            number,
            reader: OrderReader::new(bus.clone(), bus.laps(), ticket, true),
            lanes: lanes.collect(),
            clock: Cell::new(0),
            seen: Vec::new(),
        };
        consumer.release_order();
        (0..LANES).for_each(|lane| consumer.release_lane(lane));
        consumer
    }

    /// Stores the cursor of a lane.
    fn release_lane(&self, lane: usize) {
        let number = u32::try_from(self.number).unwrap();
        self.lanes[lane].release(Gates::cursor(&self.bus.lane(lane), number).unwrap());
    }

    /// Stores the order cursor.
    fn release_order(&self) {
        let number = u32::try_from(self.number).unwrap();
        self.reader.release(OrderWords::cursor(&self.bus, number).unwrap());
    }

    /// Everything is read: what stands below the heads was ordered before this consumer's start.
    fn settle(&mut self) {
        let heads: Vec<u64> = self.lanes.iter().map(LaneReader::published).collect();
        if self.reader.next(|| 0) != Next::Empty {
            return;
        }
        for (number, head) in heads.into_iter().enumerate() {
            if is_before(self.lanes[number].position(), head) {
                self.lanes[number].jump(head);
                self.release_lane(number);
            }
        }
    }

    /// Reads one entry's run, if there is one. A hole is looked at twice, and so punched.
    fn poll(&mut self) -> bool {
        self.bus.step();
        for _ in 0..2 {
            let now = || self.clock.replace(self.clock.get() + PATIENCE_MAX_NS);
            match self.reader.next(now) {
                Next::Run { ticket, lane, count } => {
                    self.read(ticket, lane as usize, count);
                    return true;
                }
                // Tombs may have been passed; their entries may be wanted.
                Next::Hole | Next::Empty => {
                    self.release_order();
                }
                Next::Lapped => panic!("an entry was overwritten before it was passed"),
            }
        }
        false
    }

    fn read(&mut self, ticket: u64, number: usize, count: u64) {
        let lane = &mut self.lanes[number];
        let memory = &self.bus.memory.lanes[number];
        let position = lane.position();
        if recorded(&memory.tickets, position & (CAPACITY - 1)) != Some(ticket) {
            let found = locate(&memory.tickets, position, CAPACITY, ticket);
            lane.jump(found.expect("the run stands in its lane"));
        }
        for _ in 0..count {
            let position = lane.position();
            self.bus.life.step();
            // SAFETY: loom proves that nobody writes the slot meanwhile.
            let frame = memory.slots[slot(position)].with(|slot| unsafe { *slot });
            assert_eq!(frame, payload(number, position), "the frame of another position");
            self.seen.push((number, position));
            lane.advance(1);
        }
        self.reader.passed();
        self.release_lane(number);
        self.release_order();
    }

    /// Reads the rest, when nobody else runs any more. Each hole on the way takes a poll or two.
    fn drain(&mut self) {
        let tail = self.bus.tail().load(Ordering::Relaxed);
        for _ in 0..2 * tail.wrapping_sub(ORIGIN) {
            self.poll();
        }
        assert_eq!(self.reader.position(), tail);
        self.settle();
    }

    /// Reads the rest, when nobody else runs any more; returns everything seen.
    fn end(mut self) -> Vec<(usize, u64)> {
        self.drain();
        self.seen
    }
}

/// The positions that were seen of one lane, counted from the first ever.
fn of_lane(seen: &[(usize, u64)], lane: usize) -> Vec<u64> {
    let counted = |(_, position): &(usize, u64)| position.wrapping_sub(ORIGIN);
    seen.iter().filter(|(of, _)| *of == lane).map(counted).collect()
}

/// Asserts that a lane was seen from its beginning to its head, each frame once and in order.
fn assert_complete(seen: &[(usize, u64)], lane: usize, head: u64) {
    let all: Vec<u64> = (0..head.wrapping_sub(ORIGIN)).collect();
    assert_eq!(of_lane(seen, lane), all, "lane {lane}");
}

#[test]
fn two_producers_are_seen_in_one_order_by_two_consumers() {
    explore(Some(3), || {
        let bus = Bus::new(4);
        let (mut here, there) = (Consumer::attached(&bus, 0), Consumer::attached(&bus, 1));
        let threads = [0, 1].map(|lane| {
            let mut producer = Producer::new(&bus, lane);
            thread::spawn(move || {
                assert!(producer.try_publish(1));
                producer.writer.head()
            })
        });
        here.poll();
        let heads = threads.map(|thread| thread.join().unwrap());
        let (here, there) = (here.end(), there.end());
        assert_eq!(here, there);
        for (lane, head) in heads.into_iter().enumerate() {
            assert_complete(&here, lane, head);
        }
    });
}

#[test]
fn lane_is_not_overwritten_before_the_order_has_passed_it() {
    explore(Some(3), || {
        let bus = Bus::new(4);
        let mut consumer = Consumer::attached(&bus, 0);
        let mut producer = Producer::new(&bus, 0);
        assert!(producer.try_publish(1));
        let thread = thread::spawn(move || {
            for _ in 0..3 {
                producer.try_publish(1);
            }
            producer.writer.head()
        });
        consumer.poll();
        consumer.poll();
        let head = thread.join().unwrap();
        assert_complete(&consumer.end(), 0, head);
    });
}

#[test]
fn punched_producer_publishes_exactly_once() {
    explore(Some(3), || {
        let bus = Bus::new(4);
        let mut consumer = Consumer::attached(&bus, 0);
        let mut producer = Producer::new(&bus, 0);
        let thread = thread::spawn(move || {
            assert!(producer.try_publish(1));
            producer.writer.head()
        });
        consumer.poll();
        consumer.poll();
        let head = thread.join().unwrap();
        assert_complete(&consumer.end(), 0, head);
    });
}

#[test]
fn batch_that_is_punched_stays_one_run() {
    explore(Some(3), || {
        let bus = Bus::new(4);
        let mut consumer = Consumer::attached(&bus, 0);
        let mut producer = Producer::new(&bus, 1);
        let thread = thread::spawn(move || {
            assert!(producer.try_publish(2));
            producer.writer.head()
        });
        for _ in 0..2 {
            consumer.poll();
            assert_ne!(consumer.seen.len(), 1, "part of a batch");
        }
        let head = thread.join().unwrap();
        assert_complete(&consumer.end(), 1, head);
    });
}

#[test]
fn two_consumers_that_punch_at_once_agree() {
    explore(Some(2), || {
        let bus = Bus::new(4);
        let mut here = Consumer::attached(&bus, 0);
        let mut there = Consumer::attached(&bus, 1);
        let mut producer = Producer::new(&bus, 0);
        let thread = thread::spawn(move || {
            assert!(producer.try_publish(1));
            producer.writer.head()
        });
        let other = thread::spawn(move || {
            there.poll();
            there
        });
        here.poll();
        let (head, there) = (thread.join().unwrap(), other.join().unwrap());
        let (here, there) = (here.end(), there.end());
        assert_eq!(here, there);
        assert_complete(&here, 0, head);
    });
}

#[test]
fn entry_is_not_reused_before_its_consumer_has_passed_it() {
    explore(Some(3), || {
        let bus = Bus::new(2);
        let mut consumer = Consumer::attached(&bus, 0);
        let mut first = Producer::new(&bus, 0);
        assert!(first.try_publish(1));
        let threads = [first, Producer::new(&bus, 1)].map(|mut producer| {
            thread::spawn(move || {
                producer.try_publish(1);
                producer.writer.head()
            })
        });
        consumer.poll();
        let heads = threads.map(|thread| thread.join().unwrap());
        let seen = consumer.end();
        for (lane, head) in heads.into_iter().enumerate() {
            assert_complete(&seen, lane, head);
        }
    });
}

#[test]
fn consumer_ahead_does_not_punch_what_one_behind_has_not_passed() {
    explore(Some(3), || {
        let bus = Bus::new(2);
        let (mut near, mut far) = (Consumer::attached(&bus, 0), Consumer::attached(&bus, 1));
        let mut producer = Producer::new(&bus, 0);
        assert!(producer.try_publish(1) && producer.try_publish(1));
        near.poll();
        near.poll();
        let mut other = Producer::new(&bus, 1);
        let thread = thread::spawn(move || {
            // Full as long as the far consumer stands where it is: the ticket becomes a hole, and
            // its entry still is the far consumer's next.
            other.try_publish(1);
            other.writer.head()
        });
        let other = thread::spawn(move || {
            far.poll();
            far
        });
        near.poll();
        let (head, mut far) = (thread.join().unwrap(), other.join().unwrap());
        // Who is behind catches up, then nothing keeps the hole.
        while far.poll() {}
        let (near, far) = (near.end(), far.end());
        assert_eq!(near, far);
        assert_complete(&near, 0, producer.writer.head());
        assert_complete(&near, 1, head);
    });
}

/// Asserts what holds for a joiner whatever it saw: from its start on it saw each lane to its
/// head, and nothing that was ordered before its start stays unread for ever.
fn assert_joined(seen: &[(usize, u64)], producers: &[Producer]) {
    for producer in producers {
        let seen = of_lane(seen, producer.lane.number);
        let head = producer.writer.head().wrapping_sub(ORIGIN);
        let suffix: Vec<u64> = (head - seen.len() as u64..head).collect();
        assert_eq!(seen, suffix);
        assert_eq!(producer.writer.unread(), 0);
    }
}

/// A consumer joins while two producers commit, beside one that was there all along.
fn join_beside_two_producers(at_oldest: bool) {
    let bus = Bus::new(4);
    let beside = Consumer::attached(&bus, 1);
    let threads = [0, 1].map(|lane| {
        let mut producer = Producer::new(&bus, lane);
        thread::spawn(move || {
            assert!(producer.try_publish(1));
            producer
        })
    });
    let joiner = Consumer::join(&bus, 0, at_oldest);
    let producers = threads.map(|thread| thread.join().unwrap());
    let (seen, all) = (joiner.end(), beside.end());
    assert!(all.ends_with(&seen), "{seen:?} is not how {all:?} ends");
    assert_joined(&seen, &producers);
}

/// A consumer joins while a producer, whom nobody else holds, goes round its lane.
fn join_beside_a_producer_that_wraps(at_oldest: bool) {
    let bus = Bus::new(4);
    let mut producer = Producer::new(&bus, 0);
    assert!(producer.try_publish(1));
    let thread = thread::spawn(move || {
        producer.try_publish(1);
        producer.try_publish(1);
        producer
    });
    let mut joiner = Consumer::join(&bus, 0, at_oldest);
    joiner.poll();
    let producer = thread.join().unwrap();
    assert_joined(&joiner.end(), &[producer]);
}

#[test]
fn joiner_at_latest_sees_the_end_of_the_one_order() {
    explore(Some(2), || join_beside_two_producers(false));
}

#[test]
fn joiner_at_oldest_sees_the_end_of_the_one_order() {
    explore(Some(2), || join_beside_two_producers(true));
}

#[test]
fn joiner_at_latest_holds_a_producer_that_wraps() {
    explore(Some(2), || join_beside_a_producer_that_wraps(false));
}

#[test]
fn joiner_at_oldest_holds_a_producer_that_wraps() {
    explore(Some(2), || join_beside_a_producer_that_wraps(true));
}

#[test]
fn joiner_at_oldest_holds_the_entries_it_starts_at() {
    explore(Some(3), || {
        let bus = Bus::new(2);
        let mut before = Producer::new(&bus, 0);
        assert!(before.try_publish(1) && before.try_publish(1));
        // Room in the lane is claimed beforehand, so that only the order ring is in question.
        let mut producer = Producer::new(&bus, 1);
        assert!(producer.write(2));
        let thread = thread::spawn(move || {
            for _ in 0..2 {
                if producer.order(1).is_ok() {
                    producer.writer.publish(1);
                }
            }
            producer
        });
        let mut joiner = Consumer::join(&bus, 0, true);
        joiner.poll();
        let producer = thread.join().unwrap();
        assert_joined(&joiner.end(), &[before, producer]);
    });
}

#[test]
fn joiner_at_oldest_starts_after_what_credit_may_overwrite() {
    explore(Some(3), || {
        // Long enough for a credit of two tickets, and full of tombs, which no lane has to hold.
        let bus = Bus::new(8);
        for entry in &bus.memory.entries {
            entry.store(Entry::tomb(1).word(), Ordering::Relaxed);
        }
        bus.memory.tail.store(ORIGIN.wrapping_add(8), Ordering::Relaxed);
        let mut producer = Producer::new(&bus, 1);
        assert!(producer.write(2));
        let thread = thread::spawn(move || {
            for _ in 0..2 {
                producer.order(1).unwrap();
                producer.writer.publish(1);
            }
            producer
        });
        let joiner = Consumer::join(&bus, 0, true);
        let producer = thread.join().unwrap();
        assert_joined(&joiner.end(), &[producer]);
    });
}

/// A producer that has committed the first ticket of a ring of one entry, and died of it.
fn die_after_commit(bus: &Bus) {
    let mut dead = Producer::new(bus, 0);
    assert!(dead.write(1) && dead.order(1).is_ok());
}

#[test]
fn run_of_a_dead_producer_is_known_when_its_entry_was_committed_again() {
    explore(Some(3), || {
        let bus = Bus::new(1);
        let mut consumer = Consumer::attached(&bus, 0);
        die_after_commit(&bus);
        let mut other = Producer::new(&bus, 1);
        let reusing = thread::spawn(move || {
            other.try_publish(1);
            other.writer.head()
        });
        let recovering = thread::spawn({
            let bus = bus.clone();
            move || bus.recover(0)
        });
        consumer.poll();
        let (other, head) = (reusing.join().unwrap(), recovering.join().unwrap());
        assert_eq!(head, ORIGIN.wrapping_add(1));
        let seen = consumer.end();
        assert_complete(&seen, 0, head);
        assert_complete(&seen, 1, other);
    });
}

#[test]
fn run_of_a_dead_producer_is_known_when_its_entry_was_punched() {
    explore(Some(3), || {
        let bus = Bus::new(1);
        let mut consumer = Consumer::attached(&bus, 0);
        die_after_commit(&bus);
        // One that started behind the run, and so knows nothing of it, punches the next ticket.
        let mut later = Consumer::attached(&bus, 1);
        later.reader.passed();
        later.reader.release(&bus.memory.cursors[1]);
        Producer::new(&bus, 1).die_with_ticket(true);
        let reading = thread::spawn(move || {
            consumer.poll();
            consumer
        });
        let recovering = thread::spawn({
            let bus = bus.clone();
            move || bus.recover(0)
        });
        later.poll();
        let (consumer, head) = (reading.join().unwrap(), recovering.join().unwrap());
        assert_eq!(head, ORIGIN.wrapping_add(1));
        assert_complete(&consumer.end(), 0, head);
    });
}
