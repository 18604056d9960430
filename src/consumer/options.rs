//! Attaching a consumer.

use super::Consumer;
use super::engine::Engine;
use crate::bus::Bus;
use crate::error::Error;
use crate::frame::{Frame, Raw};
use crate::options::{Start, Wait};

impl Bus {
    /// Attaches a consumer.
    pub fn consumer(&self) -> ConsumerOptions<'_> {
        ConsumerOptions::new(self)
    }
}

/// How a consumer attaches: from [`Bus::consumer`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `attach`"]
pub struct ConsumerOptions<'a> {
    bus: &'a Bus,
    pub(super) name: Option<String>,
    pub(super) wait: Wait,
    pub(super) start: Start,
}

impl<'a> ConsumerOptions<'a> {
    fn new(bus: &'a Bus) -> Self {
        Self { bus, name: None, wait: Wait::Adaptive, start: Start::Latest }
    }

    /// The name that tools show; by default the process's. At most 32 bytes are kept.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How `recv` waits; adaptive by default.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Where to start; at the latest by default.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Takes a seat and attaches, for frames of bytes.
    ///
    /// From the moment that this returns, nothing that is published can be missed, whoever
    /// publishes it. Cost: a dozen system calls.
    ///
    /// # Errors
    /// [`Error::SeatsTaken`] naming who holds the seats, [`Error::Permission`],
    /// [`Error::Untrusted`], [`Error::NotFound`] when the bus has been removed.
    pub fn attach(self) -> Result<Consumer<Raw>, Error> {
        Ok(Consumer::new(Engine::attach(self.bus, &self)?))
    }

    /// Takes a seat and attaches, for frames of type `T`.
    ///
    /// # Errors
    /// [`Error::SchemaMismatch`] naming both types when the bus carries another;
    /// [`Error::BadGeometry`] when `T` does not fit; as [`attach`](Self::attach) otherwise.
    pub fn attach_typed<T: Frame>(self) -> Result<Consumer<T>, Error> {
        self.bus.check_type::<T>()?;
        Ok(Consumer::new(Engine::attach(self.bus, &self)?))
    }
}
