//! The memory that the processes of a run share beside the bus, and that outlives those that are
//! killed: what each has promised and done, what was done to whom, and what was seen.
//!
//! ```text
//! phase · event · held · clock    what the conductor tells everybody
//! tenants                     which life has each lane
//! order                       which batch each ticket stood for, by whoever passed it first
//! gaps · again                how long others stood still, by what had been done; and frames
//! lives                       a record for each process that there ever was, reused in turn
//! ```
//! A memfd, which workers inherit: nothing of it is left when they are gone. Nothing but atomics, so
//! that a worker may die between any two stores.

#![allow(unsafe_code, reason = "says what may be shared between processes")]

use super::gaps::Histogram;
use crate::shared;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lanes that a tortured bus has at most.
pub const LANES: usize = 32;

/// Lives that are remembered; the record of an older one is reused. Many more than can be alive, or
/// have frames in a ring, at a time.
pub const LIVES: usize = 16_384;

/// Tickets that are remembered; many more than an order ring has entries.
const TICKETS: usize = 65_536;

/// Bits of an order word that tell batches apart; the others tell laps apart.
const BATCH_BITS: u32 = 40;

/// What everybody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Publishes, reads, recovers.
    Work = 0,
    /// All but consumers and observers leave.
    Leave = 1,
    /// Who reads does so to the end, and leaves.
    Drain = 2,
    /// Everybody else leaves.
    Close = 3,
}

/// How far a life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Started.
    Born = 0,
    /// Attached to the bus, or at work without being attached.
    Working = 1,
    /// Has left in order.
    Left = 2,
}

/// The record of one process. Written by itself, but for the id.
#[repr(C, align(128))]
pub struct Life {
    /// Which life has the record now.
    pub id: AtomicU64,
    stage: AtomicU64,
    /// The lane of a producer, the seat of a consumer, plus one; 0 before it has one.
    seat: AtomicU64,
    /// The position at which a producer begins.
    pub start: AtomicU64,
    /// Frames that a producer has begun to commit: stored before.
    pub started: AtomicU64,
    /// Frames of which the commit has returned: stored after.
    pub returned: AtomicU64,
    /// Frames that a reader has taken.
    pub read: AtomicU64,
    /// Frames that a reader was told it had lost.
    pub lost: AtomicU64,
    /// How often it has come to a crash point.
    pub hits: AtomicU64,
    /// What it did that is neither of these: refusals, buses made, seats given back.
    pub deeds: AtomicU64,
    /// How often it has gone round, of those that are known to live by that.
    pub turns: AtomicU64,
    /// When the conductor killed it, stored before; 0: it has not.
    pub killed_ns: AtomicU64,
    /// The same on the board's clock.
    pub killed_clock_us: AtomicU64,
}

impl Life {
    /// How far it has come.
    pub fn stage(&self) -> Stage {
        // ORDERING: acquire, pairs with the release in `enter`.
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Born,
            1 => Stage::Working,
            _ => Stage::Left,
        }
    }

    /// Says how far it has come.
    pub fn enter(&self, stage: Stage) {
        // ORDERING: release, pairs with the acquire in `stage`; what was recorded is visible.
        self.stage.store(stage as u64, Ordering::Release);
    }

    /// The lane or seat, once it has one.
    pub fn seat(&self) -> Option<u32> {
        // ORDERING: acquire, pairs with the release in `sit`; makes `start` visible.
        u32::try_from(self.seat.load(Ordering::Acquire).checked_sub(1)?).ok()
    }

    /// Says which lane or seat it has. `start` is stored before.
    pub fn sit(&self, seat: u32) {
        // ORDERING: release, pairs with the acquire in `seat`.
        self.seat.store(u64::from(seat) + 1, Ordering::Release);
    }

    /// Makes the record that of a new life, before the process is started.
    fn begin(&self, id: u64) {
        // ORDERING: relaxed for all; the process that reads them is started later, and others learn
        // of this life by its frames.
        let words = [&self.stage, &self.seat, &self.start, &self.started, &self.returned];
        let counts = [&self.read, &self.lost, &self.hits, &self.deeds, &self.turns];
        let ends = [&self.killed_ns, &self.killed_clock_us];
        words.iter().chain(&counts).chain(&ends).for_each(|word| word.store(0, Ordering::Relaxed));
        self.id.store(id, Ordering::Release);
    }
}

/// The shared memory.
#[repr(C)]
pub struct Board {
    phase: AtomicU64,
    /// The last thing that was done to a process: see [`gaps::Event`](super::gaps::Event).
    pub event: AtomicU64,
    /// Odd while a process stands still on which others may rightly wait; grows with each change.
    pub held: AtomicU64,
    /// Microseconds that count, as the conductor gets to see them: see `wedge`.
    pub clock_us: AtomicU64,
    /// The life that has each lane; 0: none yet.
    tenants: [AtomicU64; LANES],
    /// Gaps by the kind of event.
    pub gaps: [Histogram; 4],
    /// How long frames of a group took to be handed out again, by why.
    pub again: [Histogram; 2],
    order: [AtomicU64; TICKETS],
    lives: [Life; LIVES],
}

impl Board {
    /// What everybody does now.
    pub fn phase(&self) -> Phase {
        // ORDERING: relaxed; publishes nothing but itself.
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Work,
            1 => Phase::Leave,
            2 => Phase::Drain,
            _ => Phase::Close,
        }
    }

    /// Tells everybody what to do.
    pub fn set_phase(&self, phase: Phase) {
        // ORDERING: relaxed; as above.
        self.phase.store(phase as u64, Ordering::Relaxed);
    }

    /// The record of a life, also if another has it by now: compare `id`.
    pub fn life(&self, id: u64) -> &Life {
        &self.lives[usize::try_from(id).unwrap_or(0) % LIVES]
    }

    /// A fresh record.
    pub fn begin_life(&self, id: u64) -> &Life {
        let life = self.life(id);
        life.begin(id);
        life
    }

    /// The word that says which life has a lane.
    pub fn tenant(&self, lane: u32) -> &AtomicU64 {
        &self.tenants[usize::try_from(lane).unwrap_or(0) % LANES]
    }

    /// A position up to which a lane is published for sure; `None` before anybody has it.
    pub fn published(&self, lane: u32) -> Option<u64> {
        // ORDERING: acquire, pairs with the release store of the tenant in `produce`.
        let tenant = self.tenant(lane).load(Ordering::Acquire);
        let life = self.life(tenant);
        // ORDERING: acquire, pairs with the release store of `returned` in `produce`.
        let returned = life.returned.load(Ordering::Acquire);
        // ORDERING: relaxed; stored before the tenant.
        let end = life.start.load(Ordering::Relaxed).wrapping_add(returned);
        // ORDERING: acquire; a record that was reused meanwhile is known by its id.
        (tenant != 0 && life.id.load(Ordering::Acquire) == tenant).then_some(end)
    }

    /// Notes which batch a ticket stands for, counted from the first of the bus. `false`: somebody
    /// has passed another one under the same ticket, so the order is not the same for all.
    pub fn agrees(&self, ticket: u64, batch: u64) -> bool {
        let tickets = u64::try_from(TICKETS).unwrap_or(1);
        let word = &self.order[usize::try_from(ticket % tickets).unwrap_or(0)];
        let lap_of = |word: u64| word >> BATCH_BITS;
        // Not 0, which is what a fresh word says; 2^40 tickets are more than a run has.
        let lap = (ticket / tickets + 1) & (u64::MAX >> BATCH_BITS);
        let mine = (lap << BATCH_BITS) | (batch & ((1 << BATCH_BITS) - 1));
        // ORDERING: relaxed for all; the word is all that is compared.
        let mut seen = word.load(Ordering::Relaxed);
        while lap_of(seen) < lap {
            match word.compare_exchange_weak(seen, mine, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        // Of a later lap: whoever reads so far behind cannot be compared.
        lap_of(seen) > lap || seen == mine
    }
}

// SAFETY: repr(C) of atomics alone, aligned to less than a page.
unsafe impl shared::Board for Board {
    const NAME: &'static str = "busway-torture";
    const POPULATED: bool = false;
}

/// A new board, by its descriptor.
pub type BoardFile = shared::BoardFile<Board>;
/// A board in this process's memory.
pub type Mapping = shared::Mapping<Board>;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    fn board() -> (BoardFile, Mapping) {
        let file = BoardFile::create().expect("a memfd");
        let mapping = Mapping::open(file.number()).expect("mapped");
        (file, mapping)
    }

    #[test]
    fn what_one_mapping_says_another_sees() {
        let (file, one) = board();
        let other = Mapping::open(file.number()).expect("mapped");
        let life = one.begin_life(7);
        assert_eq!((life.stage(), life.seat()), (Stage::Born, None));
        life.sit(3);
        life.enter(Stage::Working);
        one.set_phase(Phase::Drain);
        let seen = other.life(7);
        assert_eq!(
            (seen.stage(), seen.seat(), other.phase()),
            (Stage::Working, Some(3), Phase::Drain)
        );
        assert_eq!(other.begin_life(7).seat(), None, "a record is begun afresh");
    }

    #[test]
    fn two_batches_under_one_ticket_do_not_agree() {
        let (_file, board) = board();
        assert!(board.agrees(5, 100) && board.agrees(5, 100));
        assert!(!board.agrees(5, 101));
        let lap = 65_536;
        assert!(board.agrees(5 + lap, 101), "a lap later the word is reused");
        assert!(board.agrees(5, 102), "and who is a lap behind cannot be compared");
    }

    #[test]
    fn a_descriptor_of_something_else_is_refused() {
        let file = File::open("/dev/null").expect("/dev/null");
        assert!(Mapping::open(file.as_raw_fd()).is_err());
    }
}
