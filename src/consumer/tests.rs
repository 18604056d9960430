//! What takes a look behind the public face to set up: a producer caught in the middle of a commit.

use crate::bus::Bus;
use crate::layout::geometry::Geometry;
use crate::options::{OnFull, Start, Topology};
use crate::producer::Producer;
use crate::regions::{Regions, View};
use crate::shm::segment::Segment;
use crate::sync::Ordering;

/// Removes the bus at the end of the test, whatever becomes of it.
struct Guard(String);

impl Drop for Guard {
    fn drop(&mut self) {
        let _removed = Bus::remove(&self.0);
    }
}

/// All regions, writable as far as any role may write them.
fn regions(bus: &Bus) -> Regions {
    let segment = Segment::open(bus.name(), View::Recovery.file()).unwrap();
    Regions::map(&segment, bus.header(), View::Recovery).unwrap()
}

fn publish(producer: &mut Producer, frames: u32) {
    for _ in 0..frames {
        producer.try_publish_bytes(0, b"x").unwrap();
    }
}

#[test]
fn frame_ordered_before_the_start_does_not_hold_its_lane_while_others_flood() {
    let name = format!("t-{}-flood", std::process::id());
    let _guard = Guard(name.clone());
    let bus = Bus::options().topology(Topology::Ordered).lanes(2).create(&name).unwrap();
    let mut flood = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    // A producer of lane 1 took its ticket before this consumer's start and commits only now: of
    // that, the consumer sees nothing but the head.
    let regions = regions(&bus);
    regions.lane(1).unwrap().head.store(1, Ordering::Release);
    let cursor = || regions.cursors.row(0).unwrap().positions[1].load(Ordering::Acquire);
    assert_eq!(cursor(), 0);
    // The order is never empty: there are always some frames more than are polled.
    publish(&mut flood, 100);
    for _ in 0..3000 {
        publish(&mut flood, 1);
        assert!(consumer.poll().unwrap().is_some());
    }
    assert_eq!(cursor(), 1);
}

#[test]
fn slot_that_was_never_written_shows_no_ticket_that_anybody_takes() {
    let name = format!("t-{}-never", std::process::id());
    let _guard = Guard(name.clone());
    // The fourth ticket is 0.
    let origin = u64::MAX - 2;
    let options = Bus::options().topology(Topology::Ordered).lanes(1).origin(origin);
    let bus = options.create(&name).unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let Geometry { data, tickets_offset, shape, .. } = bus.header().geometry;
    let segment = Segment::open(&name, View::Observer.file()).unwrap();
    let ticket = |slot: u64| {
        let mut word = [0; 8];
        let offset = data.offset + tickets_offset + slot * 8;
        std::os::unix::fs::FileExt::read_exact_at(&segment.file, &mut word, offset).unwrap();
        u64::from_le_bytes(word)
    };
    for slot in 0..shape.capacity {
        assert_eq!(ticket(slot), origin - 1);
    }
    publish(&mut producer, 4);
    let slot = origin.wrapping_add(3) & (shape.capacity - 1);
    assert_eq!(ticket(slot), 0);
}

#[test]
fn joiner_believes_what_it_gates_although_a_producer_had_announced_more() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let name = format!("t-{}-{topology}-ahead", std::process::id());
        let _guard = Guard(name.clone());
        let options =
            Bus::options().topology(topology).lanes(1).capacity_frames(4).evict_lag_frames(4);
        let bus = options.create(&name).unwrap();
        let mut producer = bus.producer().attach().unwrap();
        publish(&mut producer, 4);
        let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
        // The producer was about to announce one frame more when this consumer joined; it finds it
        // at its second look and does not write, but the announcement stays.
        let words = regions(&bus).lane(0).unwrap();
        words.reserve.store(words.head.load(Ordering::Relaxed) + 1, Ordering::Release);
        for position in 0..4 {
            let frame = consumer.poll().unwrap().expect("a frame that it gates");
            assert_eq!(frame.position(), position, "{topology}");
        }
        assert_eq!((consumer.lost(), bus.stat().corruptions), (0, 0), "{topology}");
    }
}

#[test]
fn run_of_several_entries_is_given_back_entry_by_entry() {
    let name = format!("t-{}-merged", std::process::id());
    let _guard = Guard(name.clone());
    let options = Bus::options().topology(Topology::Ordered).lanes(1).capacity_frames(64);
    let bus = options.create(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 2);
    let mut batch = producer.claim_batch(3).unwrap();
    for index in 0..3 {
        batch.frame(index).unwrap().set_len(1).unwrap();
    }
    batch.commit().unwrap();
    publish(&mut producer, 4);
    let passed = |polled: u32| {
        let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
        for _ in 0..polled {
            assert!(consumer.poll().unwrap().is_some());
        }
        consumer.release();
        (consumer.order_position().unwrap(), consumer.lane_position(0).unwrap())
    };
    // Tickets of whole runs only; frames one by one.
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 9].map(passed).map(|(ticket, _)| ticket),
        [0, 1, 2, 2, 2, 3, 4, 7]
    );
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 9].map(passed).map(|(_, frame)| frame),
        [0, 1, 2, 3, 4, 5, 6, 9]
    );
    // The place is that of the frame that comes next, whether or not what was is given back.
    let mut other = bus.consumer().start(Start::Oldest).attach().unwrap();
    for ticket in [1, 2, 2, 2, 3, 4, 5, 6, 7] {
        assert!(other.poll().unwrap().is_some());
        assert_eq!(other.order_position(), Some(ticket));
    }
    // Handed out in the middle of a run, and gone on with after it was given back.
    for number in 0..9 {
        let frame = consumer.poll().unwrap().unwrap();
        assert_eq!(frame.position(), number);
        consumer.release();
    }
    assert!(consumer.poll().unwrap().is_none());
    assert_eq!(consumer.order_position(), Some(7));
}

#[test]
fn place_after_a_batch_is_known_although_its_entry_was_overwritten() {
    let name = format!("t-{}-lapped", std::process::id());
    let _guard = Guard(name.clone());
    let options = Bus::options().topology(Topology::Ordered).lanes(1).capacity_frames(64);
    let bus = options.on_full(OnFull::DropOldest).create(&name).unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    publish(&mut producer, 1);
    assert!(consumer.poll().unwrap().is_some());
    // More than the order ring has entries.
    publish(&mut producer, 10_000);
    assert_eq!(consumer.order_position(), Some(1));
}
