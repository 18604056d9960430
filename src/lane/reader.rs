//! A consumer's end of a lane: what is published, what is read.

use std::ops::Deref;

use super::is_before;
use crate::crash::crash_point;
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering};

/// A consumer's state on one lane. `W` leads to the lane's shared words.
#[derive(Debug)]
pub(crate) struct LaneReader<W> {
    /// Next position to read; the private original of the shared cursor.
    position: u64,
    /// The last `head` that was seen.
    seen: u64,
    words: W,
}

/// A head that no honest producer stores: behind the cursor, or further ahead than the ring is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Impossible;

impl<W: Deref<Target = LaneWords>> LaneReader<W> {
    /// Reads from `position` on.
    pub(crate) fn new(words: W, position: u64) -> Self {
        Self { position, seen: position, words }
    }

    /// The next position to read.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The lane's shared words.
    pub(crate) fn words(&self) -> &LaneWords {
        &self.words
    }

    /// The same, for somebody else to look at.
    pub(crate) fn shared_words(&self) -> W
    where
        W: Clone,
    {
        self.words.clone()
    }

    /// How many frames from `position` on are known to be published; looks at `head` only when
    /// everything it knew of is read.
    #[inline]
    pub(crate) fn available(&mut self) -> u64 {
        if self.seen == self.position {
            self.seen = self.published();
        }
        self.seen.wrapping_sub(self.position)
    }

    /// The same on a lossless lane, where no more than `capacity` frames can be unread.
    #[inline]
    pub(crate) fn available_gated(&mut self, capacity: u64) -> Result<u64, Impossible> {
        let available = self.available();
        if available <= capacity { Ok(available) } else { self.impossible() }
    }

    #[cold]
    fn impossible(&mut self) -> Result<u64, Impossible> {
        // The next look starts afresh: a wrong head is not remembered.
        self.seen = self.position;
        Err(Impossible)
    }

    /// The lane's head now.
    #[inline]
    pub(crate) fn published(&self) -> u64 {
        // ORDERING: acquire, pairs with the release store of head in `LaneWriter::publish`; makes
        // the payloads below it visible.
        self.words.head.load(Ordering::Acquire)
    }

    /// Moves on by `count` frames, in private: the shared cursor stays until `release`.
    #[inline]
    pub(crate) fn advance(&mut self, count: u64) {
        self.position = self.position.wrapping_add(count);
    }

    /// Jumps to `position`, which may be beyond everything seen.
    pub(crate) fn jump(&mut self, position: u64) {
        self.position = position;
        if is_before(self.seen, position) {
            self.seen = position;
        }
    }

    /// Gives everything before `position` back to the producer. No borrow of it may be left.
    #[inline]
    pub(crate) fn release(&self, cursor: &AtomicU64) {
        crash_point!(CursorNotStored);
        // ORDERING: release, pairs with the acquire load of the cursor in `LaneWriter::gate`; the
        // reads of the slots come before their overwriting.
        cursor.store(self.position, Ordering::Release);
        crash_point!(CursorStored);
    }
}
