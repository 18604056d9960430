//! The producer's end of a lane.
//!
//! A lossless producer holds *credit*: it may write positions below `limit` without looking at
//! anybody. When the credit is used up it looks at the cursors again (`renew`), which is the only
//! moment when it touches a line that a consumer writes.
//!
//! Renewing credit and joining a bus are a Dekker pair: the producer says how far it wants to write
//! (`reserve`), then looks who is attached; a joiner says that it is attached, then looks how far
//! the producer may write (see `join`). One of the two sees the other.

use std::ops::Deref;

use super::{Gates, bits, earlier, is_before, later};
use crate::crash::crash_point;
use crate::layout::words::LaneWords;
use crate::sync::{AtomicU64, Ordering, fence};

/// How much of the ring the producer may take as credit at once: a quarter, so that a consumer that
/// joins at `oldest` finds at least three quarters of the ring intact.
const GATED_STEP: u64 = 4;
/// The same while nobody is attached: then the ring is history, and renewing costs no line of
/// anybody's, so the steps are small and the history nearly whole.
const FREE_STEP: u64 = 64;

/// The state of a lane's producer. `W` leads to the lane's shared words, `G` to the cursors.
#[derive(Debug)]
pub(crate) struct LaneWriter<W, G> {
    /// Next position to publish; the private original of `words.head`.
    head: u64,
    /// Credit: positions before this may be written. Never behind `head`.
    limit: u64,
    capacity: u64,
    /// The furthest `reserve` that was ever announced; `words.reserve` never says less than what
    /// was really written to.
    announced: u64,
    counts: Counts,
    words: W,
    gates: G,
}

/// The private originals of what the lane's words count, so that counting loads nothing that is shared.
#[derive(Clone, Copy, Debug)]
struct Counts {
    unused_bytes: u64,
    batches: u64,
    batched_frames: u64,
}

impl<W: Deref<Target = LaneWords>, G: Gates> LaneWriter<W, G> {
    /// Goes on where the lane's words stand. The caller is the lane's only producer from now on.
    pub(crate) fn resume(words: W, gates: G, capacity: u64) -> Self {
        // ORDERING: relaxed; the words were last stored by this lane's previous producer, and its
        // seat's lock, taken over through the kernel, orders them before this.
        let head = words.head.load(Ordering::Relaxed);
        let announced = later(words.reserve.load(Ordering::Relaxed), head);
        // ORDERING: relaxed; as above.
        let count = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let counts = Counts {
            unused_bytes: count(&words.unused_bytes),
            batches: count(&words.batches),
            batched_frames: count(&words.batched_frames),
        };
        Self { head, limit: head, capacity, announced, counts, words, gates }
    }

    /// The position that the next frame gets.
    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Positions before this may be written. Lossless buses only.
    #[inline]
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The lane's shared words.
    pub(crate) fn words(&self) -> &LaneWords {
        &self.words
    }

    /// The cursors that gate this lane.
    pub(crate) fn gates(&self) -> &G {
        &self.gates
    }

    /// Whether the slots of the next `count` positions may be written. Lossless buses only.
    ///
    /// `count` is at most the capacity. Progress: wait-free; bounded by the number of consumers.
    #[inline]
    pub(crate) fn has_room(&mut self, count: u64) -> bool {
        self.limit.wrapping_sub(self.head) >= count || self.renew(count)
    }

    /// Looks at the cursors for room for `count` more frames, and for some more as credit.
    #[cold]
    fn renew(&mut self, count: u64) -> bool {
        if self.gates.is_closed() {
            return false;
        }
        let (gate, anybody) = self.gate();
        let wanted = self.head.wrapping_add(count);
        if is_before(gate, wanted) {
            return false;
        }
        let step = self.capacity / if anybody { GATED_STEP } else { FREE_STEP };
        let credit = earlier(gate, self.head.wrapping_add(step.max(count)));
        let announce = later(credit, self.announced);
        // ORDERING: relaxed; the fence below orders it before the look at who is attached, and is
        // the release that makes an observer which sees a word written later see this too.
        self.words.reserve.store(announce, Ordering::Relaxed);
        crash_point!(CreditAnnounced);
        // ORDERING: store→load, the producer's half of the Dekker pair with `join::Joining::begin`:
        // either the joiner's look at `reserve` sees the announcement, or the look below sees the
        // joiner. As a release fence it pairs with the acquire fence in `lossy::Check::is_whole`.
        fence(Ordering::SeqCst);
        let limit = earlier(credit, self.gate().0);
        if is_before(limit, wanted) {
            // Somebody joined meanwhile. Nothing was written on the strength of the announcement.
            // ORDERING: relaxed; it only takes back what nobody has to rely on.
            self.words.reserve.store(self.announced, Ordering::Relaxed);
            return false;
        }
        self.announced = announce;
        self.limit = limit;
        self.note_room();
        true
    }

    /// Whether the next `count` positions may be overwritten. Lossy buses only, where nobody gates:
    /// not when the producer was told to leave, which is looked at a few times a lap.
    #[inline]
    pub(crate) fn may_overwrite(&mut self, count: u64) -> bool {
        self.limit.wrapping_sub(self.head) >= count || self.look_around(count)
    }

    #[cold]
    fn look_around(&mut self, count: u64) -> bool {
        if self.gates.is_closed() {
            return false;
        }
        self.limit = self.head.wrapping_add((self.capacity / GATED_STEP).max(count));
        true
    }

    /// Says that there is no room for `count` frames, and since when, if that was not said before.
    #[cold]
    pub(crate) fn note_full(&self, count: u64, now_ns: u64) {
        // ORDERING: relaxed; this producer's own word, for display.
        self.words.held_frames.store(count, Ordering::Relaxed);
        // ORDERING: relaxed for both; this producer's own word, for display.
        if self.words.held_since_ns.load(Ordering::Relaxed) == 0 {
            self.words.held_since_ns.store(now_ns.max(1), Ordering::Relaxed);
        }
    }

    /// The same for a lane that has room again.
    fn note_room(&self) {
        // ORDERING: relaxed for both; this producer's own word, for display.
        if self.words.held_since_ns.load(Ordering::Relaxed) != 0 {
            self.words.held_since_ns.store(0, Ordering::Relaxed);
        }
    }

    /// The first position that must not be written, and whether any consumer says so. Whoever is too
    /// far behind for the bus loses its place here.
    fn gate(&self) -> (u64, bool) {
        let gates = &self.gates;
        self.gate_of(|consumer| gates.lets_go(consumer) || gates.evicts(consumer, self.head))
    }

    /// The same, given who counts no more.
    fn gate_of(&self, lets_go: impl Fn(u32) -> bool) -> (u64, bool) {
        // With nobody attached the whole ring may be overwritten.
        let mut gate = self.head.wrapping_add(self.capacity);
        // ORDERING: acquire, pairs with the release of the bit in `join::Joining::begin`; makes
        // the joiner's cursor visible.
        let attached = self.gates.attached().load(Ordering::Acquire);
        for consumer in bits(attached) {
            if !self.gates.knows(consumer) {
                return (self.head, true);
            }
            let Some(cursor) = self.gates.cursor(consumer) else {
                continue;
            };
            // ORDERING: acquire, pairs with the release store of the cursor in
            // `LaneReader::release`; the consumer's reads come before this producer's overwrite.
            let cursor = cursor.load(Ordering::Acquire);
            if lets_go(consumer) {
                continue;
            }
            gate = earlier(gate, cursor.wrapping_add(self.capacity));
        }
        (gate, attached != 0)
    }

    /// The same, for putting in the cursors of who has joined.
    pub(crate) fn gates_mut(&mut self) -> &mut G {
        &mut self.gates
    }

    /// Whether a consumer that stands at `cursor` leaves no room for `count` more frames.
    pub(crate) fn is_held_at(&self, cursor: u64, count: u64) -> bool {
        is_before(cursor.wrapping_add(self.capacity), self.head.wrapping_add(count))
    }

    /// How many published frames the slowest attached consumer has still to read. Evicts nobody.
    pub(crate) fn unread(&self) -> u64 {
        let (gate, _) = self.gate_of(|consumer| self.gates.lets_go(consumer));
        self.head.wrapping_add(self.capacity).wrapping_sub(gate)
    }

    /// Announces that the next `count` positions are about to be overwritten. Lossy buses only;
    /// every store to their slots comes after this.
    #[inline]
    pub(crate) fn overwrite(&mut self, count: u64) {
        // A predecessor that died while overwriting may have announced more than this.
        self.announced = later(self.announced, self.head.wrapping_add(count));
        // ORDERING: relaxed; ordered before the words by the fence.
        self.words.reserve.store(self.announced, Ordering::Relaxed);
        // ORDERING: release, pairs with the acquire fence in `lossy::Check::is_whole`: a reader
        // that saw any of the words stored from here on sees this `reserve` as well.
        fence(Ordering::Release);
        crash_point!(OverwriteAnnounced);
    }

    /// Counts a commit of `count` frames that left so many bytes of their payloads unused. To be called
    /// just before they are made visible, so that the stores, if there are any, find the line of `head`
    /// under way already. A frame by itself that is full takes none.
    #[inline]
    pub(crate) fn count(&mut self, count: u64, unused: u64) {
        let Self { counts, words, .. } = self;
        // ORDERING: relaxed for all of them; statistics with one writer.
        let store = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed);
        if unused != 0 {
            counts.unused_bytes = counts.unused_bytes.wrapping_add(unused);
            store(&words.unused_bytes, counts.unused_bytes);
        }
        if count > 1 {
            counts.batches = counts.batches.wrapping_add(1);
            counts.batched_frames = counts.batched_frames.wrapping_add(count);
            store(&words.batches, counts.batches);
            store(&words.batched_frames, counts.batched_frames);
        }
    }

    /// Makes the next `count` frames visible, all at once.
    #[inline]
    pub(crate) fn publish(&mut self, count: u64) {
        crash_point!(HeadNotStored);
        self.head = self.head.wrapping_add(count);
        // ORDERING: release, pairs with the acquire load of head in `LaneReader::published`; makes
        // the payloads visible.
        self.words.head.store(self.head, Ordering::Release);
        crash_point!(HeadStored);
    }
}
