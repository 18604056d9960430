//! What is counted of a bus's ends, and how long frames took, as tools see it.

use std::thread;
use std::time::Duration;

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{
    Bus, BusStat, Frame, FrameLayout, LaneStat, LatencyStat, OnFull, Timestamps, Topology,
};

use crate::support::bus::TestBus;

fn lane(bus: &Bus) -> LaneStat {
    bus.stat().lanes.into_iter().next().unwrap()
}

fn latency(stat: &BusStat) -> Option<LatencyStat> {
    stat.consumers.first().unwrap().latency.clone()
}

/// Twelve bytes, where there is room for sixteen.
#[derive(Clone, Copy, Debug, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(C)]
struct Point {
    x: u32,
    y: u32,
    z: u32,
}

/// Every way to publish, on a bus of 16 payload bytes: 10 frames, 3 commits of more than one.
fn publish_in_every_way(bus: &Bus) -> u64 {
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, &[0; 16]).unwrap();
    producer.publish_bytes(0, &[0; 5]).unwrap();
    let mut claim = producer.claim().unwrap();
    claim.set_len(9).unwrap();
    claim.set_len(7).unwrap();
    claim.commit().unwrap();
    let mut batch = producer.claim_batch(2).unwrap();
    batch.frame(0).unwrap().set_len(3).unwrap();
    batch.frame(0).unwrap().set_len(4).unwrap();
    batch.commit().unwrap();
    let mut transaction = producer.transaction();
    transaction.publish_bytes(0, &[0; 2]).unwrap();
    transaction.publish_bytes(0, &[0; 16]).unwrap();
    transaction.commit().unwrap();
    drop(producer);
    let mut producer = bus.producer().attach_typed::<Point>().unwrap();
    let point = Point { x: 1, y: 2, z: 3 };
    producer.publish(&point).unwrap();
    producer.publish_batch(&[point, point]).unwrap();
    // None of these was ever published.
    let mut claim = producer.claim().unwrap();
    claim.set_len(1).unwrap();
    drop(claim);
    let mut transaction = producer.transaction();
    transaction.publish_bytes(0, &[0; 2]).unwrap();
    transaction.rollback();
    (16 + 5) + 7 + (4 + 16) + (2 + 16) + 12 + 2 * 12
}

#[test]
fn bytes_and_batches_are_counted_however_frames_are_published() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        for timestamps in [Timestamps::Off, Timestamps::Batch, Timestamps::Frame] {
            for on_full in [OnFull::Block, OnFull::DropOldest] {
                let options = Bus::options().topology(topology).timestamps(timestamps);
                let options = options.payload_bytes(16).capacity_frames(64).on_full(on_full);
                let bus = TestBus::new(&options);
                let bytes = publish_in_every_way(&bus);
                let stat = lane(&bus);
                assert_eq!(
                    (stat.published, stat.bytes, stat.batches, stat.batched),
                    (10, bytes, 3, 6),
                    "{topology:?} {timestamps:?} {on_full:?}"
                );
            }
        }
    }
}

#[test]
fn bare_frames_are_full() {
    let options = Bus::options().frames(FrameLayout::Bare).payload_bytes(8);
    let bus = TestBus::new(&options.timestamps(Timestamps::Off));
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, &[0; 8]).unwrap();
    producer.claim().unwrap().commit().unwrap();
    assert_eq!((lane(&bus).published, lane(&bus).bytes), (2, 16));
}

#[test]
fn counters_go_on_from_one_producer_of_a_lane_to_the_next() {
    let bus = TestBus::new(&Bus::options().payload_bytes(16).lanes(1));
    let once = publish_in_every_way(&bus);
    assert_eq!(publish_in_every_way(&bus), once);
    let stat = lane(&bus);
    assert_eq!((stat.published, stat.bytes, stat.batches, stat.batched), (20, 2 * once, 6, 12));
}

#[test]
fn latency_is_from_publish_to_poll() {
    for topology in [Topology::Lanes, Topology::Ordered] {
        let bus = TestBus::new(&Bus::options().topology(topology));
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        assert_eq!(latency(&bus.stat()), Some(LatencyStat::default()));
        for _ in 0..3 {
            producer.publish_bytes(0, b"").unwrap();
            thread::sleep(Duration::from_millis(5));
            let now = bus.now_ns();
            let time_ns = consumer.poll().unwrap().unwrap().time_ns();
            assert!(consumer.poll().unwrap().is_none());
            assert!(now - time_ns >= 5_000_000);
        }
        let stat = latency(&bus.stat()).unwrap();
        assert_eq!(stat.count(), 3);
        assert!(stat.max_ns >= 5_000_000 && stat.sum_ns >= 3 * 5_000_000, "{stat:?}");
        assert!(stat.buckets.iter().all(|bucket| bucket.high_ns >= 5_000_000), "{stat:?}");
        drop(consumer);
        let _next = bus.consumer().attach().unwrap();
        assert_eq!(latency(&bus.stat()), Some(LatencyStat::default()), "it begins anew");
    }
}

#[test]
fn flood_is_looked_at_now_and_then_and_counts_whole() {
    let options = Bus::options().capacity_frames(1 << 14).payload_bytes(48);
    let bus = TestBus::new(&options);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let mut runs = 0_u64;
    for _ in 0..50 {
        for _ in 0..1 << 13 {
            producer.publish_bytes(0, b"").unwrap();
        }
        while consumer.poll_batch(usize::MAX, |_| ()).unwrap() > 0 {
            runs += 1;
        }
    }
    let stat = latency(&bus.stat()).unwrap();
    let counted = stat.count();
    assert!(counted > runs / 2 && counted < 2 * runs, "{counted} for {runs}");
}

#[test]
fn without_timestamps_nobody_asks_the_clock() {
    let bus = TestBus::new(&Bus::options().timestamps(Timestamps::Off));
    let mut consumer = bus.consumer().attach().unwrap();
    bus.producer().attach().unwrap().publish_bytes(0, b"").unwrap();
    assert!(consumer.poll().unwrap().is_some());
    assert_eq!(latency(&bus.stat()), None);
}
