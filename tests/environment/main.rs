//! The library where the system is hostile: no space, no descriptors, no memory, signals all the
//! time, clocks that jump, processes that see other numbers than we do.
//!
//! ```text
//! space      a full /dev/shm; limits on the size of files, on memory, on descriptors
//! signals    system calls that are interrupted all the time
//! clocks     CLOCK_REALTIME that jumps; a peer whose CLOCK_MONOTONIC is another
//! processes  numbers that name somebody else, other pid namespaces, children without exec
//! child      this binary, run again with a role
//! ```

#[path = "../scratch/mod.rs"]
mod scratch;

mod child;
mod clocks;
mod processes;
mod signals;
mod space;

use std::time::Duration;

/// How long anything may take before a test gives up. Nothing is asserted about time, but that
/// waits are not too short.
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test: what a child runs. Returns at once in the tests' own process.
#[test]
fn role() {
    child::run_if_asked(&[space::ROLES, signals::ROLES, clocks::ROLES, processes::ROLES]);
}
