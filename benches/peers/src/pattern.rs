//! What messages carry, so that the receiver can tell a right one from a wrong one, cheaply.
//!
//! ```text
//! word    0                       one in each 64 bytes after it, and the last
//!         producer << 48 | number  number and producer, multiplied and rotated
//! ```
//! The writer stores and the reader loads these words and no others: two for payloads up to 64
//! bytes, and one more for each further cache line, so that every line is touched on both sides.
//! A peer that copies payloads copies all bytes. The price is the same for all peers.

/// Odd, so that different first words never give the same last one (2^64 / golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bits of the first word that count messages; the rest is the producer.
const NUMBER_BITS: u32 = 48;

const WORD: usize = 8;
const LINE: usize = 64;

/// The first word of a producer's message.
#[inline]
pub fn first_word(producer: usize, number: u64) -> u64 {
    (producer as u64) << NUMBER_BITS | number
}

#[inline]
fn other_word(first: u64) -> u64 {
    first.wrapping_mul(FACTOR).rotate_left(29)
}

/// Writes the message that starts with `first` into a payload of at least 8 bytes.
#[inline]
pub fn fill(payload: &mut [u8], first: u64) {
    let other = other_word(first).to_le_bytes();
    let mut at = LINE;
    while at + WORD < payload.len() {
        payload[at..at + WORD].copy_from_slice(&other);
        at += LINE;
    }
    if let Some(last) = payload.last_chunk_mut::<WORD>() {
        *last = other;
    }
    if let Some(word) = payload.first_chunk_mut::<WORD>() {
        *word = first.to_le_bytes();
    }
}

/// The first word of a payload; `None` when the payload is not a whole message of `len` bytes.
#[inline]
pub fn read(payload: &[u8], len: usize) -> Option<u64> {
    if payload.len() != len {
        return None;
    }
    let first = u64::from_le_bytes(*payload.first_chunk::<WORD>()?);
    if len == WORD {
        return Some(first);
    }
    let other = other_word(first);
    let mut wrong = u64::from_le_bytes(*payload.last_chunk::<WORD>()?) ^ other;
    let mut at = LINE;
    while at + WORD < len {
        let word = payload.get(at..)?.first_chunk::<WORD>()?;
        wrong |= u64::from_le_bytes(*word) ^ other;
        at += LINE;
    }
    (wrong == 0).then_some(first)
}

/// Follows what one consumer receives: every message whole, each producer's in order, and none
/// missing on a lossless peer.
pub struct Checker {
    /// The number that must come next, for each producer.
    next: Vec<u64>,
    payload_bytes: usize,
    lossy: bool,
    received: u64,
    /// The first thing that was wrong.
    wrong: Option<String>,
}

impl Checker {
    /// Nothing received yet.
    pub fn new(producers: usize, payload_bytes: usize, lossy: bool) -> Self {
        Self { next: vec![0; producers], payload_bytes, lossy, received: 0, wrong: None }
    }

    /// Takes a message in; returns its number.
    #[inline]
    pub fn take(&mut self, payload: &[u8]) -> u64 {
        self.received += 1;
        let Some(first) = read(payload, self.payload_bytes) else {
            self.blame_payload(payload);
            return 0;
        };
        let number = first & ((1 << NUMBER_BITS) - 1);
        let Some(next) = self.next.get_mut((first >> NUMBER_BITS) as usize) else {
            self.blame_payload(payload);
            return 0;
        };
        let expected = std::mem::replace(next, number + 1);
        if number != expected && (number < expected || !self.lossy) {
            self.blame_order(first, expected);
        }
        number
    }

    /// Messages so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What was wrong, if anything was.
    ///
    /// # Errors
    /// The first thing that was wrong.
    #[inline]
    pub fn verdict(&mut self) -> Result<(), String> {
        self.wrong.take().map_or(Ok(()), Err)
    }

    #[cold]
    fn blame_payload(&mut self, payload: &[u8]) {
        let (number, len, want) = (self.received - 1, payload.len(), self.payload_bytes);
        let start: Vec<String> =
            payload.iter().take(WORD).map(|byte| format!("{byte:02x}")).collect();
        self.wrong.get_or_insert_with(|| {
            format!(
                "wrong payload: message {number} has {len} of {want} bytes and starts with {}",
                start.join(" ")
            )
        });
    }

    #[cold]
    fn blame_order(&mut self, first: u64, expected: u64) {
        let (producer, number) = (first >> NUMBER_BITS, first & ((1 << NUMBER_BITS) - 1));
        self.wrong.get_or_insert_with(|| {
            format!("producer {producer}: message {number} came where {expected} was next")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_reads_as_it_was_filled() {
        for len in (8..=4096).step_by(8) {
            let mut payload = vec![0xa5; len];
            let first = first_word(3, 77);
            fill(&mut payload, first);
            assert_eq!(read(&payload, len), Some(first), "{len} bytes");
        }
    }

    #[test]
    fn a_message_of_two_halves_is_seen() {
        for len in [16, 48, 64, 256, 4096] {
            let (mut one, mut other) = (vec![0; len], vec![0; len]);
            fill(&mut one, first_word(0, 1));
            fill(&mut other, first_word(0, 2));
            one[len / 2..].copy_from_slice(&other[len / 2..]);
            assert_eq!(read(&one, len), None, "{len} bytes");
        }
    }

    #[test]
    fn a_gap_is_an_error_only_where_nothing_may_be_lost() {
        for lossy in [false, true] {
            let mut checker = Checker::new(1, 16, lossy);
            let mut payload = [0; 16];
            for number in [0, 2] {
                fill(&mut payload, first_word(0, number));
                checker.take(&payload);
            }
            assert_eq!(checker.verdict().is_ok(), lossy);
        }
    }

    #[test]
    fn a_message_that_comes_twice_is_an_error_everywhere() {
        let mut checker = Checker::new(1, 16, true);
        let mut payload = [0; 16];
        fill(&mut payload, first_word(0, 0));
        checker.take(&payload);
        checker.take(&payload);
        assert!(checker.verdict().is_err_and(|wrong| wrong.contains("message 0 came where 1")));
    }
}
