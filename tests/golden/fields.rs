//! Every row of every table, compared with a live segment.
//!
//! Nothing here knows an offset: it looks up where the page says that a field is, reads the bytes
//! there, and compares them with what the library says through its interface. At the end, every
//! field that the page names must have been looked at.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::scratch::Name;
use super::segment::{Seen, Segment};
use super::tables::Format;
use busway::{Bus, FrameLayout, OnFull, Role, Schema, Start, Timestamps, Topology, Wait};

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).unwrap()
}

fn align(value: u64, to: u64) -> u64 {
    value.next_multiple_of(to)
}

fn fnv1a64(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Looks until it holds; a bound against hanging, not a measurement.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn tables_tile_what_they_describe() {
    let format = Format::read();
    assert_eq!(format.tables.len(), 6, "a table was added: check it here");
    for table in &format.tables {
        let mut end = 0;
        for row in &table.rows {
            assert_eq!(row.offset, end, "table {} has a gap or overlaps: {row:?}", table.name);
            end += row.bytes;
        }
        assert_eq!(end, table.bytes, "table {} does not end where it says", table.name);
    }
}

#[test]
fn every_documented_offset_is_the_one_in_memory() {
    let format = Format::read();
    let seen = Seen::default();
    ordered_bus(&format, &seen);
    waiting_bus(&format, &seen);
    evicting_bus(&format, &seen);
    let all = format.tables.iter().flat_map(|table| {
        let names = table.rows.iter().filter_map(|row| row.name.clone());
        names.map(|name| (table.name.clone(), name))
    });
    let missed: Vec<_> = all.filter(|field| !seen.borrow().contains(field)).collect();
    assert!(missed.is_empty(), "nobody compared {missed:?}");
}

const SCHEMA: &str = r#"{"name":"cpu","kind":7,"size_bytes":24,"fields":[
    {"name":"at","type":"u64"},{"name":"load","type":"f64","count":2}]}"#;

fn ordered_bus(format: &Format, seen: &Seen) {
    let name = Name::new();
    let origin = 1_000_003;
    let bus = Bus::options()
        .topology(Topology::Ordered)
        .on_full(OnFull::Reject)
        .timestamps(Timestamps::Frame)
        .align_bytes(16)
        .capacity_frames(8)
        .lanes(66)
        .consumers(3)
        .origin(origin)
        .schema(Schema::from_json(SCHEMA).unwrap())
        .create(&name)
        .unwrap();
    let segment = Segment::open(&name, format, seen);
    header(&segment, &bus);

    let early = bus.consumer().name("early").attach().unwrap();
    let start = Start::Position(origin - 5);
    let mut consumer = bus.consumer().name("late").start(start).attach().unwrap();
    early.detach();
    let mut producers: Vec<_> =
        (0..66).map(|lane| bus.producer().name(format!("lane-{lane}")).attach().unwrap()).collect();
    producers[65].claim_batch(2).unwrap().commit().unwrap();
    producers[65].publish_bytes(9, b"seventeen bytes..").unwrap();
    while producers[3].try_publish_bytes(1, b"x").is_ok() {}
    let mut last = producers.pop().unwrap();
    let position = last.publish_bytes(0x1234, b"last").unwrap();
    drop(last);
    for _ in 0..4 {
        consumer.poll().unwrap().unwrap();
    }
    consumer.release();

    control(&segment, &bus);
    seats(&segment, &bus);
    lanes(&segment, &bus);
    cursors(&segment, &bus);
    frames(&segment, position);
    order(&segment, &bus, position, &mut consumer);

    assert_eq!(segment.control("removed"), 0);
    Bus::remove(&name).unwrap();
    assert_eq!(segment.control("removed"), 1);
}

fn header(segment: &Segment<'_>, bus: &Bus) {
    let info = bus.info();
    assert_eq!(segment.bytes("header", 0, "magic"), b"BUSWAY\0\0");
    assert_eq!(text(&segment.bytes("header", 0, "name")), info.name);
    let shape = [
        ("layout_version", u64::from(info.layout_version)),
        ("fixed_bytes", 512),
        ("features_incompat", 0),
        ("features_ro_compat", 0),
        ("features_compat", 0),
        ("segment_bytes", info.segment_bytes),
        ("topology", u64::from(info.topology.number())),
        ("frames", u64::from(info.frames.number())),
        ("on_full", u64::from(info.on_full.number())),
        ("timestamps", u64::from(info.timestamps.number())),
        ("payload_bytes", info.payload_bytes.into()),
        ("align_bytes", info.align_bytes.into()),
        ("stride_bytes", info.stride_bytes.into()),
        ("lanes", info.lanes.into()),
        ("consumers", info.consumers.into()),
        ("clock", 1),
        ("capacity", info.capacity_frames),
        ("order_capacity", info.order_capacity_entries),
        ("origin", info.origin),
        ("schema_hash", info.schema_hash),
        ("created_unix_ns", info.created_unix_ns),
        ("creator_pid", info.creator_pid.into()),
        ("creator_uid", info.creator_uid.into()),
        ("instance", info.instance),
        ("evict_lag", 0),
        ("evict_after_ns", 0),
    ];
    for (field, want) in shape {
        assert_eq!(segment.header(field), want, "{field}");
    }
    let document = bus.schema().unwrap().to_json().unwrap();
    assert_eq!(segment.header("schema_bytes"), document.len() as u64);
    let file = fs::read(format!("/dev/shm/busway.{}", bus.name())).unwrap();
    assert_eq!(file.len() as u64, info.segment_bytes);
    assert_eq!(&file[512..512 + document.len()], document.as_bytes());
    let checksum = fnv1a64(0xcbf2_9ce4_8422_2325, &file[..504]);
    assert_eq!(segment.header("checksum"), fnv1a64(checksum, document.as_bytes()));
    regions(segment, bus, document.len() as u64);
}

/// The formulas of section 2.
fn regions(segment: &Segment<'_>, bus: &Bus, schema_bytes: u64) {
    let info = bus.info();
    let (lanes, consumers) = (u64::from(info.lanes), u64::from(info.consumers));
    let frame_header = if info.frames == FrameLayout::Event { 16 } else { 0 };
    let stride = align(frame_header + u64::from(info.payload_bytes), info.align_bytes.into());
    let is_stamped = frame_header > 0 && info.timestamps != Timestamps::Off;
    let latencies = if is_stamped { 64 + 592 * 8 } else { 0 };
    let row = align(64 + 2 * align(lanes * 8, 64) + latencies, 128);
    let tickets_offset = align(info.capacity_frames * stride, 64);
    let ordered = info.topology == Topology::Ordered;
    let tickets = if ordered { info.capacity_frames * 8 } else { 0 };
    let lane = align(tickets_offset + tickets, 4096);
    let entries = (2 * lanes * info.capacity_frames).next_power_of_two().max(1024);
    let order = if ordered { entries } else { 0 };
    assert_eq!(segment.header("stride_bytes"), stride);
    assert_eq!(segment.header("row_bytes"), row);
    assert_eq!(segment.header("tickets_offset"), tickets_offset);
    assert_eq!(segment.header("lane_bytes"), lane);
    assert_eq!(segment.header("order_capacity"), order);
    let mut end = 0;
    for (region, bytes) in [
        ("header", 512 + schema_bytes),
        ("control", 384 + (lanes + consumers) * 128),
        ("cursors", consumers * row),
        ("heads", lanes * 128),
        ("order", order * 8),
        ("data", lanes * lane),
    ] {
        assert_eq!(segment.header(&format!("{region}_offset")), end, "{region}");
        assert_eq!(segment.header(&format!("{region}_bytes")), bytes, "{region}");
        end = align(end + bytes, 4096);
    }
    assert_eq!(segment.header("segment_bytes"), end);
}

fn control(segment: &Segment<'_>, bus: &Bus) {
    assert_eq!(segment.control("consumers"), 0b10);
    assert_eq!(segment.control("seat_changes"), u64::from(bus.seat_changes()));
    assert_eq!(segment.control("patience_ns"), 50_000);
    assert_eq!(segment.control("order_tail"), bus.stat().order.unwrap().tail);
    for lane in [0, 7, 63, 64, 65] {
        assert_eq!(segment.lane_bit("producers", lane), lane != 65, "lane {lane}");
    }
    // A process that ends without a word, and whose seat is given back.
    assert_eq!(segment.control("recoveries"), 0);
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "fields::child_attaches_and_aborts", "--nocapture"])
        .env(CHILD, bus.name())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!ended.success());
    // A daemon on this host may be faster than this test; the seat is given back once either way.
    eventually("the seat is given back", || {
        bus.reclaim().unwrap();
        bus.stat().recoveries == 1 && !segment.is_locked(65)
    });
    assert_eq!(segment.control("recoveries"), 1);
}

/// Names the bus to the child.
const CHILD: &str = "BUSWAY_TEST_GOLDEN_CHILD";

#[test]
fn child_attaches_and_aborts() {
    if let Ok(bus) = std::env::var(CHILD) {
        let _producer = Bus::open(&bus).unwrap().producer().attach().unwrap();
        std::process::abort();
    }
}

fn seats(segment: &Segment<'_>, bus: &Bus) {
    for who in bus.participants() {
        let (role, seat) = (who.role, u64::from(who.seat));
        let base = segment.seat_base(role, seat);
        assert_eq!(segment.seat(role, seat, "state"), (who.epoch << 8) | 1);
        assert_eq!(segment.seat(role, seat, "pid"), u64::from(who.pid));
        assert_eq!(segment.seat(role, seat, "uid"), u64::from(who.uid));
        assert_eq!(segment.seat(role, seat, "attached_unix_ns"), who.attached_unix_ns);
        assert_eq!(text(&segment.bytes("seat", base, "name")), who.name);
        let byte = who.seat + if role == Role::Producer { 0 } else { 256 };
        assert!(segment.is_locked(byte.into()), "{who:?}");
    }
    // Left in order: free, and the epoch kept. Lane 65 has been left twice.
    assert_eq!(segment.seat(Role::Consumer, 0, "state"), 1 << 8);
    assert_eq!(segment.seat(Role::Producer, 65, "state"), 2 << 8);
    assert!(!segment.is_locked(256) && !segment.is_locked(65));
}

fn lanes(segment: &Segment<'_>, bus: &Bus) {
    for (lane, stat) in (0..).zip(bus.stat().lanes) {
        assert_eq!(segment.lane(lane, "head"), stat.position);
        let reserve = segment.lane(lane, "reserve").wrapping_sub(stat.position);
        assert!(reserve <= bus.info().capacity_frames, "reserve runs {reserve} ahead");
        assert_eq!(segment.lane(lane, "rejected"), stat.rejected);
        assert_eq!(stat.rejected, u64::from(lane == 3));
        let room = stat.published * u64::from(bus.info().payload_bytes);
        assert_eq!(segment.lane(lane, "unused_bytes"), room - stat.bytes, "lane {lane}");
        assert_eq!(segment.lane(lane, "batches"), stat.batches);
        assert_eq!(segment.lane(lane, "batched_frames"), stat.batched);
    }
    assert_eq!(segment.lane(7, "ticket_at"), bus.info().origin - 1, "nothing published there");
}

fn cursors(segment: &Segment<'_>, bus: &Bus) {
    let stat = bus.stat();
    let [consumer] = stat.consumers.as_slice() else { panic!("{:?}", stat.consumers) };
    let base = segment.row_base(1);
    let row = |field| segment.number("row", base, field);
    assert_eq!(Some(row("order_cursor")), consumer.order_position);
    assert_eq!((row("read"), consumer.read), (4, 4));
    assert_eq!((row("lost"), consumer.lost), (5, 5));
    let losses = base + 64 + align(u64::from(bus.info().lanes) * 8, 64);
    for (lane, cursor) in (0..).zip(&consumer.lanes) {
        assert_eq!(segment.word(base + 64 + lane * 8), cursor.position, "lane {lane}");
        assert_eq!(segment.word(losses + lane * 8), cursor.lost, "lane {lane}");
    }
    let latencies = losses + align(u64::from(bus.info().lanes) * 8, 64);
    let latency = consumer.latency.as_ref().unwrap();
    assert_eq!(segment.word(latencies), latency.sum_ns);
    assert_eq!(segment.word(latencies + 8), latency.max_ns);
    assert!(!latency.buckets.is_empty(), "it has read some");
    for bucket in &latency.buckets {
        let of = |value: u64| match (64 - value.leading_zeros()).saturating_sub(5) {
            _ if value < 16 => value,
            s => 16 * u64::from(s) + (value >> s),
        };
        assert_eq!(of(bucket.low_ns), of(bucket.high_ns));
        let count = segment.word(latencies + 64 + of(bucket.low_ns) * 8);
        assert_eq!(count, bucket.count, "{bucket:?}");
    }
    assert_ne!(consumer.lanes[65].position, bus.info().origin, "it has read some of them");
    assert_eq!(consumer.lanes[0].lost, 5, "it asked for tickets before the first");
}

/// The last frame of lane 65, byte for byte.
fn frames(segment: &Segment<'_>, position: u64) {
    let slot = segment.header("data_offset")
        + 65 * segment.header("lane_bytes")
        + (position & (segment.header("capacity") - 1)) * segment.header("stride_bytes");
    let frame = |field| segment.number("frame", slot, field);
    assert_eq!((frame("len"), frame("kind"), frame("flags")), (4, 0x1234, 0));
    assert_ne!(frame("time_ns"), 0);
    let mut payload = [0; 4];
    let after = segment.format.table("frame").bytes as u64;
    segment.file.read_exact_at(&mut payload, slot + after).unwrap();
    assert_eq!(&payload, b"last");
}

/// Section 10: finds the last run of lane 65 by its ticket, then takes a ticket as a producer does,
/// never commits it, and looks how the consumer gives it up.
fn order(segment: &Segment<'_>, bus: &Bus, position: u64, consumer: &mut busway::Consumer) {
    let (origin, capacity) = (segment.header("origin"), segment.header("order_capacity"));
    let entry = |ticket: u64| {
        let index = (ticket - origin) & (capacity - 1);
        segment.word(segment.header("order_offset") + index * 8)
    };
    let ticket = segment.lane(65, "ticket");
    assert_eq!(segment.lane(65, "ticket_at"), position);
    assert_eq!(ticket, segment.control("order_tail") - 1, "it was the last to publish");
    assert_eq!(entry(ticket), entry_word(1, 65));
    assert_eq!(entry(origin), entry_word(2, 65), "the batch of two came first");
    let beside = segment.header("data_offset")
        + 65 * segment.header("lane_bytes")
        + segment.header("tickets_offset")
        + (position & (segment.header("capacity") - 1)) * 8;
    assert_eq!(segment.word(beside), ticket);

    let hole = segment.control("order_tail");
    let row = segment.format.field("control", "order_tail");
    let tail = segment.header("control_offset") + row.offset as u64;
    segment.file.write_all_at(&(hole + 1).to_le_bytes(), tail).unwrap();
    assert_eq!(entry(hole), 0);
    while consumer.poll().unwrap().is_some() {}
    eventually("the hole is punched", || {
        assert!(consumer.poll().unwrap().is_none());
        bus.stat().punches == 1
    });
    assert_eq!(segment.control("punches"), 1);
    assert_eq!(entry(hole), entry_word(0, 0), "a tomb");
}

/// An entry of the first lap, as section 10 packs it.
fn entry_word(run: u64, lane: u64) -> u64 {
    (1 << 24) | (run << 8) | lane
}

/// Somebody is too slow, somebody is told to leave, somebody stores nonsense.
fn evicting_bus(format: &Format, seen: &Seen) {
    let name = Name::new();
    let options = Bus::options().capacity_frames(4).on_full(OnFull::Reject);
    let options = options.evict_lag_frames(4).evict_after(Some(Duration::from_secs(3600)));
    let bus = options.create(&name).unwrap();
    let segment = Segment::open(&name, format, seen);
    assert_eq!(segment.header("features_ro_compat"), 1);
    assert_eq!(segment.header("evict_lag"), 4);
    assert_eq!(segment.header("evict_after_ns"), 3_600_000_000_000);
    let mut producer = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    assert_eq!(segment.control("evictions"), 0);
    for number in 0..5 {
        // The fifth finds the consumer a whole ring behind.
        producer.publish_bytes(0, &[number]).unwrap();
    }
    assert_eq!(segment.control("evictions"), 1);
    assert_eq!(segment.seat(Role::Consumer, 0, "state"), (1 << 8) | 2);
    assert!(consumer.poll().is_err());
    drop(consumer);

    drop((producer, bus));
    let name = Name::new();
    let bus = Bus::options().capacity_frames(2).on_full(OnFull::Reject).create(&name).unwrap();
    let segment = Segment::open(&name, format, seen);
    let mut producer = bus.producer().attach().unwrap();
    let mut consumer = bus.consumer().attach().unwrap();
    let before = bus.now_ns();
    assert_eq!(segment.lane(0, "held_since_ns"), 0);
    assert!((0..3).any(|_| producer.publish_bytes(0, &[1]).is_err()));
    let since = segment.lane(0, "held_since_ns");
    assert!((before..=bus.now_ns()).contains(&since));
    assert_eq!(bus.stat().lanes[0].held_since_ns, Some(since));
    assert_eq!(bus.stat().lanes[0].held_by, [0]);
    assert_eq!(segment.lane(0, "held_frames"), 1);
    // Room for one, which the producer has not tried to use yet.
    consumer.poll().unwrap();
    consumer.release();
    assert_eq!(bus.stat().lanes[0].held_by, [0_u32; 0]);
    assert_eq!(bus.stat().lanes[0].held_since_ns, None);
    while consumer.poll().unwrap().is_some() {}
    consumer.release();
    producer.publish_bytes(0, &[1]).unwrap();
    assert_eq!(segment.lane(0, "held_since_ns"), 0);

    let mut kept = bus.producer().keep_end(true).attach().unwrap();
    assert_eq!((kept.lane(), segment.lane(1, "kept_epoch")), (1, kept.epoch()));
    kept.publish_bytes(0, &[1]).unwrap();
    assert_eq!(segment.lane(1, "kept_end"), 0, "it has not ended");
    drop(kept);
    assert_eq!(segment.lane(1, "kept_end"), segment.lane(1, "head"));
    assert_eq!((segment.lane(0, "kept_epoch"), segment.lane(1, "head")), (0, 1), "who asks");
    while consumer.poll().unwrap().is_some() {}
    consumer.release();

    assert_eq!(segment.control("corruptions"), 0);
    let head = segment.header("heads_offset");
    let file = fs::File::options().write(true).open(format!("/dev/shm/busway.{}", bus.name()));
    file.unwrap().write_all_at(&77_777_u64.to_le_bytes(), head).unwrap();
    assert!(consumer.poll().is_err());
    assert_eq!(segment.control("corruptions"), 1);
}

fn waiting_bus(format: &Format, seen: &Seen) {
    let name = Name::new();
    let bus = Bus::options().capacity_frames(2).lanes(66).create(&name).unwrap();
    let segment = Segment::open(&name, format, seen);
    let others: Vec<busway::Producer> = (0..65).map(|_| bus.producer().attach().unwrap()).collect();
    let mut producer = bus.producer().wait(Wait::Parking).attach().unwrap();
    assert_eq!(producer.lane(), 65);
    let mut consumer = bus.consumer().wait(Wait::Parking).attach().unwrap();
    assert_eq!(segment.seat(Role::Consumer, 0, "doorbell"), 0);
    assert_eq!(segment.seat(Role::Producer, 65, "doorbell"), 0);

    // A sleeper looks up by itself now and then, and is not rung for just then: try again.
    eventually("a sleeping consumer is rung for", || {
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| consumer.recv().map(|_| ()));
            eventually("the consumer sleeps", || segment.control("sleeping_consumers") == 1);
            producer.publish_bytes(1, b"wake up").unwrap();
            sleeper.join().unwrap().unwrap();
        });
        segment.seat(Role::Consumer, 0, "doorbell") > 0
    });
    eventually("a sleeping producer is rung for", || {
        consumer.release();
        thread::scope(|scope| {
            let sleeper = scope
                .spawn(|| (0..3).try_for_each(|_| producer.publish_bytes(1, b"room?").map(|_| ())));
            eventually("the producer sleeps", || segment.lane_bit("sleeping_producers", 65));
            for _ in 0..3 {
                eventually("a frame is there", || consumer.poll().unwrap().is_some());
                consumer.release();
            }
            sleeper.join().unwrap().unwrap();
        });
        segment.seat(Role::Producer, 65, "doorbell") > 0
    });
    let stat = &bus.stat().lanes[65];
    assert!(stat.blocked_count > 0 && stat.blocked_ns > 0);
    assert_eq!(segment.lane(65, "blocked_count"), stat.blocked_count);
    assert_eq!(segment.lane(65, "blocked_ns"), stat.blocked_ns);
    drop(others);
}
