//! Ends of buses as futures and streams, for any executor. Behind the feature `async`.
//!
//! * `ready`: waiting, on which everything stands.
//! * `consumer`, `producer`, `caller`: what they can do with it.

mod caller;
mod consumer;
mod producer;
mod ready;

pub use ready::{Async, Ready};
