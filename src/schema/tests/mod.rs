//! Tests of schemas: documents and layouts, values, and properties of any input.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

mod codec;
mod document;
mod properties;

use serde_json::{Map, Value as Json, json};

use super::{Schema, SchemaError};

fn parse(document: &Json) -> Result<Schema, SchemaError> {
    Schema::from_json(document.to_string())
}

fn fields(fields: &Json) -> Result<Schema, SchemaError> {
    parse(&json!({"name": "t", "fields": fields}))
}

/// The sentence a document is refused with.
fn refusal(document: &Json) -> String {
    parse(document).unwrap_err().to_string()
}

/// The sentence these fields are refused with.
fn field_refusal(document: &Json) -> String {
    fields(document).unwrap_err().to_string()
}

fn sample() -> Schema {
    fields(&json!([
        {"name": "time_ns", "type": "u64", "unit": "ns"},
        {"name": "delta", "type": "i16", "count": 2},
        {"name": "small", "type": "u8"},
        {"name": "_pad", "type": "u8", "count": 3},
        {"name": "ratio", "type": "f32"},
        {"name": "step", "type": "i32"},
        {"name": "exact", "type": "f64"},
        {"name": "host", "type": "text", "count": 8}
    ]))
    .unwrap()
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}
