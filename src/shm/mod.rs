//! Segments of POSIX shared memory: create, open, map, lock, unlink.
//!
//! The only room that knows files and mappings. Above it, memory is references to atomics and
//! slots; it hands those out and keeps the mapping alive for as long as one of them is held.

pub(crate) mod alarm;
pub(crate) mod lock;
pub(crate) mod mapping;
pub(crate) mod name;
pub(crate) mod sealed;
pub(crate) mod segment;
pub(crate) mod sigbus;
pub(crate) mod slots;
pub(crate) mod trust;
pub(crate) mod window;
