//! Memory from /proc/meminfo and load from /proc/loadavg.

use super::file::ProcFile;
use super::{Reader, unexpected};
use crate::demo::sample::{Sample, Source};
use std::io;

const MEMORY_PATH: &str = "/proc/meminfo";
const LOAD_PATH: &str = "/proc/loadavg";

/// Reads both.
pub struct MemoryReader {
    memory: ProcFile,
    load: ProcFile,
}

impl MemoryReader {
    /// Opens both.
    pub fn open() -> io::Result<Self> {
        Ok(Self { memory: ProcFile::open(MEMORY_PATH)?, load: ProcFile::open(LOAD_PATH)? })
    }
}

impl Reader for MemoryReader {
    fn read(&mut self, samples: &mut Vec<Sample>) -> io::Result<()> {
        let rows = parse_memory(self.memory.read()?).ok_or_else(|| unexpected(MEMORY_PATH))?;
        samples.extend(rows);
        samples.push(parse_load(self.load.read()?).ok_or_else(|| unexpected(LOAD_PATH))?);
        Ok(())
    }
}

/// Memory, then swap.
fn parse_memory(text: &str) -> Option<[Sample; 2]> {
    let [mut total, mut available, mut swap_total, mut swap_free] = [None, None, Some(0), Some(0)];
    for line in text.lines() {
        let (name, rest) = line.split_once(':')?;
        let slot = match name {
            "MemTotal" => &mut total,
            "MemAvailable" => &mut available,
            "SwapTotal" => &mut swap_total,
            "SwapFree" => &mut swap_free,
            _ => continue,
        };
        let kibibytes: u64 = rest.trim().strip_suffix(" kB")?.parse().ok()?;
        *slot = kibibytes.checked_mul(1024);
    }
    let row = |name, total: Option<u64>, free: Option<u64>| {
        let mut sample = Sample::new(Source::Memory, 0, name);
        sample.total_bytes = total?;
        sample.used_bytes = total?.saturating_sub(free?);
        Some(sample)
    };
    Some([row("memory", total, available)?, row("swap", swap_total, swap_free)?])
}

/// `0.52 0.31 0.12 3/86 4242`: three averages, running and all tasks, the newest process.
fn parse_load(text: &str) -> Option<Sample> {
    let mut words = text.split_ascii_whitespace();
    let mut sample = Sample::new(Source::Load, 0, "load");
    for average in &mut sample.load {
        *average = words.next()?.parse().ok()?;
    }
    let (running, tasks) = words.next()?.split_once('/')?;
    sample.running = running.parse().ok()?;
    sample.tasks = tasks.parse().ok()?;
    Some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let text = "MemTotal:       1000 kB\nMemFree:   1 kB\nMemAvailable:  600 kB\n\
                    SwapTotal: 50 kB\nSwapFree: 20 kB\nHugePages_Total:       0\n";
        let [memory, swap] = parse_memory(text).expect("right text");
        assert_eq!((memory.used_bytes, memory.total_bytes), (400 * 1024, 1000 * 1024));
        assert_eq!((swap.used_bytes, swap.total_bytes), (30 * 1024, 50 * 1024));
    }

    #[test]
    fn load_has_averages_and_tasks() {
        let sample = parse_load("0.52 0.25 0.12 3/86 4242\n").expect("right text");
        assert_eq!(sample.load.map(f32::to_bits), [0.52_f32, 0.25, 0.12].map(f32::to_bits));
        assert_eq!((sample.running, sample.tasks), (3, 86));
    }

    #[test]
    fn wrong_text_is_no_reading() {
        for text in ["", "MemTotal: 1 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\n", "nonsense"] {
            assert!(parse_memory(text).is_none(), "{text:?}");
        }
        for text in ["", "1 2", "1 2 3", "1 2 3 4 5", "a b c 1/2 3"] {
            assert!(parse_load(text).is_none(), "{text:?}");
        }
    }
}
