//! The words of a bus, and where everybody stands, in as few bytes as they need.
//!
//! Positions and tickets are counted from 0 and are single bytes: a run is far too short to wrap them.

use zerocopy::{FromZeros, Immutable, IntoBytes};

pub const LANES: usize = 2;
/// Consumers' seats.
pub const SEATS: usize = 2;
/// Slots of a lane.
pub const CAPACITY: u8 = 2;
/// Entries of the order ring at most; a setup may use fewer.
pub const ENTRIES: usize = 4;
pub const PRODUCERS: usize = 3;
pub const CONSUMERS: usize = 3;
pub const RECOVERERS: usize = 2;
/// Frames of a lane, and tickets, in one exploration at most.
pub const FRAMES: usize = 10;
pub const TICKETS: usize = 24;

/// A seat's state: nobody's.
pub const FREE: u8 = 0;
/// Somebody's.
pub const TAKEN: u8 = 1;
/// Somebody's who gates nobody any more.
pub const EVICTED: u8 = 2;
/// One's who is known to be dead, and gates nobody any more.
pub const DEAD: u8 = 3;

/// What stands in `State::decided` for a ticket that was given up.
pub const TOMB: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Lane {
    pub head: u8,
    pub reserve: u8,
    pub ticket: u8,
    /// 1 + the position that it was taken for; 0: none.
    pub ticket_at: u8,
    pub slots: [u8; CAPACITY as usize],
    /// 1 + the ticket beside each slot.
    pub beside: [u8; CAPACITY as usize],
}

/// The word of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Entry {
    /// 1 + the ticket that it was decided for; 0: none yet. Stands for the lap.
    pub ticket: u8,
    pub lane: u8,
    /// Frames; 0: given up.
    pub run: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Seat {
    pub epoch: u8,
    pub state: u8,
    /// Who holds the kernel's lock: 1 + a process; 0: nobody.
    pub lock: u8,
    /// 1: it is the read lock of who sits there; else the write lock of who comes or recovers.
    pub inhabited: u8,
}

/// How far somebody is with putting a seat in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Order {
    Begin = 0,
    Cursors,
    Head,
    Free,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Recovery {
    pub at: Order,
    pub head: u8,
    /// Whether the dead producer's last entry was found to be used again.
    pub reused: u8,
}

/// How far somebody is with declaring a consumer dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Declare {
    No = 0,
    Load,
    Look,
    Swap,
}

/// What comes before anything else that its owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Declaration {
    pub at: Declare,
    /// A consumer's.
    pub seat: u8,
    /// What was loaded of it.
    pub epoch: u8,
    pub state: u8,
}

/// What a producer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromZeros, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Producing {
    Lock = 0,
    Recover,
    Sit,
    Room,
    Announce,
    Bits,
    Seat,
    Cursor,
    TakeBack,
    Write,
    LookFirst,
    Ticket,
    OrderBits,
    OrderSeat,
    OrderCursor,
    Beside,
    RecordTicket,
    RecordAt,
    Load,
    Commit,
    Head,
    Unlock,
    Done,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Producer {
    pub next: Producing,
    /// Batches published, and frames in them.
    pub batches: u8,
    pub frames: u8,
    pub head: u8,
    pub limit: u8,
    pub announced: u8,
    /// What a renewal would announce.
    pub credit: u8,
    /// Consumers still to be looked at, and the gate found so far.
    pub look: u8,
    pub gate: u8,
    /// What the cursor of the one in hand allows, if its seat does not say that it is evicted.
    pub allowed: u8,
    /// Frames of the present batch that are written.
    pub written: u8,
    pub ticket: u8,
    /// Tickets before this may be committed.
    pub order_limit: u8,
    pub old: Entry,
    pub recovery: Recovery,
    pub declaration: Declaration,
}

/// What a consumer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromZeros, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Reading {
    Declare = 0,
    Lock,
    Recover,
    Keep,
    Sit,
    Place,
    PlaceOrder,
    Bit,
    Look,
    Tail,
    StoreOrder,
    Store,
    Poll,
    Copy,
    Check,
    OwnSeat,
    Release,
    ReleaseOrder,
    HoleBits,
    HoleSeat,
    HoleCursor,
    Punch,
    Settle,
    Report,
    ClearBit,
    Vacate,
    Unlock,
    Done,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Consumer {
    pub next: Reading,
    pub epoch: u8,
    /// Whether an evictor meant this very one.
    pub condemned: u8,
    /// The lane in hand, and the position up to which its frames are known.
    pub lane: u8,
    pub known: u8,
    /// A frame that was copied and is not yet believed.
    pub copied: u8,
    pub position: [u8; LANES],
    /// Lanes of which the position is known for sure, a bit each.
    pub located: u8,
    /// The ticket in hand.
    pub ticket: u8,
    pub look: u8,
    pub gate: u8,
    /// What the cursor of the one in hand allows, if its seat does not say that it is evicted.
    pub allowed: u8,
    pub old: Entry,
    /// Heads that were seen before the order was found to be empty.
    pub heads: [u8; LANES],
    pub recovery: Recovery,
    pub declaration: Declaration,
}

/// What a recoverer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromZeros, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Recovering {
    Idle = 0,
    Lock,
    Check,
    Steps,
    Unlock,
    Dead,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Recoverer {
    pub next: Recovering,
    /// A seat: lanes first, then consumers.
    pub seat: u8,
    pub recovery: Recovery,
    pub declaration: Declaration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct Evictor {
    /// 1 + the seat that it looked at; 0: none.
    pub seat: u8,
    /// The epoch that it found there.
    pub epoch: u8,
    /// 1 + the consumer that it means, which it does not know itself; 0: one that is dead.
    pub meant: u8,
}

/// What is wrong, found by a step and not by looking at the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(u8)]
pub enum Wrong {
    Nothing = 0,
    Frame,
    PartOfBatch,
    NotFound,
    Lapped,
    Skipped,
    DecidedTwice,
    Position,
    Recovered,
    Loss,
    FalseLoss,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C)]
pub struct State {
    pub lanes: [Lane; LANES],
    pub tail: u8,
    pub entries: [Entry; ENTRIES],
    /// Who is attached, a bit each.
    pub attached: u8,
    /// Lanes first, then consumers.
    pub seats: [Seat; LANES + SEATS],
    pub cursors: [[u8; LANES]; SEATS],
    pub order_cursors: [u8; SEATS],
    pub producers: [Producer; PRODUCERS],
    pub consumers: [Consumer; CONSUMERS],
    pub recoverers: [Recoverer; RECOVERERS],
    pub evictor: Evictor,
    /// Crashes, stops and evictions that may still happen.
    pub crashes: u8,
    pub stops: u8,
    pub evictions: u8,
    /// Tickets that may still be punched while their producer is about to commit them.
    pub punches: u8,
    pub wrong: Wrong,
    // What nobody in the system knows: which frames were ever committed, and what each ticket was
    // decided to be.
    pub committed: [[u8; FRAMES]; LANES],
    pub count: [u8; LANES],
    /// 0: undecided, `TOMB`, or a run as `run_of` unpacks it.
    pub decided: [u8; TICKETS],
}

/// A run as it stands in `State::decided`.
pub fn run(lane: u8, first: u8, frames: u8) -> u8 {
    assert!(first < 16 && frames <= 2 && lane < 2);
    0x80 | lane << 6 | (frames - 1) << 5 | first
}

/// Lane, first position and frames of a run.
pub fn run_of(decided: u8) -> Option<(u8, u8, u8)> {
    let is_run = decided & 0x80 != 0;
    is_run.then_some(((decided >> 6) & 1, decided & 0x0f, ((decided >> 5) & 1) + 1))
}

/// The slot of a position.
pub fn slot(position: u8) -> usize {
    usize::from(position % CAPACITY)
}

/// The lowest bit of a word, and the word without it.
pub fn lowest(word: u8) -> (usize, u8) {
    (word.trailing_zeros() as usize, word & word.wrapping_sub(1))
}

impl State {
    /// The kernel's lock on a seat.
    pub fn try_lock(&mut self, seat: usize, process: u8) -> bool {
        let lock = &mut self.seats[seat].lock;
        if *lock == 0 {
            *lock = process;
        }
        *lock == process
    }

    /// What the kernel does when a process is gone.
    pub fn unlock_all(&mut self, process: u8) {
        for seat in &mut self.seats {
            if seat.lock == process {
                (seat.lock, seat.inhabited) = (0, 0);
            }
        }
    }

    /// A bit each for the consumers' seats that stand so.
    pub fn dead_consumers(&self) -> u8 {
        let dead = |seat: &usize| self.seats[LANES + seat].state == DEAD;
        (0..SEATS).filter(dead).map(|seat| 1 << seat).sum()
    }

    /// Notes what is wrong; the first thing that is.
    pub fn fail(&mut self, wrong: Wrong) {
        if self.wrong == Wrong::Nothing {
            self.wrong = wrong;
        }
    }

    /// A run of a lane becomes visible: it must be the next that the lane ever had.
    pub fn commit(&mut self, lane: usize, first: u8, frames: &[u8]) {
        if first != self.count[lane] {
            self.fail(Wrong::Position);
            return;
        }
        for frame in frames {
            self.committed[lane][usize::from(self.count[lane])] = *frame;
            self.count[lane] += 1;
        }
    }

    /// A ticket is decided: once, whoever does it.
    pub fn decide(&mut self, ticket: u8, value: u8) {
        let decided = &mut self.decided[usize::from(ticket)];
        if *decided == 0 {
            *decided = value;
        } else {
            self.fail(Wrong::DecidedTwice);
        }
    }
}
