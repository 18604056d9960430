//! The values of fields, as people and JSON see them.

use std::fmt;

/// What a field holds.
///
/// An `f32` becomes the `f64` with the same shortest decimal form, so that 0.1 is shown as 0.1; it
/// goes back to the same `f32`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any unsigned number.
    U64(u64),
    /// Any signed number.
    I64(i64),
    /// Any floating-point number.
    F64(f64),
    /// A text, up to its first NUL; bytes that are not UTF-8 become U+FFFD.
    Text(String),
    /// The elements of an array.
    List(Vec<Value>),
}

impl Value {
    /// The value as JSON. Floats that JSON cannot spell become the strings `"NaN"`, `"inf"` and
    /// `"-inf"`, which [`Schema::encode`](super::Schema::encode) takes back.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::U64(number) => (*number).into(),
            Self::I64(number) => (*number).into(),
            Self::F64(number) => match serde_json::Number::from_f64(*number) {
                Some(number) => number.into(),
                None => number.to_string().into(),
            },
            Self::Text(text) => text.as_str().into(),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
        }
    }
}

/// Numbers plain, lists in brackets, text without quotes. Control characters in a text are escaped:
/// it may come from a stranger and go to a terminal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U64(number) => fmt::Display::fmt(number, f),
            Self::I64(number) => fmt::Display::fmt(number, f),
            Self::F64(number) => fmt::Display::fmt(number, f),
            Self::Text(text) if text.contains(char::is_control) => {
                let escape = |c: char| {
                    if c.is_control() { c.escape_default().to_string() } else { c.into() }
                };
                f.pad(&text.chars().map(escape).collect::<String>())
            }
            Self::Text(text) => f.pad(text),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    fmt::Display::fmt(value, f)?;
                }
                f.write_str("]")
            }
        }
    }
}
