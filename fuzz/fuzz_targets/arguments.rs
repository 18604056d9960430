//! Everything that people type: command lines, values with units, lines of `pub --stdin`, config
//! files. Only read; nothing is executed.
//!
//! The first byte says what the rest is:
//!
//! ```text
//! a  arguments of busctl, one a line      d  arguments of busd, one a line
//! v  a value of a flag                    n  numbers that a table shows
//! x  a frame in hexadecimal               j  a frame as JSON
//! c  a config file
//! ```

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::LazyLock;

use busway::Schema;
use busway_fuzz::bytes::Bytes;
use busway_fuzz::leaks;
use libfuzzer_sys::fuzz_target;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let document = r#"{"name": "all", "kind": 7, "fields": [
        {"name": "u", "type": "u64"}, {"name": "i", "type": "i16", "count": 4},
        {"name": "f", "type": "f32"}, {"name": "_gap", "type": "u32"},
        {"name": "pos.x", "type": "f64"}, {"name": "host", "type": "text", "count": 8}]}"#;
    Schema::from_json(document).expect("a valid schema")
});

fuzz_target!(|data: &[u8]| {
    let (kind, rest) = data.split_first().unwrap_or((&0, &[]));
    leaks::keeps_no_memory(|| {
        let text = String::from_utf8_lossy(rest);
        match kind {
            b'v' => busctl::fuzzing::value(&text),
            b'n' => numbers(Bytes(rest)),
            b'x' => hex(&text),
            b'j' => {
                if let Ok(payload) = busctl::fuzzing::frame_line(Some(&SCHEMA), false, &text) {
                    // An envelope may carry a payload of any length.
                    let size_bytes = SCHEMA.size_bytes as usize;
                    assert!(text.contains("payload_hex") || payload.len() == size_bytes);
                }
                let _refused = busctl::fuzzing::frame_line(None, false, &text);
            }
            // A schema file may be any file of this host, a pipe too.
            b'c' if !text.contains("schema") => says_why(busd::fuzzing::config(&text)),
            b'c' => {}
            b'd' => says_why(busd::fuzzing::parse(&lines(rest))),
            _ => says_why(busctl::fuzzing::parse(&lines(rest))),
        }
    });
});

fn lines(bytes: &[u8]) -> Vec<OsString> {
    bytes.split(|byte| *byte == b'\n').map(|line| OsString::from_vec(line.to_vec())).collect()
}

fn says_why(result: Result<(), String>) {
    if let Err(message) = result {
        assert!(!message.is_empty());
    }
}

fn hex(text: &str) {
    if let Ok(payload) = busctl::fuzzing::frame_line(None, true, text) {
        let again = payload.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        assert_eq!(busctl::fuzzing::frame_line(None, true, &again), Ok(payload));
    }
}

fn numbers(mut bytes: Bytes<'_>) {
    let texts = busctl::fuzzing::formats(bytes.word(), f64::from_bits(bytes.word()));
    assert!(texts.iter().all(|text| !text.is_empty() && text.len() < 400), "{texts:?}");
}
