//! The one door to atomics and to the kernel's waiting primitives.
//!
//! Every atomic in the crate comes from here, so that the protocol code runs on `loom`'s atomics
//! when it is built with `--cfg loom` and on the standard library's otherwise. What needs the
//! kernel (`futex`, `membarrier`, `clock`) exists only outside of `loom`.

#[cfg(not(loom))]
pub(crate) mod barrier;
pub(crate) mod bell;
#[cfg(not(loom))]
pub(crate) mod clock;
#[cfg(not(loom))]
pub(crate) mod futex;
pub(crate) mod prefetch;

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
