//! Why a schema or its document was refused.

use super::{
    ALIGN_BYTES_MAX, DOCUMENT_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, NAME_BYTES_MAX,
    SIZE_BYTES_MAX, UNIT_BYTES_MAX,
};

/// A schema that cannot be used. The message names the value and says what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// The document is longer than [`DOCUMENT_BYTES_MAX`].
    TooLong {
        /// The document's length.
        bytes: usize,
    },
    /// The document is not JSON, or not of the documented form.
    Syntax {
        /// What the parser says, with line and column.
        message: String,
    },
    /// The frame type's name is not allowed.
    BadName {
        /// The name.
        name: String,
    },
    /// There is no field.
    NoFields,
    /// There are more fields than [`FIELDS_MAX`].
    TooManyFields {
        /// How many there are.
        count: usize,
    },
    /// A field's name is not allowed.
    BadFieldName {
        /// The name.
        field: String,
    },
    /// Two fields have the same name.
    DuplicateField {
        /// The name.
        field: String,
    },
    /// A field's count is 0, or a text has none.
    BadCount {
        /// The field.
        field: String,
    },
    /// A unit or doc holds control characters, or a unit is longer than [`UNIT_BYTES_MAX`].
    BadNote {
        /// The field.
        field: String,
        /// `unit` or `doc`.
        key: &'static str,
    },
    /// The fields do not tile the frame.
    Layout(LayoutError),
}

/// Sizes and places that do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutError {
    /// A field starts where its type cannot.
    Misaligned {
        /// The field.
        field: String,
        /// Where it starts.
        offset_bytes: u32,
        /// What that must be a multiple of.
        align_bytes: u32,
    },
    /// A field starts before the one before it ends.
    Overlap {
        /// The field.
        field: String,
        /// Where it starts.
        offset_bytes: u32,
        /// The field before.
        previous: String,
        /// Where that one ends.
        end_bytes: u64,
    },
    /// Bytes that no field covers.
    Gap {
        /// Where they start.
        offset_bytes: u64,
        /// How many there are.
        bytes: u64,
        /// The field that follows; `None` at the end of the frame.
        before: Option<String>,
    },
    /// A field ends after the frame does.
    PastEnd {
        /// The field.
        field: String,
        /// Where it ends.
        end_bytes: u64,
        /// The frame's size.
        size_bytes: u32,
    },
    /// The frame is larger than [`SIZE_BYTES_MAX`].
    TooLarge {
        /// Its size.
        size_bytes: u64,
    },
    /// The frame's alignment is not allowed.
    BadAlign {
        /// The alignment.
        align_bytes: u32,
        /// The least that the fields need.
        need_bytes: u32,
    },
}

impl std::fmt::Display for SchemaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "schema document of {bytes} bytes: at most {DOCUMENT_BYTES_MAX} fit, \
                 shorten docs or names"
            ),
            Self::Syntax { message } => write!(f, "schema document: {message}"),
            Self::BadName { name } => write!(
                f,
                "schema name {name:?}: must be 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ . -"
            ),
            Self::NoFields => f.write_str("schema without fields: at least one is needed"),
            Self::TooManyFields { count } => {
                write!(f, "schema with {count} fields: at most {FIELDS_MAX} are allowed")
            }
            Self::BadFieldName { field } => write!(
                f,
                "field name {field:?}: must be parts of A-Z a-z 0-9 _ joined by dots, \
                 at most {FIELD_NAME_BYTES_MAX} bytes"
            ),
            Self::DuplicateField { field } => write!(f, "field {field:?} is declared twice"),
            Self::BadCount { field } => write!(
                f,
                "field {field:?} needs a count of at least 1 (a single number has \
                 none, a text needs its bytes)"
            ),
            Self::BadNote { field, key: "unit" } => write!(
                f,
                "unit of field {field:?}: at most {UNIT_BYTES_MAX} bytes and no control characters"
            ),
            Self::BadNote { field, key } => {
                write!(f, "{key} of field {field:?}: no control characters are allowed")
            }
            Self::Layout(error) => error.fmt(f),
        }
    }
}

impl std::fmt::Display for LayoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Misaligned { field, offset_bytes, align_bytes } => write!(
                f,
                "field {field:?} starts at byte {offset_bytes}: must be a multiple of {align_bytes}"
            ),
            Self::Overlap { field, offset_bytes, previous, end_bytes } => write!(
                f,
                "field {field:?} starts at byte {offset_bytes}, \
                 but {previous:?} ends at byte {end_bytes}"
            ),
            Self::Gap { offset_bytes, bytes, before } => {
                let end_bytes = offset_bytes + bytes;
                write!(
                    f,
                    "no field covers bytes {offset_bytes}..{end_bytes}: add \
                     {{\"name\": \"_pad{offset_bytes}\", \"type\": \"u8\", \"count\": {bytes}}} "
                )?;
                match before {
                    Some(field) => write!(f, "before field {field:?}"),
                    None => f.write_str("as the last field"),
                }
            }
            Self::PastEnd { field, end_bytes, size_bytes } => write!(
                f,
                "field {field:?} ends at byte {end_bytes}, but the frame has {size_bytes} bytes"
            ),
            Self::TooLarge { size_bytes } => {
                write!(f, "frame of {size_bytes} bytes: at most {SIZE_BYTES_MAX} are allowed")
            }
            Self::BadAlign { align_bytes, need_bytes } => write!(
                f,
                "frame alignment {align_bytes}: must be a power of two from \
                 {need_bytes} (its widest field) to {ALIGN_BYTES_MAX}"
            ),
        }
    }
}

impl std::error::Error for SchemaError {}

impl std::error::Error for LayoutError {}

impl From<LayoutError> for SchemaError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}
