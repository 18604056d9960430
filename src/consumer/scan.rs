//! Which lane has something new: one load a lane.
//!
//! A consumer of many lanes looks at heads far more often than it finds frames. What that takes stands
//! together here, a few words a lane; the rest of what it knows of a lane is touched only when there
//! is something to read.
//!
//! | lane | what its eye waits for |
//! |---|---|
//! | with nothing to read | any head but the position where reading goes on |
//! | of which something is left to read | as above: the head is further |
//! | let again, and read | whatever: `stir` makes it look new until its next tenancy is entered |

use crate::layout::words::LaneWords;
use crate::shm::mapping::Shared;
use crate::sync::Ordering;

/// The heads of all lanes, and where the last look ended.
#[derive(Debug)]
pub(super) struct Scan {
    eyes: Box<[Eye]>,
    next: usize,
}

#[derive(Debug)]
struct Eye {
    words: Shared<LaneWords>,
    /// Where reading goes on.
    position: u64,
}

impl Scan {
    /// Looks at these lanes, from these positions on.
    pub(super) fn new(lanes: impl Iterator<Item = (Shared<LaneWords>, u64)>) -> Self {
        let eyes = lanes.map(|(words, position)| Eye { words, position });
        Self { eyes: eyes.collect(), next: 0 }
    }

    /// The next lane in turn that has something new. At most one look at each.
    #[inline]
    pub(super) fn find(&mut self) -> Option<usize> {
        let (before, after) = self.eyes.split_at_checked(self.next)?;
        let found = match after.iter().position(Eye::is_new) {
            Some(index) => self.next + index,
            None => before.iter().position(Eye::is_new)?,
        };
        self.next = if found + 1 < self.eyes.len() { found + 1 } else { 0 };
        Some(found)
    }

    /// Reading of a lane goes on at `position`.
    #[inline]
    pub(super) fn set(&mut self, lane: usize, position: u64) {
        if let Some(eye) = self.eyes.get_mut(lane) {
            eye.position = position;
        }
    }

    /// Makes a lane look new.
    pub(super) fn stir(&mut self, lane: usize) {
        if let Some(eye) = self.eyes.get_mut(lane) {
            // ORDERING: relaxed; only compared with another look at it.
            eye.position = eye.words.head.load(Ordering::Relaxed).wrapping_sub(1);
        }
    }

    /// Looks at other words of a lane from now on, which is read from `position`.
    pub(super) fn replace(&mut self, lane: usize, words: Shared<LaneWords>, position: u64) {
        if let Some(eye) = self.eyes.get_mut(lane) {
            *eye = Eye { words, position };
        }
    }
}

impl Eye {
    #[inline]
    fn is_new(&self) -> bool {
        // ORDERING: relaxed; a hint where to look. `LaneReader::published` acquires.
        self.words.head.load(Ordering::Relaxed) != self.position
    }
}
