//! An end of a bus that a source takes from: for threads, and with the feature `async` for tasks as well.

#[cfg(feature = "async")]
use busway::{Async, Waitable};

/// The end.
#[cfg(not(feature = "async"))]
#[derive(Debug)]
pub(super) struct End<T>(T);

#[cfg(not(feature = "async"))]
impl<T> End<T> {
    pub(super) fn new(end: T) -> Self {
        Self(end)
    }

    pub(super) fn get_ref(&self) -> &T {
        &self.0
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The end.
#[cfg(feature = "async")]
#[derive(Debug)]
pub(super) struct End<T>(Async<T>);

#[cfg(feature = "async")]
impl<T: Waitable> End<T> {
    pub(super) fn new(end: T) -> Self {
        Self(Async::new(end))
    }

    pub(super) fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub(super) fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        self.0.poll_ready(context)
    }
}

#[cfg(feature = "async")]
impl<T: Waitable> From<Async<T>> for End<T> {
    fn from(end: Async<T>) -> Self {
        Self(end)
    }
}
