//! Several ends at once: polling them in turn, and sleeping for all of them together.

use std::time::{Duration, Instant};

use crate::options::Wait;
use crate::park::{self, Bed, Step, Waiting};
use crate::waits::Waitable;

/// How often a wait asks its ends whether it is time for them to look who is alive. A sleep is longer, and
/// asks after it.
const PROBE: Duration = Duration::from_millis(20);
/// Steps between two looks at the clock while spinning.
const CLOCK_STEPS: u32 = 64;

/// Waits for any number of buses at once.
///
/// It holds nothing: each wait is told what to wait for, so ends may come and go between two of them. It
/// remembers whose turn it is. [`wait`](Self::wait) names one end of which a poll returns something; the
/// search starts after the one that it named last, so that a bus under a flood cannot starve another.
/// Take a bounded number of frames, then wait again.
///
/// An end whose poll would return an error is named as well. [`PollError::Closed`](crate::PollError) is
/// named once, until somebody attaches and that is over too; errors after which nothing comes any more
/// (`Removed`, `Evicted`, `Truncated`, `Forked`) each time: leave such an end out of the next wait.
///
/// Cost: a look at each end. A wait that sleeps makes two system calls, whatever the number of ends up
/// to 128 (`membarrier(2)`, `futex_waitv` of Linux 5.16), and is woken by the first frame. With more
/// ends, or on an older kernel, it sleeps a millisecond at a time, so that a frame may be that late.
///
/// # Examples
/// ```
/// use busway::{Bus, WaitSet};
/// use std::time::Duration;
///
/// # let names = ["a", "b"].map(|bus| format!("doc-wait-set-{bus}-{}", std::process::id()));
/// # struct Guard<'a>(&'a [String]); // removes the buses whatever happens
/// # impl Drop for Guard<'_> {
/// #     fn drop(&mut self) { for name in self.0 { let _ = busway::Bus::remove(name); } }
/// # }
/// # let _guard = Guard(&names);
/// let (orders, prices) = (Bus::options().create(&names[0])?, Bus::options().create(&names[1])?);
/// let mut all_orders = orders.consumer().attach()?;
/// let mut all_prices = prices.consumer().attach()?;
/// prices.producer().attach()?.publish_bytes(1, b"17.2")?;
///
/// let mut set = WaitSet::new();
/// let timeout = Some(Duration::from_secs(1));
/// match set.wait(&mut [&mut all_orders, &mut all_prices], timeout) {
///     Some(0) => unreachable!("no order was published"),
///     Some(_) => assert_eq!(all_prices.poll()?.expect("a price").payload(), b"17.2"),
///     None => unreachable!("a price was published"),
/// }
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct WaitSet {
    strategy: Wait,
    next: usize,
}

impl Default for WaitSet {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitSet {
    /// A set that waits adaptively: spins, yields, sleeps.
    #[must_use]
    pub fn new() -> Self {
        Self::with_wait(Wait::Adaptive)
    }

    /// A set that waits by this strategy.
    #[must_use]
    pub fn with_wait(strategy: Wait) -> Self {
        Self { strategy, next: 0 }
    }

    /// The index of an end that has something, if there is one. Never waits.
    pub fn poll(&mut self, ends: &mut [&mut dyn Waitable]) -> Option<usize> {
        let count = ends.len();
        let start = if self.next < count { self.next } else { 0 };
        let turn = (start..count).chain(0..start);
        let found =
            turn.into_iter().find(|index| ends.get_mut(*index).is_some_and(|end| end.look()));
        if let Some(index) = found {
            self.next = index + 1;
        }
        found
    }

    /// Waits until an end has something, and says which: its index. `None`: none had within `timeout`, or
    /// there is none to wait for. No timeout is for ever.
    pub fn wait(
        &mut self,
        ends: &mut [&mut dyn Waitable],
        timeout: Option<Duration>,
    ) -> Option<usize> {
        if ends.is_empty() {
            return None;
        }
        if let Some(found) = self.poll(ends) {
            return Some(found);
        }
        let mut waiting = Waiting::new(self.strategy, timeout);
        let mut probe_at = Instant::now() + PROBE;
        let mut steps = 0_u32;
        let mut turn = 0;
        let pauses = ends.iter().fold(0_u32, |all, end| all.saturating_add(end.pauses()));
        loop {
            let looks = match waiting.step_after(pauses) {
                Step::Again => {
                    let before = steps;
                    steps = steps.wrapping_add(pauses);
                    steps / CLOCK_STEPS != before / CLOCK_STEPS
                }
                Step::Over => {
                    // Short timeouts come to it as well: the ends themselves know when it is time.
                    probe(ends);
                    return self.poll(ends);
                }
                Step::Park(longest) => {
                    let found = self.park(ends, turn, longest);
                    turn = turn.wrapping_add(1);
                    if found.is_some() {
                        return found;
                    }
                    true
                }
            };
            if looks && Instant::now() >= probe_at {
                probe(ends);
                probe_at = Instant::now() + PROBE;
            }
            if let Some(found) = self.poll(ends) {
                return Some(found);
            }
        }
    }

    /// Sleeps until any end is rung for. An end of which the last look finds something is not slept for.
    fn park(
        &mut self,
        ends: &mut [&mut dyn Waitable],
        turn: usize,
        longest: Duration,
    ) -> Option<usize> {
        let beds: Vec<Bed> = ends.iter().map(|end| end.bed().clone()).collect();
        let longest = ends.iter().map(|end| end.longest_wait()).fold(longest, Duration::min);
        let mut found = None;
        park::park_any(&beds, turn, longest, || {
            found = self.poll(ends);
            found.is_some()
        });
        found
    }
}

fn probe(ends: &mut [&mut dyn Waitable]) {
    for end in ends {
        end.probe();
    }
}
