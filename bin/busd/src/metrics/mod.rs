//! What monitoring reads: every bus of the host in numbers, as OpenMetrics and as Prometheus's older text.
//!
//! ```text
//! sample   every bus as it stands now
//! page     samples as text
//! ```
//!
//! Names, units and sentences come from `busway::metrics`. Labels are what is bounded: buses, lanes, seats
//! and groups, never processes or names that a process gives itself. A page has at most [`SERIES_MAX`]
//! series of lanes, consumers and groups; buses beyond that are shown without them, and counted.

mod page;
mod sample;

pub(crate) use page::{Format, page};
pub(crate) use sample::{BusSample, all};

/// Series of lanes, consumers and groups at most, on one page.
const SERIES_MAX: usize = 50_000;
