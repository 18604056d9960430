//! A consumer that is waited for together with others.

use std::time::Instant;

use super::Consumer;
use super::engine::Engine;
use super::wait::PROBE;
use crate::error::PollError;
use crate::park::Bed;
use crate::waits::Waits;

/// What looks have found out.
#[derive(Debug, Default)]
pub(super) struct News {
    /// What a poll is to say that finds no frame.
    pub(super) untold: Option<PollError>,
    /// A look said that the bus is closed, and nothing has changed since.
    told_closed: bool,
}

impl<T> Waits for Consumer<T> {
    fn look(&mut self) -> bool {
        self.engine.look()
    }

    fn bed(&self) -> &Bed {
        &self.engine.bed
    }

    fn probe(&mut self) {
        self.engine.probe();
    }
}

impl Engine {
    /// Whether the next poll returns something. What it found out is kept until then.
    fn look(&mut self) -> bool {
        if self.news.untold.is_some() {
            return true;
        }
        match self.advance() {
            Ok(Some(_ready)) => {
                (self.probe_at, self.gone_since) = (None, None);
                self.news.told_closed = false;
                true
            }
            Ok(None) => {
                self.news.told_closed = false;
                false
            }
            Err(PollError::Closed) => !std::mem::replace(&mut self.news.told_closed, true),
            Err(error) => {
                self.news.untold = Some(error);
                true
            }
        }
    }

    /// Recovers dead producers if it is time to ask.
    fn probe(&mut self) {
        let now = Instant::now();
        if now < *self.probe_at.get_or_insert_with(|| now + PROBE) {
            return;
        }
        self.give_back_dead_producers();
        self.probe_at = Some(now + PROBE);
        if let Err(error) = self.heard_nothing() {
            self.news.untold = Some(error);
        }
    }
}
