//! Traffic of network interfaces, from /proc/net/dev.

use super::file::ProcFile;
use super::{Reader, unexpected};
use crate::demo::sample::{Sample, Source};
use std::io;

const PATH: &str = "/proc/net/dev";

/// Interfaces of one reading besides their total; the first ones in the kernel's order.
const INTERFACES_MAX: usize = 16;

/// Reads /proc/net/dev.
pub struct NetworkReader(ProcFile);

impl NetworkReader {
    /// Opens it: the interfaces of this process's network namespace.
    pub fn open() -> io::Result<Self> {
        Ok(Self(ProcFile::open(PATH)?))
    }
}

impl Reader for NetworkReader {
    fn read(&mut self, samples: &mut Vec<Sample>) -> io::Result<()> {
        parse(self.0.read()?, samples).ok_or_else(|| unexpected(PATH))
    }
}

/// The total of all interfaces but `lo`, then each that was ever used.
fn parse(text: &str, samples: &mut Vec<Sample>) -> Option<()> {
    let total_at = samples.len();
    samples.push(Sample::new(Source::Network, 0, "all"));
    for line in text.lines().skip(2) {
        let (name, rest) = line.split_once(':')?;
        let name = name.trim();
        let mut numbers = [0_u64; 10];
        for (slot, word) in numbers.iter_mut().zip(rest.split_ascii_whitespace()) {
            *slot = word.parse().ok()?;
        }
        let [in_bytes, in_count, _, _, _, _, _, _, out_bytes, out_count] = numbers;
        if in_count == 0 && out_count == 0 {
            continue;
        }
        let mut interface = Sample::new(Source::Network, 0, name);
        (interface.in_bytes, interface.out_bytes) = (in_bytes, out_bytes);
        (interface.in_count, interface.out_count) = (in_count, out_count);
        if name != "lo" {
            let total = samples.get_mut(total_at)?;
            total.in_bytes = total.in_bytes.saturating_add(in_bytes);
            total.out_bytes = total.out_bytes.saturating_add(out_bytes);
            total.in_count = total.in_count.saturating_add(in_count);
            total.out_count = total.out_count.saturating_add(out_count);
        }
        if samples.len() - total_at <= INTERFACES_MAX {
            samples.push(interface);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Inter-|   Receive  |  Transmit\n face |bytes packets errs|bytes\n    \
        lo:    3193      29    0    0    0     0          0         0     3193      29    0\n  \
        ifb0:       0       0    0    0    0     0          0         0        0       0    0\n  \
        eth0:28160914    2179    0    0    0     0          0         0   293511    1982    0\n";

    #[test]
    fn used_interfaces_are_read_and_lo_is_not_traffic() {
        let mut samples = Vec::new();
        parse(TEXT, &mut samples).expect("right text");
        let names: Vec<_> = samples.iter().map(Sample::name).collect();
        assert_eq!(names, ["all", "lo", "eth0"]);
        assert_eq!((samples[0].in_bytes, samples[0].out_bytes), (28_160_914, 293_511));
        assert_eq!((samples[2].in_count, samples[2].out_count), (2179, 1982));
    }

    #[test]
    fn a_machine_without_interfaces_has_a_total() {
        let mut samples = Vec::new();
        parse("a\nb\n", &mut samples).expect("right text");
        assert_eq!(samples.len(), 1);
    }

    #[test]
    fn wrong_text_is_no_reading() {
        assert!(parse("a\nb\neth0 1 2\n", &mut Vec::new()).is_none());
        assert!(parse("a\nb\neth0: x\n", &mut Vec::new()).is_none());
    }
}
