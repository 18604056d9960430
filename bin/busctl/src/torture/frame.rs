//! Frames that say who wrote them and can be checked to the last byte.
//!
//! ```text
//!  0  life       8 bytes   which process, of all that a run has had
//!  8  sequence   8         counted from 0 by each
//! 16  index      4         place in its batch
//! 20  count      4         frames of its batch
//! 24  checksum   8         of everything else, the length included
//! 32  filler     0 or more; bytes that follow from life and sequence
//! ```

use super::random::mix;

/// Bytes before the filler: the smallest payload.
pub const HEAD_BYTES: usize = 32;

/// The sequence of what is claimed and never committed: nobody may ever see it.
pub const NEVER: u64 = u64::MAX;

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub life: u64,
    pub sequence: u64,
    pub index: u32,
    pub count: u32,
}

impl Mark {
    /// The sequence of its batch's first frame.
    pub fn batch(self) -> u64 {
        self.sequence.wrapping_sub(self.index.into())
    }
}

/// Why a payload is not a frame that somebody wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// What it says of itself, as far as it can be read.
    pub mark: Option<Mark>,
    pub len_bytes: usize,
}

/// Writes a frame over the whole payload.
pub fn fill(payload: &mut [u8], mark: Mark) {
    let Some((head, filler)) = payload.split_at_mut_checked(HEAD_BYTES) else {
        return;
    };
    let mut word = first_word(mark);
    for chunk in filler.chunks_mut(8) {
        let len = chunk.len();
        chunk.copy_from_slice(&word.to_le_bytes()[..len]);
        word = word.wrapping_mul(FACTOR).wrapping_add(1);
    }
    head[0..8].copy_from_slice(&mark.life.to_le_bytes());
    head[8..16].copy_from_slice(&mark.sequence.to_le_bytes());
    head[16..20].copy_from_slice(&mark.index.to_le_bytes());
    head[20..24].copy_from_slice(&mark.count.to_le_bytes());
    let sum = checksum(payload);
    payload[24..32].copy_from_slice(&sum.to_le_bytes());
}

/// Checks every byte of a frame and returns what it says.
pub fn check(payload: &[u8]) -> Result<Mark, Torn> {
    let word = |at: usize| {
        let bytes = payload.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let torn = |mark| Torn { mark, len_bytes: payload.len() };
    let (Some(life), Some(sequence), Some(place), Some(sum)) =
        (word(0), word(8), word(16), word(24))
    else {
        return Err(torn(None));
    };
    let low = u32::try_from(place & u64::from(u32::MAX)).unwrap_or(0);
    let mark = Mark { life, sequence, index: low, count: u32::try_from(place >> 32).unwrap_or(0) };
    if sum == checksum(payload) && filler_is_right(payload, mark) {
        Ok(mark)
    } else {
        Err(torn(Some(mark)))
    }
}

/// How long the payload of a frame is, of at most `most` bytes: it differs from frame to frame.
pub fn len_bytes(life: u64, sequence: u64, most: usize) -> usize {
    let room = most.saturating_sub(HEAD_BYTES);
    let draw = mix(sequence ^ life.rotate_left(32));
    HEAD_BYTES + usize::try_from(draw).unwrap_or(0) % (room + 1)
}

/// Odd, so that the filler's words do not repeat within a payload (Steele, Vigna 2021).
const FACTOR: u64 = 0xd134_2543_de82_ef95;

fn first_word(mark: Mark) -> u64 {
    mark.life.rotate_left(40) ^ mark.sequence.wrapping_mul(FACTOR)
}

fn filler_is_right(payload: &[u8], mark: Mark) -> bool {
    let mut word = first_word(mark);
    payload.get(HEAD_BYTES..).unwrap_or_default().chunks(8).all(|chunk| {
        let right = chunk == &word.to_le_bytes()[..chunk.len()];
        word = word.wrapping_mul(FACTOR).wrapping_add(1);
        right
    })
}

/// FNV-1a by words, over all but the checksum itself.
fn checksum(payload: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ u64::try_from(payload.len()).unwrap_or(0);
    let words = payload.chunks(8).enumerate().filter(|(index, _)| *index != 3);
    words.fold(start, |sum, (_, chunk)| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        let sum = (sum ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0100_0000_01b3);
        sum ^ (sum >> 29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { life: 77, sequence: 5, index: 1, count: 3 };

    #[test]
    fn a_frame_says_what_was_written() {
        for len in [HEAD_BYTES, 33, 40, 200, 1001] {
            let mut payload = vec![0xaa; len];
            fill(&mut payload, MARK);
            assert_eq!(check(&payload), Ok(MARK), "{len} bytes");
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let mut payload = vec![0; 61];
        fill(&mut payload, MARK);
        for bit in 0..payload.len() * 8 {
            payload[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&payload).is_err(), "bit {bit}");
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(check(&payload[..60]).is_err(), "another length");
        assert_eq!(check(&payload[..9]), Err(Torn { mark: None, len_bytes: 9 }));
    }

    #[test]
    fn a_frame_of_two_halves_is_seen() {
        let (mut old, mut new) = (vec![0; 96], vec![0; 96]);
        fill(&mut old, MARK);
        fill(&mut new, Mark { sequence: 6, ..MARK });
        for cut in (16..96).step_by(8) {
            let torn: Vec<u8> = new[..cut].iter().chain(&old[cut..]).copied().collect();
            assert!(check(&torn).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn lengths_are_between_the_smallest_and_the_largest() {
        assert_eq!(len_bytes(1, 1, HEAD_BYTES), HEAD_BYTES);
        assert!(
            (0..1000).all(|sequence| (HEAD_BYTES..=100).contains(&len_bytes(9, sequence, 100)))
        );
    }
}
