//! What the fuzz targets share.
//!
//! ```text
//! bytes     the fuzzer's bytes as numbers
//! scratch   names of buses of this process alone, taken away whatever happens
//! leaks     memory, descriptors and mappings that an input keeps
//! segment/  a small bus, everything that can be done to it, and words that nobody should write
//! ```
//!
//! Each target is one file under `fuzz_targets/`. `README.md` says how to run them.

pub mod bytes;
pub mod leaks;
pub mod scratch;
pub mod segment;
