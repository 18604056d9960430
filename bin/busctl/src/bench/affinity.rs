//! Which processor a worker runs on: the list of `--pin`, dealt out in turn, and the pinning
//! itself.
//!
//! Workers are numbered producers first, then consumers, so that `--pin 0,1` puts the one producer
//! of a 1:1 run on processor 0 and its consumer on 1. Reference: sched_setaffinity(2).

use crate::exit::Failure;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of `--pin`, each known to be allowed; empty when nothing is pinned.
#[derive(Clone, Debug, Default)]
pub struct Pins(Vec<usize>);

impl Pins {
    /// Checks every processor of the list against those that this process may use.
    ///
    /// # Errors
    /// A usage failure that names the processor and the allowed ones.
    pub fn new(cpus: &[usize]) -> Result<Self, Failure> {
        let allowed = sched_getaffinity(None)
            .map_err(|error| Failure::from(std::io::Error::from(error)).context("--pin"))?;
        for &cpu in cpus {
            if cpu >= CpuSet::MAX_CPU || !allowed.is_set(cpu) {
                return Err(Failure::usage(format!(
                    "--pin: processor {cpu} is not available; allowed: {}",
                    list(&allowed)
                )));
            }
        }
        Ok(Self(cpus.to_vec()))
    }

    /// The processor of worker `index`, or `None` when workers are not pinned.
    pub fn of_worker(&self, index: usize) -> Option<usize> {
        let turn = index.checked_rem(self.0.len())?;
        self.0.get(turn).copied()
    }

    /// As given on the command line.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// `cpu 0,1`, or `not pinned`.
    pub fn describe(&self) -> String {
        if self.0.is_empty() {
            return String::from("not pinned");
        }
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        format!("cpu {}", numbers.join(","))
    }
}

/// The number of processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Ties the calling thread, and those it starts from now on, to one processor.
pub fn pin(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|error| {
        Failure::from(std::io::Error::from(error))
            .context(format_args!("pinning to processor {cpu}"))
    })
}

/// `0-3,8`: the members of a set.
fn list(set: &CpuSet) -> String {
    let mut text = Vec::new();
    let mut cpu = 0;
    while cpu < CpuSet::MAX_CPU {
        if !set.is_set(cpu) {
            cpu += 1;
            continue;
        }
        let first = cpu;
        while cpu + 1 < CpuSet::MAX_CPU && set.is_set(cpu + 1) {
            cpu += 1;
        }
        text.push(if first == cpu { cpu.to_string() } else { format!("{first}-{cpu}") });
        cpu += 1;
    }
    text.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_take_the_processors_in_turn() {
        let pins = Pins(vec![3, 5]);
        let dealt: Vec<_> = (0..4).map(|worker| pins.of_worker(worker)).collect();
        assert_eq!(dealt, [Some(3), Some(5), Some(3), Some(5)]);
        assert_eq!(Pins::default().of_worker(0), None);
    }

    #[test]
    fn sets_are_listed_as_ranges() {
        let mut set = CpuSet::new();
        for cpu in [0, 1, 2, 5, 1023] {
            set.set(cpu);
        }
        assert_eq!(list(&set), "0-2,5,1023");
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused_by_number() {
        let failure = Pins::new(&[1_000_000]).expect_err("no such processor");
        assert!(failure.message().contains("processor 1000000"), "{}", failure.message());
    }
}
