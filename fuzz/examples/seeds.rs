//! Writes the seeds that are not text: `seeds/header`, `seeds/segment` and `seeds/concurrent`.
//!
//! Run it from `fuzz/` with `RUSTFLAGS="--cfg fuzzing" cargo run --example seeds` after a change of
//! the header's layout or of the inputs' form, and commit what it writes.

use std::fs;
use std::io;

use busway::fuzzing::{Asked, encode};

/// The name that the target looks for.
const NAME: &str = "fuzz";
const SCHEMA: &[u8] = br#"{"name":"t","fields":[{"name":"a","type":"u64"}]}"#;

// The steps of `src/segment/step.rs`: code, then what it reads.
const PUBLISH: [u8; 4] = [0, 0, 16, 0];
const TRY: [u8; 4] = [1, 0, 0, 0];
const CLAIM: [u8; 4] = [2, 0, 0, 0];
const BATCH: [u8; 4] = [3, 0, 2, 0];
const ABORT: [u8; 4] = [4, 0, 2, 0];
const DRAIN: [u8; 4] = [5, 0, 0, 0];
const POLL: [u8; 4] = [6, 0, 0, 0];
const POLL_ALL: [u8; 4] = [9, 0, 0, 0];
const RECEIVE: [u8; 4] = [10, 0, 0, 0];
const RELEASE: [u8; 4] = [11, 0, 0, 0];
const OBSERVE: [u8; 4] = [12, 0, 255, 0];
const LOOK: [u8; 4] = [13, 0, 0, 0];
const RECLAIM: [u8; 4] = [14, 0, 0, 0];
const OPEN: [u8; 4] = [15, 0, 0, 0];
const REMOVE: [u8; 4] = [16, 255, 0, 0];
const ATTACH_PRODUCER: [u8; 4] = [17, 0, 0, 0];
const ATTACH_CONSUMER: [u8; 4] = [18, 1, 0, 3];
const ATTACH_OBSERVER: [u8; 4] = [19, 1, 0, 0];
const DETACH_PRODUCER: [u8; 4] = [20, 0, 0, 0];
const DETACH_CONSUMER: [u8; 4] = [21, 0, 0, 0];
const DETACH_OBSERVER: [u8; 4] = [22, 0, 0, 0];
const STORE_SMALL: u8 = 23;
const STORE_FILL: u8 = 24;
const STORE_BELOW_ZERO: u8 = 25;
const STORE_PLUS: u8 = 26;
const STORE_NEAR: u8 = 30;

// The regions, by the numbers of `src/segment/mutation.rs`.
const CONTROL: u8 = 0;
const CURSORS: u8 = 1;
const HEADS: u8 = 2;
const ORDER: u8 = 3;
const DATA: u8 = 4;

fn main() -> io::Result<()> {
    headers()?;
    segments()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(format!("seeds/{target}"))?;
    fs::write(format!("seeds/{target}/{name}"), bytes)
}

fn headers() -> io::Result<()> {
    let small = Asked {
        choices: [1, 0, 1, 0],
        payload_bytes: 48,
        align_bytes: 8,
        capacity: 8,
        lanes: 2,
        consumers: 2,
        origin: 0,
    };
    let shapes = [
        ("single", Asked { choices: [0, 1, 0, 1], lanes: 1, ..small }, &[][..]),
        ("lanes", small, SCHEMA),
        ("ordered", Asked { choices: [2, 2, 2, 0], align_bytes: 64, ..small }, &[]),
    ];
    for (name, asked, schema) in shapes {
        let header = encode(&asked, NAME, schema).expect("a shape that a bus can have");
        for (mode, how) in [(0, "as-it-is"), (1, "repaired")] {
            write("header", &format!("{name}-{how}"), &[&[mode], &header[..]].concat())?;
        }
    }
    // Mode, choices, size and alignment and lanes and consumers, capacity, payload, shift, origin;
    // then the changes: the topology, and a region's offset.
    let mut shape = vec![2, 2, 0, 1, 0, 3, 0, 1, 2];
    shape.extend([0; 8]);
    shape.extend(48_u32.to_le_bytes());
    shape.extend([0; 4]);
    shape.extend(1_u64.to_le_bytes());
    write("header", "shape", &shape)?;
    write("header", "shape-changed", &[&shape[..], &[48, 0, 3, 233, 0, 16]].concat())
}

fn segments() -> io::Result<()> {
    let whole_life: &[[u8; 4]] = &[
        PUBLISH,
        TRY,
        CLAIM,
        BATCH,
        ABORT,
        LOOK,
        POLL,
        POLL_ALL,
        RELEASE,
        RECEIVE,
        OBSERVE,
        DRAIN,
        ATTACH_PRODUCER,
        ATTACH_CONSUMER,
        ATTACH_OBSERVER,
        PUBLISH,
        POLL,
        RECLAIM,
        OPEN,
        DETACH_OBSERVER,
        DETACH_PRODUCER,
        DETACH_CONSUMER,
        REMOVE,
        POLL,
    ];
    let head = |code, value| [code, HEADS, 0, value];
    let stores: &[(&str, [u8; 4])] = &[
        ("head-behind", head(STORE_BELOW_ZERO, 3)),
        ("head-ahead", head(STORE_PLUS, 200)),
        ("head-near", head(STORE_NEAR, 25)),
        ("consumers", [STORE_BELOW_ZERO, CONTROL, 0, 0]),
        ("tail", [STORE_PLUS, CONTROL, 32, 255]),
        ("seat-free", [STORE_SMALL, CONTROL, 48, 0]),
        ("cursor", [STORE_NEAR, CURSORS, 8, 140]),
        ("entry", [STORE_BELOW_ZERO, ORDER, 1, 7]),
        ("length", [STORE_BELOW_ZERO, DATA, 1, 0]),
        ("ticket", [STORE_PLUS, HEADS, 2, 1]),
    ];
    // Topology, policy, frames and alignment, timestamps, lanes, consumers, size, origin.
    let shapes: [(&str, [u8; 8]); 4] = [
        ("single-block-bare", [0, 0, 1, 0, 0, 1, 8, 0]),
        ("lanes-reject", [1, 1, 0, 1, 2, 2, 97, 0]),
        ("ordered-block", [2, 0, 0, 2, 2, 2, 98, 130]),
        ("ordered-lossy", [2, 2, 0, 1, 1, 1, 97, 140]),
    ];
    for (shape_name, shape) in shapes {
        let life = [&shape[..], whole_life.as_flattened()].concat();
        write("segment", &format!("{shape_name}-life"), &life)?;
        write("concurrent", &format!("{shape_name}-life"), &life)?;
    }
    for (index, (name, store)) in stores.iter().enumerate() {
        let (shape_name, shape) = shapes[index % shapes.len()];
        let before = [PUBLISH, BATCH, BATCH, POLL];
        let steps = [before.as_flattened(), &store[..], whole_life.as_flattened()].concat();
        let input = [&shape[..], &steps].concat();
        write("segment", &format!("{shape_name}-{name}"), &input)?;
        write("concurrent", &format!("{shape_name}-{name}"), &input)?;
    }
    // The length of the frame in the first slot of two changes all the time while it is read.
    let lengths = [[STORE_SMALL, DATA, 1, 5], [STORE_BELOW_ZERO, DATA, 1, 0]];
    let reads = [PUBLISH, POLL].repeat(45);
    let shape = [1, 0, 0, 0, 0, 0, 96, 0];
    let input = [&shape[..], lengths.as_flattened(), reads.as_flattened()].concat();
    write("concurrent", "length-read-twice", &input)?;
    // An order ring in which every entry commits a frame that no slot knows of.
    let fill = [&[STORE_FILL, ORDER, 0, 0], &((1_u64 << 24) | (1 << 8)).to_le_bytes()[..]].concat();
    let tail = [STORE_PLUS, CONTROL, 32, 255];
    let steps = [&fill[..], &tail, &head(STORE_PLUS, 60), whole_life.as_flattened()].concat();
    let input = [&shapes[3].1[..], &steps].concat();
    write("segment", "order-of-unknown-frames", &input)?;
    write("concurrent", "order-of-unknown-frames", &input)
}
