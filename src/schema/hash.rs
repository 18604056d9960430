//! The hash of a layout, twice: at compile time from a type's field table, at run time from a
//! [`Schema`]. Both walk the text that [`Schema::layout_text`] documents; tests hold them together.

use std::fmt::Write as _;

use super::{FieldDef, Schema, Shape};
use crate::fnv::{self, fnv1a64};

/// The canonical text of a schema, fields by rising offset, padding left out.
pub(super) fn layout_text(schema: &Schema) -> String {
    let mut fields: Vec<_> = schema.fields.iter().filter(|field| !field.is_padding()).collect();
    fields.sort_by_key(|field| field.offset_bytes);
    let mut text = format!("size {}\n", schema.size_bytes);
    for field in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", field.name, field.type_text(), field.offset_bytes);
    }
    text
}

/// The hash of a canonical text.
pub(super) fn of_text(text: &str) -> u64 {
    never_zero(fnv1a64(fnv::OFFSET, text.as_bytes()))
}

/// The hash of a type's layout, from its field table; a constant of the program.
///
/// `#[repr(C)]` puts fields in the order of their declaration, so the table is in offset order.
pub(crate) const fn of_type(size_bytes: usize, fields: &[FieldDef]) -> u64 {
    let hash = text(fnv::OFFSET, "size ");
    let hash = text(decimal(hash, size_bytes), "\n");
    never_zero(frame(hash, 0, fields, None))
}

/// 0 stands for "no schema".
const fn never_zero(hash: u64) -> u64 {
    if hash == 0 { 1 } else { hash }
}

/// The way from the outermost frame to a field, innermost part first.
struct Path<'a> {
    part: Part,
    outer: Option<&'a Path<'a>>,
}

/// One part of a dotted name.
enum Part {
    Name(&'static str),
    Index(usize),
}

const fn frame(hash: u64, base_bytes: usize, fields: &[FieldDef], outer: Option<&Path<'_>>) -> u64 {
    let mut hash = hash;
    let mut rest = fields;
    while let [def, tail @ ..] = rest {
        // Padding is left out with everything in it.
        if !matches!(def.name.as_bytes(), [b'_', ..]) {
            let path = Path { part: Part::Name(def.name), outer };
            hash = shape(hash, base_bytes + def.offset_bytes, &def.shape, &path);
        }
        rest = tail;
    }
    hash
}

const fn shape(hash: u64, offset_bytes: usize, of: &Shape, outer: &Path<'_>) -> u64 {
    match *of {
        Shape::Number(number) => {
            let hash = text(dotted(hash, outer), " ");
            place(text(hash, number.name()), offset_bytes)
        }
        Shape::Numbers(number, count) => {
            let hash = text(dotted(hash, outer), " ");
            let hash = text(text(hash, number.name()), "[");
            place(text(decimal(hash, count), "]"), offset_bytes)
        }
        Shape::Frame(fields) => frame(hash, offset_bytes, fields, Some(outer)),
        Shape::Array { of, stride_bytes, count } => {
            let mut hash = hash;
            let mut index = 0;
            while index < count {
                let path = Path { part: Part::Index(index), outer: Some(outer) };
                hash = shape(hash, offset_bytes + index * stride_bytes, of, &path);
                index += 1;
            }
            hash
        }
    }
}

/// The end of a field's line.
const fn place(hash: u64, offset_bytes: usize) -> u64 {
    text(decimal(text(hash, " "), offset_bytes), "\n")
}

const fn dotted(hash: u64, path: &Path<'_>) -> u64 {
    let hash = match path.outer {
        Some(outer) => text(dotted(hash, outer), "."),
        None => hash,
    };
    match path.part {
        Part::Name(name) => text(hash, name),
        Part::Index(index) => decimal(hash, index),
    }
}

const fn text(hash: u64, text: &str) -> u64 {
    fnv1a64(hash, text.as_bytes())
}

const fn decimal(hash: u64, number: usize) -> u64 {
    let hash = if number >= 10 { decimal(hash, number / 10) } else { hash };
    // The remainder of a division by ten is a digit.
    #[allow(clippy::cast_possible_truncation)]
    let digit = b'0' + (number % 10) as u8;
    fnv1a64(hash, &[digit])
}
