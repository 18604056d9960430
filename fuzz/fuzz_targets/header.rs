//! Headers: any bytes, valid ones with bytes changed and the checksum put right again, and valid
//! ones of any shape. An accepted one has disjoint regions within the file, and everything that is
//! laid into them fits.
//!
//! ```text
//! first byte  0 the rest is the file  1 as 0, the checksum is put right
//!             2 a shape in 32 bytes, then changes: offset (2 bytes) and what to xor (1 byte)
//! ```

#![no_main]

use busway::fuzzing::{self, Accepted, Asked};
use busway_fuzz::bytes::Bytes;
use busway_fuzz::leaks;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "fuzz";
const SCHEMA: &[u8] = br#"{"name":"t","fields":[{"name":"a","type":"u64"}]}"#;
/// Where the header states the size of the file (`docs/format.md`).
const SEGMENT_BYTES_OFFSET: usize = 40;
const PAGE_BYTES: u64 = 4096;

fuzz_target!(|data: &[u8]| {
    leaks::keeps_no_memory(|| {
        let mut bytes = Bytes(data);
        match bytes.byte() % 3 {
            0 => open(bytes.0),
            1 => {
                let mut file = bytes.0.to_vec();
                fuzzing::repair(&mut file);
                open(&file);
            }
            _ => open_mutated(bytes),
        }
    });
});

/// A file may be of any size without taking any room: as long as the header says, or as it is.
fn open(file: &[u8]) {
    let stated = file.get(SEGMENT_BYTES_OFFSET..).map_or(0, |rest| Bytes(rest).word());
    for file_bytes in [stated, file.len() as u64] {
        if let Some(accepted) = fuzzing::accept(file, NAME, file_bytes) {
            check(&accepted, file_bytes);
        }
    }
}

fn open_mutated(mut bytes: Bytes<'_>) {
    let asked = asked(&mut bytes);
    let schema = if asked.origin.is_multiple_of(2) { &[] } else { SCHEMA };
    let Some(mut file) = fuzzing::encode(&asked, NAME, schema) else {
        return;
    };
    let stated = Bytes(&file[SEGMENT_BYTES_OFFSET..]).word();
    let accepted = fuzzing::accept(&file, NAME, stated).expect("what was encoded is a header");
    check(&accepted, stated);
    while !bytes.is_empty() {
        let [low, high, change] = bytes.array();
        let at = usize::from(u16::from_le_bytes([low, high])) % file.len();
        file[at] ^= change;
    }
    fuzzing::repair(&mut file);
    open(&file);
}

/// Small numbers are as likely as any, and so are those around the limits.
fn asked(bytes: &mut Bytes<'_>) -> Asked {
    let choices = bytes.array::<4>().map(|byte| u32::from(byte % 3));
    let [size, align, lanes, consumers] = bytes.array();
    let (exact, payload_bytes, shift) = (bytes.word(), bytes.number(), bytes.number());
    Asked {
        choices: [choices[0], choices[1], choices[2], choices[3] % 2],
        payload_bytes: payload_bytes >> (shift % 32),
        align_bytes: [8, 16, 64, u32::from(align)][usize::from(align) % 4],
        capacity: if size < 64 { 1 << size } else { exact },
        lanes: if choices[0] == 0 { 1 } else { u32::from(lanes) + 1 },
        consumers: u32::from(consumers),
        origin: bytes.word(),
    }
}

fn check(accepted: &Accepted, file_bytes: u64) {
    let mut end = 0;
    for (offset, bytes) in accepted.regions {
        assert_eq!(offset % PAGE_BYTES, 0, "{accepted:?}");
        assert!(offset >= end, "regions overlap: {accepted:?}");
        end = offset.checked_add(bytes).expect("a region within 64 bits");
    }
    assert!(end <= accepted.segment_bytes && accepted.segment_bytes == file_bytes, "{accepted:?}");
    let [header, control, cursors, heads, order, data] = accepted.regions.map(|(_, bytes)| bytes);
    let [capacity, lanes, consumers] = accepted.counts;
    let product = |a: u64, b: u64| a.checked_mul(b).expect("a size within 64 bits");
    assert!(header >= 512, "{accepted:?}");
    assert!(accepted.control_bytes <= control && accepted.heads_bytes <= heads, "{accepted:?}");
    assert!(product(consumers, accepted.row_bytes) <= cursors, "{accepted:?}");
    assert!(
        accepted.row_end <= accepted.row_bytes && accepted.row_bytes.is_multiple_of(64),
        "{accepted:?}"
    );
    assert!(product(accepted.order_entries, 8) <= order, "{accepted:?}");
    assert!(product(lanes, accepted.lane_bytes) <= data, "{accepted:?}");
    assert!(accepted.frame_bytes <= accepted.stride_bytes, "{accepted:?}");
    assert_eq!(accepted.stride_bytes % 8, 0, "{accepted:?}");
    assert!(product(capacity, accepted.stride_bytes) == accepted.slots_end, "{accepted:?}");
    assert!(accepted.slots_end <= accepted.tickets_offset, "{accepted:?}");
    assert!(accepted.tickets_offset.is_multiple_of(8), "{accepted:?}");
    assert!(accepted.tickets_end <= accepted.lane_bytes, "{accepted:?}");
    assert!(capacity.is_power_of_two() && lanes > 0 && consumers > 0, "{accepted:?}");
    let entries = accepted.order_entries;
    assert!(entries == 0 || entries.is_power_of_two(), "{accepted:?}");
}
