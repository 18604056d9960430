//! The table of a struct's fields: what the derive macro writes down, and what a type's hash and
//! schema are made from.

use super::FieldType;

/// One field of a struct, as the derive macro writes it.
#[derive(Clone, Copy, Debug)]
pub struct FieldDef {
    /// The field's name.
    pub name: &'static str,
    /// Its offset in the struct.
    pub offset_bytes: usize,
    /// What it is.
    pub shape: Shape,
    /// Its unit, or empty.
    pub unit: &'static str,
    /// Its doc, or empty.
    pub doc: &'static str,
}

/// What lies at a field's place.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One number.
    Number(FieldType),
    /// So many numbers in a row, or bytes of text.
    Numbers(FieldType, usize),
    /// A struct with these fields.
    Frame(&'static [FieldDef]),
    /// So many of something that is not a number, in a row.
    Array {
        /// The element.
        of: &'static Shape,
        /// The element's size.
        stride_bytes: usize,
        /// How many.
        count: usize,
    },
}
