//! What is built on a [`busway`] bus, in one process, by its public API alone.
//!
//! * [`Dispatcher`]: events to handlers by kind, in the polling thread or on a pool of workers, with
//!   [`Middleware`] around them and a [`Policy`] a kind: retry, time-out, breaker, rate, dead letters.
//! * [`Batcher`]: many concurrent callers, one call to a slow resource.
//! * [`Graph`]: units of work that depend on each other, each run once.
//! * [`Config`]: the first two from TOML or YAML.
//!
//! With the feature `async`, each of the three for futures as well: handlers that are futures
//! (`AsyncDispatcher`), calls that are awaited (`Batcher::call_async`), units of work (`AsyncGraph`).
//!
//! What is promised, and every key of the configuration: `docs/toolkit.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod batch;
mod cancel;
mod clock;
mod config;
mod deps;
mod dispatch;
mod duration;
mod error;
mod policy;
mod scale;
mod source;

#[cfg(feature = "async")]
pub use batch::Answer;
pub use batch::{
    Batcher, BatcherOptions, BatcherReport, BatcherStats, CallError, SubmitError, Ticket,
};
pub use cancel::Cancel;
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{
    BatcherConfig, Config, ConfigError, ConfigFormat, DispatcherConfig, KindConfig, PolicyConfig,
};
#[cfg(feature = "async")]
pub use deps::{AsyncGraph, TaskInputs};
pub use deps::{Graph, GraphError, Inputs, Outcome, Outcomes};
#[cfg(feature = "async")]
pub use dispatch::{AsyncDispatcher, TaskContext};
pub use dispatch::{
    Context, Dispatcher, DispatcherBuilder, Failure, KindMetrics, Metrics, Middleware, Monitor,
    NotDone, Polled, Report, Unhandled, Whereabouts,
};
pub use error::BuildError;
pub use policy::{
    Breaker, BreakerState, DeadLetter, DeadLetters, LETTER_EXTRA_BYTES, Policy, Rate, Reason,
    Retry, WhileOpen,
};
pub use scale::Workers;
#[cfg(feature = "async")]
pub use source::AsyncSource;
pub use source::{BusSource, Event, GroupSource, OwnedEvent, Received, Settled, Source};
