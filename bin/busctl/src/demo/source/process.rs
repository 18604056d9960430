//! The busiest processes, from /proc/PID/stat.
//!
//! To read every process a thousand times a second would take a processor of its own. So a reading
//! follows the few busiest ones through files that stay open, and looks at a slice of all the
//! others; once all have been seen, twice a second, the busiest are chosen anew.

use super::file::ProcFile;
use super::{Reader, ticks_to_ns};
use crate::bench::monotonic_ns;
use crate::demo::sample::{Sample, Source};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};

/// Processes that are followed, hence rows of a reading besides row 0.
pub const FOLLOWED: usize = 5;

/// Other processes that one reading looks at.
const SLICE: usize = 8;

/// Time between the starts of two rounds through all processes.
const ROUND_NS: u64 = 500_000_000;

/// Longer than any /proc/PID/stat.
const STAT_BYTES: usize = 2048;

/// Reads /proc/PID/stat of all processes in turn.
pub struct ProcessReader {
    /// Those that this round has still to look at.
    left: Vec<u32>,
    round_begin_ns: u64,
    /// What rounds have seen of each process.
    seen: HashMap<u32, Seen>,
    followed: Vec<(u32, ProcFile)>,
    processes: u32,
    page_bytes: u64,
    text: Vec<u8>,
}

/// What a round saw of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    at_ns: u64,
    cpu_ns: u64,
    /// Processor time since the round before, per second of time.
    load_ppm: u64,
    resident_bytes: u64,
    /// The round that saw it.
    round: u64,
}

/// What one line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat<'a> {
    name: &'a str,
    cpu_ticks: u64,
    resident_pages: u64,
}

impl ProcessReader {
    /// Checks that processes can be seen.
    pub fn open() -> io::Result<Self> {
        let mut reader = Self {
            left: Vec::new(),
            round_begin_ns: 0,
            seen: HashMap::new(),
            followed: Vec::new(),
            processes: 0,
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
            text: vec![0; STAT_BYTES],
        };
        reader.begin_round(monotonic_ns())?;
        Ok(reader)
    }

    fn begin_round(&mut self, now_ns: u64) -> io::Result<()> {
        self.round_begin_ns = now_ns;
        self.left.clear();
        for entry in std::fs::read_dir("/proc")? {
            if let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                self.left.push(pid);
            }
        }
        self.processes = u32::try_from(self.left.len()).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Looks at the next few processes; after the last one chooses whom to follow.
    fn look_on(&mut self, now_ns: u64) -> io::Result<()> {
        if self.left.is_empty() {
            if now_ns.saturating_sub(self.round_begin_ns) < ROUND_NS {
                return Ok(());
            }
            self.begin_round(now_ns)?;
        }
        for _ in 0..SLICE {
            let Some(pid) = self.left.pop() else { break };
            // One that has ended since it was listed is no error.
            let _ = self.look_at(pid, now_ns);
        }
        if self.left.is_empty() {
            self.choose();
        }
        Ok(())
    }

    fn look_at(&mut self, pid: u32, now_ns: u64) -> io::Result<()> {
        let len = File::open(format!("/proc/{pid}/stat"))?.read(&mut self.text)?;
        let text = self.text.get(..len).unwrap_or_default();
        let Some(stat) = std::str::from_utf8(text).ok().and_then(parse) else {
            return Ok(());
        };
        let cpu_ns = ticks_to_ns(stat.cpu_ticks);
        let before = self.seen.get(&pid).copied();
        let load_ppm = before.map_or(0, |before| {
            let used_ns = cpu_ns.saturating_sub(before.cpu_ns);
            let elapsed_ns = now_ns.saturating_sub(before.at_ns).max(1);
            used_ns.saturating_mul(1000) / (elapsed_ns / 1000).max(1)
        });
        let resident_bytes = stat.resident_pages.saturating_mul(self.page_bytes);
        let round = self.round_begin_ns;
        let seen = Seen { at_ns: now_ns, cpu_ns, load_ppm, resident_bytes, round };
        self.seen.insert(pid, seen);
        Ok(())
    }

    /// Follows the busiest of the round, the largest first among equals.
    fn choose(&mut self) {
        let round = self.round_begin_ns;
        self.seen.retain(|_, seen| seen.round == round);
        let mut order: Vec<(u32, Seen)> =
            self.seen.iter().map(|(pid, seen)| (*pid, *seen)).collect();
        order.sort_by_key(|(pid, seen)| {
            (std::cmp::Reverse((seen.load_ppm, seen.resident_bytes)), *pid)
        });
        order.truncate(FOLLOWED);
        let mut before = std::mem::take(&mut self.followed);
        for (pid, _) in order {
            if let Some(at) = before.iter().position(|(followed, _)| *followed == pid) {
                self.followed.push(before.swap_remove(at));
            } else if let Ok(file) = ProcFile::open(format!("/proc/{pid}/stat")) {
                self.followed.push((pid, file));
            }
        }
    }
}

impl Reader for ProcessReader {
    fn read(&mut self, samples: &mut Vec<Sample>) -> io::Result<()> {
        self.look_on(monotonic_ns())?;
        let mut total = Sample::new(Source::Process, 0, "all");
        total.tasks = self.processes;
        samples.push(total);
        let page_bytes = self.page_bytes;
        self.followed.retain_mut(|(pid, file)| {
            // A process that has ended cannot be read (ESRCH) and is not followed any more.
            let Some(stat) = file.read().ok().and_then(parse) else {
                return false;
            };
            let mut sample = Sample::new(Source::Process, *pid, stat.name);
            sample.busy_ns = ticks_to_ns(stat.cpu_ticks);
            sample.used_bytes = stat.resident_pages.saturating_mul(page_bytes);
            samples.push(sample);
            true
        });
        Ok(())
    }
}

/// `4242 (name) S 1 …`: the name may hold spaces and parentheses, so what follows it begins at the
/// last parenthesis.
fn parse(text: &str) -> Option<Stat<'_>> {
    let (_, rest) = text.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut words = rest.split_ascii_whitespace();
    // Counted from the state, which is field 3 of proc(5).
    let user: u64 = words.nth(14 - 3)?.parse().ok()?;
    let system: u64 = words.next()?.parse().ok()?;
    let resident: i64 = words.nth(24 - 16)?.parse().ok()?;
    Some(Stat {
        name,
        cpu_ticks: user.saturating_add(system),
        resident_pages: u64::try_from(resident).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_manual() {
        let text = "4305 (a (b) c) R 4295 4295 2372 0 -1 4194304 98 0 0 0 7 11 0 0 20 0 1 0 154715 \
                    3133440 363 18446744073709551615 1 2 3\n";
        let stat = parse(text).expect("right text");
        assert_eq!(stat, Stat { name: "a (b) c", cpu_ticks: 18, resident_pages: 363 });
    }

    #[test]
    fn wrong_text_is_no_reading() {
        for text in ["", "1", "1 (a", "1 (a) R 1 2 3", ") ("] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn this_process_is_seen() {
        let mut reader = ProcessReader::open().expect("/proc");
        let own = std::process::id();
        reader.look_at(own, monotonic_ns()).expect("this process");
        assert!(reader.seen.get(&own).is_some_and(|seen| seen.resident_bytes > 0));
    }

    #[test]
    fn a_process_that_has_ended_is_not_followed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let mut reader = ProcessReader::open().expect("/proc");
        let file = ProcFile::open(format!("/proc/{}/stat", child.id())).expect("its file");
        reader.followed.push((child.id(), file));
        let rows = |reader: &mut ProcessReader| {
            let mut samples = Vec::new();
            reader.left.clear();
            reader.round_begin_ns = monotonic_ns();
            reader.read(&mut samples).expect("a reading");
            samples.len()
        };
        assert_eq!(rows(&mut reader), 2);
        child.kill().expect("it runs");
        child.wait().expect("it ran");
        assert_eq!(rows(&mut reader), 1);
    }
}
