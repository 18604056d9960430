//! One field of a frame and the types it can have.

/// The type of a field's numbers, or text. Spelled in lower case in documents: `u8`, `f64`, `text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 8 bits, two's complement.
    I8,
    /// Signed, 16 bits, two's complement.
    I16,
    /// Signed, 32 bits, two's complement.
    I32,
    /// Signed, 64 bits, two's complement.
    I64,
    /// IEEE 754, 32 bits.
    F32,
    /// IEEE 754, 64 bits.
    F64,
    /// UTF-8 in a fixed number of bytes, padded with NUL.
    Text,
}

impl FieldType {
    /// The spelling in documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Text => "text",
        }
    }

    /// The size of one number, or of one byte of text. It is also the alignment.
    #[must_use]
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::U8 | Self::I8 | Self::Text => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// The least and greatest whole number that fits; `None` for floats and text.
    pub(super) const fn integer_range(self) -> Option<(i128, i128)> {
        match self {
            Self::U8 => Some((0, u8::MAX as i128)),
            Self::U16 => Some((0, u16::MAX as i128)),
            Self::U32 => Some((0, u32::MAX as i128)),
            Self::U64 => Some((0, u64::MAX as i128)),
            Self::I8 => Some((i8::MIN as i128, i8::MAX as i128)),
            Self::I16 => Some((i16::MIN as i128, i16::MAX as i128)),
            Self::I32 => Some((i32::MIN as i128, i32::MAX as i128)),
            Self::I64 => Some((i64::MIN as i128, i64::MAX as i128)),
            Self::F32 | Self::F64 | Self::Text => None,
        }
    }
}

impl std::fmt::Display for FieldType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One field of a frame: a number, an array of numbers, or a text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Field {
    /// The name; the fields of a nested frame have dotted names (`pos.x`).
    pub name: String,
    /// The type of each element.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Where it starts in the frame.
    pub offset_bytes: u32,
    /// The number of elements of an array, or of bytes of a text; `None` for a single number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The unit that people read, such as `ns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// One paragraph for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
}

impl Field {
    /// The size of the whole field. It may exceed a `u32` in a schema that is not valid.
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.field_type.size_bytes()) * u64::from(self.count.unwrap_or(1))
    }

    /// Whether the field only fills space: a part of its name starts with `_`. Padding is not
    /// decoded and not hashed.
    pub fn is_padding(&self) -> bool {
        self.name.split('.').any(|part| part.starts_with('_'))
    }

    /// The first byte after the field.
    pub(super) fn end_bytes(&self) -> u64 {
        u64::from(self.offset_bytes) + self.size_bytes()
    }

    /// The field's type as people read it: `u32`, `f32[4]`, `text[16]`.
    pub fn type_text(&self) -> String {
        match self.count {
            None => self.field_type.name().to_owned(),
            Some(count) => format!("{}[{count}]", self.field_type),
        }
    }

    /// The field's bytes in a payload; `None` if the payload is too short to hold it.
    pub(super) fn slot<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        payload.get(self.range()?)
    }

    /// As [`slot`](Self::slot), for writing.
    pub(super) fn slot_mut<'a>(&self, payload: &'a mut [u8]) -> Option<&'a mut [u8]> {
        payload.get_mut(self.range()?)
    }

    fn range(&self) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(self.offset_bytes).ok()?;
        let end = usize::try_from(self.end_bytes()).ok()?;
        Some(start..end)
    }
}
