//! Schema documents from strangers, and whatever follows from one that is accepted.
//!
//! An input is a document, then, after a NUL, the bytes of a payload.

#![no_main]

use busway::Schema;
use busway::schema::{FieldType, SIZE_BYTES_MAX};
use busway_fuzz::bytes::Bytes;
use busway_fuzz::leaks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    leaks::keeps_no_memory(|| {
        let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
        let (document, rest) = data.split_at(end);
        let payload = rest.get(1..).unwrap_or_default();
        match Schema::from_json(document) {
            Ok(schema) => {
                follow(&schema, payload);
                twist(schema, payload);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
});

/// What must hold of every schema that was accepted.
fn follow(schema: &Schema, payload: &[u8]) {
    assert_eq!(schema.check(), Ok(()));
    assert_ne!(schema.hash(), 0);
    // What is filled in may make a document too long to store; otherwise it means the same.
    if let Ok(document) = schema.to_json() {
        let again = Schema::from_json(&document).expect("what was written is read");
        assert_eq!(&again, schema);
        assert_eq!(again.hash(), schema.hash());
    }
    let values = schema.decode(payload);
    assert_eq!(values.len(), schema.decode_json(payload).len());
    let mut whole = payload.to_vec();
    whole.resize(schema.size_bytes as usize, 0);
    let object = schema.decode_json(&whole);
    let seen = schema.fields.iter().filter(|field| !field.is_padding());
    assert_eq!(object.len(), seen.clone().count());
    // A text that is no UTF-8 grows when it is read, and then may not fit any more.
    let is_text = |field: &busway::schema::Field| field.field_type == FieldType::Text;
    if !seen.clone().any(is_text) {
        let encoded = schema.encode(&object).expect("what was decoded can be encoded");
        let again = schema.decode_json(&encoded);
        // As text, which tells NaN from numbers and -0 from 0.
        assert_eq!(
            serde_json::Value::from(again).to_string(),
            serde_json::Value::from(object).to_string()
        );
    }
    for (name, value) in schema.decode(&whole) {
        let before = whole.clone();
        let typed = value.to_string();
        let typed = typed.trim_start_matches('[').trim_end_matches(']');
        if schema.set(&mut whole, &format!("{name}={typed}")).is_err() {
            assert_eq!(whole, before, "a value that was refused has changed the payload");
        }
        whole = before;
    }
    if let Ok(text) = std::str::from_utf8(payload) {
        let _set = schema.set(&mut whole, text);
    }
}

/// A schema that was changed by hand gives wrong values, and no panic.
fn twist(mut schema: Schema, payload: &[u8]) {
    let mut bytes = Bytes(payload);
    let fields = schema.fields.len();
    let field = &mut schema.fields[usize::from(bytes.byte()) % fields];
    match bytes.byte() % 4 {
        0 => field.offset_bytes = bytes.number(),
        1 => field.count = Some(bytes.number()),
        2 => field.name = String::from_utf8_lossy(bytes.0).into_owned(),
        _ => schema.size_bytes = bytes.number(),
    }
    let _checked = (schema.check(), schema.hash(), schema.to_json());
    let _values = (schema.decode(payload), schema.decode_json(payload));
    if schema.size_bytes <= SIZE_BYTES_MAX {
        let _bytes = schema.encode(&schema.decode_json(payload));
    }
}
