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
//! The two barriers (`sync::barrier`) make it impossible that both looks miss. Were one missed all
//! the same, the bound on the park makes it a delay and not a hang.

use std::time::{Duration, Instant};

use crate::crash::crash_point;
use crate::layout::words::SeatWords;
use crate::options::Wait;
use crate::sync::{AtomicU64, Ordering, barrier, futex};

/// Longest time asleep before looking again. Twenty looks a second take less than a thousandth of a core,
/// also where each is an interrupt of the other cores (`barrier::heavy`).
const PARK: Duration = Duration::from_millis(50);
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

/// Sleeps on the seat's doorbell until it rings, `timeout` is over, or anything else wakes.
/// `sleepers` and `bit` are where this end says that it sleeps; `has_work` is the last look.
pub(crate) fn park(
    seat: &SeatWords,
    (sleepers, bit): (&AtomicU64, u64),
    timeout: Duration,
    has_work: impl FnOnce() -> bool,
) {
    // ORDERING: acquire, pairs with the release in `ring`: what was published before the ring that
    // this sees is visible to the last look.
    let rung = seat.doorbell.load(Ordering::Acquire);
    // ORDERING: relaxed; the heavy barrier orders it before the last look.
    sleepers.fetch_or(bit, Ordering::Relaxed);
    crash_point!(Sleeping);
    let sure = barrier::heavy();
    if !has_work() {
        let timeout = if sure { timeout } else { timeout.min(PARK_UNSURE) };
        futex::wait(&seat.doorbell, rung, timeout);
    }
    // ORDERING: relaxed; a bit that is seen too long costs one needless ring.
    sleepers.fetch_and(!bit, Ordering::Relaxed);
}

/// Wakes whoever sleeps on the seat's doorbell, and takes back that it sleeps, so that nobody rings
/// for it again while it is waking up (some 20 us). If the bit is one that it has set since, the
/// ring that follows wakes it all the same.
pub(crate) fn ring(seat: &SeatWords, (sleepers, bit): (&AtomicU64, u64)) {
    // ORDERING: relaxed; the ring below comes after it for the sleeper, whom it alone concerns.
    sleepers.fetch_and(!bit, Ordering::Relaxed);
    // ORDERING: release, pairs with the acquire load in `park`.
    seat.doorbell.fetch_add(1, Ordering::Release);
    futex::wake(&seat.doorbell);
}
