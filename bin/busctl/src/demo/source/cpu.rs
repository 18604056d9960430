//! Time of processors, from /proc/stat.

use super::file::ProcFile;
use super::{Reader, ticks_to_ns, unexpected};
use crate::demo::sample::{Sample, Source};
use std::io;

const PATH: &str = "/proc/stat";

/// Reads /proc/stat.
pub struct CpuReader(ProcFile);

impl CpuReader {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Ok(Self(ProcFile::open(PATH)?))
    }
}

impl Reader for CpuReader {
    fn read(&mut self, samples: &mut Vec<Sample>) -> io::Result<()> {
        parse(self.0.read()?, samples).ok_or_else(|| unexpected(PATH))
    }
}

/// The lines that start with `cpu`: all processors first, then each.
fn parse(text: &str, samples: &mut Vec<Sample>) -> Option<()> {
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            break;
        };
        let mut words = rest.split_ascii_whitespace();
        // The line of all has no number, and two spaces.
        let id = if rest.starts_with(' ') { None } else { Some(words.next()?.parse().ok()?) };
        let mut ticks = [0_u64; 8];
        for (slot, word) in ticks.iter_mut().zip(words) {
            *slot = word.parse().ok()?;
        }
        let [user, nice, system, idle, io_wait, interrupt, soft_interrupt, stolen] = ticks;
        let busy = [user, nice, system, interrupt, soft_interrupt, stolen];
        let name = id.map_or_else(|| String::from("all"), |id: u32| format!("cpu{id}"));
        let mut sample = Sample::new(Source::Cpu, id.unwrap_or(0), &name);
        sample.busy_ns = ticks_to_ns(busy.iter().fold(0, |sum, part| sum.saturating_add(*part)));
        sample.idle_ns = ticks_to_ns(idle.saturating_add(io_wait));
        samples.push(sample);
    }
    if samples.is_empty() { None } else { Some(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_and_each_processor_are_read() {
        let text = "cpu  10 1 5 100 4 0 2 2 0 0\ncpu0 4 1 2 50 2 0 1 0 0 0\n\
                    cpu1 6 0 3 50 2 0 1 2 0 0\nintr 5 0\n";
        let mut samples = Vec::new();
        parse(text, &mut samples).expect("right text");
        let names: Vec<_> = samples.iter().map(Sample::name).collect();
        assert_eq!(names, ["all", "cpu0", "cpu1"]);
        assert_eq!(samples[0].busy_ns, ticks_to_ns(20));
        assert_eq!(samples[0].idle_ns, ticks_to_ns(104));
        assert_eq!(samples[2].id, 1);
        assert_eq!(samples[2].busy_ns, ticks_to_ns(12));
    }

    #[test]
    fn wrong_text_is_no_reading() {
        for text in ["", "cpu  a b\n", "cpux 1 2 3\n", "intr 1\n"] {
            assert_eq!(parse(text, &mut Vec::new()), None, "{text:?}");
        }
    }

    #[test]
    fn an_old_kernel_has_fewer_columns() {
        let mut samples = Vec::new();
        parse("cpu  1 2 3 4\n", &mut samples).expect("right text");
        assert_eq!(samples[0].busy_ns, ticks_to_ns(6));
    }
}
