//! Writing: fill a slot of one's own, make it the cell's with one CAS, take the slot that it replaced.
//!
//! Progress: lock-free. A CAS fails because another writer's succeeded. No writer ever waits for one
//! that is stopped or dead.

use std::collections::VecDeque;
use std::ops::Deref;

use super::key::KeyWords;
use super::read::Found;
use super::{Cells, Fault, Memory};
use crate::crash::crash_point;
use crate::layout::table::words::{CellWord, DeskWords, Meta, VERSION_MAX, seat_and_epoch, stamp};
use crate::sync::{Ordering, fence};

/// Tries at one cell before it is given up; each that fails lost to another writer's success.
const TRIES_MAX: u32 = 1_000_000;

/// Searches for a new key's cell before it is given up; each that fails lost the very cell that it ended
/// at to another key, inserted at that moment.
const ROUNDS_MAX: u32 = 1_000;

/// One attached writer: the only user of its desk and of the slots in its pool.
#[derive(Debug)]
pub(crate) struct Writer<M> {
    pub(crate) cells: Cells<M>,
    /// Its tenancy, as slots name it.
    pub(super) me: u64,
    /// Slots that are its own, the one replaced longest ago first.
    pub(super) pool: VecDeque<u32>,
    /// Where the search for free slots goes on.
    pub(super) cursor: u32,
}

/// What is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: KeyWords,
    pub(crate) time_ns: u64,
    pub(crate) pid: u32,
    /// `None`: the key's value is taken away.
    pub(crate) value: Option<&'a [u8]>,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) cell: u32,
    pub(crate) version: u64,
}

impl<M: Memory> Writer<M> {
    /// A writer that has just taken its seat and owns no slots yet.
    pub(crate) fn new(cells: Cells<M>, me: u64) -> Self {
        let pool = VecDeque::with_capacity(cells.plan.spare + 1);
        // Each begins to look for free slots where no other does.
        let (seat, _) = seat_and_epoch(me);
        let share = cells.plan.slots / cells.plan.writers.max(1);
        let cursor = seat.wrapping_mul(share);
        Self { cells, me, pool, cursor }
    }

    /// Begins a tenancy: nothing was written in it.
    pub(crate) fn open(&self) {
        let (seat, _) = seat_and_epoch(self.me);
        if let Some(desk) = self.cells.memory.desk(seat) {
            // ORDERING: relaxed for both; statistics.
            desk.writes.store(0, Ordering::Relaxed);
            desk.retries.store(0, Ordering::Relaxed);
        }
    }

    /// Whether there is a slot to write into.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        !self.pool.is_empty()
    }

    /// Writes an entry to its key's cell, or to the next that is empty. `at` says where the key is, if
    /// that is known. `expected` is the version that it must have.
    ///
    /// # Errors
    /// `NoSlot` unless `has_slot`; nothing has changed whatever the error.
    #[inline]
    pub(crate) fn put(
        &mut self,
        entry: &Entry<'_>,
        at: Option<u32>,
        expected: Option<u64>,
    ) -> Result<Written, Fault> {
        let slot = *self.pool.front().ok_or(Fault::NoSlot)?;
        self.fill(slot, entry)?;
        let cell = match at {
            Some(cell) => Some(cell),
            None => match self.cells.find(&entry.key)? {
                Found::At(cell, _) => Some(cell),
                Found::Absent(_) | Found::NoCell => None,
            },
        };
        match cell {
            Some(cell) => self.replace(cell, slot, expected),
            None => self.insert(entry, slot, expected),
        }
    }

    /// Makes a slot that is filled the value of a key that has its cell.
    #[inline]
    fn replace(&mut self, cell: u32, slot: u32, expected: Option<u64>) -> Result<Written, Fault> {
        let mut old = self.cells.load(cell)?;
        for _ in 0..TRIES_MAX {
            if old.is_empty() {
                return Err(Fault::Corrupt);
            }
            if expected.is_some_and(|expected| expected != old.version()) {
                return Err(Fault::Conflict(old.version()));
            }
            match self.attempt(cell, old, slot)? {
                Ok(written) => return Ok(written),
                Err(now) => old = now,
            }
        }
        Err(Fault::Contested)
    }

    /// Makes a slot that is filled the first value of its key, unless somebody else is faster.
    #[cold]
    fn insert(
        &mut self,
        entry: &Entry<'_>,
        slot: u32,
        expected: Option<u64>,
    ) -> Result<Written, Fault> {
        if expected.is_some_and(|expected| expected != 0) {
            return Err(Fault::Conflict(0));
        }
        self.ask_for_cell()?;
        crash_point!(KeyAskedFor);
        let result = self.insert_asked(entry, slot, expected);
        if result.as_ref().map_or(true, |written| written.version != 1) {
            // ORDERING: relaxed; the count is checked by `count` where it says that there is no room.
            self.cells.memory.keys().fetch_sub(1, Ordering::Relaxed);
        }
        result
    }

    fn insert_asked(
        &mut self,
        entry: &Entry<'_>,
        slot: u32,
        expected: Option<u64>,
    ) -> Result<Written, Fault> {
        for _ in 0..ROUNDS_MAX {
            match self.cells.find(&entry.key)? {
                // Somebody else inserted it meanwhile.
                Found::At(cell, _) => return self.replace(cell, slot, expected),
                Found::NoCell => return Err(Fault::Full),
                Found::Absent(cell) => {
                    if let Ok(written) = self.attempt(cell, CellWord::EMPTY, slot)? {
                        return Ok(written);
                    }
                }
            }
        }
        Err(Fault::Contested)
    }

    /// Counts one more key, unless there are as many as the table holds. Writers that ask for the last
    /// at the same time may all get it: the limit can be passed by one key a writer, for which there are
    /// slots if not all seats are taken.
    fn ask_for_cell(&self) -> Result<(), Fault> {
        let keys = self.cells.plan.keys;
        // ORDERING: relaxed; a number that is too high is checked by counting.
        let before = self.cells.memory.keys().fetch_add(1, Ordering::Relaxed);
        // Who died having asked and not inserted left the number too high; it is never too low.
        if before < keys || self.cells.count()? < keys {
            return Ok(());
        }
        // ORDERING: relaxed; as above.
        self.cells.memory.keys().fetch_sub(1, Ordering::Relaxed);
        Err(Fault::Full)
    }

    /// Writes an entry into a slot of one's own. No cell names it; who still reads it from when one did
    /// finds out.
    #[inline]
    fn fill(&self, slot: u32, entry: &Entry<'_>) -> Result<(), Fault> {
        let slot = self.cells.slot(slot)?;
        let value = entry.value.unwrap_or_default();
        // ORDERING: release, pairs with the acquire loads of the stamp in `Cells::look`: the CAS that
        // took this slot out of its cell, or the claim that followed it, is visible to who sees this.
        slot.stamp.store(0, Ordering::Release);
        // ORDERING: release fence, pairs with the acquire fence in `Cells::look`: who sees one of the
        // stores below sees the stamp gone.
        fence(Ordering::Release);
        // ORDERING: relaxed for all; made visible by the stamp and the CAS.
        slot.writer.store(self.me, Ordering::Relaxed);
        slot.time.store(entry.time_ns, Ordering::Relaxed);
        let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let meta = Meta { pid: entry.pid, removed: entry.value.is_none(), len };
        slot.meta.store(meta.word(), Ordering::Relaxed);
        crash_point!(ValueHalfWritten);
        for (to, from) in slot.key.iter().zip(entry.key.0) {
            to.store(from, Ordering::Relaxed);
        }
        let (chunks, rest) = value.as_chunks::<8>();
        for (to, from) in slot.value.iter().zip(chunks) {
            to.store(u64::from_le_bytes(*from), Ordering::Relaxed);
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            if let Some(to) = slot.value.get(chunks.len()) {
                // ORDERING: relaxed; as above.
                to.store(u64::from_le_bytes(last), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Tries to make a slot that is filled the value that comes after `old`. `Err`: the word that is
    /// there instead, as somebody else's.
    #[inline]
    fn attempt(
        &mut self,
        cell: u32,
        old: CellWord,
        slot: u32,
    ) -> Result<Result<Written, CellWord>, Fault> {
        let version = old.version() + 1;
        if version > VERSION_MAX {
            return Err(Fault::UsedUp);
        }
        let new = CellWord::of(version, slot);
        // ORDERING: release, as in `fill`: who finds this stamp through a word that named the slot
        // before sees that the word has changed. The stamp of an attempt that failed stands for a
        // version that was never in this slot, and no word leads to it.
        self.cells.slot(slot)?.stamp.store(stamp(version, cell), Ordering::Release);
        let (seat, _) = seat_and_epoch(self.me);
        let desk = self.cells.memory.desk(seat).ok_or(Fault::Corrupt)?;
        declare(&desk, cell, old, new);
        crash_point!(CellNotSet);
        let word = self.cells.memory.cell(cell).ok_or(Fault::Corrupt)?;
        // ORDERING: release for the slot's words and the desk, pairs with `Cells::load`; acquire, so
        // that what this writes to the slot that it gets comes after the stores of who had it before.
        let swapped =
            word.compare_exchange(old.word(), new.word(), Ordering::AcqRel, Ordering::Acquire);
        if let Err(now) = swapped {
            count(&desk.retries);
            return Ok(Err(CellWord::from_word(now)));
        }
        crash_point!(CellSet);
        self.pool.pop_front();
        if !old.is_empty()
            && let Ok(slot) = self.cells.slot(old.slot())
        {
            // ORDERING: release, pairs with the acquire loads of the owner in `claim` and `recover`: it
            // comes before the desk's next words.
            slot.owner.store(self.me, Ordering::Release);
            self.pool.push_back(old.slot());
        }
        count(&desk.writes);
        crash_point!(SlotTaken);
        Ok(Ok(Written { cell, version }))
    }
}

/// Says what is about to be done, so that it can be told afterwards whether it was.
#[inline]
fn declare(desk: &impl Deref<Target = DeskWords>, cell: u32, old: CellWord, new: CellWord) {
    // ORDERING: release for all: each comes after the store of the owner of the slot that was replaced
    // last, so who sees one of them sees that. They come before the CAS, which is a release. In the
    // order of this program for who recovers this writer: it is dead.
    desk.at.store(0, Ordering::Release);
    desk.old.store(old.word(), Ordering::Release);
    desk.replaces.store(stamp(old.version(), cell), Ordering::Release);
    desk.new.store(new.word(), Ordering::Release);
    desk.at.store(u64::from(cell) + 1, Ordering::Release);
}

/// Counts in a word that only this writer stores to.
#[inline]
fn count(word: &crate::sync::AtomicU64) {
    // ORDERING: relaxed for both; a statistic with one writer.
    word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}
