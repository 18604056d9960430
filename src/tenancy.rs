//! One lane as a reader sees it, through all of its tenancies.
//!
//! On a named bus a lane's memory stays and its tenants change. On a brokered bus each tenancy has
//! memory of its own:
//!
//! ```text
//!   tenancy 3   start ········ read to here ···· end        <- words held still, slots of tenancy 3
//!   tenancy 4                                    start ···  <- words and slots of tenancy 4
//! ```
//!
//! As soon as a reader learns that a lane was let again, it takes from the former tenancy exactly what
//! the broker says it had published, and looks at none of its words any more: a tenant that only
//! pretended to leave reaches nobody. When that is read, the reader goes on in the next.
//!
//! A tenant that lied about its head can have had frames taken for read that are its successor's to
//! publish. Then the reader joins the lane anew where the successor began.

use std::collections::VecDeque;

use crate::broker::memory::{self, LaneMemory};
use crate::lane::join::Joining;
use crate::lane::reader::LaneReader;
use crate::lane::{earlier, is_before, later};
use crate::layout::words::LaneWords;
use crate::regions::LaneData;
use crate::shm::mapping::Shared;
use crate::sync::{AtomicU64, Ordering};

/// What a reader knows of one lane.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) reader: LaneReader<Shared<LaneWords>>,
    pub(crate) data: LaneData,
    pub(crate) lost: u64,
    /// What follows when this is read: the memory of later tenants.
    next: VecDeque<LaneMemory>,
}

impl Lane {
    /// Reads from `position` on.
    pub(crate) fn new(memory: LaneMemory, position: u64, lost: u64) -> Self {
        let reader = LaneReader::new(memory.words, position);
        Self { reader, data: memory.data, lost, next: VecDeque::new() }
    }

    /// Whether the lane has been let again.
    #[inline]
    pub(crate) fn is_followed(&self) -> bool {
        !self.next.is_empty()
    }

    /// Takes note of a later tenancy: the one before ends where it starts. `capacity` is given to
    /// a reader that no frame can get lost for. `false`: there is no memory to do so.
    pub(crate) fn succeed(&mut self, memory: LaneMemory, capacity: Option<u64>) -> bool {
        let end = memory.start;
        let is_still = match self.next.back_mut() {
            Some(before) => {
                let (head, reserve) = last_words(&before.words, end);
                let head = if is_before(head, before.start) { before.start } else { head };
                let words = memory::still_words(head, reserve);
                words.map(|words| before.words = words).is_ok()
            }
            None => self.end_at(end, capacity),
        };
        self.next.push_back(memory);
        is_still
    }

    /// Lets no more be read of the present tenancy than the broker says there is, and than was
    /// published: tenancies that are not kept any more may lie between it and the next known.
    fn end_at(&mut self, end: u64, capacity: Option<u64>) -> bool {
        let position = self.reader.position();
        let (head, reserve) = last_words(self.reader.words(), end);
        let left = head.wrapping_sub(position);
        // Nothing is left that could be read if the tenant lied: before what was read, or, where no
        // frame can have been lost, a whole ring and more after it.
        if is_before(head, position) || capacity.is_some_and(|capacity| left > capacity) {
            return self.hold_still(position, position);
        }
        self.hold_still(head, reserve)
    }

    /// Lets nothing more be read before the lane is let again: its words are not an honest
    /// producer's.
    pub(crate) fn give_up(&mut self) {
        let position = self.reader.position();
        self.hold_still(position, position);
    }

    fn hold_still(&mut self, head: u64, reserve: u64) -> bool {
        let words = memory::still_words(head, reserve);
        words.map(|words| self.reader = LaneReader::new(words, self.reader.position())).is_ok()
    }

    /// Goes on in the next tenancy, all of the present one being read. Says how many frames that
    /// loses; `None` when there is no next one. `gate` is the cursor by which the reader holds the
    /// producer, if it does, and the capacity.
    pub(crate) fn enter_next(&mut self, gate: Option<(&AtomicU64, u64)>) -> Option<u64> {
        let memory = self.next.pop_front()?;
        let (start, position) = (memory.start, self.reader.position());
        let mut lost = if is_before(position, start) { start.wrapping_sub(position) } else { 0 };
        let mut reader = LaneReader::new(memory.words, start);
        if let Some((cursor, capacity)) = gate.filter(|_| position != start) {
            // As a consumer that joins: the producer may have relied on where the cursor stood.
            // ORDERING: release, as in `LaneReader::release`; ordered before the look by the fence.
            cursor.store(start, Ordering::Release);
            let held = Joining::announced().look(reader.words(), capacity, start, start);
            lost = lost.saturating_add(held.oldest.wrapping_sub(start));
            reader.jump(held.oldest);
            reader.release(cursor);
        }
        (self.reader, self.data) = (reader, memory.data);
        Some(lost)
    }
}

/// The head and the reserve of a tenancy that is over and ended at `end` at the latest.
fn last_words(words: &LaneWords, end: u64) -> (u64, u64) {
    // ORDERING: relaxed for both; the tenant is gone, and what it stored last is visible since its
    // successor's epoch was seen. A lie spoils its own frames.
    let head = earlier(words.head.load(Ordering::Relaxed), end);
    let reserve = words.reserve.load(Ordering::Relaxed);
    (head, later(reserve, head))
}
