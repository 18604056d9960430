//! Typed frames: a Rust struct as the payload of a bus.
//!
//! `#[derive(Frame)]` writes down a table of the struct's fields ([`FieldDef`]): names, offsets
//! taken by `offset_of!`, shapes taken from the field's type through [`FrameField`], so that
//! aliases and paths work. From the table come the schema at run time and its hash at compile time;
//! no type name is ever guessed from its spelling.
//!
//! Nothing here touches shared memory: that every bit pattern is a value is zerocopy's promise.

#![allow(unsafe_code)] // declares an unsafe trait
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::schema::{
    ALIGN_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, Field, FieldDef, FieldType, SIZE_BYTES_MAX,
    Schema, Shape, UNIT_BYTES_MAX, hash,
};

const _: () = assert!(cfg!(target_endian = "little"), "frames are little endian");

/// A type that can be the payload of a bus: fixed layout, no padding, any bytes are a value.
///
/// Derive it, with zerocopy's traits, on a `#[repr(C)]` struct. This is the shortest form; zerocopy
/// need not be a dependency of yours:
///
/// ```
/// use busway::Frame;
/// use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// /// Time used by one processor.
/// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[zerocopy(crate = "busway::zerocopy")]
/// #[frame(kind = 7, name = "cpu")]
/// #[repr(C)]
/// struct Cpu {
///     /// When it was read.
///     #[frame(unit = "ns")]
///     time_ns: u64,
///     load: [f32; 3],
///     core: u16,
///     _pad: [u8; 2],
///     #[frame(text)]
///     host: [u8; 8],
/// }
///
/// let schema = Cpu::schema();
/// assert_eq!(schema.hash(), Cpu::SCHEMA_HASH);
/// assert_eq!(schema.field("time_ns").unwrap().unit.as_deref(), Some("ns"));
/// assert_eq!(schema.field("host").unwrap().type_text(), "text[8]");
/// ```
///
/// With zerocopy among your own dependencies, at the same 0.8, the `#[zerocopy(…)]` line goes.
///
/// # Fields
/// - Numbers: `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, also through aliases.
/// - Arrays of them; an array of arrays is one array, row after row.
/// - `[u8; N]` with `#[frame(text)]`: UTF-8 padded with NUL.
/// - Other frames: their fields appear with dotted names (`pos.x`), those of an array of frames
///   with the index between (`legs.0.angle`). A field without unit or doc takes that of the outer
///   one.
/// - A name that starts with `_` is padding: not decoded, not in the hash. zerocopy refuses padding
///   that is not declared.
///
/// `usize`, `isize`, `bool`, `char`, pointers and references are refused, since they differ from
/// process to process or have bit patterns that are no value.
///
/// # Attributes
/// | on | attribute | meaning | default |
/// |---|---|---|---|
/// | the struct | `kind = 7` | the kind that frames of this type carry | 0 |
/// | the struct | `name = "cpu"` | what tools call it | the struct's name |
/// | a field | `unit = "ns"` | the unit that tools show | none |
/// | a field | `text` | `[u8; N]` holds text | numbers |
///
/// The first paragraph of a field's doc comment becomes its `doc` in the schema.
///
/// # Safety
/// What [`FIELDS`](Self::FIELDS) says must be the layout of `Self`, and the layout must be the same
/// in every program: `#[repr(C)]`, and nothing in it whose size depends on the target. The derive
/// macro sees to both.
///
/// # Examples
/// A type that differs between processes does not compile:
/// ```compile_fail,E0277
/// # use busway::{Frame, zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout}};
/// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[zerocopy(crate = "busway::zerocopy")]
/// #[repr(C)]
/// struct Bad {
///     length: usize, // error: `usize` cannot be a field of a frame
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a frame type",
    label = "needs `#[derive(Frame)]`",
    note = "derive `Frame` and zerocopy's `FromBytes`, `IntoBytes`, \
            `KnownLayout`, `Immutable` on a `#[repr(C)]` struct"
)]
pub unsafe trait Frame:
    FromBytes + IntoBytes + KnownLayout + Immutable + Copy + 'static
{
    /// What tools call the type. Not part of the hash.
    const NAME: &'static str;

    /// The kind that frames of this type carry in their header. Not part of the hash.
    const KIND: u16 = 0;

    /// The table of fields, in the order of their offsets; written by the derive macro.
    #[doc(hidden)]
    const FIELDS: &'static [FieldDef];

    /// The hash of the layout; equal to [`Schema::hash`] of [`schema()`](Self::schema). Never 0.
    const SCHEMA_HASH: u64 = hash::of_type(size_of::<Self>(), Self::FIELDS);

    /// The layout as a value, for tools and for the segment.
    ///
    /// Cost: allocates; not for the data path.
    fn schema() -> Schema {
        let mut fields = Vec::new();
        flatten(Self::FIELDS, "", 0, (None, None), &mut fields);
        Schema {
            name: Self::NAME.to_owned(),
            kind: Self::KIND,
            size_bytes: narrow(size_of::<Self>()),
            align_bytes: narrow(align_of::<Self>()),
            fields,
        }
    }
}

impl Schema {
    /// The schema of a frame type; the same as `T::schema()`.
    pub fn of<T: Frame>() -> Self {
        T::schema()
    }
}

/// What must not compile, each beside the field that is wrong.
///
/// ```compile_fail,E0277
/// # use busway::{Frame, zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout}};
/// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[zerocopy(crate = "busway::zerocopy")]
/// #[repr(C)]
/// struct Gap { small: u8, large: u32 }
/// ```
/// ```compile_fail,E0277
/// # use busway::{Frame, zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout}};
/// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[zerocopy(crate = "busway::zerocopy")]
/// #[repr(C)]
/// struct Text { #[frame(text)] wide: [u16; 4] }
/// ```
/// ```compile_fail,E0080
/// # use busway::{Frame, zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout}};
/// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[zerocopy(crate = "busway::zerocopy")]
/// #[repr(C)]
/// struct Empty { none: [u8; 0], one: u8 }
/// ```
/// ```compile_fail,E0080
/// # use busway::{Frame, zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout}};
/// #[derive(Clone, Copy, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
/// #[zerocopy(crate = "busway::zerocopy")]
/// #[repr(C)]
/// struct Large { too_large: [u64; 131_073] }
/// ```
/// ```compile_fail,E0277
/// # use busway::Frame;
/// #[derive(Clone, Copy, Frame)]
/// #[repr(C)]
/// struct WithoutZerocopy { one: u8 }
/// ```
#[cfg(doctest)]
struct Refused;

/// The type parameter of an untyped [`Producer`](crate::Producer) or
/// [`Consumer`](crate::Consumer): frames are bytes.
#[derive(Clone, Copy, Debug)]
pub enum Raw {}

/// A type that a field of a frame may have. Implemented for numbers and arrays here, and by the
/// derive macro for frames.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a field of a frame",
    label = "not a fixed-layout number, array or frame",
    note = "fields are u8 to u64, i8 to i64, f32, f64, arrays of them, `[u8; N]` \
            with #[frame(text)], or types that derive `Frame`",
    note = "instead of usize take u64, of bool a u8 that is 0 or 1, of char a u32"
)]
pub trait FrameField {
    /// What such a field looks like in memory.
    const SHAPE: Shape;
}

/// A type whose bytes can hold text: `[u8; N]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold text",
    label = "must be `[u8; N]`",
    note = "#[frame(text)] is for byte arrays, padded with NUL"
)]
pub trait TextField {
    /// What such a field looks like in memory.
    const SHAPE: Shape;
}

macro_rules! numbers {
    ($($number:ty => $field_type:ident),+) => {
        $(impl FrameField for $number {
            const SHAPE: Shape = Shape::Number(FieldType::$field_type);
        })+
    };
}

numbers!(u8 => U8, u16 => U16, u32 => U32, u64 => U64);
numbers!(i8 => I8, i16 => I16, i32 => I32, i64 => I64);
numbers!(f32 => F32, f64 => F64);

impl<T: FrameField, const N: usize> FrameField for [T; N] {
    const SHAPE: Shape = match T::SHAPE {
        Shape::Number(number) => Shape::Numbers(number, N),
        Shape::Numbers(number, count) => Shape::Numbers(number, count * N),
        Shape::Frame(_) | Shape::Array { .. } => {
            Shape::Array { of: &T::SHAPE, stride_bytes: size_of::<T>(), count: N }
        }
    };
}

impl<const N: usize> TextField for [u8; N] {
    const SHAPE: Shape = Shape::Numbers(FieldType::Text, N);
}

/// Holds a type to the limits of schemas while it is compiled; a limit that is broken is a compile
/// error at the derive, which has checked names by itself.
///
/// # Panics
/// When a limit is broken, which ends the compilation.
pub const fn check(size_bytes: usize, align_bytes: usize, fields: &[FieldDef]) {
    assert!(size_bytes <= SIZE_BYTES_MAX as usize, "a frame has at most 1 MiB");
    assert!(align_bytes <= ALIGN_BYTES_MAX as usize, "a frame is aligned to at most 64 bytes");
    let count = check_fields(fields, 0);
    assert!(count <= FIELDS_MAX, "a frame has at most 256 fields, those of nested frames included");
}

/// Checks each field and counts them all, nested ones too.
const fn check_fields(fields: &[FieldDef], outer_bytes: usize) -> usize {
    let mut count = 0;
    let mut rest = fields;
    while let [def, tail @ ..] = rest {
        assert!(def.unit.len() <= UNIT_BYTES_MAX, "the unit of a field has at most 32 bytes");
        count += check_shape(&def.shape, outer_bytes + def.name.len());
        rest = tail;
    }
    count
}

const fn check_shape(shape: &Shape, name_bytes: usize) -> usize {
    match *shape {
        Shape::Number(_) | Shape::Numbers(..) => {
            let none = matches!(*shape, Shape::Numbers(_, 0));
            assert!(!none, "an array in a frame has at least one element");
            assert!(
                name_bytes <= FIELD_NAME_BYTES_MAX,
                "the name of a field has at most 128 bytes, with those of the frames around it"
            );
            1
        }
        Shape::Frame(fields) => check_fields(fields, name_bytes + 1),
        Shape::Array { of, count, .. } => {
            assert!(count > 0, "an array in a frame has at least one element");
            count * check_shape(of, name_bytes + 1 + count.ilog10() as usize + 1)
        }
    }
}

/// Unit and doc of the field around, for fields that have none of their own.
type Notes = (Option<&'static str>, Option<&'static str>);

/// Writes a table of fields as schema fields, nested ones with dotted names.
fn flatten(
    defs: &[FieldDef],
    prefix: &str,
    base_bytes: usize,
    outer: Notes,
    fields: &mut Vec<Field>,
) {
    let own = |text: &'static str| (!text.is_empty()).then_some(text);
    for def in defs {
        let notes = (own(def.unit).or(outer.0), own(def.doc).or(outer.1));
        let name = format!("{prefix}{}", def.name);
        flatten_shape(&def.shape, name, base_bytes + def.offset_bytes, notes, fields);
    }
}

fn flatten_shape(
    shape: &Shape,
    name: String,
    offset_bytes: usize,
    notes: Notes,
    fields: &mut Vec<Field>,
) {
    let (field_type, count) = match *shape {
        Shape::Number(number) => (number, None),
        Shape::Numbers(number, count) => (number, Some(narrow(count))),
        Shape::Frame(defs) => {
            return flatten(defs, &format!("{name}."), offset_bytes, notes, fields);
        }
        Shape::Array { of, stride_bytes, count } => {
            for index in 0..count {
                let offset_bytes = offset_bytes + index * stride_bytes;
                flatten_shape(of, format!("{name}.{index}"), offset_bytes, notes, fields);
            }
            return;
        }
    };
    fields.push(Field {
        name,
        field_type,
        offset_bytes: narrow(offset_bytes),
        count,
        unit: notes.0.map(str::to_owned),
        doc: notes.1.map(str::to_owned),
    });
}

/// Sizes and offsets of a frame fit: [`check`] holds it to [`SIZE_BYTES_MAX`].
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
