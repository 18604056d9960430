//! How a batcher batches.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::Batcher;
use super::stage::{Limits, Stage};
use crate::clock::{Clock, SystemClock, nanoseconds};
use crate::config::BatcherConfig;
use crate::error::BuildError;
use crate::policy::Rate;
use crate::policy::rate::Bucket;
use crate::scale::Workers;

/// The most items of a batch, and of a queue.
pub const ITEMS_MAX: usize = 1 << 20;

/// How a [`Batcher`] batches; from [`Batcher::options`].
#[derive(Clone, Debug)]
#[must_use = "nothing is batched before `build`"]
pub struct BatcherOptions {
    items: usize,
    linger: Duration,
    queue: usize,
    workers: Workers,
    rate: Option<Rate>,
}

impl Default for BatcherOptions {
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

impl BatcherOptions {
    /// The most items of one batch; 256 by default.
    pub fn items(mut self, items: usize) -> Self {
        self.items = items;
        self
    }

    /// How long the first item of a batch waits for others, from when it was submitted; by default not
    /// at all: a batch is what came together while the workers were busy.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// The most items that wait; who submits more waits. 4096 by default.
    pub fn queue(mut self, items: usize) -> Self {
        self.queue = items;
        self
    }

    /// How many batches are handled at a time; one by default.
    pub fn workers(mut self, workers: Workers) -> Self {
        self.workers = workers;
        self
    }

    /// How many items a second are handed to the handler; as many as come, by default. A batch larger
    /// than the rate's burst costs the burst.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// All that a configuration says, in place of what was said before.
    pub fn config(mut self, config: &BatcherConfig) -> Self {
        self.items = config.items;
        self.linger = config.linger;
        self.queue = config.queue;
        self.workers = config.workers;
        self.rate = config.rate;
        self
    }

    /// Starts the workers. The handler gives one result for each item, in the same order.
    ///
    /// # Errors
    /// A limit out of its range, or a thread that cannot be started.
    pub fn build<T, R, E, F>(self, handler: F) -> Result<Batcher<T, R, E>, BuildError>
    where
        T: Send + 'static,
        R: Send + 'static,
        E: Send + 'static,
        F: Fn(Vec<T>) -> Vec<Result<R, E>> + Send + Sync + 'static,
    {
        self.workers.check()?;
        if self.workers.is_none() {
            return Err(BuildError::limit("workers.max", 0_u32, "1 or more".to_owned()));
        }
        for (what, value) in [("items", self.items), ("queue", self.queue)] {
            if !(1..=ITEMS_MAX).contains(&value) {
                return Err(BuildError::limit(what, value as u64, format!("1 to {ITEMS_MAX}")));
            }
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let bucket = self.rate.map(|rate| Bucket::new(&rate, Arc::clone(&clock))).transpose()?;
        let (sender, receiver) = bounded(self.queue);
        let limits = Limits { items: self.items, linger_ns: nanoseconds(self.linger), bucket };
        let stage = Stage::new(limits, self.workers, clock, receiver, Box::new(handler));
        let batcher = Batcher { stage: Arc::new(stage), queue: sender };
        for _ in 0..self.workers.min {
            if let Err(error) = batcher.stage.start_worker() {
                batcher.stage.close_begins();
                batcher.stage.close_ends();
                return Err(error);
            }
        }
        Ok(batcher)
    }
}
