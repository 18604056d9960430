//! What a frame carries: typed and untyped, event and bare, aligned, stamped.

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{
    Bus, Frame, FrameLayout, OnFull, PollError, PublishError, Schema, Timestamps, Topology,
};

use crate::support::bus::TestBus;

/// A point on the floor.
#[derive(Frame, FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy, Debug, PartialEq)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(kind = 5, name = "point")]
#[repr(C)]
struct Point {
    x: f64,
    y: f64,
}

/// Of the same size, and something else.
#[derive(Frame, FromBytes, IntoBytes, KnownLayout, Immutable, Clone, Copy, Debug, PartialEq)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(name = "ticks")]
#[repr(C)]
struct Ticks {
    count: u64,
    since: u64,
}

const AT: Point = Point { x: 1.5, y: -2.0 };

#[test]
fn type_of_another_layout_is_refused_and_both_are_named() {
    let bus = TestBus::new(&Bus::options().schema(Schema::of::<Point>()));
    let producer = bus.producer().attach_typed::<Ticks>().unwrap_err();
    let consumer = bus.consumer().attach_typed::<Ticks>().unwrap_err();
    for error in [producer, consumer] {
        assert_eq!(error.code(), "schema_mismatch");
        let text = error.to_string();
        assert!(text.contains("point") && text.contains("ticks"), "{text}");
        assert!(text.contains(&format!("{:016x}", Point::SCHEMA_HASH)), "{text}");
        assert!(text.contains(&format!("{:016x}", Ticks::SCHEMA_HASH)), "{text}");
    }
    assert!(bus.participants().is_empty(), "a refusal takes no seat");
    assert_eq!(Bus::open(bus.name()).unwrap().schema(), Some(&Schema::of::<Point>()));
}

#[test]
fn untyped_ends_attach_to_any_bus_and_meet_typed_ones() {
    for layout in [FrameLayout::Event, FrameLayout::Bare] {
        let bus = TestBus::new(&Bus::options().schema(Schema::of::<Point>()).frames(layout));
        let mut typed = bus.consumer().attach_typed::<Point>().unwrap();
        let mut raw = bus.consumer().attach().unwrap();
        let mut typed_producer = bus.producer().attach_typed::<Point>().unwrap();
        let mut raw_producer = bus.producer().attach().unwrap();
        typed_producer.publish(&AT).unwrap();
        assert_eq!(typed.poll_value().unwrap(), Some(&AT));
        let frame = raw.poll().unwrap().unwrap();
        assert_eq!((frame.payload(), frame.value::<Point>().unwrap()), (AT.as_bytes(), &AT));
        let kind = if layout == FrameLayout::Event { Point::KIND } else { 0 };
        assert_eq!((frame.kind(), frame.to_owned().value::<Point>()), (kind, Ok(AT)));
        raw_producer.publish_bytes(1, AT.as_bytes()).unwrap();
        assert_eq!(typed.poll_value().unwrap(), Some(&AT));
        typed_producer.publish_batch(&[AT, AT, AT]).unwrap();
        typed_producer.claim().unwrap().value_mut::<Point>().unwrap().x = 0.0;
        assert_eq!(typed.lag(), 3);
    }
}

#[test]
fn frame_of_another_size_is_not_read_as_the_type() {
    let bus = TestBus::new(&Bus::options().payload_bytes(64));
    let mut consumer = bus.consumer().attach_typed::<Point>().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, &[0; 15]).unwrap();
    producer.publish_bytes(0, AT.as_bytes()).unwrap();
    let wrong = PollError::WrongType { len: 15, want: 16 };
    assert_eq!(consumer.poll_value().unwrap_err(), wrong);
    assert_eq!(consumer.poll_value().unwrap(), Some(&AT));
}

#[test]
fn type_that_does_not_fit_is_refused() {
    let small = TestBus::new(&Bus::options().payload_bytes(15));
    assert_eq!(small.producer().attach_typed::<Point>().unwrap_err().code(), "bad_geometry");
    let bare = TestBus::new(&Bus::options().payload_bytes(24).frames(FrameLayout::Bare));
    assert_eq!(bare.consumer().attach_typed::<Point>().unwrap_err().code(), "bad_geometry");
}

#[test]
fn payload_has_the_alignment_that_was_asked_for() {
    for (layout, align, payload) in [
        (FrameLayout::Event, 8, 8),
        (FrameLayout::Event, 16, 16),
        (FrameLayout::Event, 64, 16),
        (FrameLayout::Bare, 16, 16),
        (FrameLayout::Bare, 64, 64),
    ] {
        for on_full in [OnFull::Block, OnFull::DropOldest] {
            let options = Bus::options().frames(layout).align_bytes(align).payload_bytes(20);
            let bus = TestBus::new(&options.on_full(on_full).capacity_frames(8));
            assert_eq!(bus.info().stride_bytes % align, 0);
            let mut consumer = bus.consumer().attach().unwrap();
            let mut producer = bus.producer().attach().unwrap();
            for byte in 0..30_u8 {
                let mut claim = producer.claim().unwrap();
                claim.payload_mut().fill(byte);
                assert_eq!(claim.payload_mut().as_ptr().addr() % payload, 0);
                claim.commit().unwrap();
                let frame = consumer.poll().unwrap().unwrap();
                assert_eq!(frame.payload(), [byte; 20]);
                assert_eq!(frame.payload().as_ptr().addr() % payload, 0, "{layout} {align}");
            }
        }
    }
}

#[test]
fn bare_frames_are_one_slice_of_the_type() {
    let bus = TestBus::new(&Bus::options().schema(Schema::of::<Point>()).frames(FrameLayout::Bare));
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach_typed::<Point>().unwrap();
    producer.publish_batch(&[AT; 10]).unwrap();
    let read = consumer.poll_batch(100, |frames| {
        assert_eq!(frames.as_slice::<Point>().unwrap(), [AT; 10]);
    });
    assert_eq!(read, Ok(10));
    let mut raw = bus.producer().attach().unwrap();
    let wrong = PublishError::WrongLength { len: 8, want: 16 };
    assert_eq!(raw.publish_bytes(0, &[0; 8]), Err(wrong));
    assert_eq!(raw.claim().unwrap().set_len(8), Err(wrong));
}

#[test]
fn header_carries_kind_flags_and_length() {
    for on_full in [OnFull::Block, OnFull::DropOldest] {
        let bus = TestBus::of(Topology::Lanes, on_full, 1, 8);
        let mut consumer = bus.consumer().attach().unwrap();
        let mut producer = bus.producer().attach().unwrap();
        let mut claim = producer.claim().unwrap();
        claim.payload_mut()[..3].copy_from_slice(b"abc");
        claim.set_len(3).unwrap();
        claim.set_kind(u16::MAX);
        claim.set_flags(0x8001);
        claim.commit().unwrap();
        let frame = consumer.poll().unwrap().unwrap();
        let seen = (frame.payload(), frame.kind(), frame.flags());
        assert_eq!(seen, (&b"abc"[..], u16::MAX, 0x8001));
        // What the claim does not set is not left over from the lap before.
        for _ in 0..9 {
            producer.claim().unwrap().commit().unwrap();
            let frame = consumer.poll().unwrap().unwrap();
            assert_eq!((frame.payload().len(), frame.kind(), frame.flags()), (72, 0, 0));
        }
    }
}

#[test]
fn stamps_are_off_per_batch_or_per_frame_and_never_go_back() {
    for on_full in [OnFull::Block, OnFull::DropOldest] {
        for timestamps in [Timestamps::Off, Timestamps::Batch, Timestamps::Frame] {
            let bus = TestBus::new(&Bus::options().timestamps(timestamps).on_full(on_full));
            let mut consumer = bus.consumer().attach().unwrap();
            let mut producer = bus.producer().attach().unwrap();
            let mut before = bus.now_ns();
            for _ in 0..50 {
                producer.claim_batch(4).unwrap().commit().unwrap();
                producer.publish_bytes(0, &[1]).unwrap();
                let after = bus.now_ns();
                let mut times = Vec::new();
                while let Some(frame) = consumer.poll().unwrap() {
                    times.push(frame.time_ns());
                }
                assert_eq!(times.len(), 5);
                if timestamps == Timestamps::Off {
                    assert_eq!(times, [0; 5]);
                    continue;
                }
                assert!(times.is_sorted() && before <= times[0] && times[4] <= after, "{times:?}");
                if timestamps == Timestamps::Batch {
                    assert_eq!(times[..4], [times[0]; 4]);
                }
                before = after;
            }
        }
    }
}
