//! A private buffer aligned as slots can be, seen as bytes or as words.

use std::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One cache line: gives the buffer the largest alignment that slots have.
#[repr(C, align(64))]
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
struct Line([u64; 8]);

/// A buffer of whole lines.
#[derive(Debug)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Buffer {
    /// A buffer of at least `bytes` zeroed bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { lines: vec![Line([0; 8]); bytes.div_ceil(size_of::<Line>())] }
    }

    /// Makes it at least `bytes` long.
    pub(crate) fn grow(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(size_of::<Line>());
        if lines > self.lines.len() {
            self.lines.resize(lines, Line([0; 8]));
        }
    }

    /// A range of bytes; empty when it is out of range.
    #[inline]
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.lines.as_bytes().get(range).unwrap_or_default()
    }

    /// All bytes from `start` on; none when it is out of range.
    #[inline]
    pub(crate) fn from(&self, start: usize) -> &[u8] {
        self.lines.as_bytes().get(start..).unwrap_or_default()
    }

    /// A range of bytes for writing; empty when it is out of range.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.lines.as_mut_bytes().get_mut(range).unwrap_or_default()
    }

    /// A range of bytes as words; empty when it is out of range or not of whole words.
    #[inline]
    pub(crate) fn words(&self, range: Range<usize>) -> &[u64] {
        <[u64]>::ref_from_bytes(self.bytes(range)).unwrap_or_default()
    }

    /// A range of bytes as words for writing; empty when it is out of range or not of whole words.
    #[inline]
    pub(crate) fn words_mut(&mut self, range: Range<usize>) -> &mut [u64] {
        <[u64]>::mut_from_bytes(self.bytes_mut(range)).unwrap_or_default()
    }
}
