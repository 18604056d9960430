//! The shared words: structs made of atomics alone, laid over the regions of a segment.
//!
//! Whatever another process stores there, every bit pattern is a value. Hot words of different
//! writers stand on different 64-byte lines. Reserved bytes are zero and not touched.

use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The words of one lane, written by its producer alone.
///
/// ```text
///   0  head            frames ever published (position of the next)      line 0
///   8  reserve         positions below this may be being written
///  16  ticket          last ticket taken for this lane (`ordered` only)
///  24  ticket_at       the position that it was taken for
///  32  unused_bytes    payload bytes that its frames had room for and did not use
///  40  batches         commits of more than one frame
///  48  batched_frames  frames in them
///  56  (reserved)
///  64  rejected        publishes refused because the lane was full       line 1
///  72  blocked_count   publishes that had to wait
///  80  blocked_ns      time spent waiting
///  88  held_since_ns   when it found its lane full; 0 while it has room
///  96  held_frames     for how many frames there was no room then
/// 104  kept_epoch      the last tenancy whose end is kept (0: none yet)
/// 112  kept_end        where it ended, once it has
/// 120  (reserved)
/// 128
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct LaneWords {
    pub(crate) head: AtomicU64,
    pub(crate) reserve: AtomicU64,
    pub(crate) ticket: AtomicU64,
    pub(crate) ticket_at: AtomicU64,
    pub(crate) unused_bytes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) batched_frames: AtomicU64,
    pub(crate) _line0: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) blocked_count: AtomicU64,
    pub(crate) blocked_ns: AtomicU64,
    pub(crate) held_since_ns: AtomicU64,
    pub(crate) held_frames: AtomicU64,
    pub(crate) kept_epoch: AtomicU64,
    pub(crate) kept_end: AtomicU64,
    pub(crate) _line1: AtomicU64,
}

/// The words of the whole bus.
///
/// ```text
///   0  consumers         bit c: consumer c gates the producers           line 0, changes at attach
///   8  seat_changes      attaches, detaches and reclaims so far (u32)
///  12  removed           1 once the bus has been removed (u32)
///  16  (reserved)
///  64  sleeping_consumers    bit c: consumer c sleeps                    line 1, read by publishers
///  72  sleeping_producers    bit l of four words: producer l sleeps
/// 104  (reserved)
/// 128  producers         bit l of four words: lane l has a producer      line 2, changes at attach
/// 160  recoveries        seats given back after their holder died
/// 168  punches           order entries given up for a late producer
/// 176  patience_ns       how long a hole in the order is waited for
/// 184  evictions         live participants that were made to leave
/// 192  corruptions       impossible words that were met in the segment
/// 200  (reserved)
/// 256  order_tail        tickets ever taken                              line 4
/// 264  (reserved)
/// 384
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct ControlWords {
    pub(crate) consumers: AtomicU64,
    pub(crate) seat_changes: AtomicU32,
    pub(crate) removed: AtomicU32,
    pub(crate) _line0: [AtomicU64; 6],
    pub(crate) sleeping_consumers: AtomicU64,
    pub(crate) sleeping_producers: [AtomicU64; 4],
    pub(crate) _line1: [AtomicU64; 3],
    pub(crate) producers: [AtomicU64; 4],
    pub(crate) recoveries: AtomicU64,
    pub(crate) punches: AtomicU64,
    pub(crate) patience_ns: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) corruptions: AtomicU64,
    pub(crate) _line2: [AtomicU64; 7],
    pub(crate) order_tail: AtomicU64,
    pub(crate) _line4: [AtomicU64; 15],
}

/// One participant's seat.
///
/// ```text
///   0  state          epoch << 8 | standing (`layout::state`)            line 0, changes at attach
///   8  pid            (u32) for display: proof of life is the file lock on the seat's byte
///  12  uid            (u32)
///  16  attached_unix_ns
///  24  name           32 bytes, NUL-padded UTF-8
///  56  (reserved)
///  64  doorbell       (u32) futex word that the holder sleeps on         line 1
///  68  (reserved)
/// 128
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct SeatWords {
    pub(crate) state: AtomicU64,
    pub(crate) pid: AtomicU32,
    pub(crate) uid: AtomicU32,
    pub(crate) attached_unix_ns: AtomicU64,
    pub(crate) name: [AtomicU64; 4],
    pub(crate) _line0: AtomicU64,
    pub(crate) doorbell: AtomicU32,
    pub(crate) _doorbell: AtomicU32,
    pub(crate) _line1: [AtomicU64; 7],
}

impl SeatWords {
    /// How often the seat has been taken.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        // ORDERING: acquire, pairs with the release store of the state in `seat::sit`.
        super::state::SeatState::from_word(self.state.load(Ordering::Acquire)).epoch()
    }
}

/// The first line of a consumer's row of cursors; two arrays of `lanes` words follow it, and its
/// latencies (`layout::latency`) where frames have timestamps.
///
/// ```text
///   0  order_cursor   tickets below this are read (`ordered` only)
///   8  read           frames read since the attach
///  16  lost           frames lost since the attach, all lanes
///  24  (reserved)
///  64  cursor[lanes]  positions below this are read, lane by lane
///      lost[lanes]    frames lost, lane by lane; starts on a line of its own
///      latencies      on lines of their own
/// ```
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct CursorWords {
    pub(crate) order_cursor: AtomicU64,
    pub(crate) read: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) _line0: [AtomicU64; 5],
}

/// Bytes of a [`LaneWords`] and the distance from one to the next.
pub(crate) const LANE_WORDS_BYTES: u64 = 128;
/// Bytes of the [`ControlWords`]; the seats follow.
pub(crate) const CONTROL_WORDS_BYTES: u64 = 384;
/// Bytes of a [`SeatWords`].
pub(crate) const SEAT_WORDS_BYTES: u64 = 128;
/// Bytes of a [`CursorWords`]; the cursors follow.
pub(crate) const CURSOR_WORDS_BYTES: u64 = 64;

// Offsets are part of the format. Under loom atomics have other sizes.
#[cfg(not(loom))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<LaneWords>() as u64 == LANE_WORDS_BYTES);
    assert!(offset_of!(LaneWords, head) == 0);
    assert!(offset_of!(LaneWords, reserve) == 8);
    assert!(offset_of!(LaneWords, ticket) == 16);
    assert!(offset_of!(LaneWords, ticket_at) == 24);
    assert!(offset_of!(LaneWords, unused_bytes) == 32);
    assert!(offset_of!(LaneWords, batches) == 40);
    assert!(offset_of!(LaneWords, batched_frames) == 48);
    assert!(offset_of!(LaneWords, rejected) == 64);
    assert!(offset_of!(LaneWords, blocked_count) == 72);
    assert!(offset_of!(LaneWords, blocked_ns) == 80);
    assert!(offset_of!(LaneWords, held_since_ns) == 88);
    assert!(offset_of!(LaneWords, held_frames) == 96);
    assert!(offset_of!(LaneWords, kept_epoch) == 104);
    assert!(offset_of!(LaneWords, kept_end) == 112);
    assert!(size_of::<ControlWords>() as u64 == CONTROL_WORDS_BYTES);
    assert!(offset_of!(ControlWords, consumers) == 0);
    assert!(offset_of!(ControlWords, seat_changes) == 8);
    assert!(offset_of!(ControlWords, removed) == 12);
    assert!(offset_of!(ControlWords, sleeping_consumers) == 64);
    assert!(offset_of!(ControlWords, sleeping_producers) == 72);
    assert!(offset_of!(ControlWords, producers) == 128);
    assert!(offset_of!(ControlWords, recoveries) == 160);
    assert!(offset_of!(ControlWords, punches) == 168);
    assert!(offset_of!(ControlWords, patience_ns) == 176);
    assert!(offset_of!(ControlWords, evictions) == 184);
    assert!(offset_of!(ControlWords, corruptions) == 192);
    assert!(offset_of!(ControlWords, order_tail) == 256);
    assert!(size_of::<SeatWords>() as u64 == SEAT_WORDS_BYTES);
    assert!(offset_of!(SeatWords, state) == 0);
    assert!(offset_of!(SeatWords, pid) == 8);
    assert!(offset_of!(SeatWords, uid) == 12);
    assert!(offset_of!(SeatWords, attached_unix_ns) == 16);
    assert!(offset_of!(SeatWords, name) == 24);
    assert!(offset_of!(SeatWords, doorbell) == 64);
    assert!(size_of::<CursorWords>() as u64 == CURSOR_WORDS_BYTES);
    assert!(offset_of!(CursorWords, order_cursor) == 0);
    assert!(offset_of!(CursorWords, read) == 8);
    assert!(offset_of!(CursorWords, lost) == 16);
};
