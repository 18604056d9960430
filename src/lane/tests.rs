//! The lane over the heap: the same code that runs over a mapping.

use std::sync::atomic::{AtomicU64, Ordering};

use super::join::{self, Held, Joining};
use super::lossy::{Check, oldest_held};
use super::reader::{Impossible, LaneReader};
use super::writer::LaneWriter;
use super::{Gates, bits, earlier, is_before, later};
use crate::layout::words::LaneWords;

const CAPACITY: u64 = 8;

/// Who gates a lane, on the heap.
#[derive(Default)]
struct Heap {
    attached: AtomicU64,
    cursors: [AtomicU64; 2],
}

impl Gates for &Heap {
    fn attached(&self) -> &AtomicU64 {
        &self.attached
    }

    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        self.cursors.get(consumer as usize)
    }
}

fn words(at: u64) -> LaneWords {
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

/// Joins consumer `consumer` and returns what the lane holds for it.
fn attach(heap: &Heap, words: &LaneWords, consumer: u32, origin: u64) -> Held {
    let cursor = &heap.cursors[consumer as usize];
    let placed = join::place(cursor, words, CAPACITY, origin);
    Joining::begin(&heap.attached, consumer).look(words, CAPACITY, origin, placed)
}

#[test]
fn positions_compare_across_the_wrap() {
    assert!(is_before(u64::MAX, 0) && !is_before(0, u64::MAX) && !is_before(5, 5));
    assert_eq!((later(u64::MAX, 2), earlier(u64::MAX, 2)), (2, u64::MAX));
    assert_eq!(bits(0b1010 | 1 << 63).collect::<Vec<_>>(), [1, 3, 63]);
}

#[test]
fn full_lane_has_no_room_until_the_cursor_moves() {
    for origin in [0, 1000, u64::MAX - 3] {
        let (heap, words) = (Heap::default(), words(origin));
        let held = attach(&heap, &words, 0, origin);
        assert_eq!(held, Held { oldest: origin, head: origin });
        let mut writer = LaneWriter::resume(&words, &heap, CAPACITY);
        let mut reader = LaneReader::new(&words, held.head);
        for _ in 0..CAPACITY {
            assert!(writer.has_room(1));
            writer.publish(1);
        }
        assert!(!writer.has_room(1));
        assert_eq!(writer.unread(), CAPACITY);
        assert_eq!(reader.available_gated(CAPACITY), Ok(CAPACITY));
        reader.advance(3);
        reader.release(&heap.cursors[0]);
        assert!(writer.has_room(3) && !writer.has_room(4));
        assert_eq!(writer.unread(), 5);
    }
}

#[test]
fn refused_claim_leaves_no_trace_for_a_joiner() {
    let (heap, words) = (Heap::default(), words(0));
    attach(&heap, &words, 0, 0);
    let mut writer = LaneWriter::resume(&words, &heap, CAPACITY);
    assert!(writer.has_room(CAPACITY));
    writer.publish(CAPACITY);
    let before = words.reserve.load(Ordering::Relaxed);
    assert!(!writer.has_room(1));
    assert_eq!(words.reserve.load(Ordering::Relaxed), before);
    // A second consumer at `oldest` therefore finds the whole ring.
    assert_eq!(attach(&heap, &words, 1, 0), Held { oldest: 0, head: CAPACITY });
}

#[test]
fn lane_without_consumers_keeps_the_newest_frames() {
    let (heap, words) = (Heap::default(), words(0));
    let mut writer = LaneWriter::resume(&words, &heap, CAPACITY);
    for published in 1..100 {
        assert!(writer.has_room(1));
        writer.publish(1);
        let reserve = words.reserve.load(Ordering::Relaxed);
        assert!(oldest_held(published, reserve, CAPACITY, 0) <= published.saturating_sub(7));
    }
}

#[test]
fn joiner_at_latest_leaves_the_whole_ring_to_the_producer_meanwhile() {
    let (heap, words) = (Heap::default(), words(0));
    let mut writer = LaneWriter::resume(&words, &heap, CAPACITY);
    let publish = |writer: &mut LaneWriter<_, _>, frames: u64| {
        for _ in 0..frames {
            assert!(writer.has_room(1), "room at {}", writer.head());
            writer.publish(1);
        }
    };
    publish(&mut writer, 3 * CAPACITY);
    let placed = join::place_latest(&heap.cursors[0], &words);
    let joining = Joining::begin(&heap.attached, 0);
    // It is stopped here, say.
    publish(&mut writer, CAPACITY);
    assert!(!writer.has_room(1), "it is a whole ring behind where it is going to start at least");
    let held = joining.look(&words, CAPACITY, 0, placed);
    assert_eq!((placed, held.head), (3 * CAPACITY, 4 * CAPACITY));
}

#[test]
fn consumer_that_joined_binds_a_producer_with_credit() {
    let (heap, words) = (Heap::default(), words(0));
    let mut writer = LaneWriter::resume(&words, &heap, CAPACITY);
    assert!(writer.has_room(4));
    writer.publish(2); // holds credit for two more that it took while nobody was there
    let held = attach(&heap, &words, 0, 0);
    heap.cursors[0].store(held.head, Ordering::Release);
    let mut room = 0;
    while writer.has_room(1) {
        writer.publish(1);
        room += 1;
    }
    assert_eq!(room, CAPACITY, "from the joiner's start, exactly one ring");
}

#[test]
fn next_tenant_goes_on_where_the_last_one_ended() {
    let (heap, words) = (Heap::default(), words(u64::MAX));
    let mut first = LaneWriter::resume(&words, &heap, CAPACITY);
    assert!(first.has_room(2));
    first.publish(2);
    let second = LaneWriter::resume(&words, &heap, CAPACITY);
    assert_eq!(second.head(), 1);
}

#[test]
fn impossible_head_is_refused_and_not_remembered() {
    let words = words(0);
    let mut reader = LaneReader::new(&words, 5);
    words.head.store(5 + CAPACITY + 1, Ordering::Relaxed);
    assert_eq!(reader.available_gated(CAPACITY), Err(Impossible));
    words.head.store(4, Ordering::Relaxed);
    assert_eq!(reader.available_gated(CAPACITY), Err(Impossible));
    words.head.store(6, Ordering::Relaxed);
    assert_eq!(reader.available_gated(CAPACITY), Ok(1));
}

#[test]
fn overwritten_positions_are_told_from_whole_ones() {
    for origin in [0, u64::MAX - 4] {
        let (heap, words) = (Heap::default(), words(origin));
        let mut writer = LaneWriter::resume(&words, &heap, CAPACITY);
        for _ in 0..10 {
            writer.overwrite(1);
            writer.publish(1);
        }
        let check = Check::after_copy(&words, CAPACITY);
        assert!(!check.is_whole(origin.wrapping_add(1)));
        assert!(check.is_whole(origin.wrapping_add(2)));
        writer.overwrite(3); // announced, not yet published: its victims are gone already
        let check = Check::after_copy(&words, CAPACITY);
        assert!(!check.is_whole(origin.wrapping_add(4)));
        assert!(check.is_whole(origin.wrapping_add(5)));
    }
}

#[test]
fn overwriting_cut_short_by_death_stays_announced() {
    let (heap, words) = (Heap::default(), words(0));
    let mut dead = LaneWriter::resume(&words, &heap, CAPACITY);
    dead.overwrite(CAPACITY);
    dead.publish(CAPACITY);
    dead.overwrite(4); // dies here: positions 0..4 hold who knows what
    let mut next = LaneWriter::resume(&words, &heap, CAPACITY);
    next.overwrite(1);
    assert!(!Check::after_copy(&words, CAPACITY).is_whole(3));
    assert!(Check::after_copy(&words, CAPACITY).is_whole(4));
}

#[test]
fn start_is_held_between_what_is_kept_and_what_is_published() {
    let held = Held { oldest: 10, head: 20 };
    assert_eq!(join::settle(held, 5, 0), (10, 5));
    assert_eq!(join::settle(held, 15, 0), (15, 0));
    assert_eq!(join::settle(held, 99, 0), (20, 0));
    assert_eq!(join::settle(held, u64::MAX, 0), (20, 0), "far ahead is not yet published");
    assert_eq!(join::settle(held, 5, 8), (20, 0), "before the origin was never published");
}
