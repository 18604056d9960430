//! `limit:marked`: the bare ring, but each message says itself that it is there.
//!
//! ```text
//!     0   mark      the message's position + 1, stored last
//!     8   payload   and what is left of the cache line
//! ```
//! Mark and payload are one line, so that a message takes one transfer where a head takes two; a reader
//! takes a line away from its writer with every look that comes too early, and no look tells it of more
//! than one message.

#![allow(unsafe_code, reason = "the mark is a word of a slot")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lane::{LaneRx, LaneTx, Ring, plain};
use crate::peer::{Peer, Rx, Shape, Tx, need};

const MARK_BYTES: usize = 8;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// The shape of a ring whose slots have room for the mark, and are whole lines.
fn with_mark(shape: &Shape) -> Shape {
    let payload_bytes = (MARK_BYTES + shape.payload_bytes).next_multiple_of(LINE_BYTES);
    Shape { payload_bytes, ..shape.clone() }
}

/// The ring's file; the place removes it.
pub struct Marked;

impl Peer for Marked {
    const NAME: &'static str = "limit:marked";
    const ABOUT: &'static str =
        "the limit: a bare ring whose messages carry their own mark, no head";
    type Tx = MarkedTx;
    type Rx = MarkedRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        plain(shape)?;
        need(shape.seats() == 1 && shape.consumers == 1, "one producer, one consumer")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        Ring::create(&with_mark(shape), place, 0).map(|()| Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<MarkedTx, String> {
        let lane = LaneTx::open(&with_mark(shape), place, 0)?;
        Ok(MarkedTx { lane, payload_bytes: shape.payload_bytes })
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<MarkedRx, String> {
        let lane = LaneRx::open(&with_mark(shape), place, 0, index)?;
        Ok(MarkedRx { lane, payload_bytes: shape.payload_bytes })
    }
}

/// The writing end.
pub struct MarkedTx {
    lane: LaneTx,
    payload_bytes: usize,
}

impl Tx for MarkedTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let (first, payload) = (self.lane.position(), MARK_BYTES..MARK_BYTES + self.payload_bytes);
        self.lane.write(count, |index, slot| {
            fill(index, &mut slot[payload.clone()]);
            // SAFETY: a slot begins with the mark, is aligned to 8 and longer than it.
            let mark = unsafe { AtomicU64::from_ptr(slot.as_mut_ptr().cast()) };
            // ORDERING: release, pairs with the acquire load in `MarkedRx::poll`.
            mark.store(first + index as u64 + 1, Ordering::Release);
        });
        Ok(())
    }
}

/// The reading end.
pub struct MarkedRx {
    lane: LaneRx,
    payload_bytes: usize,
}

impl Rx for MarkedRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let payload = MARK_BYTES..MARK_BYTES + self.payload_bytes;
        let mut count = 0;
        // ORDERING: acquire, pairs with the release store in `MarkedTx::send`: makes the message
        // visible.
        while count < max && self.lane.word().load(Ordering::Acquire) == self.lane.position() + 1 {
            self.lane.read(|slot| each(&slot[payload.clone()]));
            count += 1;
        }
        if count > 0 {
            self.lane.give_back();
        }
        Ok(count)
    }
}
