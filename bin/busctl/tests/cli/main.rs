//! The command line as its users meet it: real processes, real segments, a daemon if one is needed.
//!
//! One test binary; each file is one group of verbs. Every test has a sandbox with a runtime
//! directory and bus names of its own, and leaves nothing behind, also when it fails.

mod about;
mod bench;
mod brokered;
mod check;
mod create;
mod demo;
mod doctor;
mod family;
mod frames;
mod group;
mod handover;
mod hostile;
mod look;
mod output;
mod pipeline;
mod remove;
mod sandbox;
mod schedule;
mod slow;
mod streams;
mod table;
mod torture;
mod torture_group;
mod torture_request;
