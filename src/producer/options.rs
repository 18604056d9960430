//! Attaching a producer.

use std::time::Duration;

use super::Producer;
use super::engine::Engine;
use crate::bus::Bus;
use crate::error::Error;
use crate::frame::{Frame, Raw};
use crate::options::Wait;

impl Bus {
    /// Attaches a producer.
    pub fn producer(&self) -> ProducerOptions<'_> {
        ProducerOptions::new(self)
    }
}

/// How a producer attaches: from [`Bus::producer`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct ProducerOptions<'a> {
    bus: &'a Bus,
    pub(super) name: Option<String>,
    pub(super) wait: Wait,
    pub(super) timeout: Option<Duration>,
    pub(super) keep_end: bool,
}

impl<'a> ProducerOptions<'a> {
    fn new(bus: &'a Bus) -> Self {
        Self { bus, name: None, wait: Wait::Adaptive, timeout: None, keep_end: false }
    }

    /// The name that tools show; by default the process's. At most 32 bytes are kept.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How to wait for room on a `block` bus; adaptive by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// How long to wait for room on a `block` bus; `None`, the default, is for ever.
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Has the lane keep where this producer ends, so that [`Bus::tenancy_end`] can tell after its
    /// death which of its frames were published, whoever has published on the lane since. There is
    /// room for one a lane: the next that asks takes the place of the one before.
    pub fn keep_end(mut self, keep: bool) -> Self {
        self.keep_end = keep;
        self
    }

    /// Takes a lane and attaches, for frames of bytes.
    ///
    /// Cost: a dozen system calls.
    ///
    /// # Errors
    /// [`Error::SeatsTaken`] naming who holds the lanes, [`Error::Permission`],
    /// [`Error::Untrusted`], [`Error::NotFound`] when the bus has been removed.
    pub fn attach(self) -> Result<Producer<Raw>, Error> {
        Ok(Producer::new(Engine::attach(self.bus, &self)?))
    }

    /// Takes a lane and attaches, for frames of type `T`.
    ///
    /// # Errors
    /// [`Error::SchemaMismatch`] naming both types when the bus carries another;
    /// [`Error::BadGeometry`] when `T` does not fit; as [`attach`](Self::attach) otherwise.
    pub fn attach_typed<T: Frame>(self) -> Result<Producer<T>, Error> {
        self.bus.check_type::<T>()?;
        Ok(Producer::new(Engine::attach(self.bus, &self)?))
    }
}
