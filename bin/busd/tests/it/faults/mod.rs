//! The daemon while the system fails it: each of its system calls failing in every way that it
//! plausibly may, and the daemon killed before and after each.
//!
//! ```text
//! stage    a place for one daemon after another, with buses and a peer at full rate
//! traced   a daemon under the tracer of busway-faults
//! start    from the config file to the first answer; and to the end, told by a signal
//! request  create, remove, list and inspect
//! ```
//!
//! Each test takes every few calls, from a random one on; all of them by
//! `BUSWAY_FAULTS=all cargo test -p busd --test it faults`. With `-- --nocapture` it shows a table
//! of what came of each fault.

mod request;
mod schedule;
mod stage;
mod start;
mod traced;
