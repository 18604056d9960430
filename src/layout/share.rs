//! Shares: the parts that the keys of a group with affinity are in, and the word that says whose each is.
//!
//! ```text
//! bit 63                                          8 7        0
//!     +--------------------------------------------+----------+
//!     | epoch of the owner's tenancy of its seat    | seat + 1 |
//!     +--------------------------------------------+----------+
//! ```
//!
//! Zero: nobody's. An owner is a tenancy and not a seat, so what a dead member owned is not its
//! successor's. A key's share is the low eight bits of `mix(FNV-1a 64 of the key's bytes)`.

use crate::fnv;

/// How many there are: with the most members, 64, each has four, and the words are 32 cache lines.
pub(crate) const SHARES: u32 = 256;

const EPOCH_SHIFT: u32 = 8;
const SEAT_MASK: u64 = 0xff;

/// The share that a key is in.
pub(crate) fn share_of(key: &[u8]) -> u8 {
    share_of_hash(fnv::fnv1a64(fnv::OFFSET, key))
}

/// The same, of a key's FNV-1a hash.
pub(crate) fn share_of_hash(hash: u64) -> u8 {
    fnv::mix(hash).to_le_bytes()[0]
}

/// Whose a share is, as the word was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerWord(u64);

impl OwnerWord {
    /// Nobody's.
    pub(crate) const NOBODY: Self = Self(0);

    /// Takes a word as it was loaded.
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Of a member's seat in this tenancy.
    pub(crate) const fn of(seat: u32, epoch: u64) -> Self {
        Self(epoch << EPOCH_SHIFT | (seat as u64 + 1) & SEAT_MASK)
    }

    /// The word to store.
    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    /// The owner's seat; `None`: nobody's.
    pub(crate) fn seat(self) -> Option<usize> {
        usize::from(self.0.to_le_bytes()[0]).checked_sub(1)
    }

    /// Whether a tenancy of this epoch, of the owner's seat, is the owner.
    pub(crate) const fn is_of(self, epoch: u64) -> bool {
        self.0 >> EPOCH_SHIFT == epoch << EPOCH_SHIFT >> EPOCH_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_one_tenancy_of_one_seat() {
        for (seat, epoch) in [(0, 1), (63, 1), (5, 1 << 40)] {
            let owner = OwnerWord::of(seat, epoch);
            assert_eq!(owner.seat(), Some(seat as usize));
            assert!(owner.is_of(epoch) && !owner.is_of(epoch + 1));
            assert_ne!(owner, OwnerWord::of(seat + 1, epoch));
        }
        assert_eq!(OwnerWord::NOBODY.seat(), None);
    }

    #[test]
    fn share_of_a_key_is_the_one_of_the_format() {
        assert_eq!(share_of(b""), share_of_hash(fnv::OFFSET));
        assert_eq!([share_of(b"a"), share_of(b"foobar")], [0x27, 0x4f]);
    }

    #[test]
    fn small_numbers_spread_over_all_shares() {
        let mut counts = [0_u32; SHARES as usize];
        for number in 0..(SHARES * 64) {
            counts[usize::from(share_of(&number.to_le_bytes()))] += 1;
        }
        // 64 expected of each; a random spread stays between these.
        assert!(counts.iter().all(|count| (24..=120).contains(count)), "{counts:?}");
    }
}
