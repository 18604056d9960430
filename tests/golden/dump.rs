//! A segment as text: every field by its name in docs/format.md, every byte in hex.
//!
//! What differs from run to run (times, processes, users, the random number, the name, and the
//! checksum over them) is shown as `..`. Runs of zeros are named and not shown.

use std::fmt::Write as _;
use std::ops::Range;

use super::tables::{Format, Row};

/// Fields that differ from run to run.
const MASKED: [(&str, &str); 9] = [
    ("header", "created_unix_ns"),
    ("header", "creator_pid"),
    ("header", "creator_uid"),
    ("header", "instance"),
    ("header", "name"),
    ("header", "checksum"),
    ("seat", "pid"),
    ("seat", "uid"),
    ("seat", "attached_unix_ns"),
];
/// The same when frames are stamped.
const STAMP: (&str, &str) = ("frame", "time_ns");
/// What is left of a row is more than that where it has latencies, and padding else.
const LATENCIES_MIN: usize = 128;
/// Bytes in a line of hex.
const LINE: usize = 16;

/// The dump of a whole segment.
pub fn dump(format: &Format, bytes: &[u8]) -> String {
    let mut dump = Dump { format, bytes, text: String::new() };
    dump.header();
    dump.control();
    dump.cursors();
    dump.heads();
    dump.order();
    dump.data();
    dump.text
}

struct Dump<'a> {
    format: &'a Format,
    bytes: &'a [u8],
    text: String,
}

impl Dump<'_> {
    fn header_number(&self, field: &str) -> usize {
        number(&self.bytes[range(0, self.format.field("header", field))])
    }

    fn size(&self, table: &str) -> usize {
        self.format.table(table).bytes
    }

    fn title(&mut self, title: &str, base: usize) {
        let _ = writeln!(self.text, "\n{title}  at {base}");
    }

    /// A table laid over the bytes at `base`.
    fn table(&mut self, table: &str, base: usize) {
        let stamped = self.header_number("timestamps") != 0;
        for row in &self.format.table(table).rows {
            let bytes = &self.bytes[range(base, row)];
            let Some(name) = &row.name else {
                assert!(is_zero(bytes), "reserved bytes at {} of {table} are used", row.offset);
                let _ = writeln!(self.text, "  {:4} {:4}  (zero)", row.offset, row.bytes);
                continue;
            };
            let field = (table, name.as_str());
            let masked = MASKED.contains(&field) || (stamped && field == STAMP);
            let shown = if masked { "..".to_owned() } else { hex(&bytes[..used(bytes)]) };
            let _ = writeln!(self.text, "  {:4} {:4}  {name:18}  {shown}", row.offset, row.bytes);
        }
    }

    /// Bytes that no table describes, a line of hex each; lines of zeros are left out.
    fn raw(&mut self, range: Range<usize>) {
        for (line, bytes) in (0..).zip(self.bytes[range].chunks(LINE)) {
            if !is_zero(bytes) {
                let _ =
                    writeln!(self.text, "  {:4} {:4}  {}", line * LINE, bytes.len(), hex(bytes));
            }
        }
    }

    /// A region's rest, up to the next page, which is nobody's.
    fn padding(&self, region: &str) {
        let offset = self.header_number(&format!("{region}_offset"));
        let end = offset + self.header_number(&format!("{region}_bytes"));
        assert!(is_zero(&self.bytes[end..end.next_multiple_of(4096)]), "bytes after {region}");
    }

    fn header(&mut self) {
        let _ = writeln!(self.text, "header  at 0");
        self.table("header", 0);
        let fixed = self.header_number("fixed_bytes");
        let document = fixed..fixed + self.header_number("schema_bytes");
        if !document.is_empty() {
            self.title("schema document", fixed);
            let text = String::from_utf8_lossy(&self.bytes[document]).into_owned();
            let _ = writeln!(self.text, "  {text}");
        }
        self.padding("header");
    }

    fn control(&mut self) {
        let base = self.header_number("control_offset");
        self.title("control words", base);
        self.table("control", base);
        let lanes = self.header_number("lanes");
        for seat in 0..lanes + self.header_number("consumers") {
            let base = base + self.size("control") + seat * self.size("seat");
            let title = if seat < lanes {
                format!("seat of producer {seat}")
            } else {
                format!("seat of consumer {}", seat - lanes)
            };
            self.title(&title, base);
            self.table("seat", base);
        }
        self.padding("control");
    }

    fn cursors(&mut self) {
        let array = (self.header_number("lanes") * 8).next_multiple_of(64);
        for consumer in 0..self.header_number("consumers") {
            let row = self.header_number("row_bytes");
            let base = self.header_number("cursors_offset") + consumer * row;
            self.title(&format!("row of consumer {consumer}"), base);
            self.table("row", base);
            let arrays = base + self.size("row");
            self.title(&format!("cursors of consumer {consumer}"), arrays);
            self.raw(arrays..arrays + array);
            self.title(&format!("losses of consumer {consumer}"), arrays + array);
            self.raw(arrays + array..arrays + 2 * array);
            let latencies = arrays + 2 * array..base + row;
            if latencies.len() > LATENCIES_MIN {
                self.title(&format!("latencies of consumer {consumer}"), latencies.start);
                let shown = if is_zero(&self.bytes[latencies]) { "(zero)" } else { ".." };
                let _ = writeln!(self.text, "  {shown}");
            }
        }
        self.padding("cursors");
    }

    fn heads(&mut self) {
        for lane in 0..self.header_number("lanes") {
            let base = self.header_number("heads_offset") + lane * self.size("lane");
            self.title(&format!("words of lane {lane}"), base);
            self.table("lane", base);
        }
        self.padding("heads");
    }

    fn order(&mut self) {
        let base = self.header_number("order_offset");
        let bytes = self.header_number("order_bytes");
        if bytes > 0 {
            self.title("order entries", base);
            self.raw(base..base + bytes);
        }
        self.padding("order");
    }

    fn data(&mut self) {
        let (stride, capacity) =
            (self.header_number("stride_bytes"), self.header_number("capacity"));
        let event = self.header_number("frames") == 0;
        let lane_bytes = self.header_number("lane_bytes");
        let tickets = self.header_number("tickets_offset");
        let ordered = self.header_number("order_capacity") > 0;
        for lane in 0..self.header_number("lanes") {
            let base = self.header_number("data_offset") + lane * lane_bytes;
            for slot in 0..capacity {
                let base = base + slot * stride;
                self.title(&format!("slot {slot} of lane {lane}"), base);
                let mut payload = base;
                if event {
                    self.table("frame", base);
                    payload += self.size("frame");
                }
                self.raw(payload..base + stride);
            }
            let mut end = base + capacity * stride;
            if ordered {
                self.title(&format!("tickets of lane {lane}"), base + tickets);
                self.raw(base + tickets..base + tickets + capacity * 8);
                end = base + tickets + capacity * 8;
            }
            assert!(is_zero(&self.bytes[end..base + lane_bytes]), "bytes after lane {lane}");
        }
    }
}

fn range(base: usize, row: &Row) -> Range<usize> {
    base + row.offset..base + row.offset + row.bytes
}

fn number(bytes: &[u8]) -> usize {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    usize::try_from(u64::from_le_bytes(word)).expect("64-bit target")
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// How much of a field is worth showing: all of a number, a text up to its padding.
fn used(bytes: &[u8]) -> usize {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    end.max(bytes.len().min(8))
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}
