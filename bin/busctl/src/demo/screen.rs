//! The live table: lines of at most 80 columns, at most 23 of them, redrawn in place on a terminal.
//!
//! What is shown is a pure function of the aggregate, tested as text; painting comes after, since
//! escapes have no width. Nothing of the terminal is changed that would have to be put back.

use super::aggregate::{Aggregate, View};
use super::sample::{Sample, Source};
use super::source::Sampler;
use crate::bench::float;
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::units::{format_bytes, format_count, format_ns, format_rate};
use std::fmt::Write as _;
use std::time::Duration;

/// Columns that are used at most, however wide the terminal is.
const COLUMNS_MAX: usize = 80;

/// Width of a bar, in characters.
const BAR: usize = 32;

/// What the heading says beside the numbers.
pub struct Title {
    pub bus: String,
    pub elapsed: Duration,
    pub duration: Duration,
    /// Of each sampler: its process, or `None` when this machine does not show what it reads.
    pub pids: [Option<u32>; Sampler::ALL.len()],
    pub lost: u64,
}

/// Draws over what it drew before.
#[derive(Default)]
pub struct Screen {
    drawn: usize,
}

/// A line and how it stands out.
pub type Line = (Option<Paint>, String);

impl Screen {
    /// Draws the table.
    pub fn draw(&mut self, out: &Out, title: &Title, aggregate: &Aggregate) -> Result<(), Failure> {
        self.put(out, table(title, aggregate))
    }

    /// Draws these lines, as many as the terminal has room for.
    pub fn put(&mut self, out: &Out, mut lines: Vec<Line>) -> Result<(), Failure> {
        let (columns, rows) = size();
        lines.truncate(rows.saturating_sub(1));
        // Writing to a String cannot fail.
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first line that was drawn.
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for (paint, line) in &lines {
            let line: String = line.chars().take(columns).collect();
            let line = paint.map_or_else(|| line.clone(), |paint| out.paint(paint, &line));
            // Erased first: after a line as wide as the terminal that would take its last letter.
            let _ = write!(text, "\r\x1b[K{line}\n");
        }
        if lines.len() < self.drawn {
            text.push_str("\x1b[J");
        }
        self.drawn = lines.len();
        out.bytes(text.as_bytes())?;
        out.flush()
    }
}

/// Columns that may be used and rows that there are. A terminal that does not say has 80 by 24.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(rustix::stdio::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 1 => {
            (usize::from(size.ws_col).min(COLUMNS_MAX), usize::from(size.ws_row))
        }
        _ => (COLUMNS_MAX, 24),
    }
}

/// Everything that the table shows.
fn table(title: &Title, aggregate: &Aggregate) -> Vec<Line> {
    let head = format!("busway demo: 5 samplers → bus {} → this process", title.bus);
    let time =
        format!("{:.1} of {:.1} s", title.elapsed.as_secs_f64(), title.duration.as_secs_f64());
    let gap = COLUMNS_MAX.saturating_sub(time.chars().count());
    let plain = |line: &str| (None, line.to_owned());
    let dim = |line: &str| (Some(Paint::Dim), line.to_owned());
    let mut lines = vec![
        (Some(Paint::Bold), format!("{head:<gap$}{time}")),
        dim("Each sampler process reads its part of /proc up to 1000 times a second and puts"),
        dim("typed frames on its own lane in shared memory; this process polls all lanes."),
        plain(""),
    ];
    lines.extend(sources(title, aggregate));
    lines.push(plain(""));
    lines.extend(machine(aggregate));
    lines.push(plain(""));
    if let Some(bus) = aggregate.on_bus() {
        let [p50, _, p99, ..] = bus.cells();
        lines.push(dim(&format!(
            "age: since /proc was read; on the bus alone p50 {p50}, p99 {p99}"
        )));
    }
    lines.push(dim(&format!(
        "Ctrl-C ends it. In another terminal: busctl --no-daemon stat {}",
        title.bus
    )));
    lines
}

/// The table of sources.
fn sources(title: &Title, aggregate: &Aggregate) -> Vec<Line> {
    let row = |cells: [&str; 8]| {
        let [sampler, pid, source, rate, frames, p50, p99, max] = cells;
        format!(
            "{sampler:<8} {pid:>7}  {source:<8} {rate:>8} {frames:>11} {p50:>9} {p99:>9} {max:>9}"
        )
    };
    let heading = row(["SAMPLER", "PID", "SOURCE", "FRAMES/S", "FRAMES", "AGE P50", "P99", "MAX"]);
    let mut lines = vec![(Some(Paint::Bold), heading)];
    for (sampler, pid) in Sampler::ALL.into_iter().zip(title.pids) {
        for (source, nth) in sampler.sources().iter().zip(0..) {
            let name = if nth == 0 { sampler.name() } else { "" };
            let pid = pid.map_or_else(|| String::from("-"), |pid| pid.to_string());
            let pid = if nth == 0 { pid } else { String::new() };
            let Some(age) = aggregate.age(*source) else {
                let dash = "-";
                lines.push((None, row([name, &pid, source.name(), dash, "0", dash, dash, dash])));
                continue;
            };
            let [p50, _, p99, _, max] = age.cells();
            let rate = format_count(whole(aggregate.rate(*source)));
            let frames = format_count(aggregate.frames(*source));
            lines.push((None, row([name, &pid, source.name(), &rate, &frames, &p50, &p99, &max])));
        }
    }
    let rate: f64 = Source::ALL.into_iter().map(|source| aggregate.rate(source)).sum();
    let frames = format_count(aggregate.frames_of_all());
    let lost = format!("lost {}", format_count(title.lost));
    let [p50, _, p99, _, max] = match aggregate.age_of_all() {
        Some(age) => age.cells(),
        None => [const { String::new() }; 5],
    };
    let all = row(["all", "", &lost, &format_count(whole(rate)), &frames, &p50, &p99, &max]);
    lines.push((Some(if title.lost == 0 { Paint::Green } else { Paint::Red }), all));
    lines
}

/// The newest values.
fn machine(aggregate: &Aggregate) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String| {
        let text: String = format!("{name:<8} {text}").chars().take(COLUMNS_MAX).collect();
        lines.push((None, text));
    };
    let processors = aggregate.rows(Source::Cpu);
    if let Some((all, each)) = processors.split_first() {
        add("cpu", format!("{} {:>5.1} %", bar(all.busy_part), all.busy_part * 100.0));
        let each =
            each.iter().map(|row| format!("{} {:.0} %", row.sample.name(), row.busy_part * 100.0));
        add("", list(each, "  "));
    }
    if let Some(row) = aggregate.rows(Source::Memory).first() {
        let Sample { used_bytes, total_bytes, .. } = row.sample;
        let part = float(used_bytes) / float(total_bytes.max(1));
        let used = format!("{} of {}", format_bytes(used_bytes), format_bytes(total_bytes));
        add("memory", format!("{} {used}", bar(part)));
    }
    if let Some(row) = aggregate.rows(Source::Load).first() {
        let [one, five, fifteen] = row.sample.load;
        let tasks = format!("{} of {} tasks running", row.sample.running, row.sample.tasks);
        add("load", format!("{one:.2} {five:.2} {fifteen:.2}, {tasks}"));
    }
    let traffic = |rows: Vec<View>, from: &str, to: &str| {
        // Row 0 is the total; with one device the device itself says more.
        let skip = usize::from(rows.len() == 2);
        let row = rows.into_iter().nth(skip)?;
        let (read, written) = (whole(row.in_per_second), whole(row.out_per_second));
        let (read, written) = (format_bytes(read), format_bytes(written));
        Some(format!("{}: {read}/s {from}, {written}/s {to}", row.sample.name()))
    };
    if let Some(text) = traffic(aggregate.rows(Source::Disk), "read", "written") {
        add("disk", text);
    }
    let interfaces = aggregate.rows(Source::Network).into_iter();
    let interfaces = interfaces.filter(|row| row.sample.name() != "lo").collect();
    if let Some(text) = traffic(interfaces, "received", "sent") {
        add("network", text);
    }
    // The sampler chose them a moment ago; by now their order may be another.
    let mut processes: Vec<View> = aggregate.rows(Source::Process);
    processes.retain(|row| row.sample.row > 0);
    processes.sort_by(|a, b| b.busy_per_second.total_cmp(&a.busy_per_second));
    let busiest = processes.iter().map(|row| {
        let percent = row.busy_per_second / 1e7;
        format!("{} {percent:.0} %", row.sample.name())
    });
    add("busiest", list(busiest, "  "));
    lines
}

/// One line of the state of the machine, for output that is not a terminal.
pub fn one_line(elapsed: Duration, aggregate: &Aggregate) -> String {
    let rate: f64 = Source::ALL.into_iter().map(|source| aggregate.rate(source)).sum();
    let mut parts =
        vec![format!("{:5.1} s", elapsed.as_secs_f64()), format!("{} frames/s", format_rate(rate))];
    if let Some(row) = aggregate.rows(Source::Cpu).first() {
        parts.push(format!("cpu {:.0} %", row.busy_part * 100.0));
    }
    if let Some(row) = aggregate.rows(Source::Memory).first() {
        parts.push(format!("memory {}", format_bytes(row.sample.used_bytes)));
    }
    if let Some(row) = aggregate.rows(Source::Load).first() {
        let [one, ..] = row.sample.load;
        parts.push(format!("load {one:.2}"));
    }
    if let Some(age) = aggregate.age_of_all() {
        parts.push(format!("age p50 {} p99 {}", format_ns(age.p50_ns), format_ns(age.p99_ns)));
    }
    parts.join("  ")
}

/// As many of the texts as fit a line.
fn list(texts: impl Iterator<Item = String>, between: &str) -> String {
    const ROOM: usize = COLUMNS_MAX - 9;
    let mut line = String::new();
    for text in texts {
        let gap = if line.is_empty() { "" } else { between };
        if line.chars().count() + gap.len() + text.chars().count() > ROOM {
            break;
        }
        line.push_str(gap);
        line.push_str(&text);
    }
    line
}

/// `[||||    ]`
fn bar(part: f64) -> String {
    let filled =
        usize::try_from(whole(part.clamp(0.0, 1.0) * float(BAR as u64))).unwrap_or(0).min(BAR);
    format!("[{:<BAR$}]", "|".repeat(filled))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and what is shown is positive"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title() -> Title {
        Title {
            bus: String::from("demo-4194304"),
            elapsed: Duration::from_millis(3210),
            duration: Duration::from_secs(3600),
            pids: [Some(4_194_304), Some(2), Some(3), None, Some(5)],
            lost: 0,
        }
    }

    /// A machine with as much of everything as there can be.
    fn large() -> Aggregate {
        let mut aggregate = Aggregate::new();
        for reading in 0..3_u64 {
            for source in Source::ALL {
                for row in 0..300_u16 {
                    let name = format!("name-of-16-bytes{row}");
                    let mut sample = Sample::new(source, u32::from(row), &name);
                    sample.reading = reading;
                    sample.row = row;
                    sample.read_ns = (reading + 1) * 1_000_000_000;
                    sample.busy_ns = reading * 1_000_000_000;
                    sample.used_bytes = u64::MAX / 2;
                    sample.total_bytes = u64::MAX;
                    sample.in_bytes = reading * 999_999_999_999;
                    sample.out_bytes = reading * 999_999_999_999;
                    sample.load = [9999.99; 3];
                    sample.tasks = u32::MAX;
                    let now_ns = sample.read_ns + 40_000_000_000;
                    aggregate.take(&sample, sample.read_ns, now_ns);
                }
            }
            aggregate.tick((reading + 1) * 1_000_000_000);
        }
        aggregate
    }

    #[test]
    fn the_table_fits_80_by_24_whatever_the_machine() {
        for aggregate in [Aggregate::new(), large()] {
            let lines = table(&title(), &aggregate);
            assert!(lines.len() <= 23, "{} lines", lines.len());
            for (_, line) in lines {
                assert!(line.chars().count() <= COLUMNS_MAX, "{line:?}");
            }
        }
    }

    #[test]
    fn every_source_has_its_row() {
        let lines = table(&title(), &large());
        for source in Source::ALL {
            let row = lines.iter().find(|(_, line)| {
                line.get(18..).is_some_and(|rest| rest.starts_with(source.name()))
            });
            assert!(row.is_some(), "{} is not shown", source.name());
        }
    }

    #[test]
    fn bars_are_as_long_as_the_part() {
        assert_eq!(bar(0.0).matches('|').count(), 0);
        assert_eq!(bar(0.5).matches('|').count(), BAR / 2);
        assert_eq!(bar(7.0).matches('|').count(), BAR);
        assert_eq!(bar(f64::NAN).matches('|').count(), 0);
    }

    #[test]
    fn one_line_says_how_it_stands() {
        let line = one_line(Duration::from_secs(1), &large());
        assert!(line.contains("frames/s") && line.contains("age p50"), "{line}");
        assert!(one_line(Duration::from_secs(1), &Aggregate::new()).contains("0 frames/s"));
    }
}
