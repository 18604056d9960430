//! What a throughput measurement prints: a line a run as it comes, then the median; or one
//! document.

use super::Shape;
use super::session::Phase;
use crate::bench::affinity::{self, Pins};
use crate::bench::latency::{self, Latency, Percentiles, Spread};
use crate::bench::pattern::Cost;
use crate::bench::{float, per_second};
use crate::exit::{Exit, Failure};
use crate::output::{Out, Paint};
use crate::table::{Side, Table};
use crate::units::{format_bytes, format_count, format_ns, format_rate};
use serde::Serialize;
use std::process::ExitCode;

/// The document of `bench --json`, filled run by run.
#[derive(Serialize)]
pub struct Report {
    #[serde(flatten)]
    shape: Shape,
    processors: usize,
    pin: Vec<usize>,
    #[serde(flatten)]
    pattern: Cost,
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<Median>,
    runs: Vec<RunReport>,
}

/// The middle of all runs.
#[derive(Serialize)]
struct Median {
    messages_per_second: Spread,
    bytes_per_second: Spread,
    lost: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Percentiles>,
    ping_pong: Option<Percentiles>,
    /// Messages for each frame of the bare lane beside each run.
    #[serde(skip_serializing_if = "Option::is_none")]
    of_limit: Option<f64>,
}

/// One run.
#[derive(Serialize)]
pub struct RunReport {
    messages: u64,
    elapsed_ns: u64,
    messages_per_second: u64,
    bytes_per_second: u64,
    /// Over all consumers, each of which reads (or loses) every message.
    read: u64,
    lost: u64,
    rejected: u64,
    blocked_ns: u64,
    producers: Vec<ProducerLine>,
    consumers: Vec<ConsumerLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Percentiles>,
    /// The bare round trip between the same processors, just before.
    ping_pong: Percentiles,
    /// Frames a second of a bare lane between the same processors, just after.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_frames_per_second: Option<u64>,
}

#[derive(Serialize)]
struct ProducerLine {
    pid: u32,
    lane: u32,
    published: u64,
    rejected: u64,
    blocked_ns: u64,
    messages_per_second: u64,
}

#[derive(Serialize)]
struct ConsumerLine {
    pid: u32,
    read: u64,
    lost: u64,
    messages_per_second: u64,
}

impl RunReport {
    /// Of a measured phase.
    pub fn new(
        shape: &Shape,
        phase: &Phase,
        ping_pong: Percentiles,
        limit_frames_per_second: Option<u64>,
    ) -> Self {
        let mut latency = Latency::new();
        for (_, consumer) in &phase.consumers {
            latency.add(&consumer.latency);
        }
        let producers = phase.producers.iter().map(|(pid, producer)| ProducerLine {
            pid: *pid,
            lane: producer.lane,
            published: producer.published,
            rejected: producer.rejected,
            blocked_ns: producer.blocked_ns,
            messages_per_second: per_second(
                producer.published,
                producer.end_ns.saturating_sub(producer.begin_ns),
            ),
        });
        let consumers = phase.consumers.iter().map(|(pid, consumer)| ConsumerLine {
            pid: *pid,
            read: consumer.read,
            lost: consumer.lost,
            messages_per_second: per_second(
                consumer.read,
                consumer.end_ns.saturating_sub(phase.begin_ns),
            ),
        });
        let messages_per_second = per_second(phase.messages, phase.elapsed_ns);
        Self {
            messages: phase.messages,
            elapsed_ns: phase.elapsed_ns,
            messages_per_second,
            bytes_per_second: messages_per_second.saturating_mul(u64::from(shape.payload_bytes)),
            read: phase.consumers.iter().map(|(_, consumer)| consumer.read).sum(),
            lost: phase.consumers.iter().map(|(_, consumer)| consumer.lost).sum(),
            rejected: phase.producers.iter().map(|(_, producer)| producer.rejected).sum(),
            blocked_ns: phase.producers.iter().map(|(_, producer)| producer.blocked_ns).sum(),
            producers: producers.collect(),
            consumers: consumers.collect(),
            latency: latency.percentiles(),
            ping_pong,
            limit_frames_per_second,
        }
    }

    /// Messages for each frame of the bare lane beside it.
    fn of_limit(&self) -> Option<f64> {
        let limit = self.limit_frames_per_second.filter(|limit| *limit > 0)?;
        Some(float(self.messages_per_second) / float(limit))
    }

    /// The cells of the table of runs.
    fn cells(&self) -> [String; 6] {
        [
            format_count(self.messages),
            format_ns(self.elapsed_ns),
            format_rate(float(self.messages_per_second)),
            format_bytes(self.bytes_per_second),
            format_count(self.lost),
            format_ns(self.ping_pong.p50_ns),
        ]
    }
}

impl Report {
    /// Says what is about to be measured.
    pub fn begin(out: &Out, shape: &Shape, pins: &Pins, cost: Cost) -> Result<Self, Failure> {
        if !out.json() {
            out.line(format_args!(
                "{}: {} → {}, {}",
                out.paint(Paint::Bold, format_args!("bench {}", shape.topology)),
                plural(shape.producers, "producer"),
                plural(shape.consumers, "consumer"),
                pins.describe(),
            ))?;
            out.line(describe(shape))?;
            out.line(format_args!(
                "every byte is checked; that is {} ns of each message to write and {} ns to check",
                tenths(cost.fill_ps),
                tenths(cost.check_ps)
            ))?;
            out.line("")?;
            let heading = ["MESSAGES", "TIME", "MESSAGES/S", "PAYLOAD/S", "LOST", "PING-PONG"];
            out.line(out.paint(Paint::Bold, line("RUN", heading)))?;
            out.flush()?;
        }
        Ok(Self {
            shape: shape.clone(),
            processors: affinity::processors(),
            pin: pins.as_slice().to_vec(),
            pattern: cost,
            median: None,
            runs: Vec::new(),
        })
    }

    /// Adds a run and says it.
    pub fn add(&mut self, run: RunReport, out: &Out) -> Result<(), Failure> {
        if !out.json() {
            let number = (self.runs.len() + 1).to_string();
            let cells = run.cells();
            out.line(line(&number, cells.each_ref().map(String::as_str)))?;
            out.flush()?;
        }
        self.runs.push(run);
        Ok(())
    }

    /// Says the median and what each end did.
    pub fn end(mut self, out: &Out) -> Result<ExitCode, Failure> {
        let spread = |figure: fn(&RunReport) -> u64| Spread::of(self.runs.iter().map(figure));
        let latencies: Vec<_> = self.runs.iter().filter_map(|run| run.latency).collect();
        let ping_pongs: Vec<_> = self.runs.iter().map(|run| run.ping_pong).collect();
        let median = Median {
            messages_per_second: spread(|run| run.messages_per_second),
            bytes_per_second: spread(|run| run.bytes_per_second),
            lost: spread(|run| run.lost),
            latency: Percentiles::median_of(&latencies),
            ping_pong: Percentiles::median_of(&ping_pongs),
            of_limit: self.of_limit(),
        };
        if out.json() {
            self.median = Some(median);
            out.document("busway.bench/1", &self)?;
            return Ok(Exit::Ok.code());
        }
        let Spread { median: middle, min, max } = median.messages_per_second;
        let [middle, min, max] = [middle, min, max].map(|rate| format_rate(float(rate)));
        out.line("")?;
        out.line(format_args!(
            "{} messages/s, {} of payload (median; {min} to {max})",
            out.paint(Paint::Bold, middle),
            format_bytes(median.bytes_per_second.median),
        ))?;
        if let Some(of_limit) = median.of_limit {
            let limits = self.runs.iter().filter_map(|run| run.limit_frames_per_second);
            out.line(format_args!(
                "{} of a bare lane's {} frames/s (median of the runs' ratios; `bench limit`)",
                out.paint(Paint::Bold, format_args!("{of_limit:.2}")),
                format_rate(float(Spread::of(limits).median)),
            ))?;
        }
        if let Some(latency) = median.latency {
            out.line("")?;
            latency::print(out, "FROM INTENDED SEND TIME", latency)?;
        }
        out.line("")?;
        self.print_ends(out)
    }

    /// The median of the runs' ratios to the bare lane, if it was measured.
    fn of_limit(&self) -> Option<f64> {
        let mut ratios: Vec<f64> = self.runs.iter().filter_map(RunReport::of_limit).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len().saturating_sub(1) / 2).copied()
    }

    /// What each end did, in the run with the middle speed.
    fn print_ends(&self, out: &Out) -> Result<ExitCode, Failure> {
        let mut order: Vec<&RunReport> = self.runs.iter().collect();
        order.sort_by_key(|run| run.messages_per_second);
        let Some(run) = order.get(order.len().saturating_sub(1) / 2) else {
            return Ok(Exit::Ok.code());
        };
        let mut table = Table::new([
            ("MEDIAN RUN", Side::Left),
            ("PID", Side::Right),
            ("MESSAGES", Side::Right),
            ("PER SECOND", Side::Right),
            ("LOST", Side::Right),
            ("REJECTED", Side::Right),
            ("BLOCKED", Side::Right),
        ]);
        let none = || String::from("-");
        for producer in &run.producers {
            table.row([
                format!("producer, lane {}", producer.lane),
                producer.pid.to_string(),
                format_count(producer.published),
                format_rate(float(producer.messages_per_second)),
                none(),
                format_count(producer.rejected),
                format_ns(producer.blocked_ns),
            ]);
        }
        for (consumer, index) in run.consumers.iter().zip(0_u32..) {
            table.row([
                format!("consumer {index}"),
                consumer.pid.to_string(),
                format_count(consumer.read),
                format_rate(float(consumer.messages_per_second)),
                format_count(consumer.lost),
                none(),
                none(),
            ]);
        }
        table.print(out)?;
        Ok(Exit::Ok.code())
    }
}

fn describe(shape: &Shape) -> String {
    let batch = match shape.batch_messages {
        1 => String::from("one by one"),
        batch => format!("batches of {batch}"),
    };
    let rate = match shape.rate_hz {
        None => String::from("flat out"),
        Some(hz) => format!("{} messages/s a producer", format_rate(hz)),
    };
    format!(
        "{} of payload, {batch}, {rate}; {} when full, wait {}, {} frames, timestamps {}",
        format_bytes(u64::from(shape.payload_bytes)),
        shape.on_full,
        shape.wait,
        shape.frames,
        shape.timestamps
    )
}

/// A line of the table of runs, which is printed as the runs come.
fn line(run: &str, cells: [&str; 6]) -> String {
    let [messages, time, rate, bytes, lost, ping] = cells;
    format!("{run:>3}  {messages:>15}  {time:>9}  {rate:>10}  {bytes:>10}  {lost:>11}  {ping:>9}")
}

fn plural(count: u32, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Picoseconds as nanoseconds with one decimal.
fn tenths(picoseconds: u64) -> String {
    format!("{}.{}", picoseconds / 1000, picoseconds % 1000 / 100)
}
