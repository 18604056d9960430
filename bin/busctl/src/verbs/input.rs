//! What `pub` publishes: one payload again and again, or frames read from stdin.
//!
//! | format | a frame is | then |
//! |---|---|---|
//! | `jsonl` | a line with a JSON object of fields, or a line that `sub -o jsonl` wrote | encoded by the schema |
//! | `hex` | a line of hexadecimal digits, blanks allowed | the payload as it is |
//! | `raw` | the bus's payload size in bytes; the last may be shorter | the payload as it is |

use crate::exit::Failure;
use crate::signal::Stop;
use busway::schema::Schema;
use busway::{Bus, FrameLayout};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::io::{self, BufRead as _, BufReader, Read as _};

/// The longest line that is read: a payload of 1 MiB in hexadecimal, or a generous JSON of it.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How often a wait for stdin checks for Ctrl-C.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What stdin holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StdinFormat {
    /// A JSON object of fields a line, or what `sub -o jsonl` wrote
    Jsonl,
    /// A payload in hexadecimal a line
    Hex,
    /// Payloads back to back, each as long as the bus's
    Raw,
}

/// Where the frames to publish come from.
pub struct Input {
    kind: u16,
    schema: Option<Schema>,
    payload_bytes: usize,
    place: u64,
    from: From,
}

enum From {
    Template(Vec<u8>),
    Stdin { format: StdinFormat, reader: BufReader<Stdin> },
}

impl Input {
    /// The same payload each time: zeros, with these fields set.
    pub fn template(bus: &Bus, kind: Option<u16>, sets: &[String]) -> Result<Self, Failure> {
        let schema = bus.schema().cloned();
        let size = schema.as_ref().map_or(bus.info().payload_bytes, |schema| schema.size_bytes);
        let mut payload = vec![0; size as usize];
        for set in sets {
            let Some(schema) = &schema else {
                return Err(no_schema(bus.name(), "--set"));
            };
            schema
                .set(&mut payload, set)
                .map_err(|error| Failure::usage(format!("--set {set}: {error}")))?;
        }
        Ok(Self::new(bus, kind, From::Template(payload)))
    }

    /// Frames from stdin.
    pub fn stdin(bus: &Bus, kind: Option<u16>, format: StdinFormat, stop: &Stop) -> Self {
        let reader = BufReader::new(Stdin { stop: stop.clone() });
        Self::new(bus, kind, From::Stdin { format, reader })
    }

    fn new(bus: &Bus, kind: Option<u16>, from: From) -> Self {
        let schema = bus.schema().cloned();
        let is_bare = bus.info().frames == FrameLayout::Bare;
        // A bare frame has no header, hence nowhere to keep a kind.
        let own_kind = schema.as_ref().filter(|_| !is_bare).map_or(0, |schema| schema.kind);
        let payload_bytes = bus.info().payload_bytes as usize;
        Self { kind: kind.unwrap_or(own_kind), schema, payload_bytes, place: 0, from }
    }

    /// Writes the next payload into `payload` and returns its kind; `None` at the end.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> Result<Option<u16>, Failure> {
        payload.clear();
        match &mut self.from {
            From::Template(template) => {
                payload.extend_from_slice(template);
                return Ok(Some(self.kind));
            }
            From::Stdin { format: StdinFormat::Raw, reader } => {
                let limit = self.payload_bytes as u64;
                let len = reader.take(limit).read_to_end(payload)?;
                self.place += 1;
                return Ok((len > 0).then_some(self.kind));
            }
            From::Stdin { .. } => {}
        }
        while let Some(line) = self.line()? {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let From::Stdin { format, .. } = &self.from else {
                return Ok(None);
            };
            let kind = if *format == StdinFormat::Hex {
                *payload = parse_hex(line).map_err(|problem| self.bad(problem))?;
                self.kind
            } else {
                self.parse_json(line, payload)?
            };
            if payload.len() > self.payload_bytes {
                let (len, max) = (payload.len(), self.payload_bytes);
                return Err(self.bad(format!("{len} bytes; a frame of this bus holds {max}")));
            }
            return Ok(Some(kind));
        }
        Ok(None)
    }

    /// Where the last frame came from, for messages: `line 3`, or nothing for a template.
    pub fn place(&self) -> Option<String> {
        match self.from {
            From::Template(_) => None,
            From::Stdin { format: StdinFormat::Raw, .. } => Some(format!("frame {}", self.place)),
            From::Stdin { .. } => Some(format!("line {}", self.place)),
        }
    }

    /// The payload that a line of stdin stands for, with no bus behind it.
    #[cfg(fuzzing)]
    pub fn decode(
        format: StdinFormat,
        schema: Option<Schema>,
        line: &str,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let (kind, place, from) = (0, 1, From::Template(Vec::new()));
        let input = Self { kind, schema, payload_bytes: usize::MAX, place, from };
        if format == StdinFormat::Hex {
            return Ok((kind, parse_hex(line).map_err(|problem| input.bad(problem))?));
        }
        let mut payload = Vec::new();
        Ok((input.parse_json(line, &mut payload)?, payload))
    }

    fn bad(&self, problem: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("stdin, line {}: {problem}", self.place))
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let From::Stdin { reader, .. } = &mut self.from else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        self.place += 1;
        let len = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)?;
        if len as u64 == LINE_BYTES_MAX {
            return Err(self.bad(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        if len == 0 {
            return Ok(None);
        }
        String::from_utf8(bytes).map(Some).map_err(|_| self.bad("not UTF-8"))
    }

    /// Reads an object of fields, or the envelope that `sub -o jsonl` puts around one.
    fn parse_json(&self, line: &str, payload: &mut Vec<u8>) -> Result<u16, Failure> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).map_err(|error| self.bad(not_an_object(&error)))?;
        let is_envelope = object.get("schema").is_some_and(|name| name == "busway.frame/1");
        if !is_envelope {
            self.encode(&object, payload)?;
            return Ok(self.kind);
        }
        let kind = object.get("kind").and_then(serde_json::Value::as_u64);
        let kind = kind.and_then(|kind| u16::try_from(kind).ok()).unwrap_or(self.kind);
        if let Some(text) = object.get("payload_hex").and_then(serde_json::Value::as_str) {
            *payload = parse_hex(text).map_err(|problem| self.bad(problem))?;
            return Ok(kind);
        }
        match object.get("fields") {
            Some(serde_json::Value::Object(fields)) => self.encode(fields, payload)?,
            _ => return Err(self.bad("a busway.frame/1 without fields or payload_hex")),
        }
        Ok(kind)
    }

    fn encode(
        &self,
        fields: &serde_json::Map<String, serde_json::Value>,
        payload: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let Some(schema) = &self.schema else {
            return Err(self.bad("the bus has no schema to encode fields by").hint(
                "`--stdin hex` and `--stdin raw` need none; `create --schema FILE` stores one",
            ));
        };
        *payload = schema.encode(fields).map_err(|error| self.bad(error))?;
        Ok(())
    }
}

fn no_schema(bus: &str, flag: &str) -> Failure {
    Failure::usage(format!("bus {bus:?} has no schema, so {flag} has no fields to set"))
        .hint("`--stdin hex` publishes bytes as they are; `create --schema FILE` stores a schema")
}

/// Reads pairs of hexadecimal digits; blanks between them are skipped.
fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = Vec::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        let digit = c.to_digit(16).ok_or_else(|| format!("{c:?} is not a hexadecimal digit"))?;
        digits.push(u8::try_from(digit).unwrap_or_default());
    }
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("{} hexadecimal digits; a byte has two", digits.len()));
    }
    Ok(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Stdin that ends when the program is asked to stop, however long nothing comes.
struct Stdin {
    stop: Stop,
}

impl io::Read for Stdin {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        while !self.stop.requested() {
            let mut looked_at = [PollFd::new(&stdin, PollFlags::IN)];
            match rustix::event::poll(&mut looked_at, Some(&SLICE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(rustix::io::read(stdin, bytes)?),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }
}

/// The parser counts lines too, and knows of one only; the input's line is the one to name.
fn not_an_object(error: &serde_json::Error) -> String {
    let problem = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let problem = problem.strip_suffix(&place).unwrap_or(&problem);
    format!("not a JSON object: {problem}, column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_pairs_of_digits_with_blanks_anywhere() {
        assert_eq!(parse_hex("00ff 7F"), Ok(vec![0, 255, 127]));
        assert_eq!(parse_hex(""), Ok(vec![]));
        assert!(parse_hex("abc").unwrap_err().contains('3'));
        assert!(parse_hex("zz").unwrap_err().contains("'z'"));
    }
}
