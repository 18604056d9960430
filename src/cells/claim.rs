//! Slots for a writer that has none: free ones, and those of writers that are gone.
//!
//! A slot whose owner is gone is free if it stands in no cell and nobody has just replaced it. The order
//! of the looks proves it: first all cells, then all desks, then the owner, by CAS.
//!
//! * It can not come into a cell after the first look: only its owner, who is gone, could put it there.
//! * Whoever took it out of a cell before that look has said so on the desk before, and stores the owner
//!   before the desk says anything else. So the second look finds it, or the CAS fails.
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
        let free = (0..).zip(in_use).filter(|(_, in_use)| !in_use).map(|(slot, _)| slot);
        for slot in free {
            if self.is_supplied() {
                break;
            }
            let words = self.cells.slot(slot)?;
            // ORDERING: acquire for both, pairs with the release stores of the owner. A tenancy that is
            // over never comes again, so the CAS succeeds only if nobody has taken the slot since.
            let owner = words.owner.load(Ordering::Acquire);
            if (owner == 0 || is_gone(owner))
                && words
                    .owner
                    .compare_exchange(owner, self.me, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                crash_point!(SlotClaimed);
                self.pool.push_back(slot);
            }
        }
        Ok(())
    }
}
