//! The consumer's side of a keyed transaction: dropping what was repeated.

use std::collections::{HashSet, VecDeque};

use super::head::Head;
use crate::received::FrameRef;

/// Lanes that a bus can have.
const LANES_MAX: usize = 256;

/// Remembers the keys of the transactions that a consumer has seen, and tells it which frames are of one
/// that it has seen before.
///
/// One for each consumer; ask it about every frame, in the order in which they come. Frames that are in
/// no keyed transaction are admitted. It keeps the last `window` keys, 48 bytes or so each, and forgets
/// them with its process. A transaction that is repeated after `window` others is taken for a new one;
/// so choose it above the number of transactions that can pass between an attempt and its repetition.
///
/// A consumer that starts in the middle of a part (`Start::Oldest` on a ring that has gone round) or is
/// lapped (`drop-oldest`) may miss the head of a part; the frames after it count as in no transaction.
#[derive(Debug)]
pub struct Deduplicator {
    window: usize,
    known: HashSet<u128>,
    /// The same, oldest first.
    ages: VecDeque<u128>,
    /// Up to which position each lane's frames are of a part that is repeated.
    dropped_until: Vec<Option<u64>>,
    repeated: u64,
}

impl Deduplicator {
    /// One that remembers the last `window` keys; at least one.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self {
            window: window.max(1),
            known: HashSet::new(),
            ages: VecDeque::new(),
            dropped_until: Vec::new(),
            repeated: 0,
        }
    }

    /// Whether a frame is to be processed. `false` for a frame of a part that was seen before, and for
    /// the one before each part that says whose it is.
    pub fn admits(&mut self, frame: &FrameRef<'_>) -> bool {
        let index = usize::try_from(frame.lane()).unwrap_or(usize::MAX);
        if index >= LANES_MAX {
            return true;
        }
        if index >= self.dropped_until.len() {
            self.dropped_until.resize(index + 1, None);
        }
        let Some(until) = self.dropped_until.get_mut(index) else {
            return true;
        };
        if let Some(end) = *until {
            // Positions wrap: what is before the end is less than a half of all before it.
            if end.wrapping_sub(frame.position()).wrapping_sub(1) < 1 << 63 {
                return false;
            }
            *until = None;
        }
        let Some(head) = Head::of(frame) else {
            return true;
        };
        if self.known.contains(&head.key()) {
            let first = frame.position().wrapping_add(1);
            *until = Some(first.wrapping_add(head.frames()));
            self.repeated = self.repeated.saturating_add(1);
        } else {
            self.remember(head.key());
        }
        false
    }

    /// Parts that were dropped so far.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    fn remember(&mut self, key: u128) {
        if self.ages.len() >= self.window
            && let Some(oldest) = self.ages.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.ages.push_back(key);
        self.known.insert(key);
    }
}
