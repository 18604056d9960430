//! Dispatchers and batchers from a file, TOML or YAML alike: one model, the same keys, the same errors.
//!
//! ```toml
//! [dispatcher.orders]
//! workers = { min = 1, max = 4 }
//! dead-letter-bus = "orders.dead"
//!
//! [[dispatcher.orders.kind]]
//! kind = 7
//! timeout = "100ms"
//! retry = { attempts = 5, first = "10ms" }
//! ```
//!
//! An unknown key, or a value of the wrong type, is refused with its line and column. What a value may
//! be is checked when something is built from it. Every key is in `docs/toolkit.md`.

mod parse;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

pub use parse::{ConfigError, ConfigFormat};

use serde::Deserialize;

use crate::dispatch::{BATCH_DEFAULT, BUFFER_DEFAULT, Unhandled};
use crate::duration;
use crate::policy::{Breaker, Policy, Rate, Retry};
use crate::scale::Workers;

/// A whole file.
///
/// # Examples
/// ```
/// use busway_toolkit::{Config, ConfigFormat};
///
/// let toml = "[batcher.lookup]\nitems = 64\nlinger = \"50us\"\n";
/// let yaml = "batcher:\n  lookup:\n    items: 64\n    linger: 50us\n";
/// let config = Config::parse(toml, ConfigFormat::Toml)?;
/// assert_eq!(config, Config::parse(yaml, ConfigFormat::Yaml)?);
/// assert_eq!(config.batcher["lookup"].items, 64);
///
/// let error = Config::parse("[batcher.lookup]\nitem = 64\n", ConfigFormat::Toml).unwrap_err();
/// assert_eq!((error.line, error.column), (2, 1));
/// # Ok::<(), busway_toolkit::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Dispatchers by name.
    pub dispatcher: BTreeMap<String, DispatcherConfig>,
    /// Batchers by name.
    pub batcher: BTreeMap<String, BatcherConfig>,
}

/// A dispatcher; see [`DispatcherBuilder`](crate::DispatcherBuilder).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DispatcherConfig {
    /// Threads that handle events: a number, or limits; 0: the polling thread does.
    pub workers: Workers,
    /// The most events that are held outside the bus.
    pub buffer: usize,
    /// The most events that are taken from the bus at a time.
    pub batch: usize,
    /// What becomes of events whose kind nobody handles.
    pub unhandled: Unhandled,
    /// The bus for what failed for good.
    pub dead_letter_bus: Option<String>,
    /// The policy of kinds that are not listed.
    pub policy: PolicyConfig,
    /// Kinds with a policy of their own.
    pub kind: Vec<KindConfig>,
}

impl Default for DispatcherConfig {
    fn default() -> Self {
        Self {
            workers: Workers::fixed(0),
            buffer: BUFFER_DEFAULT,
            batch: BATCH_DEFAULT,
            unhandled: Unhandled::default(),
            dead_letter_bus: None,
            policy: PolicyConfig::default(),
            kind: Vec::new(),
        }
    }
}

/// Declares a structure of the keys of a policy, with others before them.
macro_rules! with_policy_keys {
    ($(#[$meta:meta])* $name:ident { $($(#[$own_meta:meta])* $own:ident: $type:ty,)* }) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[$own_meta])* pub $own: $type,)*
            /// How long one attempt may take.
            #[serde(default, deserialize_with = "duration::read_some")]
            pub timeout: Option<Duration>,
            /// How many are handled at a time.
            #[serde(default)]
            pub concurrency: Option<NonZeroU32>,
            /// How often a failed event is tried.
            #[serde(default)]
            pub retry: Retry,
            /// When the handler is not asked any more for some time.
            #[serde(default)]
            pub breaker: Option<Breaker>,
            /// How many a second.
            #[serde(default)]
            pub rate: Option<Rate>,
            /// Whether what failed for good goes to the dead-letter bus.
            #[serde(default = "yes")]
            pub dead_letter: bool,
        }
    };
}

fn yes() -> bool {
    true
}

with_policy_keys! {
    /// A [`Policy`].
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    PolicyConfig {}
}

with_policy_keys! {
    /// One kind, and its [`Policy`].
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    KindConfig {
        /// The kind.
        kind: u16,
        /// What its handler is called, in metrics and spans.
        #[serde(default)]
        name: Option<String>,
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        let Policy { timeout, concurrency, retry, breaker, rate, dead_letter } = Policy::default();
        Self { timeout, concurrency, retry, breaker, rate, dead_letter }
    }
}

impl From<PolicyConfig> for Policy {
    fn from(config: PolicyConfig) -> Self {
        let PolicyConfig { timeout, concurrency, retry, breaker, rate, dead_letter } = config;
        Self { timeout, concurrency, retry, breaker, rate, dead_letter }
    }
}

impl KindConfig {
    /// The policy.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Self { timeout, concurrency, retry, breaker, rate, dead_letter, .. } = *self;
        Policy { timeout, concurrency, retry, breaker, rate, dead_letter }
    }
}

/// A batcher; see [`BatcherOptions`](crate::BatcherOptions).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BatcherConfig {
    /// The most items of one batch.
    pub items: usize,
    /// How long the first item of a batch waits for others.
    #[serde(deserialize_with = "duration::read")]
    pub linger: Duration,
    /// The most items that wait.
    pub queue: usize,
    /// How many batches are handled at a time: a number, or limits.
    pub workers: Workers,
    /// How many items a second.
    pub rate: Option<Rate>,
}

impl Default for BatcherConfig {
    fn default() -> Self {
        Self {
            items: 256,
            linger: Duration::ZERO,
            queue: 4096,
            workers: Workers::default(),
            rate: None,
        }
    }
}
