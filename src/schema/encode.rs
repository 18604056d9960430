//! From values to the bytes of a frame, by schema: a JSON object, or `field=value` as on a command
//! line.

use std::fmt;

use serde_json::Value as Json;

use super::{Field, FieldType, Schema};

/// A value that does not fit its field. The message names both and says what fits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueError {
    /// The schema has no such field.
    UnknownField {
        /// The name that was given.
        field: String,
        /// The names there are, joined by commas.
        known: String,
    },
    /// Not of the form `field=value`.
    NotAssignment {
        /// What was given.
        text: String,
    },
    /// Not a value of the field's type.
    WrongType {
        /// The field.
        field: String,
        /// Its type.
        want: String,
        /// What was given.
        value: String,
    },
    /// A number that the field's type cannot hold.
    OutOfRange {
        /// The field.
        field: String,
        /// What was given.
        value: String,
        /// The range of the type.
        range: String,
    },
    /// An array with another number of elements.
    WrongCount {
        /// The field.
        field: String,
        /// How many were given.
        count: usize,
        /// How many there must be.
        want: u32,
    },
    /// A text that is longer than its field.
    TextTooLong {
        /// The field.
        field: String,
        /// Its length.
        bytes: usize,
        /// The field's length.
        max_bytes: usize,
    },
    /// A text with a NUL in it, which would end it.
    NulInText {
        /// The field.
        field: String,
    },
    /// The payload ends before the field does.
    ShortPayload {
        /// The field.
        field: String,
        /// The payload's length.
        bytes: usize,
        /// Where the field ends.
        want_bytes: u64,
    },
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { field, known } => {
                write!(f, "no field {field:?}: the fields are {known}")
            }
            Self::NotAssignment { text } => write!(f, "{text:?}: must be field=value"),
            Self::WrongType { field, want, value } => {
                write!(f, "field {field:?} is {want}: {value} is not")
            }
            Self::OutOfRange { field, value, range } => {
                write!(f, "field {field:?}: {value} does not fit, must be {range}")
            }
            Self::WrongCount { field, count, want } => {
                write!(f, "field {field:?} has {want} elements: {count} were given")
            }
            Self::TextTooLong { field, bytes, max_bytes } => {
                write!(f, "field {field:?}: text of {bytes} bytes, at most {max_bytes} fit")
            }
            Self::NulInText { field } => {
                write!(f, "field {field:?}: text must not contain NUL, which ends it")
            }
            Self::ShortPayload { field, bytes, want_bytes } => write!(
                f,
                "field {field:?} ends at byte {want_bytes}, but the payload has {bytes} bytes"
            ),
        }
    }
}

impl std::error::Error for ValueError {}

impl Schema {
    /// The bytes of a frame with these field values. Fields that are not named are 0.
    ///
    /// Numbers are JSON numbers (floats also `"NaN"`, `"inf"`, `"-inf"`), arrays are lists of
    /// exactly their count, texts are strings.
    ///
    /// # Errors
    /// A name that the schema does not have, or a value that its field cannot hold.
    pub fn encode(&self, values: &serde_json::Map<String, Json>) -> Result<Vec<u8>, ValueError> {
        let mut payload = vec![0; self.size_bytes as usize];
        for (name, value) in values {
            self.store(&mut payload, name, &Given::Json(value))?;
        }
        Ok(payload)
    }

    /// Sets one field of a frame from `field=value`, the way people type it.
    ///
    /// Whole numbers may be hexadecimal (`0xff`), arrays are joined by commas (`1,2,3`), and a text
    /// is everything after the first `=`.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); also text without `=`, and a payload too short for the field.
    /// The payload is then as it was.
    pub fn set(&self, payload: &mut [u8], assignment: &str) -> Result<(), ValueError> {
        let Some((name, value)) = assignment.split_once('=') else {
            return Err(ValueError::NotAssignment { text: shown(assignment) });
        };
        self.store(payload, name.trim(), &Given::Typed(value))
    }

    fn store(&self, payload: &mut [u8], name: &str, given: &Given<'_>) -> Result<(), ValueError> {
        let Some(field) = self.field(name) else {
            let known = self.fields.iter().filter(|field| !field.is_padding());
            let known: Vec<_> = known.map(|field| field.name.as_str()).collect();
            return Err(ValueError::UnknownField { field: shown(name), known: known.join(", ") });
        };
        let bytes = payload.len();
        let Some(slot) = field.slot_mut(payload) else {
            let want_bytes = field.end_bytes();
            return Err(ValueError::ShortPayload { field: shown(name), bytes, want_bytes });
        };
        let bytes = field_bytes(field, slot.len(), given)?;
        slot.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(())
    }
}

/// A value as it was given.
enum Given<'a> {
    Json(&'a Json),
    Typed(&'a str),
}

impl<'a> Given<'a> {
    /// The text of a text field.
    fn text(&self) -> Option<&'a str> {
        match self {
            Self::Json(value) => value.as_str(),
            Self::Typed(text) => Some(text),
        }
    }

    /// The elements of an array field.
    fn elements(&self) -> Option<Vec<Given<'a>>> {
        match self {
            Self::Json(value) => Some(value.as_array()?.iter().map(Given::Json).collect()),
            Self::Typed(text) => Some(text.split(',').map(Given::Typed).collect()),
        }
    }

    /// A whole number. JSON may spell it with a fraction of zero (`1e3`).
    fn integer(&self) -> Option<i128> {
        match self {
            Self::Json(value) => match (value.as_u64(), value.as_i64()) {
                (Some(number), _) => Some(number.into()),
                (None, Some(number)) => Some(number.into()),
                (None, None) => whole(value.as_f64()?),
            },
            Self::Typed(text) => {
                let text = text.trim();
                let (sign, digits) = match text.strip_prefix('-') {
                    Some(digits) => (-1, digits),
                    None => (1, text),
                };
                match digits.strip_prefix("0x") {
                    // `from_str_radix` and `parse` take a sign of their own.
                    Some(digits) if !digits.starts_with(['+', '-']) => {
                        Some(sign * i128::from(u64::from_str_radix(digits, 16).ok()?))
                    }
                    Some(_) => None,
                    None => text.parse().ok(),
                }
            }
        }
    }

    fn float(&self) -> Option<f64> {
        match self {
            Self::Json(Json::String(text)) => match text.as_str() {
                "NaN" => Some(f64::NAN),
                "inf" => Some(f64::INFINITY),
                "-inf" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            Self::Json(value) => value.as_f64(),
            Self::Typed(text) => text.trim().parse().ok(),
        }
    }
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => f.write_str(&shown(&value.to_string())),
            Self::Typed(text) => write!(f, "{:?}", shown(text)),
        }
    }
}

/// The bytes of a field; exactly `slot_bytes`.
fn field_bytes(field: &Field, slot_bytes: usize, given: &Given<'_>) -> Result<Vec<u8>, ValueError> {
    if field.field_type == FieldType::Text {
        return text_bytes(field, slot_bytes, given);
    }
    let Some(want) = field.count else {
        let bytes = number_bytes(field, given)?;
        return Ok(bytes.into_iter().take(slot_bytes).collect());
    };
    let elements = given.elements().ok_or_else(|| wrong_type(field, given))?;
    if elements.len() != want as usize {
        let (field, count) = (field.name.clone(), elements.len());
        return Err(ValueError::WrongCount { field, count, want });
    }
    let element_bytes = field.field_type.size_bytes() as usize;
    let mut slot = Vec::with_capacity(slot_bytes);
    for element in &elements {
        slot.extend(number_bytes(field, element)?.into_iter().take(element_bytes));
    }
    Ok(slot)
}

fn text_bytes(field: &Field, slot_bytes: usize, given: &Given<'_>) -> Result<Vec<u8>, ValueError> {
    let text = given.text().ok_or_else(|| wrong_type(field, given))?;
    if text.len() > slot_bytes {
        let (field, bytes) = (field.name.clone(), text.len());
        return Err(ValueError::TextTooLong { field, bytes, max_bytes: slot_bytes });
    }
    if text.contains('\0') {
        return Err(ValueError::NulInText { field: field.name.clone() });
    }
    let mut slot = text.as_bytes().to_vec();
    slot.resize(slot_bytes, 0);
    Ok(slot)
}

/// One number, little endian, in the first bytes of the array.
fn number_bytes(field: &Field, given: &Given<'_>) -> Result<[u8; 16], ValueError> {
    let Some((min, max)) = field.field_type.integer_range() else {
        let number = given.float().ok_or_else(|| wrong_type(field, given))?;
        return Ok(u128::from(float_bits(field, number, given)?).to_le_bytes());
    };
    let number = given.integer().ok_or_else(|| wrong_type(field, given))?;
    if !(min..=max).contains(&number) {
        return Err(out_of_range(field, given, format!("from {min} to {max}")));
    }
    // Two's complement: the low bytes are the narrower type's.
    Ok(number.to_le_bytes())
}

/// The bits of a float in the width of its field.
// Losing digits is what storing a number as f32 means; losing its size is checked.
#[allow(clippy::cast_possible_truncation)]
fn float_bits(field: &Field, number: f64, given: &Given<'_>) -> Result<u64, ValueError> {
    if field.field_type == FieldType::F64 {
        return Ok(number.to_bits());
    }
    let narrow = number as f32;
    if narrow.is_infinite() && number.is_finite() {
        return Err(out_of_range(field, given, format!("from {:e} to {:e}", f32::MIN, f32::MAX)));
    }
    Ok(narrow.to_bits().into())
}

/// A float that is a whole number which it can count exactly.
// Both casts are exact below 2^53.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Option<i128> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(number as i128)
}

fn wrong_type(field: &Field, given: &Given<'_>) -> ValueError {
    let (want, value) = (field.type_text(), given.to_string());
    ValueError::WrongType { field: field.name.clone(), want, value }
}

fn out_of_range(field: &Field, given: &Given<'_>, range: String) -> ValueError {
    ValueError::OutOfRange { field: field.name.clone(), value: given.to_string(), range }
}

/// As much of what was given as belongs into a message.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 64;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
