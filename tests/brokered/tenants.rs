//! Lanes and rows that change hands: each tenant gets memory of its own, and nothing is lost between.

use busway::{Bus, Consumer, Error, OnFull, PollError, PublishError, Start};

use crate::support::Running;

fn publish(bus: &Bus, numbers: std::ops::Range<u64>) {
    let mut producer = bus.producer().attach().unwrap();
    for number in numbers {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
    }
}

/// Reads to the end, and checks that the numbers are their frames' positions.
fn read(consumer: &mut Consumer) -> Vec<u64> {
    let mut positions = Vec::new();
    loop {
        match consumer.poll() {
            Ok(Some(frame)) => {
                assert_eq!(frame.payload(), frame.position().to_le_bytes());
                positions.push(frame.position());
            }
            Ok(None) | Err(PollError::Closed) => return positions,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn frames_of_former_tenants_are_read_before_those_of_their_successors() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1));
    let mut consumer = bus.consumer().attach().unwrap();
    publish(&bus, 0..3);
    publish(&bus, 3..3);
    publish(&bus, 3..5);
    publish(&bus, 5..9);
    assert_eq!(read(&mut consumer), (0..9).collect::<Vec<_>>());
    publish(&bus, 9..11);
    assert_eq!(read(&mut consumer), [9, 10]);
    assert_eq!(consumer.lost(), 0);
}

#[test]
fn lane_is_not_let_again_before_a_consumer_knows_its_former_tenants() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1));
    let mut consumer = bus.consumer().name("slow").attach().unwrap();
    for tenant in 0..4 {
        publish(&bus, tenant..tenant + 1);
    }
    let error = bus.producer().attach().unwrap_err();
    assert!(matches!(error, Error::SeatsTaken { .. }), "{error}");
    assert_eq!(read(&mut consumer), [0, 1, 2, 3]);
    publish(&bus, 4..5);
    assert_eq!(read(&mut consumer), [4]);
}

#[test]
fn tenants_without_number_are_let_when_nobody_has_to_read_them() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(16));
    for tenant in 0..20 {
        publish(&bus, tenant..tenant + 1);
    }
    let mut consumer = bus.consumer().start(Start::Oldest).attach().unwrap();
    assert_eq!(read(&mut consumer), [19]);
}

#[test]
fn lossy_lane_is_always_let_again_and_what_that_loses_is_counted() {
    let running = Running::start();
    let options = Bus::options().lanes(1).capacity_frames(4).on_full(OnFull::DropOldest);
    let bus = running.bus(&options);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut next = 0;
    for tenant in 0..30 {
        publish(&bus, next..next + tenant);
        next += tenant;
    }
    let read = u64::try_from(read(&mut consumer).len()).unwrap();
    assert!(read > 0);
    assert_eq!(read + consumer.lost(), next);
}

#[test]
fn gate_is_the_row_of_the_present_tenant() {
    let running = Running::start();
    let options = Bus::options().lanes(1).consumers(1).capacity_frames(4).on_full(OnFull::Reject);
    let bus = running.bus(&options);
    let mut producer = bus.producer().attach().unwrap();
    for round in 0..5 {
        let mut consumer = bus.consumer().attach().unwrap();
        for _ in 0..4 {
            producer.publish_bytes(0, &producer.position().to_le_bytes()).unwrap();
        }
        assert_eq!(producer.publish_bytes(0, b"x"), Err(PublishError::Full), "round {round}");
        assert_eq!(read(&mut consumer).len(), 4, "round {round}");
    }
}

#[test]
fn seats_go_round_and_holders_are_named() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).consumers(1));
    let producer = bus.producer().name("only").attach().unwrap();
    let Error::SeatsTaken { role, holders, .. } = bus.producer().attach().unwrap_err() else {
        panic!("not taken")
    };
    assert_eq!((role, holders[0].name.as_str()), ("producer", "only"));
    drop(producer);
    bus.producer().attach().unwrap();
    let consumer = bus.consumer().name("only").attach().unwrap();
    let Error::SeatsTaken { role, holders, .. } = bus.consumer().attach().unwrap_err() else {
        panic!("not taken")
    };
    assert_eq!((role, holders[0].name.as_str()), ("consumer", "only"));
    drop(consumer);
    bus.consumer().attach().unwrap();
}
