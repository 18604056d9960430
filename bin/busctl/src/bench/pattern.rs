//! What measured frames carry, so that the receiver can tell a right payload from a wrong one.
//!
//! ```text
//! word  0            1                    2, 3, …
//!       who + seq    intended send time   seed + i × STEP, the seed made of words 0 and 1
//! ```
//! Words are 8 bytes, little endian; a payload that ends within a word holds its first bytes. So a
//! frame of another lane, another position, or half of each is seen in every word. Both sides look
//! at every byte; what that costs on this machine is measured by [`cost`] and printed with the
//! result, since it is part of every figure.

use super::pace::monotonic_ns;
use std::fmt;
use std::hint::black_box;

/// Payloads from this size on have room for the intended send time.
pub const TIMED_BYTES_MIN: u32 = 16;

/// Odd, so that neighbouring words and sequence numbers never give the same word (2^64 / golden
/// ratio).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// From a word to that of the next block of four, which are made together: they need not wait for
/// one another.
const BLOCK_STEP: u64 = STEP.wrapping_mul(4);

/// Where a frame should be from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The lane of its producer.
    pub lane: u32,
    /// Its number on that lane.
    pub sequence: u64,
}

/// A payload that is not what its producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    origin: Origin,
    len_bytes: usize,
    /// The first 8 bytes, if there are as many.
    first_word: Option<u64>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { lane, sequence } = self.origin;
        write!(
            f,
            "payload of lane {lane} position {sequence} ({} bytes) is wrong",
            self.len_bytes
        )?;
        match self.first_word {
            Some(word) => {
                write!(f, ": it starts with {word:#018x}, not {:#018x}", identity(self.origin))
            }
            None => Ok(()),
        }
    }
}

/// Writes the whole payload.
#[inline]
pub fn fill(payload: &mut [u8], origin: Origin, intended_ns: u64) {
    let identity = identity(origin);
    let Some((first, rest)) = payload.split_at_mut_checked(8) else {
        let len = payload.len();
        payload.copy_from_slice(&identity.to_le_bytes()[..len]);
        return;
    };
    first.copy_from_slice(&identity.to_le_bytes());
    let Some((second, rest)) = rest.split_at_mut_checked(8) else {
        let len = rest.len();
        rest.copy_from_slice(&intended_ns.to_le_bytes()[..len]);
        return;
    };
    second.copy_from_slice(&intended_ns.to_le_bytes());
    let mut word = identity ^ intended_ns;
    let mut blocks = rest.chunks_exact_mut(32);
    for block in &mut blocks {
        for (chunk, value) in block.chunks_exact_mut(8).zip(block_after(word)) {
            chunk.copy_from_slice(&value.to_le_bytes());
        }
        word = word.wrapping_add(BLOCK_STEP);
    }
    let mut words = blocks.into_remainder().chunks_exact_mut(8);
    for chunk in &mut words {
        word = word.wrapping_add(STEP);
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let tail = words.into_remainder();
    if !tail.is_empty() {
        let len = tail.len();
        tail.copy_from_slice(&word.wrapping_add(STEP).to_le_bytes()[..len]);
    }
}

/// Checks every byte of a payload and returns the intended send time that it carries (0 if none).
///
/// # Errors
/// [`Mismatch`] when a byte is not what [`fill`] wrote for `origin`.
#[inline]
pub fn check(payload: &[u8], origin: Origin) -> Result<u64, Mismatch> {
    let identity = identity(origin);
    let Some((first, rest)) = payload.split_first_chunk::<8>() else {
        return verdict(payload == &identity.to_le_bytes()[..payload.len()], payload, origin, 0);
    };
    let first = u64::from_le_bytes(*first);
    let Some((second, rest)) = rest.split_first_chunk::<8>() else {
        let zero = rest.iter().all(|byte| *byte == 0);
        return verdict(first == identity && zero, payload, origin, 0);
    };
    let intended_ns = u64::from_le_bytes(*second);
    let mut word = identity ^ intended_ns;
    let mut difference = first ^ identity;
    let mut blocks = rest.chunks_exact(32);
    for block in &mut blocks {
        for (chunk, value) in block.chunks_exact(8).zip(block_after(word)) {
            difference |= value ^ word_of(chunk);
        }
        word = word.wrapping_add(BLOCK_STEP);
    }
    let mut words = blocks.remainder().chunks_exact(8);
    for chunk in &mut words {
        word = word.wrapping_add(STEP);
        difference |= word ^ word_of(chunk);
    }
    let tail = words.remainder();
    // Most payloads are whole words; an empty comparison would be a call all the same.
    let tail_right =
        tail.is_empty() || tail == &word.wrapping_add(STEP).to_le_bytes()[..tail.len()];
    verdict(difference == 0 && tail_right, payload, origin, intended_ns)
}

/// What filling and checking `bytes` costs when they are in the cache.
///
/// The shortest of some stretches counts: in the others somebody else had the core.
pub fn cost(bytes: u32) -> Cost {
    let mut payload = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let rounds = (STRETCH_BYTES / u64::from(bytes).max(64)).max(STRETCH_ROUNDS_MIN);
    let lane = 1;
    let fill_ns = shortest(|| {
        for sequence in 0..rounds {
            fill(black_box(&mut payload), Origin { lane, sequence }, sequence);
        }
    });
    let origin = Origin { lane, sequence: rounds - 1 };
    let check_ns = shortest(|| {
        for _ in 0..rounds {
            // The verdict is used, so that the check is not optimised away.
            black_box(check(black_box(&payload), black_box(origin)).is_ok());
        }
    });
    let picoseconds = |ns: u64| (ns.saturating_mul(1000) / rounds).max(1);
    Cost { fill_ps: picoseconds(fill_ns), check_ps: picoseconds(check_ns) }
}

/// The time that `work` takes at best.
fn shortest(mut work: impl FnMut()) -> u64 {
    let (mut shortest, mut spent_ns) = (u64::MAX, 0);
    for _ in 0..STRETCHES {
        let begin_ns = monotonic_ns();
        work();
        let time_ns = monotonic_ns() - begin_ns;
        shortest = shortest.min(time_ns);
        spent_ns += time_ns;
        if spent_ns > SPENT_NS_MAX {
            break;
        }
    }
    shortest
}

/// Stretches that [`cost`] measures, and the bytes of each: some 100 µs, shorter than a time slice.
const STRETCHES: u32 = 20;
const STRETCH_BYTES: u64 = 1024 * 1024;

/// When it is enough, on a slow machine or with long payloads.
const SPENT_NS_MAX: u64 = 30_000_000;

/// Rounds of a stretch at least, however long the payload.
const STRETCH_ROUNDS_MIN: u64 = 4;

/// What the pattern costs on one core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    /// Picoseconds a message for writing it.
    #[serde(rename = "fill_ps_per_message")]
    pub fill_ps: u64,
    /// Picoseconds a message for checking it.
    #[serde(rename = "check_ps_per_message")]
    pub check_ps: u64,
}

/// The first word: unique among all frames of a run.
#[inline]
fn identity(origin: Origin) -> u64 {
    origin.sequence.wrapping_add(u64::from(origin.lane) << 48)
}

/// The four words after `word`.
#[inline]
fn block_after(word: u64) -> [u64; 4] {
    [1, 2, 3, 4].map(|step| word.wrapping_add(STEP.wrapping_mul(step)))
}

/// The word in a chunk of 8 bytes.
#[inline]
fn word_of(chunk: &[u8]) -> u64 {
    // Every caller has chunks of 8; the zeros are never used.
    u64::from_le_bytes(chunk.try_into().unwrap_or_default())
}

#[inline]
fn verdict(right: bool, payload: &[u8], origin: Origin, ns: u64) -> Result<u64, Mismatch> {
    if right { Ok(ns) } else { Err(mismatch(payload, origin)) }
}

#[cold]
fn mismatch(payload: &[u8], origin: Origin) -> Mismatch {
    let first_word = payload.first_chunk::<8>().map(|word| u64::from_le_bytes(*word));
    Mismatch { origin, len_bytes: payload.len(), first_word }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 12] = [1, 2, 7, 8, 9, 15, 16, 17, 24, 48, 1001, 4096];

    #[test]
    fn a_payload_of_any_size_is_what_was_written() {
        for size in SIZES {
            let origin = Origin { lane: 3, sequence: 77 };
            let mut payload = vec![0xaa; size];
            let intended_ns = if size < 16 { 0 } else { 123_456_789 };
            fill(&mut payload, origin, intended_ns);
            assert_eq!(check(&payload, origin), Ok(intended_ns), "size {size}");
        }
    }

    #[test]
    fn every_wrong_byte_is_seen() {
        for size in SIZES {
            let origin = Origin { lane: 0, sequence: 5 };
            let mut payload = vec![0; size];
            fill(&mut payload, origin, 0);
            for index in 0..size {
                // A changed time cannot be told from another time unless a whole word follows it.
                if (16..24).contains(&size) && (8..16).contains(&index) {
                    continue;
                }
                let mut wrong = payload.clone();
                wrong[index] ^= 0x10;
                assert!(check(&wrong, origin).is_err(), "size {size} byte {index}");
            }
        }
    }

    #[test]
    fn a_frame_of_another_place_is_seen() {
        let mut payload = vec![0; 48];
        fill(&mut payload, Origin { lane: 1, sequence: 9 }, 7);
        let error = check(&payload, Origin { lane: 2, sequence: 9 }).expect_err("another lane");
        assert!(error.to_string().contains("lane 2 position 9 (48 bytes) is wrong"), "{error}");
        assert!(check(&payload, Origin { lane: 1, sequence: 10 }).is_err());
    }

    #[test]
    fn a_payload_torn_between_two_frames_is_seen() {
        let (mut old, mut new) = (vec![0; 64], vec![0; 64]);
        fill(&mut old, Origin { lane: 0, sequence: 1 }, 0);
        fill(&mut new, Origin { lane: 0, sequence: 2 }, 0);
        for cut in (8..64).step_by(8) {
            let torn: Vec<u8> = new[..cut].iter().chain(&old[cut..]).copied().collect();
            // Word 1 is the time, here 0 in both: a cut before or after it is the same.
            assert!(check(&torn, Origin { lane: 0, sequence: 2 }).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_pattern_has_a_price() {
        for bytes in [1, 48, 1 << 16] {
            let cost = cost(bytes);
            assert!(cost.fill_ps > 0 && cost.check_ps > 0, "{cost:?}");
        }
    }
}
