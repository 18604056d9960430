//! `busd`, the control daemon of busway, and what its clients need to talk to it.
//!
//! ```text
//! run          the daemon's life, from arguments to exit code; `busctl` hosts it the same way
//!   args, log, config, declared      what it is told
//!   runtime_dir, lock, socket        where it is, alone
//!   segment                          what anybody may have put into /dev/shm
//!   server/                          the HTTP interface
//!   watch/                           who attaches, detaches, dies
//!   broker/                          hands out the memory of brokered buses
//!   schedule/                        publishes frames at their time
//! api          the documents that travel over the socket
//! client       a blocking client
//! ```
//!
//! The daemon names, creates, removes and watches buses; data never passes through it. The truth
//! is in the segments: kill the daemon, start another, and nothing is lost and nobody disturbed.
//! `docs/api.md` describes the interface with examples.

#![forbid(unsafe_code)]

pub mod api;
mod args;
mod broker;
mod client;
mod config;
mod declared;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod lock;
mod log;
mod metrics;
mod run;
mod runtime_dir;
mod schedule;
mod segment;
mod server;
mod signals;
mod socket;
mod watch;

pub use args::{Args, LogFormat, LogLevel};
pub use client::{Client, ClientError, wait_until_ready};
pub use run::run;
pub use runtime_dir::{RuntimeDir, RuntimeDirError};
pub use server::routes;
pub use signals::hold_signals;
