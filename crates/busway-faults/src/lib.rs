//! Fault injection for the tests of busway: a child process runs under ptrace, and at its n-th
//! system call the call fails with an error that it may have, or the process is killed.
//!
//! ```text
//! calls      which system calls are failed, and with what
//! plan       what to do at which call; shared by the tracer and by who directs it
//! registers  the one part that knows the processor
//! tracer     runs the child to its end and does what the plan says
//! sweep      every call, every fault of it, one experiment each; and what came of them
//! ```
//!
//! Calls are counted only while the plan's window is open: a child opens and closes it by
//! [`mark`], and whoever drives a server from outside by [`Plan::arm`] and [`Plan::disarm`].
//! A failed call is one that the kernel never sees, so it has no effect; a child killed at entry
//! dies before the call and one killed at exit after it. Every run is bounded by a timeout.
//!
//! For tests only: what is wrong with the harness itself is a panic. References: ptrace(2).

mod calls;
mod plan;
mod registers;
mod sweep;
mod tracer;

pub use plan::{Fault, Hit, Moment, Plan};
pub use sweep::{Stride, Sweep, Tally};
pub use tracer::{Begin, End, Tracer, mark};
