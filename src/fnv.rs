//! FNV-1a, 64 bits: the one hash of the layout.
//!
//! It stands in three places: over a schema's canonical text (so that two ends that attach can compare
//! layouts by one word), over the segment header (so that a torn or foreign header is noticed), and over
//! the keys of a consumer group (so that its members agree on whose a frame is), which are mixed after.
//! All are fixed by the format, so the functions must never change. It is `const`, so that a frame
//! type's hash is a constant of the program.
//!
//! It does not defend against anybody who wants a collision; it tells honest mistakes apart.
//!
//! Source: Fowler, Noll, Vo, <http://www.isthe.com/chongo/tech/comp/fnv/>, also RFC 9923.

/// The value to start from: the FNV-1a 64-bit offset basis.
pub(crate) const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// The FNV 64-bit prime.
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Continues `hash` over `bytes`. Start with [`OFFSET`]; hashing in pieces equals hashing the whole.
pub(crate) const fn fnv1a64(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = hash;
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        hash = (hash ^ *byte as u64).wrapping_mul(PRIME);
        rest = tail;
    }
    hash
}

/// Spreads what a hash or a number says over all bits of a word, the low ones included: one step of
/// splitmix64 (Steele, Lea, Flood, OOPSLA 2014). Part of the format as well.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{OFFSET, fnv1a64};

    #[test]
    fn published_vectors_match() {
        assert_eq!(fnv1a64(OFFSET, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64(OFFSET, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn pieces_hash_as_the_whole() {
        assert_eq!(fnv1a64(fnv1a64(OFFSET, b"foo"), b"bar"), fnv1a64(OFFSET, b"foobar"));
    }
}
