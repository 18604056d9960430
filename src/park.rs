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

use crate::crash::crash_point;
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
        self.steps = self.steps.saturating_add(1);
        let (spins, yields) = match self.strategy {
            Wait::Busy => (u32::MAX, 0),
            Wait::Yielding => (SPINS, u32::MAX),
            Wait::Parking => (SPINS, 0),
            Wait::Adaptive => (SPINS, YIELDS),
        };
        // The clock costs more than a spin.
        let spinning = self.steps < spins;
        let reads_clock = !spinning || self.steps.is_multiple_of(CLOCK_STEPS);
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
pub struct Bed {
    seat: Shared<SeatWords>,
    control: Shared<ControlWords>,
    role: Role,
    index: u32,
}

impl Bed {
    /// The bed of a seat.
    pub(crate) fn new(
        seat: &Shared<SeatWords>,
        control: &Shared<ControlWords>,
        role: Role,
        index: u32,
    ) -> Self {
        Self { seat: seat.clone(), control: control.clone(), role, index }
    }

    /// Its bell.
    pub(crate) fn bell(&self) -> Bell<'_> {
        let [first, second, third, fourth] = &self.control.sleeping_producers;
        let sleepers = match (self.role, self.index / 64) {
            (Role::Consumer, _) => &self.control.sleeping_consumers,
            (Role::Producer, 0) => first,
            (Role::Producer, 1) => second,
            (Role::Producer, 2) => third,
            (Role::Producer, _) => fourth,
        };
        Bell { doorbell: &self.seat.doorbell, sleepers, bit: 1 << (self.index & 63) }
    }
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
    let words: Vec<(&AtomicU32, u32)> = beds.iter().map(|bed| bed.bell().announce()).collect();
    crash_point!(Sleeping);
    let sure = barrier::heavy();
    if !has_work() {
        futex::wait_any(&words, turn, surely(timeout, sure));
    }
    for bed in beds {
        bed.bell().withdraw();
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
