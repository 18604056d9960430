//! Waiting: spin, then yield, then park, as the user's strategy says.
//!
//! A parked end sleeps on the doorbell in its own seat. Whoever may have something for it looks at
//! one read-mostly word of bits after each store and rings the doorbells whose bits are set.
//!
//! | sleeper | publisher |
//! |---|---|
//! | reads its doorbell | stores `head` (or a cursor) |
//! | sets its bit | light barrier |
//! | heavy barrier | looks at the bits: rings |
//! | looks once more for work | |
//! | sleeps unless the doorbell rang, for `PARK` at most | |
//!
//! The two barriers (`sync::barrier`) make it impossible that both looks miss (`sync::bell`). Were one
//! missed all the same, the bound on the park makes it a delay and not a hang.

use std::time::{Duration, Instant};

use crate::cells::bell;
use crate::crash::crash_point;
use crate::layout::table::words::TableWords;
use crate::layout::words::{ControlWords, SeatWords};
use crate::options::Wait;
use crate::participant::Role;
use crate::shm::mapping::Shared;
use crate::sync::bell::Bell;
use crate::sync::{AtomicU32, AtomicU64, barrier, futex};

/// Longest time asleep before looking again. Twenty looks a second take less than a thousandth of a core,
/// also where each is an interrupt of the other cores (`barrier::heavy`).
pub(crate) const PARK: Duration = Duration::from_millis(50);
/// The same where the kernel refuses the heavy barrier and a wake may be missed.
pub(crate) const PARK_UNSURE: Duration = Duration::from_millis(1);
/// Steps of spinning before the strategies that do more than spin go on to the next thing: some 20 us.
const SPINS: u32 = 1024;
/// How often a wait that only spins looks at the clock, in steps.
const CLOCK_STEPS: u32 = 128;
/// Yields after that, in the adaptive strategy.
const YIELDS: u32 = 32;

/// One wait, from the first miss to success or timeout.
#[derive(Debug)]
pub(crate) struct Waiting {
    strategy: Wait,
    steps: u32,
    deadline: Option<Instant>,
}

/// What to do before looking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look again.
    Again,
    /// Park for this long at most, then look again.
    Park(Duration),
    /// The time is over.
    Over,
}

impl Waiting {
    /// Starts to wait. No timeout means for ever; one too long for the clock means the same.
    pub(crate) fn new(strategy: Wait, timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { strategy, steps: 0, deadline }
    }

    /// Spins or yields once, or says that it is time to park or to give up.
    pub(crate) fn step(&mut self) -> Step {
        self.step_after(1)
    }

    /// The same after a look that took as long as so many pauses.
    pub(crate) fn step_after(&mut self, pauses: u32) -> Step {
        let before = self.steps;
        self.steps = before.saturating_add(pauses);
        let (spins, yields) = match self.strategy {
            Wait::Busy => (u32::MAX, 0),
            Wait::Yielding => (SPINS, u32::MAX),
            Wait::Parking => (SPINS, 0),
            Wait::Adaptive => (SPINS, YIELDS),
        };
        // The clock costs more than a spin.
        let spinning = self.steps < spins;
        let reads_clock = !spinning || self.steps / CLOCK_STEPS != before / CLOCK_STEPS;
        let left = match self.deadline {
            Some(deadline) if reads_clock => {
                match deadline.checked_duration_since(Instant::now()) {
                    None | Some(Duration::ZERO) => return Step::Over,
                    Some(left) => left,
                }
            }
            _ => PARK,
        };
        if spinning || spins == u32::MAX {
            // One pause of the processor, up to 20 ns: not to be late. (`consumer::pace` keeps off the
            // line where frames come so fast that it pays.)
            std::hint::spin_loop();
            Step::Again
        } else if self.steps.saturating_sub(spins) < yields || yields == u32::MAX {
            std::thread::yield_now();
            Step::Again
        } else {
            Step::Park(left.min(PARK))
        }
    }
}

/// Where an attached end sleeps, apart from the end itself: for whoever sleeps for several.
#[derive(Clone, Debug)]
pub struct Bed(Place);

/// Whose bell it is, which says who takes back that somebody sleeps.
#[derive(Clone, Debug)]
enum Place {
    /// The end's own: who sleeps there takes it back.
    Seat { seat: Shared<SeatWords>, control: Shared<ControlWords>, role: Role, index: u32 },
    /// A consumer's seat that several ends sleep on, the members of a group: as in [`park_together`],
    /// whoever rings takes it back, and nobody else.
    Together { seat: Shared<SeatWords>, control: Shared<ControlWords>, index: u32 },
    /// A table's, for all keys or for a group of them: several sleep there as well.
    Table { words: Shared<TableWords>, group: Option<usize> },
    /// Nobody rings: it is woken when its longest wait is over.
    Nowhere,
}

/// The bell of those that have none. Nobody rings it.
static NOWHERE: AtomicU32 = AtomicU32::new(0);

impl Bed {
    /// The bed of a seat.
    pub(crate) fn new(
        seat: &Shared<SeatWords>,
        control: &Shared<ControlWords>,
        role: Role,
        index: u32,
    ) -> Self {
        Self(Place::Seat { seat: seat.clone(), control: control.clone(), role, index })
    }

    /// A place in the bed that a group has as a consumer of its bus.
    pub(crate) fn together(
        seat: &Shared<SeatWords>,
        control: &Shared<ControlWords>,
        index: u32,
    ) -> Self {
        Self(Place::Together { seat: seat.clone(), control: control.clone(), index })
    }

    /// A place at a table's bell: of a group of keys, or of all.
    pub(crate) fn of_table(words: &Shared<TableWords>, group: Option<usize>) -> Self {
        Self(Place::Table { words: words.clone(), group })
    }

    /// The bed of an end that is rung for by nobody.
    pub(crate) fn nowhere() -> Self {
        Self(Place::Nowhere)
    }

    /// The word to sleep on.
    #[cfg_attr(not(feature = "async"), allow(dead_code))]
    pub(crate) fn doorbell(&self) -> &AtomicU32 {
        match &self.0 {
            Place::Seat { seat, .. } | Place::Together { seat, .. } => &seat.doorbell,
            Place::Table { words, group } => table_bell(words, *group).doorbell,
            Place::Nowhere => &NOWHERE,
        }
    }

    /// Says that somebody is about to sleep there. Returns the value to sleep on.
    pub(crate) fn announce(&self) -> (&AtomicU32, u32) {
        match &self.0 {
            Place::Seat { seat, control, role, index } => {
                seat_bell(seat, control, *role, *index).announce()
            }
            Place::Together { seat, control, index } => {
                seat_bell(seat, control, Role::Consumer, *index).announce()
            }
            Place::Table { words, group } => {
                let bell = table_bell(words, *group);
                (bell.doorbell, bell.listen())
            }
            Place::Nowhere => (&NOWHERE, 0),
        }
    }

    /// Takes it back, where nobody else may sleep. A word that is left over costs one needless ring.
    pub(crate) fn withdraw(&self) {
        if let Place::Seat { seat, control, role, index } = &self.0 {
            seat_bell(seat, control, *role, *index).withdraw();
        }
    }
}

fn seat_bell<'a>(
    seat: &'a SeatWords,
    control: &'a ControlWords,
    role: Role,
    index: u32,
) -> Bell<'a> {
    let [first, second, third, fourth] = &control.sleeping_producers;
    let sleepers = match (role, index / 64) {
        (Role::Consumer, _) => &control.sleeping_consumers,
        (Role::Producer, 0) => first,
        (Role::Producer, 1) => second,
        (Role::Producer, 2) => third,
        (Role::Producer, _) => fourth,
    };
    Bell { doorbell: &seat.doorbell, sleepers, bit: 1 << (index & 63) }
}

fn table_bell(words: &TableWords, group: Option<usize>) -> bell::Bell<'_> {
    let of_group = group.and_then(|group| words.bells.get(group));
    of_group.map_or_else(|| bell::Bell::of_any(words), bell::Bell::of)
}

/// Sleeps on the seat's doorbell until it rings, `timeout` is over, or anything else wakes.
/// `sleepers` and `bit` are where this end says that it sleeps; `has_work` is the last look.
pub(crate) fn park(
    seat: &SeatWords,
    (sleepers, bit): (&AtomicU64, u64),
    timeout: Duration,
    has_work: impl FnOnce() -> bool,
) {
    let bell = Bell { doorbell: &seat.doorbell, sleepers, bit };
    let (doorbell, rung) = bell.announce();
    crash_point!(Sleeping);
    let sure = barrier::heavy();
    if !has_work() {
        futex::wait(doorbell, rung, surely(timeout, sure));
    }
    bell.withdraw();
}

/// The same where several sleep on one doorbell, the members of a group. None of them takes back the
/// bit, since another may still sleep: whoever rings does, and wakes them all. A bit that is left over
/// costs one needless ring.
pub(crate) fn park_together(
    seat: &SeatWords,
    (sleepers, bit): (&AtomicU64, u64),
    timeout: Duration,
    has_work: impl FnOnce() -> bool,
) {
    // One that has taken back the bit and not rung yet rings after this look at the doorbell, so the sleep
    // below does not begin.
    let (doorbell, rung) = Bell { doorbell: &seat.doorbell, sleepers, bit }.announce();
    crash_point!(Sleeping);
    let sure = barrier::heavy();
    if !has_work() {
        futex::wait(doorbell, rung, surely(timeout, sure));
    }
}

/// The same on any number of doorbells. The `turn` chooses one of them where the kernel cannot sleep on
/// all; see [`futex::wait_any`].
pub(crate) fn park_any(
    beds: &[Bed],
    turn: usize,
    timeout: Duration,
    has_work: impl FnOnce() -> bool,
) {
    let words: Vec<(&AtomicU32, u32)> = beds.iter().map(Bed::announce).collect();
    crash_point!(Sleeping);
    let sure = barrier::heavy();
    if !has_work() {
        futex::wait_any(&words, turn, surely(timeout, sure));
    }
    for bed in beds {
        bed.withdraw();
    }
}

/// How long a sleep may be when a wake may be missed.
fn surely(timeout: Duration, sure: bool) -> Duration {
    if sure { timeout } else { timeout.min(PARK_UNSURE) }
}

/// Wakes whoever sleeps on the seat's doorbell, and takes back that it sleeps, so that nobody rings
/// for it again while it is waking up (some 20 us).
pub(crate) fn ring(seat: &SeatWords, (sleepers, bit): (&AtomicU64, u64)) {
    let bell = Bell { doorbell: &seat.doorbell, sleepers, bit };
    bell.ring();
    futex::wake(bell.doorbell);
}
