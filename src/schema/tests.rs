//! Schemas as documents, layouts and codecs: what is accepted, what is refused and with which words.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::{
    DOCUMENT_BYTES_MAX, FIELDS_MAX, Field, FieldType, Schema, SchemaError, Value, ValueError,
};

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

#[test]
fn what_a_document_leaves_out_is_what_c_would_do() {
    let schema = sample();
    assert_eq!(
        (schema.size_bytes, schema.align_bytes, schema.kind),
        (40, 8, 0)
    );
    assert_eq!(
        schema.layout_text(),
        "size 40\ntime_ns u64 0\ndelta i16[2] 8\nsmall u8 12\nratio f32 16\nstep i32 20\nexact f64 24\n\
         host text[8] 32\n"
    );
}

#[test]
fn padding_takes_no_part_in_the_hash() {
    let with = |name: &str| {
        fields(&json!([
            {"name": "a", "type": "u32"}, {"name": name, "type": "u32"},
            {"name": "b", "type": "u64"}
        ]))
        .unwrap()
        .hash()
    };
    assert_eq!(with("_pad"), with("inner._reserved"));
    assert_ne!(with("_pad"), with("pad"));
}

#[test]
fn hash_of_fields_in_another_order_of_writing_is_the_same() {
    let forth = fields(&json!([
        {"name": "a", "type": "u32", "offset_bytes": 0},
        {"name": "b", "type": "u32", "offset_bytes": 4}
    ]));
    let back = fields(&json!([
        {"name": "b", "type": "u32", "offset_bytes": 4},
        {"name": "a", "type": "u32", "offset_bytes": 0}
    ]));
    assert_eq!(forth.unwrap(), back.unwrap());
}

#[test]
fn hidden_padding_is_refused_with_the_field_to_add() {
    let gap = json!([{"name": "a", "type": "u8"}, {"name": "b", "type": "u32"}]);
    assert_eq!(
        field_refusal(&gap),
        "no field covers bytes 1..4: add {\"name\": \"_pad1\", \"type\": \"u8\", \"count\": 3} \
         before field \"b\""
    );
    let tail = json!([{"name": "a", "type": "u32"}, {"name": "b", "type": "u8"}]);
    assert_eq!(
        field_refusal(&tail),
        "no field covers bytes 5..8: add {\"name\": \"_pad5\", \"type\": \"u8\", \"count\": 3} \
         as the last field"
    );
    let mended = json!([
        {"name": "a", "type": "u32"}, {"name": "b", "type": "u8"},
        {"name": "_pad5", "type": "u8", "count": 3}
    ]);
    assert_eq!(fields(&mended).unwrap().size_bytes, 8);
}

#[test]
fn fields_in_the_wrong_place_are_refused() {
    let overlap = json!([
        {"name": "a", "type": "u32"}, {"name": "b", "type": "u16", "offset_bytes": 2}
    ]);
    assert_eq!(
        field_refusal(&overlap),
        "field \"b\" starts at byte 2, but \"a\" ends at byte 4"
    );
    let misaligned = json!([
        {"name": "a", "type": "u16"}, {"name": "b", "type": "u32", "offset_bytes": 2}
    ]);
    assert_eq!(
        field_refusal(&misaligned),
        "field \"b\" starts at byte 2: must be a multiple of 4"
    );
    let one = json!([{"name": "a", "type": "u32"}]);
    assert_eq!(
        refusal(&json!({"name": "t", "size_bytes": 2, "fields": one})),
        "field \"a\" ends at byte 4, but the frame has 2 bytes"
    );
    assert!(refusal(&json!({"name": "t", "size_bytes": 8, "fields": one})).contains("4..8"));
    assert!(refusal(&json!({"name": "t", "align_bytes": 8, "fields": one})).contains("4..8"));
    assert_eq!(
        refusal(&json!({"name": "t", "align_bytes": 2, "fields": one})),
        "frame alignment 2: must be a power of two from 4 (its widest field) to 64"
    );
    for align_bytes in [0, 3, 128] {
        refusal(&json!({"name": "t", "align_bytes": align_bytes, "fields": one}));
    }
}

#[test]
fn sizes_beyond_the_limit_are_refused_without_overflow() {
    let most = json!([{"name": "a", "type": "u8", "count": 1_048_576}]);
    assert_eq!(fields(&most).unwrap().size_bytes, 1_048_576);
    let over = json!([{"name": "a", "type": "u8", "count": 1_048_577}]);
    assert_eq!(
        field_refusal(&over),
        "frame of 1048577 bytes: at most 1048576 are allowed"
    );
    let far = json!([
        {"name": "a", "type": "u64", "count": u32::MAX}, {"name": "b", "type": "u64"}
    ]);
    assert!(field_refusal(&far).starts_with("frame of 34359738360 bytes"));
    let edge = json!([{"name": "a", "type": "u64", "offset_bytes": 4_294_967_288_u32}]);
    assert!(field_refusal(&edge).starts_with("frame of 4294967296 bytes"));
    let huge =
        json!({"name": "t", "size_bytes": u32::MAX, "fields": [{"name": "a", "type": "u8"}]});
    assert_eq!(
        refusal(&huge),
        "frame of 4294967295 bytes: at most 1048576 are allowed"
    );
}

#[test]
fn names_counts_and_notes_are_checked() {
    for name in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "ä",
        "a-b",
        "a\n",
        &"x".repeat(129),
    ] {
        let refusal = field_refusal(&json!([{"name": name, "type": "u8"}]));
        assert!(refusal.starts_with("field name"), "{name:?}: {refusal}");
    }
    for name in ["", "a b", "a/b", "\u{1b}[31m", &"x".repeat(65)] {
        let document = json!({"name": name, "fields": [{"name": "a", "type": "u8"}]});
        assert!(refusal(&document).starts_with("schema name"), "{name:?}");
    }
    let twice = json!([{"name": "a", "type": "u8"}, {"name": "a", "type": "u8"}]);
    assert_eq!(field_refusal(&twice), "field \"a\" is declared twice");
    assert!(field_refusal(&json!([{"name": "a", "type": "u8", "count": 0}])).contains("count"));
    assert!(field_refusal(&json!([{"name": "a", "type": "text"}])).contains("count"));
    assert!(field_refusal(&json!([])).contains("at least one"));
    for (key, value) in [
        ("unit", "\u{1b}[2J"),
        ("doc", "a\nb"),
        ("unit", &"x".repeat(33)),
    ] {
        let document = json!([{"name": "a", "type": "u8", key: value}]);
        assert!(field_refusal(&document).starts_with(&format!("{key} of field \"a\"")));
    }
    let many: Vec<_> = (0..=FIELDS_MAX)
        .map(|index| json!({"name": format!("f{index}"), "type": "u8"}))
        .collect();
    assert_eq!(
        field_refusal(&json!(many)),
        "schema with 257 fields: at most 256 are allowed"
    );
    fields(&json!(many[1..])).unwrap();
}

#[test]
fn documents_of_another_form_are_refused() {
    let unknown = refusal(&json!({"name": "t", "fields": [], "sise_bytes": 3}));
    assert!(unknown.contains("unknown field `sise_bytes`"), "{unknown}");
    let field = field_refusal(&json!([{"name": "a", "type": "u8", "units": "ns"}]));
    assert!(
        field.contains("unknown field `units`, expected one of"),
        "{field}"
    );
    let bad_type = field_refusal(&json!([{"name": "a", "type": "usize"}]));
    assert!(
        bad_type.contains("unknown variant `usize`, expected one of `u8`"),
        "{bad_type}"
    );
    assert!(refusal(&json!({"name": "t", "kind": 65_536, "fields": []})).contains("65536"));
    assert!(refusal(&json!({"name": "t"})).contains("missing field `fields`"));
    let long = format!("{{\"name\": \"{}", "x".repeat(DOCUMENT_BYTES_MAX));
    assert_eq!(
        Schema::from_json(&long),
        Err(SchemaError::TooLong { bytes: long.len() })
    );
    assert!(Schema::from_json([0xff, 0xfe]).is_err());
    assert!(Schema::from_json("[".repeat(DOCUMENT_BYTES_MAX)).is_err());
}

#[test]
fn a_document_that_would_be_too_long_is_not_written() {
    let mut schema = sample();
    schema.fields[0].doc = Some("x".repeat(DOCUMENT_BYTES_MAX));
    assert!(matches!(schema.to_json(), Err(SchemaError::TooLong { .. })));
    schema.fields[0].doc = Some("\u{7}".to_owned());
    assert!(matches!(schema.to_json(), Err(SchemaError::BadNote { .. })));
}

#[test]
fn a_short_payload_gives_the_fields_it_holds() {
    let schema = sample();
    let names = |bytes| {
        let values = schema.decode(&vec![0; bytes]);
        values.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(0), Vec::<String>::new());
    assert_eq!(names(13), ["time_ns", "delta", "small"]);
    assert_eq!(names(1000).len(), 7);
}

#[test]
fn values_are_shown_as_people_write_them() {
    let schema = sample();
    let mut payload = vec![0; 40];
    for assignment in ["delta=-1,300", "ratio=0.1", "exact=-2.5", "host=a\u{1b}[m"] {
        schema.set(&mut payload, assignment).unwrap();
    }
    let shown: Vec<_> = schema
        .decode(&payload)
        .iter()
        .map(|(_, v)| v.to_string())
        .collect();
    assert_eq!(
        shown,
        ["0", "[-1, 300]", "0", "0.1", "0", "-2.5", "a\\u{1b}[m"]
    );
    assert_eq!(
        format!("{:>5}|{:<4}|", Value::U64(7), Value::Text("a".into())),
        "    7|a   |"
    );
    let broken = fields(&json!([{"name": "t", "type": "text", "count": 4}])).unwrap();
    assert_eq!(
        broken.decode(&[b'a', 0xff, 0, b'z'])[0].1,
        Value::Text("a\u{fffd}".into())
    );
}

#[test]
fn floats_that_json_cannot_spell_come_back() {
    let schema = sample();
    for text in ["NaN", "inf", "-inf"] {
        for field in ["ratio", "exact"] {
            let payload = schema.encode(&object(json!({field: text}))).unwrap();
            assert_eq!(schema.decode_json(&payload)[field], json!(text));
        }
    }
}

#[test]
fn values_that_do_not_fit_are_refused_with_what_does() {
    let schema = sample();
    let refusal = |values: Json| schema.encode(&object(values)).unwrap_err().to_string();
    assert_eq!(
        refusal(json!({"tim": 1})),
        "no field \"tim\": the fields are time_ns, delta, small, ratio, step, exact, host"
    );
    assert_eq!(
        refusal(json!({"small": 256})),
        "field \"small\": 256 does not fit, must be from 0 to 255"
    );
    assert!(refusal(json!({"delta": [0, -32_769]})).contains("from -32768 to 32767"));
    assert!(refusal(json!({"time_ns": -1})).contains("from 0 to 18446744073709551615"));
    assert!(refusal(json!({"ratio": 1e39})).contains("from -3.4028235e38 to 3.4028235e38"));
    assert_eq!(
        refusal(json!({"small": 1.5})),
        "field \"small\" is u8: 1.5 is not"
    );
    assert_eq!(
        refusal(json!({"small": "1"})),
        "field \"small\" is u8: \"1\" is not"
    );
    assert_eq!(
        refusal(json!({"small": null})),
        "field \"small\" is u8: null is not"
    );
    assert_eq!(
        refusal(json!({"delta": 1})),
        "field \"delta\" is i16[2]: 1 is not"
    );
    assert_eq!(
        refusal(json!({"delta": [1]})),
        "field \"delta\" has 2 elements: 1 were given"
    );
    assert_eq!(
        refusal(json!({"host": 1})),
        "field \"host\" is text[8]: 1 is not"
    );
    assert_eq!(
        refusal(json!({"host": "123456789"})),
        "field \"host\": text of 9 bytes, at most 8 fit"
    );
    assert!(refusal(json!({"host": "a\u{0}b"})).contains("NUL"));
    assert!(refusal(json!({"small": [0, "x".repeat(99)]})).len() < 120);
    assert_eq!(
        schema.encode(&object(json!({"small": 1e2}))).unwrap()[12],
        100
    );
    assert_eq!(
        schema.encode(&object(json!({"host": "12345678"}))).unwrap()[32..],
        *b"12345678"
    );
}

#[test]
fn typed_assignments_are_read_or_leave_the_payload_alone() {
    let schema = sample();
    let mut payload = vec![0; 40];
    for (assignment, field, want) in [
        ("time_ns=0xffffffffffffffff", "time_ns", json!(u64::MAX)),
        ("small = 7 ", "small", json!(7)),
        ("delta=-0x10, 5", "delta", json!([-16, 5])),
        ("exact=1e300", "exact", json!(1e300)),
        ("ratio=-inf", "ratio", json!("-inf")),
        ("host=a=b c", "host", json!("a=b c")),
        ("host=", "host", json!("")),
    ] {
        schema.set(&mut payload, assignment).unwrap();
        assert_eq!(schema.decode_json(&payload)[field], want, "{assignment}");
    }
    let before = payload.clone();
    for assignment in [
        "small",
        "=1",
        "small=",
        "small=256",
        "small=-1",
        "small=0x",
        "small=0x+1",
        "small=--1",
        "time_ns=18446744073709551616",
        "time_ns=0x10000000000000000",
        "delta=1",
        "delta=1,,2",
        "delta=1,2,3",
        "ratio=x",
        "ratio=1e39",
        "host=123456789",
        "nothing=1",
    ] {
        assert!(
            schema.set(&mut payload, assignment).is_err(),
            "{assignment}"
        );
        assert_eq!(payload, before, "{assignment}");
    }
    assert_eq!(
        schema.set(&mut [0; 39], "host=x").unwrap_err(),
        ValueError::ShortPayload {
            field: "host".into(),
            bytes: 39,
            want_bytes: 40
        }
    );
}

#[test]
fn a_schema_changed_by_hand_never_panics() {
    let mut schema = sample();
    schema.fields[0].offset_bytes = u32::MAX;
    schema.fields[1].count = Some(u32::MAX);
    schema.fields[2].field_type = FieldType::Text;
    schema.fields[6].count = Some(0);
    assert!(schema.check().is_err());
    schema.hash();
    assert!(schema.decode(&[0; 64]).len() < 7);
    assert!(schema.set(&mut [0; 64], "time_ns=1").is_err());
    schema.size_bytes = 0;
    assert!(schema.encode(&object(json!({"ratio": 1}))).is_err());
}

/// Any number or text field, with its size a multiple of 8 so that no padding is needed.
fn any_field() -> impl Strategy<Value = (FieldType, Option<u32>)> {
    let wide = prop_oneof![
        Just(FieldType::U64),
        Just(FieldType::I64),
        Just(FieldType::F64)
    ];
    let four = prop_oneof![
        Just(FieldType::U32),
        Just(FieldType::I32),
        Just(FieldType::F32)
    ];
    let two = prop_oneof![Just(FieldType::U16), Just(FieldType::I16)];
    let one = prop_oneof![
        Just(FieldType::U8),
        Just(FieldType::I8),
        Just(FieldType::Text)
    ];
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
    !matches!(
        field.field_type,
        FieldType::Text | FieldType::F32 | FieldType::F64
    )
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
