//! Traffic of disks, from /proc/diskstats.

use super::file::ProcFile;
use super::{Reader, unexpected};
use crate::demo::sample::{Sample, Source};
use std::collections::HashSet;
use std::io;

const PATH: &str = "/proc/diskstats";

/// Disks of one reading besides their total; the first ones in the kernel's order.
const DISKS_MAX: usize = 16;

/// The unit of /proc/diskstats, whatever the disk's own sectors are.
const SECTOR_BYTES: u64 = 512;

/// Reads /proc/diskstats.
pub struct DiskReader {
    file: ProcFile,
    /// Whole disks, so that their partitions are not counted twice; empty when unknown.
    whole: HashSet<String>,
}

impl DiskReader {
    /// Opens it, and lists the disks that there are now.
    pub fn open() -> io::Result<Self> {
        let entries = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let whole = entries.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(Self { file: ProcFile::open(PATH)?, whole: whole.collect() })
    }
}

impl Reader for DiskReader {
    fn read(&mut self, samples: &mut Vec<Sample>) -> io::Result<()> {
        parse(self.file.read()?, &self.whole, samples).ok_or_else(|| unexpected(PATH))
    }
}

/// The total, then every disk that was ever used.
fn parse(text: &str, whole: &HashSet<String>, samples: &mut Vec<Sample>) -> Option<()> {
    let total_at = samples.len();
    samples.push(Sample::new(Source::Disk, 0, "all"));
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(2);
        let name = words.next()?;
        let mut numbers = [0_u64; 10];
        for (slot, word) in numbers.iter_mut().zip(words) {
            *slot = word.parse().ok()?;
        }
        let [reads, _, sectors_read, _, writes, _, sectors_written, _, _, busy_ms] = numbers;
        let partition = !whole.is_empty() && !whole.contains(name);
        if partition || (reads == 0 && writes == 0) {
            continue;
        }
        let mut disk = Sample::new(Source::Disk, 0, name);
        disk.in_bytes = sectors_read.saturating_mul(SECTOR_BYTES);
        disk.out_bytes = sectors_written.saturating_mul(SECTOR_BYTES);
        disk.in_count = reads;
        disk.out_count = writes;
        disk.busy_ns = busy_ms.saturating_mul(1_000_000);
        let total = samples.get_mut(total_at)?;
        total.in_bytes = total.in_bytes.saturating_add(disk.in_bytes);
        total.out_bytes = total.out_bytes.saturating_add(disk.out_bytes);
        total.in_count = total.in_count.saturating_add(reads);
        total.out_count = total.out_count.saturating_add(writes);
        total.busy_ns = total.busy_ns.saturating_add(disk.busy_ns);
        if samples.len() - total_at <= DISKS_MAX {
            samples.push(disk);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n \
        254       0 vda 8420 3968 1000 10389 1464 9930 400 1563 0 3312 12242 3145 61 44 278 1\n \
        254       1 vda1 8000 3968 900 10389 1400 9930 300 1563 0 3312 12242\n";

    #[test]
    fn used_disks_are_read_and_partitions_are_not_counted_twice() {
        let whole = ["vda", "loop0"].map(String::from).into();
        let mut samples = Vec::new();
        parse(TEXT, &whole, &mut samples).expect("right text");
        let names: Vec<_> = samples.iter().map(Sample::name).collect();
        assert_eq!(names, ["all", "vda"]);
        assert_eq!((samples[1].in_bytes, samples[1].out_bytes), (512_000, 204_800));
        assert_eq!((samples[0].in_count, samples[0].out_count), (8420, 1464));
        assert_eq!(samples[0].busy_ns, 3_312_000_000);
    }

    #[test]
    fn a_machine_without_disks_has_a_total() {
        let mut samples = Vec::new();
        parse("", &HashSet::new(), &mut samples).expect("right text");
        assert_eq!(samples.len(), 1);
    }

    #[test]
    fn wrong_text_is_no_reading() {
        assert!(parse("254 0\n", &HashSet::new(), &mut Vec::new()).is_none());
        assert!(parse("254 0 vda x\n", &HashSet::new(), &mut Vec::new()).is_none());
    }

    #[test]
    fn many_disks_are_all_in_the_total() {
        let line = |n| format!("8 {n} sd{n} 1 0 2 0 1 0 2 0 0 0\n");
        let text = (0..40).map(line).collect::<Vec<_>>().concat();
        let mut samples = Vec::new();
        parse(&text, &HashSet::new(), &mut samples).expect("right text");
        assert_eq!(samples.len(), 1 + DISKS_MAX);
        assert_eq!(samples[0].in_count, 40);
    }
}
