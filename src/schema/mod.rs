//! What the bytes of a frame mean, as data: names, types, offsets, units.
//!
//! A bus carries its schema in the segment, so that tools and other languages decode frames without
//! the program that defined them. A Rust type gets its schema from `#[derive(Frame)]`; for
//! everything else a schema is a small JSON document that can be written by hand.
//!
//! # The document
//! ```json
//! {
//!   "name": "cpu",
//!   "kind": 7,
//!   "size_bytes": 32,
//!   "align_bytes": 8,
//!   "fields": [
//!     {"name": "time_ns", "type": "u64", "offset_bytes": 0, "unit": "ns", "doc": "When read."},
//!     {"name": "load", "type": "f32", "offset_bytes": 8, "count": 3},
//!     {"name": "_pad", "type": "u8", "offset_bytes": 20, "count": 4},
//!     {"name": "host", "type": "text", "offset_bytes": 24, "count": 8}
//!   ]
//! }
//! ```
//! | key | meaning | when left out |
//! |---|---|---|
//! | `name` | what the frame is called: 1–64 of `A-Z a-z 0-9 _ . -` | required |
//! | `kind` | the event kind that frames of this type carry, 0–65535 | 0 |
//! | `size_bytes` | the whole frame's payload | up to the end of the last field |
//! | `align_bytes` | its alignment: 1, 2, 4 … 64 | the widest field's |
//! | `fields[].name` | parts of `A-Z a-z 0-9 _` joined by dots (`pos.x`), unique | required |
//! | `fields[].type` | `u8 u16 u32 u64 i8 i16 i32 i64 f32 f64`, or `text` | required |
//! | `fields[].offset_bytes` | where it starts | where C would put it after the field before |
//! | `fields[].count` | an array of so many; for `text`, its bytes | one number (`text` needs it) |
//! | `fields[].unit`, `fields[].doc` | for people | none |
//!
//! Unknown keys are errors. Numbers are little endian and lie at multiples of their own size.
//! `text` is UTF-8, padded with NUL bytes. The fields cover the frame without a gap: padding is
//! declared, as a field with a part that starts with `_`. Such a field is never decoded, and takes
//! no part in the hash: what it is called does not matter.
//!
//! Two frames are the same when [`Schema::hash`] is the same; [`Schema::layout_text`] says what
//! goes into it. A document from a segment is an allegation: everything here takes hostile input
//! and answers with an error.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod check;
mod decode;
mod encode;
mod error;
mod field;
pub(crate) mod hash;
mod json;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use self::encode::ValueError;
pub use self::error::{LayoutError, SchemaError};
pub use self::field::{Field, FieldType};
#[doc(hidden)] // for the code that the derive macro writes
pub use self::table::{FieldDef, Shape};
pub use self::value::Value;

/// The most bytes a schema document may have. It is stored in the segment's header region, which
/// every process maps and checks at attach; 16 KiB is four pages and room for 256 plain fields.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024;

/// The most fields a schema may have, so that checking and decoding stay bounded; as many as the
/// largest document holds when each takes 64 bytes of it.
pub const FIELDS_MAX: usize = 256;

/// The longest name of a frame type, equal to that of a bus.
pub const NAME_BYTES_MAX: usize = 64;

/// The longest name of a field with all its dots: several nested names of everyday length.
pub const FIELD_NAME_BYTES_MAX: usize = 128;

/// The longest unit; units are `ns`, `KiB/s`, `m/s^2`, shown in a table's head.
pub const UNIT_BYTES_MAX: usize = 32;

/// The largest frame, equal to the largest payload of a bus.
pub const SIZE_BYTES_MAX: u32 = 1024 * 1024;

/// The largest alignment: a cache line, and the most that a bus can give a payload.
pub const ALIGN_BYTES_MAX: u32 = 64;

/// The layout of one frame type: what `#[derive(Frame)]` knows at compile time, as a value.
///
/// A schema that [`from_json`](Self::from_json) or [`Frame::schema`](crate::Frame::schema)
/// returned is valid. One that was changed by hand may not be: [`check`](Self::check) tells.
/// Decoding with an invalid schema gives wrong values or leaves fields out; it never panics.
///
/// # Examples
/// ```
/// use busway::schema::Schema;
///
/// let schema = Schema::from_json(
///     r#"{"name": "tick", "fields": [
///         {"name": "time_ns", "type": "u64", "unit": "ns"},
///         {"name": "price", "type": "f64"}
///     ]}"#,
/// )?;
/// assert_eq!(schema.size_bytes, 16);
/// let mut payload = vec![0; 16];
/// schema.set(&mut payload, "price=1.25")?;
/// let (name, value) = &schema.decode(&payload)[1];
/// assert_eq!(format!("{name} = {value}"), "price = 1.25");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "json::Document")]
#[non_exhaustive]
pub struct Schema {
    /// What the frame type is called. Not part of the hash.
    pub name: String,
    /// The kind that frames of this type carry in their header. Not part of the hash.
    pub kind: u16,
    /// The size of the whole frame, without the bus's frame header.
    pub size_bytes: u32,
    /// The alignment of the whole frame, a power of two.
    pub align_bytes: u32,
    /// The fields by rising offset, without gaps.
    pub fields: Vec<Field>,
}

impl Schema {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The hash of the layout: FNV-1a 64 over [`layout_text`](Self::layout_text), never 0 (which
    /// stands for "no schema" in a segment; a text that hashes to 0 counts as 1).
    ///
    /// Equal to [`Frame::SCHEMA_HASH`](crate::Frame::SCHEMA_HASH) of a type with this layout.
    pub fn hash(&self) -> u64 {
        hash::of_text(&self.layout_text())
    }

    /// The canonical text of the layout, which [`hash`](Self::hash) is taken over.
    ///
    /// A line `size 32`, then one line per field by rising offset: name, type, offset, with the
    /// count in brackets after the type of an array or a text. Every line ends with a newline.
    /// Names of the type, kind, alignment, units, docs and padding fields are left out: two
    /// programs with the same layout match, whatever they call the whole.
    ///
    /// ```text
    /// size 32
    /// time_ns u64 0
    /// load f32[3] 8
    /// host text[8] 24
    /// ```
    pub fn layout_text(&self) -> String {
        hash::layout_text(self)
    }
}
