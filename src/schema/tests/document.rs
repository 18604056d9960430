//! Documents: what is accepted, what is refused and with which words.

use serde_json::json;

use super::super::{DOCUMENT_BYTES_MAX, FIELDS_MAX, Schema, SchemaError};
use super::{field_refusal, fields, refusal, sample};

#[test]
fn what_a_document_leaves_out_is_what_c_would_do() {
    let schema = sample();
    assert_eq!((schema.size_bytes, schema.align_bytes, schema.kind), (40, 8, 0));
    assert_eq!(
        schema.layout_text(),
        "size 40\ntime_ns u64 0\ndelta i16[2] 8\nsmall u8 12\nratio f32 16\nstep i32 20\n\
         exact f64 24\n\
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
    assert_eq!(field_refusal(&overlap), "field \"b\" starts at byte 2, but \"a\" ends at byte 4");
    let misaligned = json!([
        {"name": "a", "type": "u16"}, {"name": "b", "type": "u32", "offset_bytes": 2}
    ]);
    assert_eq!(field_refusal(&misaligned), "field \"b\" starts at byte 2: must be a multiple of 4");
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
    assert_eq!(field_refusal(&over), "frame of 1048577 bytes: at most 1048576 are allowed");
    let far = json!([
        {"name": "a", "type": "u64", "count": u32::MAX}, {"name": "b", "type": "u64"}
    ]);
    assert!(field_refusal(&far).starts_with("frame of 34359738360 bytes"));
    let edge = json!([{"name": "a", "type": "u64", "offset_bytes": 4_294_967_288_u32}]);
    assert!(field_refusal(&edge).starts_with("frame of 4294967296 bytes"));
    let huge =
        json!({"name": "t", "size_bytes": u32::MAX, "fields": [{"name": "a", "type": "u8"}]});
    assert_eq!(refusal(&huge), "frame of 4294967295 bytes: at most 1048576 are allowed");
}

#[test]
fn names_counts_and_notes_are_checked() {
    for name in ["", ".", "a.", ".a", "a..b", "a b", "ä", "a-b", "a\n", &"x".repeat(129)] {
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
    for (key, value) in [("unit", "\u{1b}[2J"), ("doc", "a\nb"), ("unit", &"x".repeat(33))] {
        let document = json!([{"name": "a", "type": "u8", key: value}]);
        assert!(field_refusal(&document).starts_with(&format!("{key} of field \"a\"")));
    }
    let many: Vec<_> =
        (0..=FIELDS_MAX).map(|index| json!({"name": format!("f{index}"), "type": "u8"})).collect();
    assert_eq!(field_refusal(&json!(many)), "schema with 257 fields: at most 256 are allowed");
    fields(&json!(many[1..])).unwrap();
}

#[test]
fn documents_of_another_form_are_refused() {
    let unknown = refusal(&json!({"name": "t", "fields": [], "sise_bytes": 3}));
    assert!(unknown.contains("unknown field `sise_bytes`"), "{unknown}");
    let field = field_refusal(&json!([{"name": "a", "type": "u8", "units": "ns"}]));
    assert!(field.contains("unknown field `units`, expected one of"), "{field}");
    let bad_type = field_refusal(&json!([{"name": "a", "type": "usize"}]));
    assert!(bad_type.contains("unknown variant `usize`, expected one of `u8`"), "{bad_type}");
    assert!(refusal(&json!({"name": "t", "kind": 65_536, "fields": []})).contains("65536"));
    assert!(refusal(&json!({"name": "t"})).contains("missing field `fields`"));
    let long = format!("{{\"name\": \"{}", "x".repeat(DOCUMENT_BYTES_MAX));
    assert_eq!(Schema::from_json(&long), Err(SchemaError::TooLong { bytes: long.len() }));
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
