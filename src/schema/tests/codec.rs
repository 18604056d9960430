//! Values: how bytes are shown, and which values make bytes.

use serde_json::{Value as Json, json};

use super::super::{FieldType, Value, ValueError};
use super::{fields, object, sample};

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
    let shown: Vec<_> = schema.decode(&payload).iter().map(|(_, v)| v.to_string()).collect();
    assert_eq!(shown, ["0", "[-1, 300]", "0", "0.1", "0", "-2.5", "a\\u{1b}[m"]);
    assert_eq!(format!("{:>5}|{:<4}|", Value::U64(7), Value::Text("a".into())), "    7|a   |");
    let broken = fields(&json!([{"name": "t", "type": "text", "count": 4}])).unwrap();
    assert_eq!(broken.decode(&[b'a', 0xff, 0, b'z'])[0].1, Value::Text("a\u{fffd}".into()));
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
    assert_eq!(refusal(json!({"small": 1.5})), "field \"small\" is u8: 1.5 is not");
    assert_eq!(refusal(json!({"small": "1"})), "field \"small\" is u8: \"1\" is not");
    assert_eq!(refusal(json!({"small": null})), "field \"small\" is u8: null is not");
    assert_eq!(refusal(json!({"delta": 1})), "field \"delta\" is i16[2]: 1 is not");
    assert_eq!(refusal(json!({"delta": [1]})), "field \"delta\" has 2 elements: 1 were given");
    assert_eq!(refusal(json!({"host": 1})), "field \"host\" is text[8]: 1 is not");
    assert_eq!(
        refusal(json!({"host": "123456789"})),
        "field \"host\": text of 9 bytes, at most 8 fit"
    );
    assert!(refusal(json!({"host": "a\u{0}b"})).contains("NUL"));
    assert!(refusal(json!({"small": [0, "x".repeat(99)]})).len() < 120);
    assert_eq!(schema.encode(&object(json!({"small": 1e2}))).unwrap()[12], 100);
    assert_eq!(schema.encode(&object(json!({"host": "12345678"}))).unwrap()[32..], *b"12345678");
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
        assert!(schema.set(&mut payload, assignment).is_err(), "{assignment}");
        assert_eq!(payload, before, "{assignment}");
    }
    assert_eq!(
        schema.set(&mut [0; 39], "host=x").unwrap_err(),
        ValueError::ShortPayload { field: "host".into(), bytes: 39, want_bytes: 40 }
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
