//! Finding a key, and reading what its cell names while others may be writing it anew.
//!
//! Progress: lock-free. A look is repeated only when a writer has finished writes meanwhile; a reader
//! waits for nobody, and a writer that is stopped makes nobody repeat anything.

use super::key::KeyWords;
use super::{Cells, Fault, Memory, Slot};
use crate::layout::table::words::{CellWord, Meta, stamp};
use crate::sync::{Ordering, fence};

/// Looks at one cell before it is given up. Each that fails saw a writer finish several writes to it
/// within one copy, which no schedule does so often in a row.
const LOOKS_MAX: u32 = 10_000;

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// In this cell, which had this word.
    At(u32, CellWord),
    /// Nowhere; this empty cell ended the search.
    Absent(u32),
    /// Nowhere, and no cell is empty.
    NoCell,
}

/// What stands in a cell besides the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    pub(crate) key: KeyWords,
    pub(crate) writer: u64,
    pub(crate) time_ns: u64,
    pub(crate) meta: Meta,
}

impl<M: Memory> Cells<M> {
    /// Looks for a key. Bound: every cell once.
    pub(crate) fn find(&self, key: &KeyWords) -> Result<Found, Fault> {
        let mask = self.plan.cells.wrapping_sub(1);
        #[allow(clippy::cast_possible_truncation)] // masked
        let first = key.hash(self.plan.key_words) as u32;
        for step in 0..self.plan.cells {
            let cell = first.wrapping_add(step) & mask;
            let word = self.load(cell)?;
            if word.is_empty() {
                return Ok(Found::Absent(cell));
            }
            let (word, same) = self.look(cell, word, |slot| is_key(&slot, key))?;
            if same {
                return Ok(Found::At(cell, word));
            }
        }
        Ok(Found::NoCell)
    }

    /// Copies what a cell holds, of which `value` gets the first bytes in whole words: as many as there
    /// are, cut to its length. `None`: the cell is empty.
    #[allow(clippy::inline_always)] // a call hands over a dozen words in memory
    #[inline(always)]
    pub(crate) fn read(&self, cell: u32, value: &mut [u64]) -> Result<Option<Seen>, Fault> {
        let word = self.load(cell)?;
        if word.is_empty() {
            return Ok(None);
        }
        let (word, mut seen) = self.look(cell, word, |slot| copy(&slot, value))?;
        seen.version = word.version();
        let len = usize::try_from(seen.meta.len).unwrap_or(usize::MAX);
        if len > self.plan.value_bytes { Err(Fault::Corrupt) } else { Ok(Some(seen)) }
    }

    /// Has `look` at the slot that a cell's word names, again until what it saw was one value and
    /// whole. Returns the word that it saw the value of.
    #[inline]
    pub(crate) fn look<R>(
        &self,
        cell: u32,
        mut word: CellWord,
        mut look: impl FnMut(Slot<'_>) -> R,
    ) -> Result<(CellWord, R), Fault> {
        for _ in 0..LOOKS_MAX {
            let slot = self.slot(word.slot())?;
            let wanted = stamp(word.version(), cell);
            let seen = look(slot);
            // ORDERING: acquire fence, pairs with the release fence in `Writer::fill`: if `look` saw a
            // word of a later value, the load below sees that the stamp was taken away. A look at the
            // stamp before is not needed: the word, loaded with acquire, says that this value was whole.
            fence(Ordering::Acquire);
            // ORDERING: acquire, pairs with the release stores of the stamp in `Writer::fill`: who sees
            // that the slot is written anew sees in the load below that the word has changed.
            if slot.stamp.load(Ordering::Acquire) == wanted {
                return Ok((word, seen));
            }
            let now = self.load(cell)?;
            // A slot in a cell is not written to: the word has changed, or somebody is not honest.
            if now == word || now.is_empty() {
                return Err(Fault::Corrupt);
            }
            word = now;
        }
        Err(Fault::Contested)
    }
}

/// Whether a slot holds this key, if it is whole.
#[inline]
fn is_key(slot: &Slot<'_>, key: &KeyWords) -> bool {
    // ORDERING: relaxed; ordered by the fence of `look`.
    slot.key.iter().zip(&key.0).all(|(word, want)| word.load(Ordering::Relaxed) == *want)
}

/// Copies a slot that may be written meanwhile.
#[inline]
fn copy(slot: &Slot<'_>, value: &mut [u64]) -> Seen {
    // ORDERING: relaxed for all; ordered by the fence of `look`.
    let meta = Meta::from_word(slot.meta.load(Ordering::Relaxed));
    let words = usize::try_from(meta.len).unwrap_or(usize::MAX).div_ceil(8);
    for (to, from) in value.iter_mut().zip(slot.value).take(words) {
        *to = from.load(Ordering::Relaxed);
    }
    let mut key = KeyWords([0; 4]);
    for (to, from) in key.0.iter_mut().zip(slot.key) {
        *to = from.load(Ordering::Relaxed);
    }
    Seen {
        version: 0,
        key,
        writer: slot.writer.load(Ordering::Relaxed),
        time_ns: slot.time.load(Ordering::Relaxed),
        meta,
    }
}
