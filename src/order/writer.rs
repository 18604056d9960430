//! The producer's end of the order ring: take a ticket, commit a run with it.

use super::{Laps, OrderWords, gate};
use crate::crash::crash_point;
use crate::lane::{earlier, is_before};
use crate::layout::entry::{Entry, RUN_MAX};
use crate::sync::{Ordering, fence};

/// How long a hole is waited for unless producers starve: longer than any undisturbed producer
/// takes from ticket to commit (under 1 µs), shorter than anybody would notice.
pub(crate) const PATIENCE_NS: u64 = 50_000;
/// The most patience a starved producer can ask for.
pub(crate) const PATIENCE_MAX_NS: u64 = 10_000_000;
/// Tickets that one commit may lose. Each loss means that the producer was off its core for longer
/// than the patience, which doubles up to 10 ms; so many in a row are not a schedule but an attack.
const ATTEMPTS_MAX: u32 = 1000;
/// A producer's share of the ring that it takes as credit at once.
const STEP: u64 = 4;

/// Why a run was not committed. Its frames are still in the lane, unpublished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCommitted {
    /// The entry is still needed by a consumer that lags a whole ring behind.
    Full,
    /// Every ticket was punched.
    Contested,
}

/// A producer's state on the order ring.
#[derive(Debug)]
pub(crate) struct OrderWriter<M> {
    words: M,
    laps: Laps,
    lane: u8,
    /// Credit: entries of tickets before this are free, as far as consumers go.
    limit: u64,
    /// Producers that the bus can have: each may have one ticket beyond what it looked at.
    lanes: u64,
    /// The ring was full at the last attempt: look before taking a ticket.
    wary: bool,
    /// Whether consumers gate the reuse of entries; not in a lossy bus.
    gated: bool,
}

impl<M: OrderWords> OrderWriter<M> {
    /// Commits for `lane`, one of `lanes`.
    pub(crate) fn new(words: M, laps: Laps, lane: u8, lanes: u32, gated: bool) -> Self {
        // ORDERING: relaxed; credit up to the present tail only, so the first commit looks.
        let limit = words.tail().load(Ordering::Relaxed);
        Self { words, laps, lane, limit, lanes: lanes.into(), wary: false, gated }
    }

    /// Commits a run of `count` frames, which the caller has written to its lane. `record` is
    /// called with each ticket tried, before its entry can become visible; it stores the ticket
    /// beside the run's first slot.
    ///
    /// Progress: lock-free; each lost ticket is one punched by a consumer that moved on.
    pub(crate) fn commit(&mut self, count: u64, record: impl Fn(u64)) -> Result<u64, NotCommitted> {
        for lost in 0..ATTEMPTS_MAX {
            if let Some(ticket) = self.attempt(count, &record)? {
                if lost > 1 {
                    // ORDERING: relaxed; a hint for how long to wait.
                    self.words.patience_ns().store(PATIENCE_NS, Ordering::Relaxed);
                }
                return Ok(ticket);
            }
            if lost > 0 {
                self.ask_for_patience();
            }
        }
        Err(NotCommitted::Contested)
    }

    /// The same with one ticket. `None`: that one was punched.
    #[inline]
    pub(crate) fn attempt(
        &mut self,
        count: u64,
        record: impl Fn(u64),
    ) -> Result<Option<u64>, NotCommitted> {
        debug_assert!((1..=RUN_MAX).contains(&count));
        if self.wary {
            self.look_first()?;
        }
        // ORDERING: relaxed; the ticket orders nothing by itself. What it stands for becomes
        // visible by the CAS below, and joiners are met by the fence in `renew`.
        let ticket = self.words.tail().fetch_add(1, Ordering::Relaxed);
        crash_point!(TicketTaken);
        if !is_before(ticket, self.limit) && !self.renew(ticket) {
            self.wary = true;
            return Err(NotCommitted::Full);
        }
        record(ticket);
        crash_point!(TicketRecorded);
        if self.decide(ticket, count) {
            crash_point!(EntrySet);
            return Ok(Some(ticket));
        }
        Ok(None)
    }

    /// Tries to set the entry of `ticket`. `false`: the ticket was given up for us.
    #[inline]
    fn decide(&self, ticket: u64, count: u64) -> bool {
        let Some(entry) = self.laps.entry(self.words.entries(), ticket) else {
            return false;
        };
        let lap = self.laps.lap(ticket);
        // ORDERING: relaxed; only the value to be replaced, the CAS checks it again.
        let old = entry.load(Ordering::Relaxed);
        if Entry::from_word(old).against(lap).is_ge() {
            return false;
        }
        let new = Entry::commit(lap, self.lane, count).word();
        // ORDERING: release, pairs with the acquire load of the entry in `OrderReader::next`; makes
        // the frames and the ticket beside them visible. Failure needs nothing.
        entry.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Looks how far the consumers are. `true`: the entry of `ticket` is free.
    #[cold]
    fn renew(&mut self, ticket: u64) -> bool {
        // ORDERING: store→load, the producer's half of a Dekker pair with `Joining::begin`: the
        // ticket taken above is the store. Either the look below sees the joiner's bit, or the
        // joiner's look at the tail sees this ticket and starts after it, so that entries up to
        // one ring after this ticket are not its business.
        fence(Ordering::SeqCst);
        let credit = ticket.wrapping_add((self.laps.entries() / STEP).max(1));
        self.limit = earlier(credit, self.gate(ticket));
        is_before(ticket, self.limit)
    }

    /// The first ticket whose entry is not free. In a lossy bus every entry is.
    fn gate(&self, ticket: u64) -> u64 {
        if self.gated {
            gate(&self.words, self.laps, ticket)
        } else {
            ticket.wrapping_add(self.laps.entries())
        }
    }

    /// A consumer's place in the order.
    pub(crate) fn cursor(&self, consumer: u32) -> Option<u64> {
        // ORDERING: acquire, pairs with the release store in `OrderReader::release`.
        self.words.cursor(consumer).map(|cursor| cursor.load(Ordering::Acquire))
    }

    /// Whether a consumer that stands at `cursor` may be what holds this producer up: the ring was
    /// full at the last attempt, and less than the usual credit is left of it.
    pub(crate) fn is_held_at(&self, cursor: u64) -> bool {
        // ORDERING: relaxed; whom to look at.
        let behind = self.words.tail().load(Ordering::Relaxed).wrapping_sub(cursor);
        self.wary && behind > self.laps.entries() - self.laps.entries() / STEP && behind < 1 << 63
    }

    /// Refuses without taking a ticket while the ring is full, so that refusals leave no holes.
    /// Each of the other producers may still take one ticket that it looked for earlier, hence the
    /// margin of one ticket per lane.
    #[cold]
    fn look_first(&mut self) -> Result<(), NotCommitted> {
        // ORDERING: relaxed; a look before the real check, which `renew` makes.
        let tail = self.words.tail().load(Ordering::Relaxed);
        if is_before(tail.wrapping_add(self.lanes), self.gate(tail)) {
            self.wary = false;
            Ok(())
        } else {
            Err(NotCommitted::Full)
        }
    }

    /// Doubles the patience: this producer was punched twice for the same frames.
    #[cold]
    fn ask_for_patience(&self) {
        // ORDERING: relaxed; a hint for how long to wait.
        let patience = self.words.patience_ns().load(Ordering::Relaxed);
        let more = patience.saturating_mul(2).clamp(PATIENCE_NS, PATIENCE_MAX_NS);
        self.words.patience_ns().store(more, Ordering::Relaxed);
    }
}
