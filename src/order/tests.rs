//! The order ring over the heap, one thread: each rule by itself. Races are in `model`.

#![allow(clippy::cast_possible_truncation)] // tickets of a ring of 16

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::reader::{Next, OrderReader, locate};
use super::writer::{NotCommitted, OrderWriter, PATIENCE_NS};
use super::{Laps, OrderWords, recover};
use crate::layout::entry::Entry;
use crate::layout::words::LaneWords;

const ENTRIES: usize = 16;

/// An order ring on the heap.
#[derive(Debug)]
struct Heap {
    tail: AtomicU64,
    entries: [AtomicU64; ENTRIES],
    attached: AtomicU64,
    cursors: [AtomicU64; 2],
    patience_ns: AtomicU64,
    punches: AtomicU64,
    origin: u64,
}

impl Heap {
    fn new(origin: u64) -> Self {
        Self {
            tail: AtomicU64::new(origin),
            entries: [const { AtomicU64::new(0) }; ENTRIES],
            attached: AtomicU64::new(0),
            cursors: [AtomicU64::new(origin), AtomicU64::new(origin)],
            patience_ns: AtomicU64::new(PATIENCE_NS),
            punches: AtomicU64::new(0),
            origin,
        }
    }

    fn laps(&self) -> Laps {
        Laps::new(ENTRIES as u64, self.origin)
    }

    fn writer(&self, lane: u8) -> OrderWriter<&Self> {
        OrderWriter::new(self, self.laps(), lane, 2, true)
    }

    fn reader(&self, ticket: u64) -> OrderReader<&Self> {
        OrderReader::new(self, self.laps(), ticket, true)
    }
}

impl OrderWords for &Heap {
    fn tail(&self) -> &AtomicU64 {
        &self.tail
    }
    fn entries(&self) -> &[AtomicU64] {
        &self.entries
    }
    fn attached(&self) -> &AtomicU64 {
        &self.attached
    }
    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        self.cursors.get(consumer as usize)
    }
    fn patience_ns(&self) -> &AtomicU64 {
        &self.patience_ns
    }
    fn punches(&self) -> &AtomicU64 {
        &self.punches
    }
}

#[test]
fn runs_come_in_ticket_order_over_many_laps() {
    for origin in [0, 5, u64::MAX - 20] {
        let heap = Heap::new(origin);
        let (mut a, mut b) = (heap.writer(3), heap.writer(200));
        let mut reader = heap.reader(origin);
        for round in 0..100 {
            a.commit(round + 1, |_| {}).unwrap();
            b.commit(7, |_| {}).unwrap();
            let first = reader.position();
            let run = Next::Run { ticket: first, lane: 3, count: round + 1 };
            assert_eq!(reader.next(|| 0), run);
            reader.passed();
            let ticket = first.wrapping_add(1);
            assert_eq!(reader.next(|| 0), Next::Run { ticket, lane: 200, count: 7 });
            reader.passed();
            assert_eq!(reader.next(|| 0), Next::Empty);
        }
    }
}

/// Promise 1 (ARCHITECTURE.md).
#[test]
fn hole_is_punched_after_the_patience_and_not_before() {
    let heap = Heap::new(0);
    let mut reader = heap.reader(0);
    heap.tail.fetch_add(1, Ordering::Relaxed); // a ticket that nobody will ever commit
    heap.writer(1).commit(1, |_| {}).unwrap();
    let now = Cell::new(1_000);
    assert_eq!(reader.next(|| now.get()), Next::Hole);
    now.set(1_000 + PATIENCE_NS - 1);
    assert_eq!(reader.next(|| now.get()), Next::Hole);
    now.set(1_000 + PATIENCE_NS);
    assert_eq!(reader.next(|| now.get()), Next::Run { ticket: 1, lane: 1, count: 1 });
    assert_eq!(heap.punches.load(Ordering::Relaxed), 1);
}

#[test]
fn punched_producer_takes_another_ticket_for_the_same_frames() {
    let heap = Heap::new(0);
    let tickets = Cell::new(Vec::new());
    // The first two tickets are punched between taking and committing.
    let record = |ticket: u64| {
        let mut seen = tickets.take();
        seen.push(ticket);
        tickets.set(seen);
        if ticket < 2 {
            heap.entries[ticket as usize].store(Entry::tomb(1).word(), Ordering::Relaxed);
        }
    };
    assert_eq!(heap.writer(9).commit(5, record), Ok(2));
    assert_eq!(tickets.take(), [0, 1, 2]);
    let mut reader = heap.reader(0);
    assert_eq!(reader.next(|| 0), Next::Run { ticket: 2, lane: 9, count: 5 });
    assert_eq!(
        heap.patience_ns.load(Ordering::Relaxed),
        PATIENCE_NS,
        "asked for more, gave it back"
    );
}

#[test]
fn starved_producer_asks_for_patience() {
    let heap = Heap::new(0);
    let asked = Cell::new(0);
    let record = |ticket: u64| {
        asked.set(heap.patience_ns.load(Ordering::Relaxed));
        if ticket < 4 {
            heap.entries[ticket as usize].store(Entry::tomb(1).word(), Ordering::Relaxed);
        }
    };
    assert_eq!(heap.writer(0).commit(1, record), Ok(4));
    assert_eq!(asked.get(), PATIENCE_NS * 8);
}

#[test]
fn entry_is_not_reused_before_every_consumer_has_passed_it() {
    let heap = Heap::new(0);
    heap.attached.store(0b11, Ordering::Relaxed);
    let mut writer = heap.writer(1);
    for _ in 0..ENTRIES {
        writer.commit(1, |_| {}).unwrap();
    }
    assert_eq!(writer.commit(1, |_| {}), Err(NotCommitted::Full));
    let tail = heap.tail.load(Ordering::Relaxed);
    // One refusal cost a ticket; the ones after it look first and cost none.
    assert_eq!(writer.commit(1, |_| {}), Err(NotCommitted::Full));
    assert_eq!(heap.tail.load(Ordering::Relaxed), tail);
    // One consumer moving is not enough, both are.
    heap.cursors[0].store(12, Ordering::Relaxed);
    assert_eq!(writer.commit(1, |_| {}), Err(NotCommitted::Full));
    heap.cursors[1].store(12, Ordering::Relaxed);
    assert_eq!(writer.commit(1, |_| {}), Ok(tail));
}

#[test]
fn hole_is_not_punched_while_a_consumer_behind_needs_its_entry() {
    let heap = Heap::new(0);
    heap.attached.store(0b11, Ordering::Relaxed);
    let mut writer = heap.writer(1);
    for _ in 0..ENTRIES {
        writer.commit(1, |_| {}).unwrap();
    }
    // Refused, since consumer 1 has read nothing: the ticket stays behind as a hole.
    assert_eq!(writer.commit(1, |_| {}), Err(NotCommitted::Full));
    let mut near = heap.reader(ENTRIES as u64);
    near.release(&heap.cursors[0]);
    let now = Cell::new(0);
    let mut impatient = || {
        now.set(now.get() + PATIENCE_NS);
        near.next(|| now.get())
    };
    assert_eq!((impatient(), impatient()), (Next::Hole, Next::Hole));
    let mut far = heap.reader(0);
    let first = Next::Run { ticket: 0, lane: 1, count: 1 };
    assert_eq!(far.next(|| 0), first);
    far.passed();
    far.release(&heap.cursors[1]);
    assert_eq!(impatient(), Next::Empty);
    assert_eq!(heap.punches.load(Ordering::Relaxed), 1);
}

#[test]
fn lapped_reader_learns_it_and_goes_on_near_the_end() {
    let heap = Heap::new(0);
    let mut writer = OrderWriter::new(&heap, heap.laps(), 1, 2, false);
    let mut reader = heap.reader(0);
    for _ in 0..100 {
        writer.commit(1, |_| {}).unwrap();
    }
    assert_eq!(reader.next(|| 0), Next::Lapped);
    reader.catch_up();
    assert!(matches!(reader.next(|| 0), Next::Run { ticket: 86, .. }));
}

#[test]
fn ticket_leads_to_the_position() {
    let tickets: Vec<AtomicU64> = [40, 41, 34, 35].map(AtomicU64::new).into();
    assert_eq!(locate(&tickets, 10, 4, 35), Some(11));
    assert_eq!(locate(&tickets, 10, 4, 40), Some(12));
    assert_eq!(locate(&tickets, 10, 4, 33), None);
    assert_eq!(locate(&tickets, u64::MAX - 1, 4, 41), Some(1));
}

/// A lane whose producer has `head` published and has taken `ticket` for position `at`.
fn lane(head: u64, ticket: u64, at: u64) -> LaneWords {
    LaneWords {
        head: AtomicU64::new(head),
        reserve: AtomicU64::new(head),
        ticket: AtomicU64::new(ticket),
        ticket_at: AtomicU64::new(at),
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

#[test]
fn run_committed_by_a_producer_that_died_before_its_head_is_kept() {
    let heap = Heap::new(0);
    let settle = |words: &LaneWords, cursor: u64| {
        let cursor = AtomicU64::new(cursor);
        // The closure's answer lives as long as this call.
        recover::head(1, words, &&heap, heap.laps(), 8, |_| Some(&cursor))
    };
    // Took ticket 0 and died before the CAS.
    assert_eq!(settle(&lane(50, 0, 50), 0), 50);
    // Committed five frames with it and died before the head.
    heap.entries[0].store(Entry::commit(1, 1, 5).word(), Ordering::Relaxed);
    assert_eq!(settle(&lane(50, 0, 50), 0), 55);
    // Stored the head as well: the ticket speaks of an earlier position.
    assert_eq!(settle(&lane(55, 0, 50), 0), 55);
    // The ticket was punched.
    heap.entries[0].store(Entry::tomb(1).word(), Ordering::Relaxed);
    assert_eq!(settle(&lane(50, 0, 50), 0), 50);
    // Another lane committed with a ticket of that number.
    heap.entries[0].store(Entry::commit(1, 7, 5).word(), Ordering::Relaxed);
    assert_eq!(settle(&lane(50, 0, 50), 0), 50);
    // Decided and reused: the attached consumer's cursor tells.
    heap.entries[0].store(Entry::commit(2, 7, 1).word(), Ordering::Relaxed);
    heap.attached.store(1, Ordering::Relaxed);
    assert_eq!(settle(&lane(50, 0, 50), 53), 53);
    assert_eq!(settle(&lane(50, 0, 50), 49), 50);
    // A cursor that no honest consumer has is not believed.
    assert_eq!(settle(&lane(50, 0, 50), 5000), 50);
}
