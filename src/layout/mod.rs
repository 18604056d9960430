//! What is in memory, byte for byte.
//!
//! ```text
//! segment = header | control | cursors | heads | order | data        (each starts on a page)
//!
//! header   512 bytes of constants, then the schema as JSON; never changes once linked to its name
//! control  who is attached, who sleeps, the order ring's tail; a seat per producer and consumer
//! cursors  a row per consumer: how far it has read, lane by lane; written by that consumer
//! heads    128 bytes per lane: how far it is published; written by that lane's producer
//! order    one 8-byte entry per ticket (`ordered` buses only)
//! data     per lane: capacity × stride bytes of slots, then (ordered) capacity × 8 of tickets
//! ```
//!
//! Heads stand together instead of beside their lane's slots, so that scanning 256 idle lanes
//! touches 256 lines of one region and not 256 pages.
//!
//! Everything is little-endian; the crate builds only for such targets. Nothing here touches
//! memory: `header` turns bytes into checked values, `geometry` computes offsets, `words` declares
//! the shared atomics, `entry` packs one word of the order ring. `table` is the same for tables.

pub(crate) mod claim;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod geometry;
pub(crate) mod group;
pub(crate) mod header;
pub(crate) mod latency;
pub(crate) mod share;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod words;

#[cfg(target_endian = "big")]
compile_error!("a busway segment is little-endian; big-endian targets are not supported");

/// Every region starts at a multiple of this.
pub(crate) const PAGE_BYTES: u64 = 4096;
