//! A table's cells: keys that hold their latest value, many writers, readers that wait for nobody.
//!
//! ```text
//! hash of the key ─► cell ─► cell ─► cell         open addressing, one line each, never moved
//!                      │ version | slot
//!                      ▼
//!                    slot: stamp owner writer time key value
//! ```
//!
//! A writer owns a few slots of its own. It writes key and value into one of them, and makes them the
//! cell's with one CAS of the cell's word; the slot that stood there before is its own from then on.
//! So a key and its first value appear together, two writers of one key are ordered by the CAS, and
//! whoever dies or stops before it has changed nothing: the previous value stands and the cell is
//! anybody's to write. A cell that has a key keeps it for ever, so where a key was found once, it stays.
//!
//! A reader copies the slot that the word names, and then looks whether the slot's stamp is still that of
//! this version of this cell. The stamp is taken away before a slot is written to again, which is after
//! so many more writes of who replaced it as a writer has slots. Version and cell together never come
//! again, so a stamp that is still there after the copy means that it is whole. A copy that is not whole
//! means that the word has changed, and the reader begins again: only others' finished writes make it.
//!
//! | died or stopped | what is left | who puts it in order |
//! |---|---|---|
//! | anywhere before the CAS | a slot of its own, half written | nobody has to; it is the dead one's |
//! | between CAS and taking the old slot | the new value; a slot that nobody names as his | `recover`, from the desk |
//! | a key asked for and not inserted | the count of keys, one too high | nobody has to: `write` counts when it says full |
//! | as a recoverer | the same again | the next recoverer |
//!
//! **Whose a slot is.** The one in a cell is nobody's. Any other is its `owner`'s. Between a CAS and the
//! store of the owner the slot replaced is known from the writer's desk, where it stands before the CAS.
//! Owners whose tenancy is over are gone, and their slots are for whoever claims them (`claim`).
//!
//! Source of the check after copying: H.-J. Boehm, "Can Seqlocks Get Along With Programming Language
//! Memory Models?", MSPC 2012, section 4. Swapping a private slot in is Peterson's and Lamport's
//! pointer-swinging, with the replaced slot handed to who replaced it.
//!
//! * `read`: find, copy, check. * `write`: fill, publish. * `claim`: slots for who has none.
//! * `recover`: a dead writer's last step. * `bell`: who waits, and waking them.

pub(crate) mod bell;
pub(crate) mod claim;
pub(crate) mod key;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod write;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use std::ops::Deref;

use crate::layout::table::words::{CellWord, DeskWords};
use crate::sync::{AtomicU64, Ordering};

/// The shared words of a table.
pub(crate) trait Memory {
    /// Leads to a desk.
    type Desk<'a>: Deref<Target = DeskWords>
    where
        Self: 'a;

    /// A cell's word; `None` when there is no such cell.
    fn cell(&self, cell: u32) -> Option<&AtomicU64>;
    /// A slot's words; `None` when there is no such slot.
    fn slot(&self, slot: u32) -> Option<&[AtomicU64]>;
    /// A writer's desk; `None` when there is no such writer.
    fn desk(&self, seat: u32) -> Option<Self::Desk<'_>>;
    /// How many cells were asked for.
    fn keys(&self) -> &AtomicU64;
}

/// How many there are of everything. Private to the process, checked when the table was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Cells; a power of two.
    pub(crate) cells: u32,
    pub(crate) slots: u32,
    pub(crate) writers: u32,
    /// Keys that the table holds.
    pub(crate) keys: u64,
    /// Slots that a writer keeps for itself.
    pub(crate) spare: usize,
    pub(crate) key_words: usize,
    pub(crate) value_bytes: usize,
}

/// Why a protocol step cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No more keys.
    Full,
    /// No more slots.
    NoSlot,
    /// The version is another.
    Conflict(u64),
    /// No more versions.
    UsedUp,
    /// Others came first too often.
    Contested,
    /// A word that nobody honest stores.
    Corrupt,
}

/// A table's words and what they mean.
#[derive(Clone, Debug)]
pub(crate) struct Cells<M> {
    pub(crate) memory: M,
    pub(crate) plan: Plan,
}

impl<M: Memory> Cells<M> {
    /// What a cell holds now.
    #[inline]
    pub(crate) fn load(&self, cell: u32) -> Result<CellWord, Fault> {
        let word = self.memory.cell(cell).ok_or(Fault::Corrupt)?;
        // ORDERING: acquire, pairs with the CAS in `Writer::attempt`: the slot that the word names was
        // written before. Cells change by CAS alone, so this holds for whichever later word is seen.
        Ok(CellWord::from_word(word.load(Ordering::Acquire)))
    }
}

/// The words of one slot, by name.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    pub(crate) stamp: &'a AtomicU64,
    pub(crate) owner: &'a AtomicU64,
    pub(crate) writer: &'a AtomicU64,
    pub(crate) time: &'a AtomicU64,
    pub(crate) meta: &'a AtomicU64,
    pub(crate) key: &'a [AtomicU64],
    pub(crate) value: &'a [AtomicU64],
}

impl<M: Memory> Cells<M> {
    /// A slot by its number; a number that is none, or a slot that is too short, is a word that nobody
    /// honest stores.
    #[inline]
    pub(crate) fn slot(&self, slot: u32) -> Result<Slot<'_>, Fault> {
        let words = self.memory.slot(slot).ok_or(Fault::Corrupt)?;
        let [stamp, owner, writer, time, meta, rest @ ..] = words else {
            return Err(Fault::Corrupt);
        };
        let (key, value) = rest.split_at_checked(self.plan.key_words).ok_or(Fault::Corrupt)?;
        Ok(Slot { stamp, owner, writer, time, meta, key, value })
    }
}
