//! Frames as text: a line for people, JSON Lines, CSV, or hexadecimal payloads.
//!
//! Payloads are decoded by the schema that the bus stores. A frame that the schema does not
//! describe (another kind, too short) is shown in hexadecimal instead.

use busway::schema::{Field, Schema, Value};
use busway::{Bus, FrameLayout, FrameRef};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Write as _;

/// Payload bytes that the `text` format shows of a frame without a schema.
const TEXT_BYTES_MAX: usize = 64;

/// How frames are written, and read by `pub --stdin` where it has the same format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people
    Text,
    /// A JSON object a line, with the decoded fields
    Jsonl,
    /// A heading and a line of decoded fields per frame
    Csv,
    /// The payload alone, in hexadecimal, one frame a line
    Hex,
}

/// Turns the frames of one bus into lines.
pub struct Renderer {
    format: Format,
    bus: String,
    schema: Option<Schema>,
    is_bare: bool,
    names_bus: bool,
}

/// A frame in JSON Lines.
#[derive(Serialize)]
struct Record<'a> {
    schema: &'static str,
    bus: &'a str,
    lane: u32,
    position: u64,
    time_ns: u64,
    kind: u16,
    flags: u16,
    len_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

/// Decoded fields as a JSON object, in the order of the schema.
struct Fields(Vec<(String, Value)>);

impl Serialize for Fields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value.to_json())))
    }
}

impl Renderer {
    /// For the frames of this bus.
    pub fn new(bus: &Bus, format: Format) -> Self {
        Self {
            format,
            bus: bus.name().to_owned(),
            schema: bus.schema().cloned(),
            is_bare: bus.info().frames == FrameLayout::Bare,
            names_bus: false,
        }
    }

    /// The same with the bus's name at the start of each line that does not have it anyway.
    pub fn naming_the_bus(self) -> Self {
        Self { names_bus: self.format != Format::Jsonl, ..self }
    }

    /// What stands before the first frame: the heading of CSV, or nothing.
    pub fn heading(&self) -> String {
        if self.format != Format::Csv {
            return String::new();
        }
        let mut line = String::from("lane,position,time_ns,kind");
        match &self.schema {
            None => line.push_str(",payload_hex"),
            Some(schema) => columns(schema).for_each(|name| push_cell(&mut line, &name)),
        }
        line.push('\n');
        line
    }

    /// Appends the frame to `text`, with a newline.
    pub fn frame(&self, frame: &FrameRef<'_>, text: &mut String) {
        let schema = self.schema.as_ref().filter(|schema| self.describes(schema, frame));
        if self.names_bus {
            text.push_str(&self.bus);
            text.push(' ');
        }
        match self.format {
            Format::Text => push_text(text, frame, schema),
            Format::Jsonl => self.push_json(text, frame, schema),
            Format::Csv => self.push_csv(text, frame, schema),
            Format::Hex => push_hex(text, frame.payload()),
        }
        text.push('\n');
    }

    fn describes(&self, schema: &Schema, frame: &FrameRef<'_>) -> bool {
        let is_kind = self.is_bare || frame.kind() == schema.kind;
        is_kind && frame.payload().len() >= schema.size_bytes as usize
    }

    fn push_json(&self, text: &mut String, frame: &FrameRef<'_>, schema: Option<&Schema>) {
        let payload = frame.payload();
        let record = Record {
            schema: "busway.frame/1",
            bus: &self.bus,
            lane: frame.lane(),
            position: frame.position(),
            time_ns: frame.time_ns(),
            kind: frame.kind(),
            flags: frame.flags(),
            len_bytes: payload.len(),
            fields: schema.map(|schema| Fields(schema.decode(payload))),
            payload_hex: schema.is_none().then(|| hex(payload)),
        };
        // A record of numbers, texts and a map with text keys always has a JSON form.
        text.push_str(&serde_json::to_string(&record).unwrap_or_default());
    }

    fn push_csv(&self, text: &mut String, frame: &FrameRef<'_>, schema: Option<&Schema>) {
        let (lane, position) = (frame.lane(), frame.position());
        let _ = write!(text, "{lane},{position},{},{}", frame.time_ns(), frame.kind());
        match (schema, &self.schema) {
            (Some(schema), _) => {
                for (_, value) in schema.decode(frame.payload()) {
                    push_value(text, &value);
                }
            }
            // The schema makes the columns, and this frame has nothing to put into them.
            (None, Some(schema)) => columns(schema).for_each(|_| text.push(',')),
            (None, None) => {
                text.push(',');
                push_hex(text, frame.payload());
            }
        }
    }
}

/// The bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// `[12.345678901] lane 0 #42 cpu user_ns=1 load=[1, 2]`
fn push_text(text: &mut String, frame: &FrameRef<'_>, schema: Option<&Schema>) {
    match frame.time_ns() {
        0 => text.push_str("[-] "),
        ns => {
            let _ = write!(text, "[{}.{:09}] ", ns / 1_000_000_000, ns % 1_000_000_000);
        }
    }
    let _ = write!(text, "lane {} #{}", frame.lane(), frame.position());
    let payload = frame.payload();
    let Some(schema) = schema else {
        let _ = write!(text, " kind {} {} bytes ", frame.kind(), payload.len());
        let shown = payload.get(..TEXT_BYTES_MAX).unwrap_or(payload);
        push_hex(text, shown);
        text.push_str(if shown.len() < payload.len() { "…" } else { "" });
        return;
    };
    let _ = write!(text, " {}", schema.name);
    for (name, value) in schema.decode(payload) {
        // A text with a blank in it would read like two fields.
        let _ = match &value {
            Value::Text(words) if words.is_empty() || words.contains(char::is_whitespace) => {
                write!(text, " {name}={words:?}")
            }
            value => write!(text, " {name}={value}"),
        };
    }
}

/// The columns of a schema in CSV: one per number or text, arrays spread out.
fn columns(schema: &Schema) -> impl Iterator<Item = String> {
    schema.fields.iter().filter(|field| !field.is_padding()).flat_map(|field| {
        let elements = elements(field);
        (0..elements.unwrap_or(1)).map(move |index| match elements {
            None => field.name.clone(),
            Some(_) => format!("{}[{index}]", field.name),
        })
    })
}

/// How many columns an array has; `None` for a number or a text.
fn elements(field: &Field) -> Option<u32> {
    field.count.filter(|_| field.field_type != busway::schema::FieldType::Text)
}

fn push_value(text: &mut String, value: &Value) {
    match value {
        Value::List(values) => values.iter().for_each(|value| push_value(text, value)),
        Value::Text(words) => push_cell(text, words),
        number => push_cell(text, &number.to_string()),
    }
}

/// A comma and the cell, in quotes when it has to be (RFC 4180).
fn push_cell(text: &mut String, cell: &str) {
    text.push(',');
    if cell.contains([',', '"', '\n', '\r']) {
        let _ = write!(text, "\"{}\"", cell.replace('"', "\"\""));
    } else {
        text.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_cells_are_quoted_when_they_have_to_be() {
        let mut line = String::from("1");
        for cell in ["plain", "a,b", "say \"hi\"", ""] {
            push_cell(&mut line, cell);
        }
        assert_eq!(line, r#"1,plain,"a,b","say ""hi""","#);
    }

    #[test]
    fn arrays_are_spread_over_columns_and_padding_has_none() {
        let schema = Schema::from_json(
            r#"{"name": "x", "fields": [
                {"name": "load", "type": "u16", "count": 2},
                {"name": "_pad", "type": "u8", "count": 4},
                {"name": "host", "type": "text", "count": 8}]}"#,
        )
        .unwrap();
        assert_eq!(columns(&schema).collect::<Vec<_>>(), ["load[0]", "load[1]", "host"]);
    }

    #[test]
    fn hex_has_two_digits_a_byte() {
        assert_eq!(hex(&[0, 15, 255]), "000fff");
    }
}
