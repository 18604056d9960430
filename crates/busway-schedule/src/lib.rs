//! Publishes events at their time: at a time of day, after a while, again and again.
//!
//! ```text
//! scheduler   the thread that hands out what is due; tickets, cancelling
//! event       frames as events, published on a producer
//! queue       what is due when: a sorted set a clock
//! clock       the two clocks, and waiting on both; `manual`, the same for tests
//! text        times as people write them
//! ```
//!
//! | asked for | clock | when the clock is set | when the machine sleeps |
//! |---|---|---|---|
//! | [`Scheduler::schedule`]: at a time | `CLOCK_REALTIME` | due when the clock says so: set past the time, at once | due when it wakes up, if the time has come |
//! | [`Scheduler::schedule_after`]: after a while | `CLOCK_BOOTTIME` | makes no difference | the sleep counts |
//! | [`Scheduler::schedule_every`] | that of its first time | as above | at most one for all that were missed |
//!
//! A time in the past is due at once. What is due is handed out by a thread that sleeps in the kernel until
//! then: as late as that thread's wake-up, a tenth of a millisecond while there is a core for it
//! (`docs/scheduling.md` has the figures). It keeps nothing beyond the process: schedules that survive it
//! are the daemon's
//! (`busctl pub --at`).

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clock;
mod event;
mod manual;
mod queue;
mod scheduler;
mod text;

pub use clock::{Clock, Due, Now, SystemClock, Wake};
pub use event::{Event, Report};
pub use manual::ManualClock;
pub use scheduler::{Occasion, Plan, Scheduler, Ticket, Verdict};
pub use text::{TimeTextError, When, parse_time};
