//! The bus between processes of their own: what is promised, held to it by processes that publish,
//! read, are slow, detach, and die.
//!
//! Each test starts workers, which are this very binary run again with a role in its environment
//! (`support::worker`), and removes what it made when it ends, however it ends. Nothing is asserted
//! about time; patience has a bound, so that nothing hangs.

// Counts in tests are small; what they are cut to is what they are compared with.
#![allow(clippy::cast_possible_truncation)]

mod batches;
mod closing;
mod counters;
mod crash;
mod evict;
mod fairness;
mod frames;
mod joining;
mod kept;
mod matrix;
mod odd;
mod options;
mod rights;
mod roles;
mod seats;
mod segments;
mod slow;
mod squatted;
mod support;
mod truncated;
mod wrap;

/// Not a test: what a worker process runs. Returns at once in the tests' own process.
#[test]
fn worker() {
    roles::run_if_asked();
}
