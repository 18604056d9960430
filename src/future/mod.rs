//! Ends of buses as futures and streams, for any executor. Behind the feature `async`.
//!
//! * `ready`: waiting, on which everything stands.
//! * `consumer`, `member`, `table`, `producer`, `caller`: what they can do with it.

mod caller;
mod consumer;
mod member;
mod producer;
mod ready;
mod table;

pub use ready::{Async, Ready};
