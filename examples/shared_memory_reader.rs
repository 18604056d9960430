//! Opens a bus with the `shared_memory` crate instead of busway, by the bus's POSIX name, and
//! prints what it is and the newest frame of its first lane.
//!
//! ```text
//! cargo run --example shared_memory_reader -- BUS
//! ```
//!
//! It reads by docs/format.md alone, as a program in any language could. Mind how the crate behaves:
//! it always maps for reading *and* writing, so this needs write permission and must not store
//! anything; and it unlinks on drop only what it created itself, so the bus stays.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use shared_memory::{Shmem, ShmemConf};

/// Offsets in the header, docs/format.md section 3.
const VERSION: usize = 8;
/// The layout that this reads.
const LAYOUT: u32 = 2;
const FRAMES: usize = 52;
const PAYLOAD_BYTES: usize = 64;
const STRIDE_BYTES: usize = 72;
const LANES: usize = 76;
const CAPACITY: usize = 88;
const ORIGIN: usize = 104;
const SCHEMA_BYTES: usize = 120;
const HEADS_OFFSET: usize = 264;
const DATA_OFFSET: usize = 296;
const CHECKSUM: usize = 504;
const HEADER_BYTES: usize = 512;

/// How often to try again when the producer overwrites the frame that is being copied.
const TRIES: u32 = 100;

#[allow(dead_code)] // the test of this example calls `read` itself
fn main() {
    let Some(name) = std::env::args().nth(1) else {
        eprintln!("usage: shared_memory_reader BUS");
        std::process::exit(2);
    };
    match read(&name) {
        Ok(text) => print!("{text}"),
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
    }
}

/// What there is to say about a bus.
///
/// # Errors
/// In words: the segment cannot be opened, is not a bus, or has no frame to show.
pub fn read(name: &str) -> Result<String, String> {
    let shared = ShmemConf::new()
        .os_id(format!("/busway.{name}"))
        .open()
        .map_err(|error| format!("bus {name:?}: {error}"))?;
    let header = Header::of(&shared).ok_or(format!("{name:?} is not a busway segment"))?;
    let lane = 0;
    let (position, slot) = newest(&shared, &header, lane)?;
    let mut text = format!(
        "bus {name}: {} lanes of {} frames of {} bytes\n",
        header.lanes, header.capacity, header.payload_bytes
    );
    let (kind, payload) = if header.bare {
        (0, slot.get(..header.payload_bytes))
    } else {
        let len = u32_at(&slot, 8) as usize;
        let kind = u32_at(&slot, 12) & 0xffff;
        (kind, slot.get(16..16 + len.min(header.payload_bytes)))
    };
    let payload = String::from_utf8_lossy(payload.unwrap_or_default());
    let _infallible = writeln!(text, "frame {position} of lane {lane}: {payload:?} (kind {kind})");
    Ok(text)
}

/// What this program needs of the header: copied once, then checked.
struct Header {
    bare: bool,
    payload_bytes: usize,
    stride_bytes: usize,
    lanes: usize,
    capacity: u64,
    origin: u64,
    heads_offset: usize,
    data_offset: usize,
}

impl Header {
    fn of(shared: &Shmem) -> Option<Self> {
        let bytes = copy(shared, 0, HEADER_BYTES)?;
        if !bytes.starts_with(b"BUSWAY\0\0") || u32_at(&bytes, VERSION) != LAYOUT {
            return None;
        }
        let schema = u32_at(&bytes, SCHEMA_BYTES) as usize;
        // The copy is of whole words; the document need not be.
        let document = copy(shared, HEADER_BYTES, schema.next_multiple_of(8))?;
        let sum = fnv1a64(0xcbf2_9ce4_8422_2325, bytes.get(..CHECKSUM)?);
        if fnv1a64(sum, document.get(..schema)?) != u64_at(&bytes, CHECKSUM) {
            return None;
        }
        let usize_at = |offset| usize::try_from(u64_at(&bytes, offset)).ok();
        Some(Self {
            bare: u32_at(&bytes, FRAMES) == 1,
            payload_bytes: u32_at(&bytes, PAYLOAD_BYTES) as usize,
            stride_bytes: u32_at(&bytes, STRIDE_BYTES) as usize,
            lanes: u32_at(&bytes, LANES) as usize,
            capacity: u64_at(&bytes, CAPACITY),
            origin: u64_at(&bytes, ORIGIN),
            heads_offset: usize_at(HEADS_OFFSET)?,
            data_offset: usize_at(DATA_OFFSET)?,
        })
    }
}

/// The newest frame of lane 0 and its position: docs/format.md section 7.
fn newest(shared: &Shmem, header: &Header, lane: usize) -> Result<(u64, Vec<u8>), String> {
    let outside = || "the lane does not lie in the segment".to_owned();
    let words = header.heads_offset + lane * 128;
    for _ in 0..TRIES {
        let head = word(shared, words).ok_or_else(outside)?.load(Ordering::Acquire);
        if head == header.origin {
            return Err("nothing published on lane 0 yet".to_owned());
        }
        let position = head.wrapping_sub(1);
        let index = usize::try_from(position & (header.capacity - 1)).map_err(|_| outside())?;
        let slot = header.data_offset + index * header.stride_bytes;
        let copied = copy(shared, slot, header.stride_bytes).ok_or_else(outside)?;
        fence(Ordering::Acquire);
        let reserve = word(shared, words + 8).ok_or_else(outside)?.load(Ordering::Relaxed);
        let slack = position.wrapping_add(header.capacity).wrapping_sub(reserve);
        if slack < 1 << 63 {
            return Ok((position, copied));
        }
    }
    Err(format!("overwritten {TRIES} times while it was being copied"))
}

/// Copies whole words, as other processes may be storing to them.
fn copy(shared: &Shmem, offset: usize, bytes: usize) -> Option<Vec<u8>> {
    let mut copied = Vec::with_capacity(bytes);
    for at in (offset..offset.checked_add(bytes)?).step_by(8) {
        copied.extend(word(shared, at)?.load(Ordering::Relaxed).to_le_bytes());
    }
    Some(copied)
}

/// A word of the segment; `None` when it does not lie in it, or not at a multiple of 8.
fn word(shared: &Shmem, offset: usize) -> Option<&AtomicU64> {
    if !offset.is_multiple_of(8) || offset.checked_add(8)? > shared.len() {
        return None;
    }
    // SAFETY: in the mapping, as just checked; the mapping starts on a page and lives as long as
    // `shared`.
    let pointer = unsafe { shared.as_ptr().add(offset) };
    // SAFETY: aligned, since the page and the offset are; alive as long as `shared`; an atomic has
    // any bit pattern, and other processes store to these words atomically or not at all while the
    // protocol lets anybody believe them.
    Some(unsafe { AtomicU64::from_ptr(pointer.cast()) })
}

fn fnv1a64(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let found = bytes.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let found = bytes.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u64::from_le_bytes)
}
