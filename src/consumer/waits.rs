//! A consumer that is waited for together with others.

use std::time::{Duration, Instant};

use super::Consumer;
use super::engine::Engine;
use super::wait::PROBE;
use crate::error::PollError;
use crate::layout::words::SeatWords;
use crate::park::{self, Bed, PARK};
use crate::participant::Role;
use crate::received::FrameRef;
use crate::shm::mapping::Shared;
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

/// Frames that one call passes over at most.
const SKIPS_MAX: u32 = 1 << 16;

impl<T> Consumer<T> {
    /// Passes over frames for as long as `skips` says so. Whether one comes next that is not passed over;
    /// `false` as well after very many, so that a flood of others does not keep the caller here.
    pub(crate) fn skip_while(
        &mut self,
        mut skips: impl FnMut(FrameRef<'_>) -> bool,
    ) -> Result<bool, PollError> {
        for _ in 0..SKIPS_MAX {
            let Some(ready) = self.engine.advance()? else {
                return Ok(false);
            };
            // A run is where reading goes on: put back, the frame comes again.
            let run = self.engine.run;
            if !skips(self.engine.frame(ready)) {
                self.engine.run = run;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until there is a frame or an error, for `timeout` at most. Whether there is a frame.
    pub(crate) fn wait_ready(&mut self, timeout: Duration) -> Result<bool, PollError> {
        Ok(self.engine.wait(Some(timeout))?.is_some())
    }

    /// The same, where a closed bus is one to wait at: somebody may attach.
    pub(crate) fn wait_open(&mut self, timeout: Duration) -> Result<bool, PollError> {
        match self.wait_ready(timeout) {
            Err(PollError::Closed) => {
                let timeout = timeout.min(PARK);
                park::park_any(std::slice::from_ref(&self.engine.bed), 0, timeout, || {
                    self.engine.has_more()
                });
                Ok(false)
            }
            waited => waited,
        }
    }

    /// Recovers whoever is provably dead in a seat of the bus.
    pub(crate) fn give_back_dead(&self, role: Role, seat: u32) {
        self.engine.tie.give_back_dead(&self.engine.regions, role, std::iter::once(seat));
    }

    /// A seat of the bus.
    pub(crate) fn peer(&self, role: Role, seat: u32) -> Option<Shared<SeatWords>> {
        self.engine.regions.seat(role, seat)
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
            // Nobody will attach to it any more.
            Err(PollError::Closed) if self.news.told_closed && self.regions.is_removed() => {
                self.news.untold = Some(PollError::Removed);
                true
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
