//! What is seen while the pipeline runs: a line a second, or a table that is redrawn.

use super::key;
use super::worker::Held;
use crate::demo::sample::{Sample, Source};
use crate::demo::screen::Line;
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::units::{format_bytes, format_count};
use busway::{GroupStat, TableReader};
use std::time::Duration;

/// A worker, as the conductor knows it.
pub struct WorkerLine {
    pub name: String,
    /// Its index in the crew.
    pub member: usize,
    pub pid: u32,
    /// The frame that it held when it was killed.
    pub killed: Option<Held>,
}

/// How the group stands at an instant of the demo.
pub struct View {
    pub elapsed: Duration,
    pub duration: Duration,
    pub stat: GroupStat,
    /// What the gates came to at the start.
    pub base: u64,
}

/// Positions that the group has passed, all lanes.
pub fn gates(stat: &GroupStat) -> u64 {
    stat.lanes.iter().map(|lane| lane.gate).fold(0, u64::wrapping_add)
}

/// Whether there is nothing that the group has not passed.
pub fn is_done(stat: &GroupStat) -> bool {
    stat.lanes.iter().all(|lane| lane.gate == lane.head)
}

/// Attempts that did not end in an acknowledgement.
pub fn failed_attempts(stat: &GroupStat) -> u64 {
    stat.refused + stat.timed_out + stat.died
}

/// What a reader of a pipe sees first.
pub fn introduce(out: &Out, bus: &str, table: &str) -> Result<(), Failure> {
    out.line(format_args!(
        "{}: 5 samplers → bus {bus} → a group of 3 workers → table {table}",
        out.paint(Paint::Bold, "busway demo"),
    ))?;
    out.line("in the middle one worker is killed; redelivered: tried once more")?;
    out.flush()
}

impl View {
    /// Published, done, backlog, redelivered, dead letters.
    fn counts(&self) -> [u64; 5] {
        let heads = self.stat.lanes.iter().map(|lane| lane.head).fold(0, u64::wrapping_add);
        let published = heads.wrapping_sub(self.base);
        let (backlog, dead) = (self.stat.backlog, self.stat.dead_letters);
        let done = published.saturating_sub(backlog).saturating_sub(dead);
        // What became a dead letter was not delivered again after its last attempt.
        let again = failed_attempts(&self.stat).saturating_sub(dead);
        [published, done, backlog, again, dead]
    }

    /// The line for a pipe.
    pub fn one_line(&self, reader: &mut TableReader<Sample>) -> Result<String, Failure> {
        let [published, done, backlog, again, dead] = self.counts().map(format_count);
        let mut keys = 0;
        reader.for_each(|_| keys += 1).map_err(busway::Error::from)?;
        let (seconds, workers) = (self.elapsed.as_secs_f64(), self.stat.members.len());
        Ok(format!(
            "{seconds:6.1} s  {published} published  {done} done  {backlog} backlog  {again} \
             redelivered  {dead} dead letters  {workers} workers  {keys} keys"
        ))
    }

    /// The lines for a terminal, of at most 80 columns.
    pub fn lines(
        &self,
        bus: &str,
        workers: &[WorkerLine],
        reader: &mut TableReader<Sample>,
    ) -> Result<Vec<Line>, Failure> {
        let (elapsed, duration) = (self.elapsed.as_secs_f64(), self.duration.as_secs_f64());
        let head = format!("busway demo: 5 samplers → {bus} → group → table");
        let mut lines = vec![
            (Some(Paint::Bold), format!("{head:<60}{elapsed:>8.1} of {duration:.1} s")),
            (None, String::new()),
        ];
        let row = |[a, b, c, d, e]: [&str; 5]| format!("{a:>12} {b:>12} {c:>9} {d:>12} {e:>13}");
        let names = ["PUBLISHED", "DONE", "BACKLOG", "REDELIVERED", "DEAD LETTERS"];
        let counts = self.counts().map(format_count);
        lines.push((Some(Paint::Bold), row(names)));
        lines.push((None, row(counts.each_ref().map(String::as_str))));
        lines.push((None, String::new()));
        lines.extend(workers.iter().map(|worker| self.worker(worker)));
        lines.push((None, String::new()));
        lines.push((Some(Paint::Bold), format!("{:<12} {:>10}  VALUE", "KEY", "READING")));
        for source in Source::ALL {
            let key = key(source, 0);
            let newest = reader.value(&*key).map_err(busway::Error::from)?;
            let (reading, value) = newest.map_or_else(
                || (String::from("-"), String::from("-")),
                |sample| (format_count(sample.reading), told(source, &sample)),
            );
            lines.push((None, format!("{key:<12} {reading:>10}  {value}")));
        }
        Ok(lines)
    }

    fn worker(&self, worker: &WorkerLine) -> Line {
        let WorkerLine { name, pid, .. } = worker;
        if let Some(Held { lane, position }) = worker.killed {
            let line = format!("{name} {pid:>8}  killed with frame {position} of lane {lane}");
            return (Some(Paint::Red), line);
        }
        let mut members = self.stat.members.iter();
        match members.find(|member| member.participant.pid == *pid) {
            Some(member) => {
                let (claimed, done) = (member.claimed, member.acknowledged);
                let (claimed, done) = (format_count(claimed), format_count(done));
                (None, format!("{name} {pid:>8}  its seat: {claimed} claimed, {done} acknowledged"))
            }
            None => (Some(Paint::Dim), format!("{name} {pid:>8}  not attached")),
        }
    }
}

/// What a source's row 0 says, in short.
fn told(source: Source, sample: &Sample) -> String {
    match source {
        Source::Cpu => {
            let (busy, idle) = (sample.busy_ns / 1_000_000_000, sample.idle_ns / 1_000_000_000);
            format!("{} s busy, {} s idle", format_count(busy), format_count(idle))
        }
        Source::Memory => {
            let (used, total) = (sample.used_bytes, sample.total_bytes);
            format!("{} of {} used", format_bytes(used), format_bytes(total))
        }
        Source::Load => format!("{:.2} over a minute, {} tasks", sample.load[0], sample.tasks),
        Source::Disk | Source::Network => {
            let (came, went) = (format_bytes(sample.in_bytes), format_bytes(sample.out_bytes));
            format!("{came} in, {went} out")
        }
        Source::Process => format!("{} processes", sample.tasks),
    }
}
