//! Giving up a writer's place: its own, or that of one that died.
//!
//! What a dead writer leaves is slots that name it as their owner, which `claim` gives to others, and
//! possibly one that does not: the slot that its last CAS took out of a cell. Whether that CAS was made
//! can be told for certain, whatever others have done to the cell since:
//!
//! | then | because |
//! |---|---|
//! | the cell has the very word | it was made |
//! | another desk says that it replaces the very word in this cell | it was made: that writer has seen it |
//! | the new slot has another owner | it was made: slots change owners by being replaced |
//! | none of these | it was not made, and never will be |
//!
//! In this order: whoever replaced the value has said so on its desk before, and stores the owner before
//! its desk says anything else. Every step can be done twice.

use std::ops::Deref;

use super::write::Writer;
use super::{Cells, Fault, Memory};
use crate::crash::crash_point;
use crate::layout::table::words::{CellWord, DeskWords, seat_and_epoch, stamp};
use crate::sync::Ordering;

impl<M: Memory> Cells<M> {
    /// Puts in order what a dead writer's last write left. The caller holds the lock of its seat.
    pub(crate) fn settle(&self, dead: u64) -> Result<(), Fault> {
        let (seat, _) = seat_and_epoch(dead);
        let desk = self.memory.desk(seat).ok_or(Fault::Corrupt)?;
        // ORDERING: relaxed for these; ordered by the seat's lock, through the kernel.
        let at = desk.at.load(Ordering::Relaxed);
        let old = CellWord::from_word(desk.old.load(Ordering::Relaxed));
        let new = CellWord::from_word(desk.new.load(Ordering::Relaxed));
        if let Some(cell) = at.checked_sub(1).and_then(|cell| u32::try_from(cell).ok())
            && !old.is_empty()
            && self.was_made(cell, new, dead)?
        {
            // ORDERING: release, pairs with the acquire loads of the owner: comes before the desk is
            // cleared.
            self.slot(old.slot())?.owner.store(dead, Ordering::Release);
        }
        crash_point!(DeskSettled);
        clear(&desk);
        Ok(())
    }

    /// Whether a dead writer's last CAS was made.
    fn was_made(&self, cell: u32, new: CellWord, dead: u64) -> Result<bool, Fault> {
        if self.load(cell)? == new {
            return Ok(true);
        }
        // The version alone would not do: another writer may have made it, with a slot of its own. If the
        // two words are of two writes of that desk, the second began after this version was replaced, when
        // the new slot was the dead one's and in no cell, so it names another slot; or the version was the
        // dead one's, and then the slot has another owner by now.
        let version = stamp(new.version(), cell);
        for seat in 0..self.plan.writers {
            let desk = self.memory.desk(seat).ok_or(Fault::Corrupt)?;
            // ORDERING: acquire for both, pairs with the release stores in `declare` and `clear`: who sees
            // what came after a replacement sees the owner that was stored before. In this order: the old
            // word is stored before the version that it replaces.
            if desk.replaces.load(Ordering::Acquire) == version
                && desk.old.load(Ordering::Acquire) == new.word()
            {
                return Ok(true);
            }
        }
        // ORDERING: acquire, pairs with the release store in `Writer::attempt` and in `settle`.
        Ok(self.slot(new.slot())?.owner.load(Ordering::Acquire) != dead)
    }
}

impl<M: Memory> Writer<M> {
    /// Gives back every slot, and clears the desk. This writer stores nothing more.
    pub(crate) fn give_back(&mut self) {
        let (seat, _) = seat_and_epoch(self.me);
        if let Some(desk) = self.cells.memory.desk(seat) {
            clear(&desk);
        }
        for slot in std::mem::take(&mut self.pool) {
            if let Ok(slot) = self.cells.slot(slot) {
                // ORDERING: release, pairs with the acquire CAS in `take_free`.
                slot.owner.store(0, Ordering::Release);
            }
        }
    }
}

fn clear(desk: &impl Deref<Target = DeskWords>) {
    // ORDERING: release for all: they come after the owner of the slot that was replaced last.
    desk.at.store(0, Ordering::Release);
    desk.old.store(0, Ordering::Release);
    desk.replaces.store(0, Ordering::Release);
}
