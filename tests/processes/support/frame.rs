//! Frames that say who wrote them and can be checked to the last byte.
//!
//! ```text
//!  0  sequence   8 bytes   counted from 0 by each producer
//!  8  producer   4
//! 12  index      2         place in its batch
//! 14  count      2         frames of its batch
//! 16  checksum   8         of everything else
//! 24  body       0 or more; its length and bytes follow from producer and sequence
//! ```

use super::random::mix;

const HEAD_BYTES: usize = 24;

/// Written into what is claimed and never committed: no reader may ever see it.
pub const ABORTED: u32 = 0xdead_beef;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub producer: u32,
    pub sequence: u64,
    pub index: u16,
    pub count: u16,
}

/// Writes the frame of `mark` and returns its length.
pub fn fill(payload: &mut [u8], mark: Mark, bare: bool) -> usize {
    let len = len(mark, payload.len(), bare);
    let mut word = mix(mark.sequence ^ (u64::from(mark.producer) << 40));
    for chunk in payload[HEAD_BYTES..len].chunks_mut(8) {
        let bytes = word.to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
        word = mix(word);
    }
    payload[0..8].copy_from_slice(&mark.sequence.to_le_bytes());
    payload[8..12].copy_from_slice(&mark.producer.to_le_bytes());
    payload[12..14].copy_from_slice(&mark.index.to_le_bytes());
    payload[14..16].copy_from_slice(&mark.count.to_le_bytes());
    let sum = checksum(&payload[..len]);
    payload[16..24].copy_from_slice(&sum.to_le_bytes());
    len
}

/// Checks a frame and returns what it says.
pub fn check(payload: &[u8], payload_bytes: usize, bare: bool) -> Result<Mark, String> {
    let word = |at: usize| -> Option<u64> {
        Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?))
    };
    let (Some(sequence), Some(middle), Some(sum)) = (word(0), word(8), word(16)) else {
        return Err(format!("{} bytes are too few for a frame", payload.len()));
    };
    let mark = Mark {
        producer: middle as u32,
        sequence,
        index: (middle >> 32) as u16,
        count: (middle >> 48) as u16,
    };
    if mark.producer == ABORTED {
        return Err(format!("{mark:?} was never committed"));
    }
    if payload.len() != len(mark, payload_bytes, bare) {
        return Err(format!("{mark:?} has {} bytes", payload.len()));
    }
    if sum != checksum(payload) {
        return Err(format!("{mark:?} is torn"));
    }
    Ok(mark)
}

/// The kind that a frame is published with.
pub fn kind(mark: Mark) -> u16 {
    (mix(mark.sequence) >> 48) as u16
}

fn len(mark: Mark, payload_bytes: usize, bare: bool) -> usize {
    if bare {
        return payload_bytes;
    }
    let most = payload_bytes - HEAD_BYTES;
    HEAD_BYTES + (mix(mark.sequence.rotate_left(7)) as usize) % (most + 1)
}

/// FNV-1a over all words but the checksum's own.
fn checksum(payload: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64 ^ payload.len() as u64;
    for (index, chunk) in payload.chunks(8).enumerate() {
        if index != 2 {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            sum = (sum ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0100_0000_01b3);
            sum ^= sum >> 29;
        }
    }
    sum
}
