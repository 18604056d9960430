//! Runs by the order ring: which lane comes next, and where in that lane its frames stand.
//!
//! | where the consumer is | how it knows a run's position in its lane |
//! |---|---|
//! | has followed the lane | the position after the last run; the ticket beside the slot confirms it |
//! | has just joined, or was lapped | looks for the ticket beside the slots, from there on |
//! | has read everything there is | whatever the lane's head says |

use super::engine::Engine;
use crate::crash::crash_point;
use crate::error::PollError;
use crate::lane::join::Held;
use crate::lane::{is_before, later, lossy};
use crate::options::Start;
use crate::order::reader::{Next, OrderReader, locate, recorded};
use crate::order::{OrderWords, inside, join};
use crate::regions::{OrderMemory, Regions, Row};
use crate::run;
use crate::sync::{Ordering, clock};
use crate::tenancy::Lane;

/// Frames read before the cursors are stored, at most.
const RELEASE_FRAMES: u64 = 256;
/// Looks at tickets beside slots that one call may take, for each entry of the order ring. An honest
/// search passes each slot of each lane once, and the ring has twice as many entries.
const LOOKS: u64 = 4;

/// A consumer's state on an `ordered` bus.
#[derive(Debug)]
pub(super) struct Ordered {
    reader: OrderReader<OrderMemory>,
    memory: OrderMemory,
    /// What is being read: the entry at the reader's place, and those that follow it at once and
    /// are of the same lane.
    entered: Option<Entered>,
    /// Lanes of which the position is known for sure; of the others it is a lower bound.
    located: Vec<bool>,
    /// A tail, and the lanes' heads looked at before it: when the order has been read so far, a
    /// lane that is not located is at least at its head.
    looked: Option<(u64, Vec<u64>)>,
    /// Lanes whose cursors are to be stored, a bit each.
    dirty: [u64; 4],
    /// Frames read since the cursors were stored.
    unreleased: u64,
    release_frames: u64,
    /// Tickets beside slots that this call may still look at in search of runs.
    looks_left: u64,
}

/// Entries of one lane that are read as one run.
#[derive(Clone, Copy, Debug)]
struct Entered {
    lane: usize,
    /// How many entries, from the reader's place on.
    entries: u64,
    /// Frames of them that are left to read.
    left: u64,
    /// Frames of the first of them that have been read.
    part: u64,
}

impl Ordered {
    /// Stores a first order cursor that is surely not later than the one that will be settled on.
    pub(super) fn place(regions: &Regions, row: &Row) {
        let cursor = &row.words.order_cursor;
        join::place(&regions.order(), regions.laps(), regions.origin, cursor);
    }

    /// Settles where to start, in the order and in every lane. The lanes were looked at before.
    pub(super) fn join(engine: &mut Engine, held: &[Held], start: Start) -> Self {
        let (memory, laps) = (engine.regions.order(), engine.regions.laps());
        // ORDERING: relaxed; after the SeqCst fence of `Joining::begin`, so that a producer which
        // did not see this consumer has its ticket counted here.
        let tail = memory.tail().load(Ordering::Relaxed);
        let oldest = join::oldest(laps, tail, engine.regions.origin);
        let origin = engine.regions.origin;
        let target = match start {
            Start::Latest => tail,
            Start::Oldest => oldest,
            Start::Position(ticket) if ticket.wrapping_sub(origin) > tail.wrapping_sub(origin) => {
                tail
            }
            Start::Position(ticket) => later(ticket, oldest),
        };
        let (ticket, back) = join::walk_back(&memory, laps, held, tail, target);
        let mut located = Vec::with_capacity(held.len());
        for ((lane, held), back) in engine.lanes.iter_mut().zip(held).zip(back) {
            // ORDERING: relaxed; a guess, which only the count of frames lost depends on. Never a
            // fact: a producer may hold a ticket from before the start and not have recorded it.
            let quiet = lane.reader.words().ticket_at.load(Ordering::Relaxed) != held.head;
            located.push(!engine.lossless && quiet && back == 0);
            lane.lost = 0;
            lane.reader.jump(later(held.head.wrapping_sub(back), held.oldest));
        }
        if let Start::Position(wanted) = start
            && is_before(wanted, ticket)
        {
            // Tickets, since nobody knows any more how many frames each of them had.
            // The caller sums the lanes up.
            if let Some(lane) = engine.lanes.first_mut() {
                lane.lost = ticket.wrapping_sub(wanted);
            }
        }
        let reader = OrderReader::new(memory.clone(), laps, ticket, engine.lossless);
        reader.release(&engine.row.words.order_cursor);
        let release_frames = RELEASE_FRAMES.min(engine.capacity / 4).max(1);
        Self {
            reader,
            memory,
            entered: None,
            located,
            looked: None,
            dirty: [0; 4],
            unreleased: 0,
            release_frames,
            looks_left: 0,
        }
    }

    /// The ticket of the frame that is handed out next, or a later one if that is not there yet, when
    /// `handed` of the present run have not been given back.
    pub(super) fn position(&self, handed: u64) -> u64 {
        let Some(Entered { entries, left, part, .. }) = self.entered else {
            return self.reader.position();
        };
        if handed >= left {
            // Not asked of the ring: on a lossy bus the entry may be another by now.
            return self.reader.position().wrapping_add(entries);
        }
        let mut before = part.saturating_add(handed);
        let mut passed = 0;
        while passed < entries
            && let Some((_, run)) = self.reader.run_ahead(passed)
            && run <= before
        {
            before -= run;
            passed += 1;
        }
        self.reader.position().wrapping_add(passed)
    }

    /// Whether a ticket was taken that this consumer has not passed.
    pub(super) fn has_more(&self) -> bool {
        // ORDERING: relaxed; callers that need more than a hint have acquired it before.
        self.memory.tail().load(Ordering::Relaxed) != self.reader.position()
    }

    /// Adds the entries that follow at once and are of the same lane, while there are no more than
    /// `most` frames: a lane's positions go on from each to the next.
    #[inline]
    fn with_followers(&self, mut entered: Entered, lane: u32, most: u64) -> Entered {
        while let Some((next, run)) = self.reader.run_ahead(entered.entries)
            && next == lane
            && entered.left.saturating_add(run) <= most
        {
            entered.entries += 1;
            entered.left += run;
        }
        entered
    }

    fn is_located(&self, lane: usize) -> bool {
        self.located.get(lane).copied().unwrap_or(false)
    }

    fn set_located(&mut self, lane: usize) {
        if let Some(located) = self.located.get_mut(lane) {
            *located = true;
        }
    }
}

impl Engine {
    /// Starts a run of the next entry, or goes on with the present one.
    pub(super) fn next_in_order(&mut self) -> Result<bool, PollError> {
        // Bounded by the ring's length: a reader that was lapped comes, in one call, to the entries
        // of which something is left. Each that it skips costs it a look at the entry and a few at
        // the lane's tickets; where it costs more, the words are not honest ones, and the next call
        // goes on from here.
        if let Some(ordered) = &mut self.ordered {
            ordered.looks_left = LOOKS * self.regions.geometry.order_capacity;
        }
        for _ in 0..self.regions.geometry.order_capacity {
            let Some(ordered) = &mut self.ordered else {
                return Ok(false);
            };
            if let Some(Entered { lane, left, .. }) = ordered.entered {
                if self.take_known(lane, left)? {
                    return Ok(true);
                }
                continue;
            }
            match ordered.reader.next(clock::monotonic_ns) {
                Next::Run { .. } if ordered.looks_left == 0 => return Ok(false),
                Next::Run { ticket, lane, count } => self.enter(ticket, lane, count)?,
                Next::Hole => {
                    self.release_in_order();
                    return Ok(false);
                }
                Next::Empty => {
                    self.release_in_order();
                    if self.lossless {
                        self.settle_unlocated();
                    } else {
                        self.settle_losses();
                    }
                    return Ok(false);
                }
                Next::Lapped if self.lossless => return Err(PollError::Corrupt { lane: 0 }),
                // What this loses is counted lane by lane, when each lane is located again.
                Next::Lapped => ordered.reader.catch_up(),
            }
        }
        Ok(false)
    }

    /// Finds where an entry's frames stand.
    #[inline]
    fn enter(&mut self, ticket: u64, number: u32, count: u64) -> Result<(), PollError> {
        let capacity = self.capacity;
        let Some(ordered) = &mut self.ordered else {
            return Ok(());
        };
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(lane) = self.lanes.get_mut(index) else {
            ordered.reader.passed();
            return Err(PollError::Corrupt { lane: number });
        };
        let position = lane.reader.position();
        // A slot is that of many positions. Where producers wait for nobody, this reader may have been
        // lapped, and the slot shows the ticket of a position a whole number of laps later. That position
        // is not after head, since the entry, and so every head before it, has been acquired.
        let is_lapped =
            !self.lossless && !is_before(lane.reader.published(), position.wrapping_add(capacity));
        if !is_lapped && recorded(&lane.data.tickets, position & (capacity - 1)) == Some(ticket) {
            ordered.set_located(index);
            let entered = Entered { lane: index, entries: 1, left: count.min(capacity), part: 0 };
            let most = if self.in_place { self.visit_frames } else { 0 };
            ordered.entered = Some(ordered.with_followers(entered, number, most));
            return Ok(());
        }
        self.find(ticket, index, count)
    }

    /// The same when the lane's position is not the one expected.
    #[cold]
    fn find(&mut self, ticket: u64, index: usize, count: u64) -> Result<(), PollError> {
        let (capacity, lossless, origin) = (self.capacity, self.lossless, self.regions.origin);
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let Some(ordered) = &mut self.ordered else {
            return Ok(());
        };
        let Some(lane) = self.lanes.get_mut(index) else {
            return Ok(());
        };
        let found = if lossless {
            locate(&lane.data.tickets, lane.reader.position(), capacity, ticket)
        } else {
            let (found, looks) = locate_held(lane, capacity, origin, ticket);
            ordered.looks_left = ordered.looks_left.saturating_sub(looks);
            found
        };
        let Some(found) = found else {
            ordered.reader.passed();
            // In a lossy bus the frames are overwritten; they are counted when the lane is found
            // again.
            return if lossless { Err(PollError::Corrupt { lane: number }) } else { Ok(()) };
        };
        let skipped = found.wrapping_sub(lane.reader.position());
        lane.reader.jump(found);
        let counts = !lossless && ordered.is_located(index);
        ordered.set_located(index);
        let left = count.min(capacity);
        ordered.entered = Some(Entered { lane: index, entries: 1, left, part: 0 });
        if counts {
            self.count_lost(index, skipped);
        }
        Ok(())
    }

    /// Starts a run of up to `left` frames at a lane's position. `false`: none of them is left.
    #[inline]
    fn take_known(&mut self, index: usize, left: u64) -> Result<bool, PollError> {
        let Some(lane) = self.lanes.get_mut(index) else {
            return Ok(false);
        };
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        let count = left.min(self.visit_frames);
        if self.lossless {
            if self.in_place {
                self.run = run::in_place(number, &lane.reader, &lane.data, count);
                return Ok(true);
            }
            return self.copy_gated(index, count);
        }
        let (reader, buffer) = (&mut lane.reader, &mut self.buffer);
        let (run, torn) = run::copy_known(number, reader, &lane.data, self.capacity, count, buffer);
        if torn > 0 {
            self.count_lost(index, torn);
            self.pass(torn);
        }
        if let Some(run) = run {
            self.run = run;
        }
        Ok(run.is_some())
    }

    /// Takes `count` frames off the present entry, and moves past it at its end.
    #[inline]
    fn pass(&mut self, count: u64) {
        let Some(ordered) = &mut self.ordered else {
            return;
        };
        let Some(mut entered) = ordered.entered.take() else {
            return;
        };
        entered.left = entered.left.saturating_sub(count);
        if entered.left == 0 {
            ordered.reader.pass(entered.entries);
            return;
        }
        // Given back before its end: only what is read whole is passed.
        entered.part = entered.part.saturating_add(count);
        while entered.entries > 1
            && let Some((_, run)) = ordered.reader.run_ahead(0)
            && entered.part >= run
        {
            ordered.reader.passed();
            entered.entries -= 1;
            entered.part -= run;
        }
        ordered.entered = Some(entered);
    }

    /// Books `count` frames of a lane as read; stores the cursors now and then.
    #[inline]
    pub(super) fn finish_in_order(&mut self, index: usize, count: u64) {
        self.pass(count);
        let Some(ordered) = &mut self.ordered else {
            return;
        };
        if let Some(word) = ordered.dirty.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
        ordered.unreleased = ordered.unreleased.saturating_add(count);
        if ordered.unreleased >= ordered.release_frames {
            self.release_in_order();
            if self.lossless {
                self.settle_unlocated();
            }
        }
    }

    /// Stores the cursors of the lanes that were read, then the place in the order.
    pub(super) fn release_in_order(&mut self) {
        let Some(ordered) = &mut self.ordered else {
            return;
        };
        // Tombs that were passed count too: their entries may be wanted again.
        // ORDERING: relaxed; this consumer's own word.
        let stored = self.row.words.order_cursor.load(Ordering::Relaxed);
        if ordered.unreleased == 0 && stored == ordered.reader.position() {
            return;
        }
        ordered.unreleased = 0;
        for (base, word) in (0..).step_by(64).zip(&mut ordered.dirty) {
            for bit in crate::lane::bits(std::mem::take(word)) {
                let index = usize::try_from(base + bit).unwrap_or(usize::MAX);
                let lane = self.lanes.get(index).zip(self.row.positions.get(index));
                if let Some((lane, cursor)) = lane {
                    lane.reader.release(cursor);
                }
            }
        }
        crash_point!(OrderCursorNotStored);
        // The lanes' cursors come first: `order::recover` relies on it.
        ordered.reader.release(&self.row.words.order_cursor);
        self.wake_all();
    }

    /// Brings lanes of a lossless bus on which no run was found yet up to their heads, once
    /// everything that was ordered before those heads has been passed. Their producer may have
    /// committed a run that was ordered before this consumer's start: nobody will read it, so the
    /// cursor must not wait for it.
    fn settle_unlocated(&mut self) {
        let Some(ordered) = &mut self.ordered else {
            return;
        };
        if ordered.looked.is_none() {
            let unsettled = self.lanes.iter().zip(&ordered.located).any(|(lane, located)| {
                !located && lane.reader.published() != lane.reader.position()
            });
            if !unsettled {
                return;
            }
            // Heads first: a frame below a head that is seen here has its ticket below the tail
            // that is seen after.
            let heads = self.lanes.iter().map(|lane| lane.reader.published()).collect();
            // ORDERING: relaxed; the acquire loads of the heads come before it.
            ordered.looked = Some((ordered.memory.tail().load(Ordering::Relaxed), heads));
        }
        let passed = ordered.reader.position();
        let Some((_, heads)) = ordered.looked.take_if(|(tail, _)| !is_before(passed, *tail)) else {
            return;
        };
        for (index, (lane, head)) in self.lanes.iter_mut().zip(heads).enumerate() {
            if !ordered.is_located(index) && is_before(lane.reader.position(), head) {
                lane.reader.jump(head);
                if let Some(cursor) = self.row.positions.get(index) {
                    lane.reader.release(cursor);
                }
            }
        }
        self.wake_all();
    }

    /// Everything is read: books what a lossy bus has overwritten since each lane was last found.
    fn settle_losses(&mut self) {
        if self.lanes.iter().all(|lane| lane.reader.published() == lane.reader.position()) {
            return;
        }
        let Some(ordered) = &mut self.ordered else {
            return;
        };
        // Heads first: a frame below a head that is seen here has its entry before the tail that
        // is seen after. If the order is still empty then, every such frame has been passed.
        let heads: Vec<u64> = self.lanes.iter().map(|lane| lane.reader.published()).collect();
        if ordered.reader.next(clock::monotonic_ns) != Next::Empty {
            return;
        }
        let mut lost = Vec::new();
        for (index, (lane, head)) in self.lanes.iter_mut().zip(heads).enumerate() {
            let position = lane.reader.position();
            if is_before(position, head) {
                lane.reader.jump(head);
                if ordered.is_located(index) {
                    lost.push((index, head.wrapping_sub(position)));
                }
                if let Some(cursor) = self.row.positions.get(index) {
                    lane.reader.release(cursor);
                }
            }
            ordered.set_located(index);
        }
        for (index, frames) in lost {
            self.count_lost(index, frames);
        }
    }
}

/// Finds the position of a committed ticket on a lane whose producer waits for nobody. `None`: its
/// run is overwritten, at least in part. Says as well how many slots it looked at.
///
/// A slot's ticket is believed only where it cannot be one of an earlier lap:
///
/// | position | what the slot shows |
/// |---|---|
/// | below head | its own lap's, since every slot of a run is marked before head passes it |
/// | at head | whatever: the lane's last ticket says whether the run is there, committed just now |
/// | after head | nothing committed: the entry, and so every head before it, has been acquired |
fn locate_held(lane: &Lane, capacity: u64, origin: u64, ticket: u64) -> (Option<u64>, u64) {
    let words = lane.reader.words();
    let from = later(lane.reader.position(), lossy::oldest(words, capacity, origin));
    // ORDERING: acquire, pairs with the release store in `Marks::record`. The entry is
    // acquired, so this is the ticket's position or a later one's, and then the load below sees
    // that one's ticket.
    let at = words.ticket_at.load(Ordering::Acquire);
    // ORDERING: relaxed; see above.
    if words.ticket.load(Ordering::Relaxed) == ticket {
        return ((!is_before(at, from)).then_some(at), 1);
    }
    let head = lane.reader.published();
    let held = if is_before(from, head) { head.wrapping_sub(from) } else { 0 };
    // Also where a slot is within a run, and shows the mark of one that nobody looks for.
    let is_later = |other: u64| {
        [other, inside(other)].iter().any(|run| run.wrapping_sub(ticket).wrapping_sub(1) < 1 << 62)
    };
    let mut looks = 0;
    let found = (0..held.min(capacity))
        .inspect(|_| looks += 1)
        .map(|step| from.wrapping_add(step))
        .map(|position| (position, recorded(&lane.data.tickets, position & (capacity - 1))))
        // The tickets of a lane rise: beyond a later one, this one can not be.
        .take_while(|(_, other)| !other.is_some_and(is_later))
        .find_map(|(position, other)| (other == Some(ticket)).then_some(position));
    (found, looks)
}
