//! Keys and values as people and programs write and read them.

use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::units::format_ns;
use crate::verbs::render::hex;
use busway::{Entry, Key, KeyKind, OwnedKey, Schema, Table};
use serde::Serialize;
use serde_json::{Map, Value};

/// Bytes of a value without a schema that are shown in a line.
const SHOWN_BYTES_MAX: usize = 64;

/// A key as it was given, for a table of this kind.
///
/// # Errors
/// When it cannot be a key of the table.
pub fn parse_key<'a>(table: &Table, text: &'a str) -> Result<Key<'a>, Failure> {
    match table.info().key_kind {
        KeyKind::Text => Ok(Key::Text(text)),
        KeyKind::U64 => text.parse().map(Key::U64).map_err(|_| {
            Failure::usage(format!(
                "key {text:?} is no number from 0 to 2^64 - 1, which keys of table {:?} are",
                table.name()
            ))
        }),
    }
}

/// An entry as JSON.
#[derive(Serialize)]
pub struct Record {
    table: String,
    key: Value,
    version: u64,
    removed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    hex: String,
    time_ns: u64,
    age_ns: Option<u64>,
    writer_seat: u32,
    writer_epoch: u64,
    writer_pid: u32,
}

impl Record {
    /// Of an entry of this table.
    pub fn of(table: &Table, entry: &Entry<'_>) -> Self {
        let bytes = entry.bytes();
        let (writer_seat, writer_epoch) = entry.writer();
        let decode = |schema: &Schema| (!entry.is_removed()).then(|| schema.decode_json(bytes));
        Self {
            table: table.name().to_owned(),
            key: match entry.key() {
                OwnedKey::U64(number) => number.into(),
                OwnedKey::Text(text) => text.into(),
            },
            version: entry.version(),
            removed: entry.is_removed(),
            fields: table.schema().and_then(decode),
            text: printable(bytes).filter(|_| table.schema().is_none()),
            hex: hex(bytes),
            time_ns: entry.time_ns(),
            age_ns: age_ns(table, entry),
            writer_seat,
            writer_epoch,
            writer_pid: entry.pid(),
        }
    }
}

/// An entry as a line for people: key, version, value, and how old it is.
pub fn line(table: &Table, entry: &Entry<'_>, out: &Out) -> String {
    let key = entry.key().to_string();
    let age = age_ns(table, entry).map_or_else(String::new, |age| format!("  {}", format_ns(age)));
    format!(
        "{}  v{}  {}{}",
        out.paint(Paint::Bold, clean(&key)),
        entry.version(),
        value(table, entry),
        out.paint(Paint::Dim, age),
    )
}

/// A value in one line.
pub fn value(table: &Table, entry: &Entry<'_>) -> String {
    if entry.is_removed() {
        return "(removed)".to_owned();
    }
    let bytes = entry.bytes();
    if let Some(schema) = table.schema() {
        let fields = schema.decode_json(bytes).into_iter();
        let shown: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
        return clean(&shown.join(" "));
    }
    let shown = bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes);
    printable(shown).map_or_else(|| hex(shown), |text| clean(&text))
}

/// How long ago an entry was written.
pub fn age_ns(table: &Table, entry: &Entry<'_>) -> Option<u64> {
    (entry.time_ns() > 0).then(|| table.now_ns().saturating_sub(entry.time_ns()))
}

/// The bytes as text, if they are text.
fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_text = !text.is_empty() && !text.chars().any(char::is_control);
    is_text.then(|| text.to_owned())
}

/// Without what would steer a terminal.
pub fn clean(text: &str) -> String {
    text.replace(char::is_control, "?")
}
