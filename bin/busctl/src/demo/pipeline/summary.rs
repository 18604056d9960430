//! The end of a pipeline: whether the counts add up, by positions, the list of dead letters and the
//! table, none of which a killed worker leaves half-way.

use super::view::{WorkerLine, gates};
use super::worker::Held;
use super::{GROUP, key, newest_of, poison_of};
use crate::demo::sample::{Sample, Source};
use crate::demo::sampler::Published;
use crate::demo::source::Sampler;
use crate::exit::Failure;
use crate::output::{Out, Paint};
use crate::table::{Side, Table};
use crate::units::format_count;
use busway::Group;
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a demo came to.
pub struct Summary {
    pub elapsed: Duration,
    /// By the user, before the time was over.
    pub interrupted: bool,
    pub workers: Vec<WorkerLine>,
    pub counts: Counts,
}

/// The document of `demo --scenario pipeline --json`.
#[derive(Serialize)]
pub struct Document<'a> {
    elapsed_ns: u64,
    interrupted: bool,
    #[serde(flatten)]
    counts: &'a Counts,
    workers: Vec<Worker<'a>>,
}

#[derive(Serialize)]
struct Worker<'a> {
    name: &'a str,
    pid: u32,
    /// The frame that it held when it was killed.
    killed_with: Option<Held>,
}

/// The counts, once nothing changes any more.
#[derive(Serialize)]
pub struct Counts {
    bus: String,
    group: &'static str,
    table: String,
    /// Whether all counts add up.
    complete: bool,
    /// By what the samplers say.
    published: u64,
    /// By the group's positions.
    passed: u64,
    /// Passed and no dead letter.
    done: u64,
    backlog: u64,
    /// Frames in the list of dead letters.
    dead_letters: u64,
    /// Letters of a frame that has one already: who sent it died before it said so.
    dead_letters_twice: u64,
    /// Frames that everybody refuses.
    poison: u64,
    /// Attempts that failed; counters, which nothing depends on.
    attempts: Attempts,
    sources: Vec<SourceLine>,
}

#[derive(Serialize)]
struct Attempts {
    refused: u64,
    died: u64,
    timed_out: u64,
}

#[derive(Serialize)]
struct SourceLine {
    source: Source,
    published: u64,
    /// The reading that the table has to have.
    reading_due: Option<u64>,
    /// The one that it has.
    reading_in_table: Option<u64>,
}

impl Counts {
    /// Looks at everything, when the samplers have ended and the group has passed all.
    pub fn take(
        group: &Group,
        table: &busway::Table,
        base: u64,
        published: &[Published],
    ) -> Result<Self, Failure> {
        let mut sources = Vec::new();
        let mut poison = 0;
        let mut reader = table.reader().attach_typed::<Sample>()?;
        for (sampler, report) in Sampler::ALL.into_iter().zip(published) {
            for &source in sampler.sources() {
                if source == Source::Load {
                    poison = poison_of(report.readings);
                }
                let newest = reader.value(&*key(source, 0)).map_err(busway::Error::from)?;
                sources.push(SourceLine {
                    source,
                    published: report.frames[source.index()],
                    reading_due: newest_of(source, report.readings),
                    reading_in_table: newest.map(|sample| sample.reading),
                });
            }
        }
        let left: u64 = published.iter().map(|report| report.left).sum();
        let published: u64 = sources.iter().map(|line| line.published).sum();
        let letters = match group.dead_letters()? {
            Some(letters) => letters.list()?,
            None => Vec::new(),
        };
        let frames: BTreeSet<_> = letters.iter().map(|one| (one.lane, one.position)).collect();
        let stat = group.stat()?;
        let passed = gates(&stat).wrapping_sub(base);
        let dead_letters = frames.len() as u64;
        let tables_equal = sources.iter().all(|line| line.reading_due == line.reading_in_table);
        let counts_equal = passed == published && left == 0 && stat.backlog == 0;
        Ok(Self {
            bus: group.bus().name().to_owned(),
            group: GROUP,
            table: table.name().to_owned(),
            complete: counts_equal && tables_equal && dead_letters >= poison,
            published,
            passed,
            done: passed.saturating_sub(dead_letters),
            backlog: stat.backlog,
            dead_letters,
            dead_letters_twice: letters.len() as u64 - dead_letters,
            poison,
            attempts: Attempts {
                refused: stat.refused,
                died: stat.died,
                timed_out: stat.timed_out,
            },
            sources,
        })
    }

    /// An error when the counts do not add up.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.complete {
            return Ok(());
        }
        let Self { published, passed, backlog, dead_letters, poison, .. } = self;
        let behind = self.sources.iter().filter(|line| line.reading_due != line.reading_in_table);
        let behind: Vec<_> = behind.map(|line| line.source.name()).collect();
        Err(Failure::failed(format!(
            "counts do not add up: {published} published, {passed} passed by the group, {backlog} \
             left, {dead_letters} dead letters for {poison} poison frames; not the newest in the \
             table: {behind:?}"
        )))
    }
}

impl Summary {
    /// What `--json` prints.
    pub fn document(&self) -> Document<'_> {
        let workers = self.workers.iter().map(|worker| Worker {
            name: &worker.name,
            pid: worker.pid,
            killed_with: worker.killed,
        });
        Document {
            elapsed_ns: u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX),
            interrupted: self.interrupted,
            counts: &self.counts,
            workers: workers.collect(),
        }
    }
}

/// The summary for people.
pub fn end_text(out: &Out, summary: &Summary) -> Result<(), Failure> {
    let counts = &summary.counts;
    out.line("")?;
    let mut table = Table::new([
        ("SOURCE", Side::Left),
        ("PUBLISHED", Side::Right),
        ("LAST READING", Side::Right),
        ("IN THE TABLE", Side::Right),
    ]);
    let reading = |reading: Option<u64>| reading.map_or_else(|| String::from("-"), format_count);
    for line in &counts.sources {
        table.row([
            line.source.name().to_owned(),
            format_count(line.published),
            reading(line.reading_due),
            reading(line.reading_in_table),
        ]);
    }
    table.print(out)?;
    for worker in &summary.workers {
        if let Some(Held { lane, position }) = worker.killed {
            let WorkerLine { name, pid, .. } = worker;
            out.line(format_args!(
                "{name} (pid {pid}) was killed with frame {position} of lane {lane} in its hands"
            ))?;
        }
    }
    let Attempts { refused, died, timed_out } = counts.attempts;
    let [refused, died, timed_out] = [refused, died, timed_out].map(format_count);
    out.line(format_args!(
        "attempts that failed: {refused} refused, {died} by a death, {timed_out} too late"
    ))?;
    let all = [counts.published, counts.done, counts.dead_letters, counts.backlog];
    let [published, done, dead, backlog] = all.map(format_count);
    let verdict =
        format!("{published} frames published = {done} done + {dead} dead letters; {backlog} left");
    let paint = if counts.complete { Paint::Green } else { Paint::Red };
    out.line(out.paint(paint, verdict))?;
    out.line("all processes have ended; bus, dead letters and table are removed")
}
