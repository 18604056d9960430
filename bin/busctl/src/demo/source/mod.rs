//! Where the demo's numbers come from: one reader per part of /proc.
//!
//! A reader keeps its file open and reads it again and again into the same buffer; what the text
//! means is a pure function of it, tested on text alone. Reference: proc(5).

mod cpu;
mod disk;
mod file;
mod memory;
mod network;
mod process;

use super::sample::{Sample, Source};
use serde::{Deserialize, Serialize};
use std::io;

/// One of the demo's sampler processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Reads /proc/stat.
    Cpu,
    /// Reads /proc/meminfo and /proc/loadavg.
    Memory,
    /// Reads /proc/diskstats.
    Disk,
    /// Reads /proc/net/dev.
    Network,
    /// Reads /proc/PID/stat of every process in turn.
    Process,
}

/// Reads one part of the machine.
pub trait Reader {
    /// Appends the rows of a new reading to `samples`; rows of one source have its total first.
    fn read(&mut self, samples: &mut Vec<Sample>) -> io::Result<()>;
}

impl Sampler {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Memory, Self::Disk, Self::Network, Self::Process];

    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Process => "process",
        }
    }

    /// What it publishes.
    pub fn sources(self) -> &'static [Source] {
        match self {
            Self::Cpu => &[Source::Cpu],
            Self::Memory => &[Source::Memory, Source::Load],
            Self::Disk => &[Source::Disk],
            Self::Network => &[Source::Network],
            Self::Process => &[Source::Process],
        }
    }

    /// Opens what it reads. An error means that this machine does not show it.
    pub fn open(self) -> io::Result<Box<dyn Reader>> {
        Ok(match self {
            Self::Cpu => Box::new(cpu::CpuReader::open()?),
            Self::Memory => Box::new(memory::MemoryReader::open()?),
            Self::Disk => Box::new(disk::DiskReader::open()?),
            Self::Network => Box::new(network::NetworkReader::open()?),
            Self::Process => Box::new(process::ProcessReader::open()?),
        })
    }
}

/// The error for text that is not what proc(5) says.
fn unexpected(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} does not look as proc(5) says"))
}

/// A duration in the kernel's ticks, as nanoseconds.
fn ticks_to_ns(ticks: u64) -> u64 {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    ticks.saturating_mul(1_000_000_000 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sampler_reads_this_machine() {
        for sampler in Sampler::ALL {
            let mut reader = match sampler.open() {
                Ok(reader) => reader,
                // A sandbox without this part of /proc; the demo then says so and goes on.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => panic!("{}: {error}", sampler.name()),
            };
            for _ in 0..3 {
                let mut samples = Vec::new();
                reader
                    .read(&mut samples)
                    .unwrap_or_else(|error| panic!("{}: {error}", sampler.name()));
                for source in sampler.sources() {
                    let mut rows = samples.iter().filter(|row| row.source == *source as u16);
                    assert!(rows.next().is_some(), "{} has no {}", sampler.name(), source.name());
                }
            }
        }
    }
}
