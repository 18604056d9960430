//! The daemon as its users see it: real processes, real sockets, real segments.
//!
//! ```text
//! http       create, list, inspect, remove; every kind of error; requests that make no sense
//! openapi    the served description against what the server does
//! access     other users of the host
//! lifecycle  one daemon a directory; signals; kill -9 and another start
//! watch      attach, detach and death of other processes
//! bad_news   who was evicted, held up, or met impossible words
//! brokered   buses whose memory the daemon hands out
//! config     the config file
//! schedules  frames that are published later
//! client     the client that busctl uses
//! faults     system calls that fail, and kills at each of them
//! hostile    no descriptors, no space, kills in a row
//! support    daemons, children, buses and requests for all of them
//! ```

// Tests may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

mod access;
mod bad_news;
mod brokered;
mod client;
mod config;
mod faults;
mod hostile;
mod http;
mod lifecycle;
mod monitoring;
mod openapi;
mod schedules;
mod support;
mod watch;
