//! What holds for any schema, any bytes and any text.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::{Field, FieldType, Schema};
use super::{fields, parse, sample};

/// Any number or text field, with its size a multiple of 8 so that no padding is needed.
fn any_field() -> impl Strategy<Value = (FieldType, Option<u32>)> {
    let wide = prop_oneof![Just(FieldType::U64), Just(FieldType::I64), Just(FieldType::F64)];
    let four = prop_oneof![Just(FieldType::U32), Just(FieldType::I32), Just(FieldType::F32)];
    let two = prop_oneof![Just(FieldType::U16), Just(FieldType::I16)];
    let one = prop_oneof![Just(FieldType::U8), Just(FieldType::I8), Just(FieldType::Text)];
    prop_oneof![
        wide.clone().prop_map(|field_type| (field_type, None)),
        (wide, 1_u32..4).prop_map(|(field_type, count)| (field_type, Some(count))),
        (four, 1_u32..4).prop_map(|(field_type, count)| (field_type, Some(count * 2))),
        (two, 1_u32..4).prop_map(|(field_type, count)| (field_type, Some(count * 4))),
        (one, 1_u32..4).prop_map(|(field_type, count)| (field_type, Some(count * 8))),
    ]
}

/// Schemas with fields of every type.
fn any_schema() -> impl Strategy<Value = Schema> {
    proptest::collection::vec(any_field(), 1..12).prop_map(|list| {
        let list: Vec<_> = list
            .into_iter()
            .enumerate()
            .map(|(index, (field_type, count))| {
                json!({"name": format!("f.{index}"), "type": field_type, "count": count})
            })
            .collect();
        fields(&json!(list)).unwrap()
    })
}

/// Whether every value of the field has one spelling in bytes: a text may hold bytes after its end,
/// and a NaN bits that JSON does not show.
fn is_faithful(field: &Field) -> bool {
    !matches!(field.field_type, FieldType::Text | FieldType::F32 | FieldType::F64)
}

proptest! {
    #[test]
    fn any_schema_survives_its_document(schema in any_schema()) {
        let read = Schema::from_json(schema.to_json().unwrap()).unwrap();
        prop_assert_eq!(read.hash(), schema.hash());
        prop_assert_eq!(read, schema);
    }

    #[test]
    fn any_bytes_survive_decoding_and_encoding(
        schema in any_schema(),
        mut bytes in proptest::collection::vec(any::<u8>(), 400),
    ) {
        // Text that is no UTF-8 does not survive: what stands for a bad byte is longer than it.
        for field in schema.fields.iter().filter(|field| field.field_type == FieldType::Text) {
            field.slot_mut(&mut bytes).unwrap().iter_mut().for_each(|byte| *byte &= 0x7f);
        }
        let payload = &bytes[..schema.size_bytes as usize];
        let values = schema.decode_json(payload);
        let again = schema.encode(&values).unwrap();
        // Values, as JSON text: it tells NaN from numbers and -0 from 0.
        prop_assert_eq!(
            Json::Object(schema.decode_json(&again)).to_string(),
            Json::Object(values).to_string()
        );
        for field in schema.fields.iter().filter(|field| is_faithful(field)) {
            prop_assert_eq!(field.slot(&again), field.slot(payload));
        }
    }

    #[test]
    fn any_f32_survives(number in any::<f32>()) {
        let schema = fields(&json!([{"name": "x", "type": "f32"}])).unwrap();
        let payload = schema.encode(&schema.decode_json(&number.to_le_bytes())).unwrap();
        let back = f32::from_le_bytes(payload.try_into().unwrap());
        prop_assert!(back.to_bits() == number.to_bits() || back.is_nan() && number.is_nan());
    }

    #[test]
    fn any_document_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Schema::from_json(&bytes);
    }

    /// Documents of the right form with hostile numbers and names.
    #[test]
    fn any_hostile_document_is_answered(
        list in proptest::collection::vec(
            (".{0,6}|[a-z._]{1,8}", 0..12_usize, any::<Option<u32>>(), any::<Option<u32>>()),
            0..8,
        ),
        size_bytes in any::<Option<u32>>(),
        align_bytes in any::<Option<u32>>(),
        payload in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        const TYPES: [&str; 12] = [
            "u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "text", "bool",
        ];
        let list: Vec<_> = list
            .iter()
            .map(|(name, index, offset_bytes, count)| json!({
                "name": name, "type": TYPES[*index], "offset_bytes": offset_bytes, "count": count,
            }))
            .collect();
        let document = json!({
            "name": "t", "size_bytes": size_bytes, "align_bytes": align_bytes, "fields": list,
        });
        if let Ok(schema) = parse(&document) {
            prop_assert_eq!(schema.check(), Ok(()));
            schema.decode(&payload);
        }
    }

    #[test]
    fn any_assignment_is_answered(text in ".{0,20}", name in 0..7_usize) {
        let schema = sample();
        let (mut payload, fields) = (vec![0; 40], schema.decode(&[0; 40]));
        let _ = schema.set(&mut payload, &text);
        let _ = schema.set(&mut payload, &format!("{}={text}", fields[name].0));
    }
}
