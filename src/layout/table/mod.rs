//! What is in the segment of a table, byte for byte.
//!
//! ```text
//! segment = header | control | desks | cells | slots              (each starts on a page)
//!
//! header   512 bytes of constants, then the schema as JSON; never changes once linked to its name
//! control  what changes seldom, the bells of who waits; a seat per writer
//! desks    64 bytes per writer: what it is about to do, written by that writer
//! cells    64 bytes per cell: one word that says which version of a key is in which slot
//! slots    a value with its key, writer and time; each is one writer's, or stands in a cell
//! ```
//!
//! The header has its magic, its versions and features, its identity and its checksum where that of a
//! bus has them; `features_incompat` says that it is a table.

pub(crate) mod geometry;
pub(crate) mod header;
pub(crate) mod words;
