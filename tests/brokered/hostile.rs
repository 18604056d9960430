//! Peers that store what they like wherever they can: they spoil what is theirs and nothing else.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use busway::{Bus, Consumer, OnFull, PollError, PublishError};
use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals};
use serde_json::json;

use crate::support::raw::{Memory, Raw, open_again};
use crate::support::{PATIENCE, Running, eventually};

/// Reads what there is now; a spoiled lane is said to be one, and passed over.
fn read(consumer: &mut Consumer) -> Vec<(u32, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        match consumer.poll() {
            Ok(Some(frame)) => frames.push((frame.lane(), frame.payload().to_vec())),
            Ok(None) | Err(PollError::Closed) => return frames,
            Err(PollError::Corrupt { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Promise 8 (ARCHITECTURE.md).
#[test]
fn producer_that_scribbles_over_all_that_it_can_write_spoils_its_own_lane_alone() {
    const FRAMES: u64 = 20_000;
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(4).capacity_frames(64));
    let mut consumer = bus.consumer().attach().unwrap();
    let (mut hostile, _) = Raw::open(running.socket(), "bus");
    let (bells, lane, _) = hostile.attach("produce");
    let stop = AtomicBool::new(false);
    let mut producers: Vec<_> = (0..3).map(|_| bus.producer().attach().unwrap()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seed = 1;
            while !stop.load(Ordering::Relaxed) {
                lane.scribble(seed);
                bells.scribble(seed);
                seed += 1;
            }
        });
        for producer in &mut producers {
            scope.spawn(move || {
                for number in 0..FRAMES {
                    producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
                }
            });
        }
        let mut next = [0_u64; 4];
        while next[1..] != [FRAMES; 3] {
            match consumer.recv_timeout(PATIENCE) {
                // Whatever stands in the hostile lane is the hostile lane's.
                Ok(Some(frame)) if frame.lane() == 0 => {}
                Ok(Some(frame)) => {
                    let lane = &mut next[frame.lane() as usize];
                    assert_eq!(frame.payload(), lane.to_le_bytes());
                    *lane += 1;
                }
                Ok(None) => panic!("nothing came for {PATIENCE:?}"),
                Err(PollError::Corrupt { lane: 0 }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!((1..4).map(|lane| consumer.lane_lost(lane)).sum::<u64>(), 0);
}

#[test]
fn spoiled_lane_is_said_once_and_read_again_when_it_has_another_tenant() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(4));
    let mut consumer = bus.consumer().attach().unwrap();
    let (mut hostile, _) = Raw::open(running.socket(), "bus");
    let (_bells, lane, _) = hostile.attach("produce");
    lane.set_head(1 << 40);
    assert_eq!(consumer.poll().err(), Some(PollError::Corrupt { lane: 0 }));
    assert!(consumer.poll().unwrap().is_none());
    hostile.leave();
    let mut producer = bus.producer().attach().unwrap();
    producer.publish_bytes(0, b"honest").unwrap();
    assert_eq!(read(&mut consumer), [(0, b"honest".to_vec())]);
    for round in 0..20 {
        producer.publish_bytes(0, b"honest").unwrap();
        assert_eq!(read(&mut consumer).len(), 1, "round {round}");
    }
}

/// A tenant that has left goes on storing while its successor publishes. `is_met`: the consumer has
/// looked at its memory before.
fn go_on_storing(is_met: bool) {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(8).payload_bytes(8));
    let mut consumer = bus.consumer().attach().unwrap();
    let (mut hostile, _) = Raw::open(running.socket(), "bus");
    let (_bells, lane, _) = hostile.attach("produce");
    if is_met {
        assert!(consumer.poll().unwrap().is_none());
    }
    hostile.leave();
    let mut producer = bus.producer().attach().unwrap();
    for number in 0..50_u64 {
        // At first it looks like an honest tenant that goes on; what is wild is seen to be.
        if number > 1 {
            lane.scribble(number);
        }
        lane.set_head(number + 3);
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        assert_eq!(read(&mut consumer), [(0, number.to_le_bytes().to_vec())]);
    }
}

/// Promise 8 (ARCHITECTURE.md).
#[test]
fn former_tenant_that_goes_on_storing_reaches_nobody() {
    go_on_storing(true);
}

#[test]
fn former_tenant_that_nobody_has_met_reaches_nobody() {
    go_on_storing(false);
}

#[test]
fn tenant_that_takes_its_head_back_costs_its_successor_nothing() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).capacity_frames(8).payload_bytes(8));
    let mut consumer = bus.consumer().attach().unwrap();
    let (mut hostile, _) = Raw::open(running.socket(), "bus");
    let (_bells, lane, _) = hostile.attach("produce");
    lane.set_head(5);
    assert_eq!(read(&mut consumer).len(), 5);
    lane.set_head(2);
    hostile.leave();
    let mut producer = bus.producer().attach().unwrap();
    assert_eq!(producer.position(), 2);
    for number in 0..50_u64 {
        producer.publish_bytes(0, &number.to_le_bytes()).unwrap();
        assert_eq!(read(&mut consumer), [(0, number.to_le_bytes().to_vec())]);
    }
}

#[test]
fn consumer_with_wild_cursors_gates_as_one_that_does_not_read_at_worst() {
    let running = Running::start();
    let options = Bus::options().lanes(1).capacity_frames(8).on_full(OnFull::Reject);
    let bus = running.bus(&options);
    let mut consumer = bus.consumer().attach().unwrap();
    let mut producer = bus.producer().attach().unwrap();
    let (mut hostile, _) = Raw::open(running.socket(), "bus");
    let (bells, row, _) = hostile.attach("consume");
    let mut published = 0;
    let mut seen = 0;
    for seed in 0..2000 {
        row.scribble(seed);
        bells.scribble(seed);
        match producer.publish_bytes(0, &producer.position().to_le_bytes()) {
            Ok(_) => published += 1,
            Err(error) => assert_eq!(error, PublishError::Full),
        }
        if seed % 5 == 0 {
            for (_, payload) in read(&mut consumer) {
                assert_eq!(payload, u64::to_le_bytes(seen));
                seen += 1;
            }
        }
    }
    hostile.leave();
    producer.publish_bytes(0, &producer.position().to_le_bytes()).unwrap();
    published += 1;
    seen += u64::try_from(read(&mut consumer).len()).unwrap();
    assert_eq!((seen, consumer.lost()), (published, 0));
}

/// Promise 8 (ARCHITECTURE.md).
#[test]
fn regions_of_others_can_be_neither_written_cut_nor_opened_for_writing() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2));
    let _producer = bus.producer().attach().unwrap();
    let _consumer = bus.consumer().attach().unwrap();
    let (mut hostile, board) = Raw::open(running.socket(), "bus");
    let (_bells, _lane, own) = hostile.attach("produce");
    let (_, lanes) = hostile.ask(json!({"lanes": {"wanted": [{"lane": 0, "since": 0}]}}));
    let (_, rows) = hostile.ask(json!({"rows": {"wanted": [0]}}));
    assert_eq!((lanes.len(), rows.len()), (1, 1));
    let all = lanes.into_iter().chain(rows).chain([board, own]);
    for file in all {
        for file in [open_again(&file), file] {
            assert!(file.write_at(b"x", 0).is_err());
            assert!(file.set_len(0).is_err() && file.set_len(1 << 30).is_err());
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            assert!(fallocate(&file, punch, 0, 4096).is_err());
            assert!(fallocate(&file, FallocateFlags::ZERO_RANGE, 0, 4096).is_err());
            assert!(Memory::map(&file).is_err());
            assert!(fcntl_add_seals(&file, SealFlags::WRITE).is_err());
        }
    }
}

#[test]
fn bells_can_be_written_and_not_cut() {
    let running = Running::start();
    running.create(&Bus::options(), "bus");
    let (mut hostile, _) = Raw::open(running.socket(), "bus");
    let (_, files) = hostile.ask(json!({"produce": {"name": "raw"}}));
    let bells = &files[0];
    assert!(Memory::map(bells).is_ok());
    assert!(bells.set_len(0).is_err() && bells.set_len(1 << 30).is_err());
    assert!(fcntl_add_seals(bells, SealFlags::FUTURE_WRITE).is_err());
}

#[test]
fn lane_that_its_tenant_has_not_sealed_is_not_opened() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1));
    for seals in [SealFlags::empty(), SealFlags::FUTURE_WRITE, SealFlags::WRITE, SealFlags::SEAL] {
        let (mut hostile, _) = Raw::open(running.socket(), "bus");
        let (_, files) = hostile.ask(json!({"produce": {"name": "raw"}}));
        fcntl_add_seals(&files[1], seals).unwrap();
        let (told, _) = hostile.ask(json!({"sealed": {}}));
        assert_eq!(told["refused"]["code"], "protocol", "{seals:?}: {told}");
        assert!(bus.participants().is_empty());
        // The seat is free for the next one at once.
        bus.producer().attach().unwrap();
    }
}

#[test]
fn requests_out_of_order_or_beyond_the_bounds_are_refused_and_harm_nobody() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2));
    let mut honest = bus.producer().attach().unwrap();
    let mut raw = Raw::connect(running.socket());
    let code = |told: serde_json::Value| told["refused"]["code"].as_str().unwrap().to_owned();
    let open = json!({"open": {"version": 1, "bus": "bus"}});
    for early in [json!({"produce": {"name": ""}}), json!({"sealed": {}}), json!({"leave": {}})] {
        assert_eq!(code(raw.ask(early).0), "protocol");
    }
    assert_eq!(code(raw.ask(json!({"open": {"version": 2, "bus": "bus"}})).0), "incompatible");
    assert_eq!(code(raw.ask(json!({"open": {"version": 1, "bus": "../bus"}})).0), "not_found");
    assert!(raw.ask(open.clone()).0["opened"].is_object());
    assert_eq!(code(raw.ask(open).0), "protocol");
    assert_eq!(code(raw.ask(json!({"sealed": {}})).0), "protocol");
    let many: Vec<_> = (0..17).map(|lane| json!({"lane": lane, "since": 0})).collect();
    assert_eq!(code(raw.ask(json!({"lanes": {"wanted": many}})).0), "protocol");
    let nowhere = json!({"lanes": {"wanted": [{"lane": u32::MAX, "since": 0}]}});
    assert_eq!(raw.ask(nowhere).0, json!({"regions": {"regions": []}}));
    assert_eq!(
        raw.ask(json!({"rows": {"wanted": [0, 64, u32::MAX]}})).0["regions"]["regions"],
        json!([])
    );
    raw.attach("produce");
    assert_eq!(code(raw.ask(json!({"consume": {"name": ""}})).0), "protocol");
    raw.leave();
    raw.leave();
    honest.publish_bytes(0, b"x").unwrap();
}

#[test]
fn packet_that_is_no_request_ends_its_connection_and_no_other() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(2));
    let mut honest = bus.producer().attach().unwrap();
    let deep = vec![b'['; 60_000];
    for packet in [&b"{"[..], b"\xff\xfe", b"{\"id\":1,\"ask\":{\"dance\":{}}}", &deep] {
        let (raw, _) = Raw::open(running.socket(), "bus");
        busway::host::send(&raw.socket, packet, &[]).unwrap();
        let (answer, _) = raw.hear().unwrap();
        assert_eq!(answer["tell"]["refused"]["code"], "protocol");
        assert!(raw.hear().is_none());
    }
    honest.publish_bytes(0, b"x").unwrap();
    bus.producer().attach().unwrap();
}

#[test]
fn seat_of_who_ends_before_it_has_attached_is_free_at_once() {
    let running = Running::start();
    let bus = running.bus(&Bus::options().lanes(1).consumers(1));
    for what in ["produce", "consume"] {
        let (mut hostile, _) = Raw::open(running.socket(), "bus");
        let _lent = hostile.borrow(what);
        assert!(bus.participants().is_empty());
        let taken = match what {
            "produce" => bus.producer().attach().map(drop),
            _ => bus.consumer().attach().map(drop),
        };
        assert_eq!(taken.unwrap_err().code(), "seats_taken");
        drop(hostile);
        eventually("a free seat", || match what {
            "produce" => bus.producer().attach().map(drop).ok(),
            _ => bus.consumer().attach().map(drop).ok(),
        });
    }
}
