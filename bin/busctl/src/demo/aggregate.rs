//! What the aggregator makes of the frames that it polls: counts, ages, latest values, rates.

use super::sample::{Sample, Source};
use crate::bench::{Latency, Percentiles, float};
use std::collections::BTreeMap;

/// Rates are of the last one to two of these: the kernel counts processor time in steps of 10 ms.
const STEP_NS: u64 = 500_000_000;

/// Rows that are kept of a source; readings have fewer.
const ROWS_MAX: usize = 2048;

/// Everything that was learnt so far.
pub struct Aggregate {
    sources: [Sourced; Source::ALL.len()],
    /// From the commit of a frame to its poll.
    on_bus: Latency,
    /// From the start of a reading to the poll of its frames, all sources.
    age: Latency,
    /// Frames that say what no sampler says.
    pub strange: u64,
}

/// What was learnt of one source.
struct Sourced {
    frames: u64,
    age: Latency,
    rows: BTreeMap<(u16, u32, [u8; 16]), Row>,
    /// The newest reading that any row was of.
    reading: u64,
    window: Window,
}

/// One row: its newest sample, and an older one to compute rates from.
struct Row {
    newest: Sample,
    older: Sample,
    oldest: Sample,
}

/// Frames counted over the last one to two steps, as pairs of time and count.
#[derive(Clone, Copy, Default)]
struct Window {
    begin: Option<(u64, u64)>,
    middle: (u64, u64),
    last: (u64, u64),
}

/// A row that is shown: the newest sample and what changed in a second.
pub struct View {
    /// The newest sample.
    pub sample: Sample,
    /// Change of `busy_ns` in nanoseconds a second.
    pub busy_per_second: f64,
    /// Change of `busy_ns` as a part of that of `busy_ns + idle_ns`.
    pub busy_part: f64,
    /// Change of `in_bytes` a second.
    pub in_per_second: f64,
    /// Change of `out_bytes` a second.
    pub out_per_second: f64,
}

impl Aggregate {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            sources: std::array::from_fn(|_| Sourced::new()),
            on_bus: Latency::new(),
            age: Latency::new(),
            strange: 0,
        }
    }

    /// Takes in a frame that was committed at `commit_ns` and polled at `now_ns`.
    pub fn take(&mut self, sample: &Sample, commit_ns: u64, now_ns: u64) {
        let Some(source) = Source::from_number(sample.source) else {
            self.strange += 1;
            return;
        };
        let age_ns = now_ns.saturating_sub(sample.read_ns);
        self.age.record(age_ns);
        self.on_bus.record(now_ns.saturating_sub(commit_ns));
        self.sources[source.index()].take(sample, age_ns);
    }

    /// Lets the windows of rates move on. To be called a few times a second.
    pub fn tick(&mut self, now_ns: u64) {
        for source in &mut self.sources {
            source.tick(now_ns);
        }
    }

    /// Frames of a source.
    pub fn frames(&self, source: Source) -> u64 {
        self.sources[source.index()].frames
    }

    /// Frames of all sources.
    pub fn frames_of_all(&self) -> u64 {
        Source::ALL.into_iter().map(|source| self.frames(source)).sum()
    }

    /// Frames a second of a source, of late.
    pub fn rate(&self, source: Source) -> f64 {
        self.sources[source.index()].window.rate()
    }

    /// How old the frames of a source were when polled.
    pub fn age(&self, source: Source) -> Option<Percentiles> {
        self.sources[source.index()].age.percentiles()
    }

    /// How old all frames were when polled.
    pub fn age_of_all(&self) -> Option<Percentiles> {
        self.age.percentiles()
    }

    /// How long all frames were on the bus.
    pub fn on_bus(&self) -> Option<Percentiles> {
        self.on_bus.percentiles()
    }

    /// The current rows of a source, in their order.
    pub fn rows(&self, source: Source) -> Vec<View> {
        let sourced = &self.sources[source.index()];
        // A reading may be half polled: what has not come yet is shown as of the one before.
        let current = |row: &&Row| row.newest.reading + 1 >= sourced.reading;
        let mut views: Vec<View> = sourced.rows.values().filter(current).map(Row::view).collect();
        views.sort_by_key(|view| view.sample.row);
        views
    }
}

impl Sourced {
    fn new() -> Self {
        Self {
            frames: 0,
            age: Latency::new(),
            rows: BTreeMap::new(),
            reading: 0,
            window: Window::default(),
        }
    }

    fn take(&mut self, sample: &Sample, age_ns: u64) {
        self.frames += 1;
        self.reading = sample.reading;
        self.age.record(age_ns);
        // Processes move from row to row, everything else stays; the row is not what it is.
        let key = (sample.source, sample.id, sample.name);
        if let Some(row) = self.rows.get_mut(&key) {
            row.newest = *sample;
        } else if self.rows.len() < ROWS_MAX {
            self.rows.insert(key, Row { newest: *sample, older: *sample, oldest: *sample });
        }
    }

    fn tick(&mut self, now_ns: u64) {
        self.window.tick(now_ns, self.frames);
        let reading = self.reading;
        // What has not been read since the last tick is gone: a process that ended, for instance.
        self.rows.retain(|_, row| row.newest.reading + 1 >= reading);
        for row in self.rows.values_mut() {
            if row.newest.read_ns.saturating_sub(row.older.read_ns) >= STEP_NS {
                row.oldest = row.older;
                row.older = row.newest;
            }
        }
    }
}

impl Row {
    fn view(&self) -> View {
        let per_second = |part: fn(&Sample) -> u64| {
            let seconds = float(self.newest.read_ns.saturating_sub(self.oldest.read_ns)) / 1e9;
            let change = float(part(&self.newest).saturating_sub(part(&self.oldest)));
            if seconds > 0.0 { change / seconds } else { 0.0 }
        };
        let busy_per_second = per_second(|sample| sample.busy_ns);
        let all_per_second = busy_per_second + per_second(|sample| sample.idle_ns);
        View {
            sample: self.newest,
            busy_per_second,
            busy_part: if all_per_second > 0.0 { busy_per_second / all_per_second } else { 0.0 },
            in_per_second: per_second(|sample| sample.in_bytes),
            out_per_second: per_second(|sample| sample.out_bytes),
        }
    }
}

impl Window {
    fn tick(&mut self, now_ns: u64, frames: u64) {
        self.last = (now_ns, frames);
        if self.begin.is_none() {
            (self.begin, self.middle) = (Some(self.last), self.last);
        }
        if now_ns.saturating_sub(self.middle.0) >= STEP_NS {
            (self.begin, self.middle) = (Some(self.middle), self.last);
        }
    }

    fn rate(&self) -> f64 {
        let Some((begin_ns, frames)) = self.begin else {
            return 0.0;
        };
        let seconds = float(self.last.0.saturating_sub(begin_ns)) / 1e9;
        if seconds > 0.0 { float(self.last.1 - frames) / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sample(reading: u64, read_ns: u64, busy_ns: u64) -> Sample {
        let mut sample = Sample::new(Source::Cpu, 0, "all");
        (sample.reading, sample.read_ns, sample.busy_ns) = (reading, read_ns, busy_ns);
        sample.idle_ns = read_ns - busy_ns;
        sample
    }

    #[test]
    fn rates_are_of_the_last_second() {
        let mut aggregate = Aggregate::new();
        for reading in 0..3000_u64 {
            let now_ns = (reading + 1) * MS;
            // Idle for two seconds, busy in the third.
            let busy_ns = reading.saturating_sub(2000) * MS;
            aggregate.take(&sample(reading, now_ns, busy_ns), now_ns, now_ns + 5000);
            if reading % 100 == 0 {
                aggregate.tick(now_ns);
            }
        }
        let rate = aggregate.rate(Source::Cpu);
        assert!((rate - 1000.0).abs() < 1.0, "{rate}");
        let rows = aggregate.rows(Source::Cpu);
        assert_eq!(rows.len(), 1);
        assert!((rows[0].busy_part - 1.0).abs() < 0.01, "{}", rows[0].busy_part);
        assert_eq!(aggregate.frames(Source::Cpu), 3000);
        let age = aggregate.age_of_all().expect("samples");
        assert!((5000..5010).contains(&age.p50_ns), "{age:?}");
    }

    #[test]
    fn a_row_that_is_not_read_any_more_goes() {
        let mut aggregate = Aggregate::new();
        let mut gone = sample(0, MS, 0);
        gone.id = 7;
        aggregate.take(&gone, MS, MS);
        for reading in 1..1000 {
            aggregate.take(&sample(reading, reading * MS, 0), reading * MS, reading * MS);
            aggregate.tick(reading * MS);
        }
        assert_eq!(aggregate.rows(Source::Cpu).len(), 1);
        assert_eq!(aggregate.sources[Source::Cpu.index()].rows.len(), 1);
    }

    #[test]
    fn a_frame_of_no_source_is_counted_as_strange() {
        let mut aggregate = Aggregate::new();
        let mut strange = sample(0, MS, 0);
        strange.source = 99;
        aggregate.take(&strange, MS, MS);
        assert_eq!((aggregate.strange, aggregate.frames_of_all()), (1, 0));
    }
}
