//! The fuzzer's bytes as numbers. Beyond their end everything is zero, so that any input is one.

/// What is left of an input.
#[derive(Clone, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// The next eight bytes as a little-endian word.
    pub fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// The next four bytes as a little-endian number.
    pub fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
