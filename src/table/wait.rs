//! Waiting for a change: spin, yield, park, as for frames (`crate::park`), at the bells of `cells::bell`.

use std::time::Duration;

use super::key::{Key, Place};
use super::reader::{Marks, TableReader};
use crate::cells::bell::Bell;
use crate::crash::crash_point;
use crate::error::TableError;
use crate::layout::table::words::BELLS;
use crate::park::{PARK_UNSURE, Step, Waiting};
use crate::sync::{barrier, futex};

/// How often who may not write to the table, and so cannot say that it waits, looks again.
pub(super) const NAP: Duration = Duration::from_millis(1);

impl<T> TableReader<T> {
    /// Waits until a key has another version than `seen`, and returns that; `seen` itself when it was
    /// not changed for `timeout` (`None`: for ever). A key that was never written has version 0.
    ///
    /// Between two looks it sees the latest version alone. What was set before the call is seen at once.
    ///
    /// # Errors
    /// [`TableError::Removed`] when the table was removed and the key has not changed; as
    /// [`get`](Self::get) otherwise.
    pub fn wait<'k>(
        &mut self,
        key: impl Into<Key<'k>>,
        seen: u64,
        timeout: Option<Duration>,
    ) -> Result<u64, TableError> {
        let key = key.into();
        let mut cell = self.find(key)?;
        let mut waiting = Waiting::new(self.wait, timeout);
        loop {
            if cell.is_none() {
                cell = self.find(key)?;
            }
            let version = cell.map_or(Ok(0), |cell| self.version_of(cell))?;
            if version != seen {
                return Ok(version);
            }
            // A key that has no cell yet may get any.
            let bell = cell.map(group_of);
            let changed = |reader: &Self| match cell {
                Some(cell) => Ok(reader.version_of(cell)? != seen),
                None => Ok(reader.find(key)?.is_some()),
            };
            if !self.step(waiting.step(), bell, changed)? {
                return Ok(seen);
            }
        }
    }

    /// The same for a key that was found before.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_at(
        &mut self,
        place: Place,
        seen: u64,
        timeout: Option<Duration>,
    ) -> Result<u64, TableError> {
        let mut waiting = Waiting::new(self.wait, timeout);
        loop {
            let version = self.version_at(place)?;
            if version != seen {
                return Ok(version);
            }
            let bell = Some(group_of(place.cell));
            let changed = |reader: &Self| Ok(reader.version_of(place.cell)? != seen);
            if !self.step(waiting.step(), bell, changed)? {
                return Ok(seen);
            }
        }
    }

    /// Waits until any key has another version than `marks` say. `false`: none had for `timeout`
    /// (`None`: for ever). Cost of each look: a cache line per cell.
    ///
    /// # Errors
    /// [`TableError::Removed`] when the table was removed and nothing has changed; as
    /// [`get`](Self::get) otherwise.
    pub fn wait_any(
        &mut self,
        marks: &Marks,
        timeout: Option<Duration>,
    ) -> Result<bool, TableError> {
        let mut waiting = Waiting::new(self.wait, timeout);
        let pauses = self.pauses();
        loop {
            if self.has_changed(marks)? {
                return Ok(true);
            }
            let step = waiting.step_after(pauses);
            if !self.step(step, None, |reader| reader.has_changed(marks))? {
                return Ok(false);
            }
        }
    }

    /// Whether any key has another version than `marks` say.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn has_changed(&self, marks: &Marks) -> Result<bool, TableError> {
        self.check()?;
        let marks = marks.versions.iter().chain(std::iter::repeat(&0));
        for (cell, mark) in (0..self.cells.plan.cells).zip(marks) {
            if self.version_of(cell)? != *mark {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many pauses a look at all cells takes, so that who looks at many goes to sleep after as long as
    /// others.
    pub(super) fn pauses(&self) -> u32 {
        (self.cells.plan.cells / CELLS_A_PAUSE).clamp(1, PAUSES_MAX)
    }

    /// Does what a wait says: sleeps, if it is time to. `false`: the time is over.
    fn step(
        &self,
        step: Step,
        bell: Option<usize>,
        has_changed: impl Fn(&Self) -> Result<bool, TableError>,
    ) -> Result<bool, TableError> {
        let longest = match step {
            Step::Again => return Ok(true),
            Step::Over => return Ok(false),
            Step::Park(longest) => longest,
        };
        if self.cells.memory.is_removed() || !self.segment.is_linked() {
            // What was set before it was removed is seen all the same.
            return if has_changed(self)? { Ok(true) } else { Err(TableError::Removed) };
        }
        if !self.can_park {
            std::thread::sleep(longest.min(NAP));
            return Ok(true);
        }
        let words = &self.cells.memory.words;
        let bell = bell
            .and_then(|bell| words.bells.get(bell))
            .map_or_else(|| Bell::of_any(words), Bell::of);
        let rung = bell.listen();
        crash_point!(Sleeping);
        let sure = barrier::heavy();
        if !has_changed(self)? && !self.cells.memory.is_removed() {
            futex::wait(bell.doorbell, rung, if sure { longest } else { longest.min(PARK_UNSURE) });
        }
        Ok(true)
    }
}

/// Cells that are looked at in the time of one pause.
const CELLS_A_PAUSE: u32 = 16;
/// Pauses that one look stands for at most: some are left to be looked in.
const PAUSES_MAX: u32 = 128;

/// The group of keys that a cell's is in: which bell is rung for it.
pub(super) fn group_of(cell: u32) -> usize {
    usize::try_from(cell).unwrap_or(0) % BELLS
}
