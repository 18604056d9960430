//! From the bytes of a frame to values, by schema.
//!
//! Total: any schema with any bytes gives values, never a panic. Not for the data path, it
//! allocates.

use super::{Field, FieldType, Schema, Value};

impl Schema {
    /// The values of a frame's fields in the order of the schema, padding left out.
    ///
    /// A payload shorter than the schema gives the fields that it holds completely; bytes
    /// beyond the schema are ignored.
    pub fn decode(&self, payload: &[u8]) -> Vec<(String, Value)> {
        self.values(payload).map(|(field, value)| (field.name.clone(), value)).collect()
    }

    /// As [`decode`](Self::decode), as a JSON object.
    pub fn decode_json(&self, payload: &[u8]) -> serde_json::Map<String, serde_json::Value> {
        self.values(payload).map(|(field, value)| (field.name.clone(), value.to_json())).collect()
    }

    fn values(&self, payload: &[u8]) -> impl Iterator<Item = (&Field, Value)> {
        let fields = self.fields.iter().filter(|field| !field.is_padding());
        fields.filter_map(move |field| Some((field, value(field, field.slot(payload)?))))
    }
}

fn value(field: &Field, slot: &[u8]) -> Value {
    if field.field_type == FieldType::Text {
        let text = slot.split(|byte| *byte == 0).next().unwrap_or_default();
        return Value::Text(String::from_utf8_lossy(text).into_owned());
    }
    if field.count.is_none() {
        return number(field.field_type, slot);
    }
    let element_bytes = field.field_type.size_bytes() as usize;
    let elements = slot.chunks_exact(element_bytes);
    Value::List(elements.map(|element| number(field.field_type, element)).collect())
}

/// One number from its little-endian bytes, of which there are as many as the type has.
// Truncation to the width of the type is what makes it that type.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
fn number(field_type: FieldType, bytes: &[u8]) -> Value {
    let bits = bytes.iter().rev().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    match field_type {
        FieldType::U8 | FieldType::U16 | FieldType::U32 | FieldType::U64 | FieldType::Text => {
            Value::U64(bits)
        }
        FieldType::I8 => Value::I64(i64::from(bits as i8)),
        FieldType::I16 => Value::I64(i64::from(bits as i16)),
        FieldType::I32 => Value::I64(i64::from(bits as i32)),
        FieldType::I64 => Value::I64(bits as i64),
        FieldType::F32 => Value::F64(shortest(f32::from_bits(bits as u32))),
        FieldType::F64 => Value::F64(f64::from_bits(bits)),
    }
}

/// The `f64` that prints as the `f32` prints, when it leads back to it.
// The way back is compared bit for bit.
#[allow(clippy::cast_possible_truncation)]
fn shortest(number: f32) -> f64 {
    match number.to_string().parse::<f64>() {
        Ok(short) if (short as f32).to_bits() == number.to_bits() => short,
        _ => f64::from(number),
    }
}
