//! Ways of working that are counted: an operation is one frame, or one look that finds none.

use std::hint::black_box;

use busway::{
    Bus, BusOptions, Consumer, Frame, FrameLayout, OnFull, Producer, Timestamps, Topology,
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Frames published before they are read: a visit to a lane.
const RUN: u64 = 256;

/// A payload that fills one line together with an event's header.
#[derive(Frame, FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct Line {
    words: [u64; 6],
}

/// A payload that fills one line by itself.
#[derive(Frame, FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct BareLine {
    words: [u64; 8],
}

/// One way of working.
pub struct Way {
    pub name: &'static str,
    pub run: fn(u64),
}

/// All of them.
pub const WAYS: &[Way] = &[
    Way { name: "nothing", run: nothing },
    Way { name: "nothing-bare", run: nothing_bare },
    Way { name: "publish-unread", run: |count| publish_unread(&lanes(1), count) },
    Way { name: "publish-bytes-unread", run: publish_bytes_unread },
    Way { name: "publish-stamped-unread", run: publish_stamped_unread },
    Way { name: "publish-bare-unread", run: publish_bare_unread },
    Way { name: "claim-unread", run: claim_unread },
    Way { name: "batch-unread", run: batch_unread },
    Way { name: "ordered-unread", run: |count| publish_unread(&ordered(), count) },
    Way { name: "lossy-unread", run: |count| publish_unread(&lossy(), count) },
    Way { name: "drained", run: |count| publish_and(&lanes(1), count, skip) },
    Way { name: "polled", run: |count| publish_and(&lanes(1), count, poll) },
    Way { name: "read-in-runs", run: |count| publish_and(&lanes(1), count, read_in_runs) },
    Way { name: "drained-ordered", run: |count| publish_and(&ordered(), count, skip) },
    Way { name: "polled-ordered", run: |count| publish_and(&ordered(), count, poll) },
    Way { name: "ping", run: |count| ping(&lanes(1), count) },
    Way { name: "ping-of-8", run: |count| ping(&lanes(8), count) },
    Way { name: "claimed-and-acknowledged", run: claim_and_acknowledge },
    Way { name: "table-set", run: table_set },
    Way { name: "table-set-at", run: table_set_at },
    Way { name: "table-get", run: table_get },
    Way { name: "table-get-at", run: table_get_at },
    Way { name: "empty", run: |count| empty(1, count) },
    Way { name: "empty-of-64", run: |count| empty(64, count) },
    Way { name: "empty-of-256", run: |count| empty(256, count) },
];

fn base() -> BusOptions {
    Bus::options().payload_bytes(48).timestamps(Timestamps::Off).capacity_frames(64 << 10)
}

fn lanes(lanes: u32) -> BusOptions {
    base().topology(Topology::Lanes).lanes(lanes)
}

fn ordered() -> BusOptions {
    base().topology(Topology::Ordered).lanes(1)
}

fn lossy() -> BusOptions {
    lanes(1).on_full(OnFull::DropOldest)
}

/// A bus that is removed at the end.
struct Scratch {
    bus: Bus,
    name: String,
}

impl Scratch {
    fn new(options: &BusOptions) -> Self {
        let name = format!("counted-{}", std::process::id());
        Self { bus: options.create(&name).expect("shared memory for a small bus"), name }
    }

    fn producer<T: Frame>(&self) -> Producer<T> {
        self.bus.producer().attach_typed().expect("a free lane")
    }

    fn consumer(&self) -> Consumer {
        self.bus.consumer().attach().expect("a free seat")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = Bus::remove(&self.name) {
            eprintln!("{error}");
        }
    }
}

/// A table of one key with one writer and one reader; removed at the end.
struct ScratchTable {
    writer: busway::TableWriter,
    reader: busway::TableReader,
    place: busway::Place,
    name: String,
}

impl ScratchTable {
    fn new() -> Self {
        let name = format!("counted-table-{}", std::process::id());
        let options = busway::Table::options().keys(64).value_bytes(16).timestamps(false);
        let table = options.create(&name).expect("shared memory for a small table");
        let mut writer = table.writer().attach().expect("a free seat");
        let reader = table.reader().attach().expect("a reader");
        writer.set_bytes(7, &[7; 16]).expect("room");
        let place = reader.place(7).expect("a key").expect("it was written");
        Self { writer, reader, place, name }
    }
}

impl Drop for ScratchTable {
    fn drop(&mut self) {
        if let Err(error) = busway::Table::remove(&self.name) {
            eprintln!("{error}");
        }
    }
}

fn table_set(count: u64) {
    let mut table = ScratchTable::new();
    for number in 0..count {
        table.writer.set_bytes(7, black_box(&[number as u8; 16])).expect("room");
    }
}

fn table_set_at(count: u64) {
    let mut table = ScratchTable::new();
    for number in 0..count {
        table.writer.set_bytes_at(table.place, black_box(&[number as u8; 16])).expect("room");
    }
}

fn table_get(count: u64) {
    let mut table = ScratchTable::new();
    for _ in 0..count {
        black_box(table.reader.get(7).expect("a key").expect("a value").bytes());
    }
}

fn table_get_at(count: u64) {
    let mut table = ScratchTable::new();
    for _ in 0..count {
        black_box(table.reader.get_at(table.place).expect("a place").expect("a value").bytes());
    }
}

fn line(number: u64) -> Line {
    Line { words: [number; 6] }
}

/// What every way does between two frames.
fn nothing(count: u64) {
    for number in 0..count {
        black_box(&line(number));
    }
}

fn nothing_bare(count: u64) {
    for number in 0..count {
        black_box(&BareLine { words: [number; 8] });
    }
}

/// Nobody reads: publishing alone.
fn publish_unread(options: &BusOptions, count: u64) {
    let scratch = Scratch::new(options);
    let mut producer = scratch.producer::<Line>();
    for number in 0..count {
        producer.publish(black_box(&line(number))).expect("room");
    }
}

fn publish_stamped_unread(count: u64) {
    publish_unread(&lanes(1).timestamps(Timestamps::Frame), count);
}

fn publish_bytes_unread(count: u64) {
    let scratch = Scratch::new(&lanes(1));
    let mut producer = scratch.bus.producer().attach().expect("a free lane");
    let bytes = black_box([7_u8; 48].as_slice());
    for _ in 0..count {
        producer.publish_bytes(1, bytes).expect("room");
    }
}

fn publish_bare_unread(count: u64) {
    let options = lanes(1).frames(FrameLayout::Bare).payload_bytes(64);
    let scratch = Scratch::new(&options);
    let mut producer = scratch.producer::<BareLine>();
    for number in 0..count {
        producer.publish(black_box(&BareLine { words: [number; 8] })).expect("room");
    }
}

fn claim_unread(count: u64) {
    let scratch = Scratch::new(&lanes(1));
    let mut producer = scratch.producer::<Line>();
    for number in 0..count {
        let mut claim = producer.claim().expect("room");
        *claim.value_mut::<Line>().expect("a line fits") = *black_box(&line(number));
        claim.commit().expect("no order to be late in");
    }
}

fn batch_unread(count: u64) {
    let scratch = Scratch::new(&lanes(1));
    let mut producer = scratch.producer::<Line>();
    let frames = [line(7); 64];
    for _ in 0..count / 64 {
        producer.publish_batch(black_box(&frames)).expect("room");
    }
}

/// Publishes a run, and has it read.
fn publish_and(options: &BusOptions, count: u64, read: fn(&mut Consumer)) {
    let scratch = Scratch::new(options);
    let mut consumer = scratch.consumer();
    let mut producer = scratch.producer::<Line>();
    for number in 0..count {
        producer.publish(&line(number)).expect("room");
        if number % RUN == RUN - 1 {
            read(&mut consumer);
        }
    }
}

/// Publishes a run, and has a group's member claim and acknowledge each of its frames.
fn claim_and_acknowledge(count: u64) {
    let scratch = Scratch::new(&lanes(1));
    let group = scratch.bus.group("g").max_attempts(0).create().expect("a free seat");
    let mut member = group.member().attach().expect("a free seat");
    let mut producer = scratch.producer::<Line>();
    let mut sum = 0_u64;
    for number in 0..count {
        producer.publish(&line(number)).expect("room");
        if number % RUN == RUN - 1 {
            while let Some(taken) = member.poll().expect("an honest lane") {
                sum = sum.wrapping_add(taken.frame().value::<Line>().expect("a line").words[0]);
                let receipt = taken.receipt();
                member.ack(receipt).expect("in time");
            }
        }
    }
    black_box(sum);
}

/// Gives a run back without looking at it.
fn skip(consumer: &mut Consumer) {
    while consumer.poll_batch(usize::MAX, |_| {}).expect("an honest lane") > 0 {}
}

fn poll(consumer: &mut Consumer) {
    let mut sum = 0_u64;
    while let Some(frame) = consumer.poll().expect("an honest lane") {
        sum = sum.wrapping_add(frame.value::<Line>().expect("a line").words[0]);
    }
    black_box(sum);
}

fn read_in_runs(consumer: &mut Consumer) {
    let mut sum = 0_u64;
    let mut read = |frame: busway::FrameRef<'_>| {
        sum = sum.wrapping_add(frame.value::<Line>().expect("a line").words[0]);
    };
    while consumer.poll_batch(usize::MAX, |run| run.for_each(&mut read)).expect("an honest lane")
        > 0
    {}
    black_box(sum);
}

/// Publishes a frame and reads it at once, so that every run is of one frame.
fn ping(options: &BusOptions, count: u64) {
    let scratch = Scratch::new(options);
    let mut consumer = scratch.consumer();
    let mut producer = scratch.producer::<Line>();
    for number in 0..count {
        producer.publish(black_box(&line(number))).expect("room");
        let frame = consumer.poll().expect("an honest lane").expect("the frame");
        black_box(frame.value::<Line>().expect("a line").words[0]);
    }
}

fn empty(lanes: u32, count: u64) {
    let scratch = Scratch::new(&self::lanes(lanes).capacity_frames(64));
    let mut consumer = scratch.consumer();
    let _producer = scratch.producer::<Line>();
    for _ in 0..count {
        assert!(consumer.poll().expect("an honest lane").is_none());
    }
}
