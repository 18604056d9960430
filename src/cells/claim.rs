//! Slots for a writer that has none: free ones, and those of writers that are gone.
//!
//! A slot whose owner is gone is free if it stands in no cell and nobody has just replaced it. The order
//! of the looks proves it: first the owners, then all cells, then all desks, then the owner again, by CAS.
//!
//! * It cannot come into a cell once its owner is gone: only its owner could put it there. That has to be
//!   known before the cells are looked at: otherwise the slot could be taken out of a cell not looked at
//!   yet, and put into one that was, by somebody who is gone only then.
//! * Whoever took it out of a cell before the look at it has said so on the desk before, and stores the
//!   owner before the desk says anything else. So the look at the desks finds it, or the CAS fails.
//! * Nobody's slots, whose owner is 0, are in no cell and on no desk that counts: the CAS is enough.
//!
//! A writer that is stopped between its desk and its CAS can keep one slot that is free from being
//! claimed. There is one slot a writer more for that.

use super::{Cells, Fault, Memory};
use crate::crash::crash_point;
use crate::layout::table::words::CellWord;
use crate::sync::Ordering;

use super::write::Writer;

impl<M: Memory> Cells<M> {
    /// How many cells have a key now. Cost: a line a cell.
    pub(crate) fn count(&self) -> Result<u64, Fault> {
        let mut keys = 0;
        for cell in 0..self.plan.cells {
            keys += u64::from(!self.load(cell)?.is_empty());
        }
        Ok(keys)
    }
}

impl<M: Memory> Writer<M> {
    /// Whether it has all the slots that a writer keeps.
    pub(crate) fn is_supplied(&self) -> bool {
        self.pool.len() >= self.cells.plan.spare
    }

    /// Takes slots that are nobody's until it has as many as a writer keeps, and looks at `looks` slots
    /// at most.
    pub(crate) fn take_free(&mut self, looks: u32) {
        for _ in 0..looks.min(self.cells.plan.slots) {
            if self.is_supplied() {
                return;
            }
            let slot = self.cursor;
            self.cursor = (slot + 1) % self.cells.plan.slots.max(1);
            if let Ok(words) = self.cells.slot(slot)
                // ORDERING: acquire, pairs with the release store in `give_back`. Relaxed for a first
                // look, which the CAS repeats.
                && words.owner.load(Ordering::Relaxed) == 0
                && words
                    .owner
                    .compare_exchange(0, self.me, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                crash_point!(SlotClaimed);
                self.pool.push_back(slot);
            }
        }
    }

    /// Takes slots whose owners are gone, of whom `is_gone` knows. Cost: a line a cell, two lines a
    /// slot; allocates.
    pub(crate) fn take_from_the_gone(
        &mut self,
        is_gone: impl Fn(u64) -> bool,
    ) -> Result<(), Fault> {
        let slots = usize::try_from(self.cells.plan.slots).unwrap_or(0);
        let mut owners = Vec::with_capacity(slots);
        for slot in 0..self.cells.plan.slots {
            // ORDERING: acquire, pairs with the release stores of the owner; the look whether it is gone
            // and those at the cells come after it.
            let owner = self.cells.slot(slot)?.owner.load(Ordering::Acquire);
            owners.push((owner == 0 || is_gone(owner)).then_some(owner));
        }
        let mut in_use = vec![false; slots];
        let mut note = |word: CellWord| {
            let slot = usize::try_from(word.slot()).ok().and_then(|slot| in_use.get_mut(slot));
            if let Some(slot) = slot.filter(|_| !word.is_empty()) {
                *slot = true;
            }
        };
        for cell in 0..self.cells.plan.cells {
            note(self.cells.load(cell)?);
        }
        for seat in 0..self.cells.plan.writers {
            let desk = self.cells.memory.desk(seat).ok_or(Fault::Corrupt)?;
            // ORDERING: acquire, pairs with the release stores in `declare`: who sees what came after a
            // replacement sees the owner that was stored before.
            note(CellWord::from_word(desk.old.load(Ordering::Acquire)));
        }
        for ((slot, in_use), owner) in (0..).zip(in_use).zip(owners) {
            if self.is_supplied() {
                break;
            }
            let Some(owner) = owner.filter(|_| !in_use) else {
                continue;
            };
            let word = self.cells.slot(slot)?.owner;
            // ORDERING: acquire, pairs with the release stores of the owner. A tenancy that is over never
            // comes again, so the CAS succeeds only if nobody has taken the slot since it was looked at.
            if word.compare_exchange(owner, self.me, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                crash_point!(SlotClaimed);
                self.pool.push_back(slot);
            }
        }
        Ok(())
    }
}
