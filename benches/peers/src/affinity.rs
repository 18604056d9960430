//! Which processor an end runs on. Reference: `sched_setaffinity(2)`.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors that ends are dealt out to in turn: producers first, then consumers. Empty when
/// ends are not pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins(Vec<usize>);

impl Pins {
    /// The processors of `--pin`, each checked against those that this process may use.
    ///
    /// # Errors
    /// Which processor is not available, and which are.
    pub fn of(cpus: Vec<usize>) -> Result<Self, String> {
        let allowed = allowed()?;
        match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            Some(cpu) => Err(format!("processor {cpu} is not available; there are {allowed:?}")),
            None => Ok(Self(cpus)),
        }
    }

    /// Nobody is pinned.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// All that this process may use: first one of each core, then their siblings, since two that
    /// share a core share its caches.
    ///
    /// # Errors
    /// What the system said.
    pub fn all() -> Result<Self, String> {
        let mut cpus = allowed()?;
        cpus.sort_by_key(|&cpu| (sibling_rank(cpu), cpu));
        Ok(Self(cpus))
    }

    /// Who runs where. One processor for each end when there are enough; otherwise the side with
    /// fewer ends keeps up to half of them for itself, and the other side shares the rest.
    pub fn deal(&self, producers: usize, consumers: usize) -> Deal {
        let count = if self.0.is_empty() { processors() } else { self.0.len() };
        let crowded = producers + consumers > count;
        let few = producers.min(consumers).min((count / 2).max(1));
        let for_producers = match (crowded, producers <= consumers) {
            (false, _) => producers,
            (true, true) => few,
            (true, false) => count.saturating_sub(few).max(1),
        };
        let split = for_producers.min(self.0.len());
        let (first, rest) = self.0.split_at(split);
        let rest = if rest.is_empty() { first } else { rest };
        let turns = |cpus: &[usize], ends: usize| {
            (0..ends).map(|end| cpus.get(end.checked_rem(cpus.len())?).copied()).collect()
        };
        Deal { producers: turns(first, producers), consumers: turns(rest, consumers), crowded }
    }

    /// As given on the command line.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

/// The processor of each end, and whether some share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deal {
    pub producers: Vec<Option<usize>>,
    pub consumers: Vec<Option<usize>>,
    pub crowded: bool,
}

/// Ties the calling thread, and those it starts from now on, to one processor.
///
/// # Errors
/// The processor and what the system said.
pub fn pin(cpu: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|error| format!("pinning to processor {cpu}: {error}"))
}

/// The number of processors that this process may use.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn allowed() -> Result<Vec<usize>, String> {
    let set = sched_getaffinity(None).map_err(|error| format!("sched_getaffinity: {error}"))?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// 0 for the first hardware thread of a core, more for the others.
fn sibling_rank(cpu: usize) -> usize {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    // A list such as `0,64` or `0-1`; where there is none, every processor is a core.
    let list = std::fs::read_to_string(path).unwrap_or_default();
    let first = list.split([',', '-', '\n']).next().and_then(|number| number.parse().ok());
    usize::from(first.is_some_and(|first: usize| first != cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(pins: &[usize], producers: usize, consumers: usize) -> (Vec<usize>, Vec<usize>) {
        let deal = Pins(pins.to_vec()).deal(producers, consumers);
        let flat = |cpus: Vec<Option<usize>>| cpus.into_iter().flatten().collect();
        (flat(deal.producers), flat(deal.consumers))
    }

    #[test]
    fn the_smaller_side_keeps_processors_for_itself() {
        assert_eq!(dealt(&[3, 5], 1, 1), (vec![3], vec![5]));
        assert_eq!(dealt(&[3, 5], 3, 1), (vec![3, 3, 3], vec![5]));
        assert_eq!(dealt(&[3, 5], 1, 3), (vec![3], vec![5, 5, 5]));
        assert_eq!(dealt(&[1, 2, 3, 4], 4, 1), (vec![1, 2, 3, 1], vec![4]));
        assert_eq!(dealt(&[1, 2, 3, 4], 2, 2), (vec![1, 2], vec![3, 4]));
        assert_eq!(dealt(&[7], 1, 1), (vec![7], vec![7]));
    }

    #[test]
    fn nobody_is_pinned_without_pins() {
        let deal = Pins::none().deal(1, 1);
        assert_eq!((deal.producers, deal.consumers), (vec![None], vec![None]));
    }

    #[test]
    fn a_processor_that_is_not_there_is_refused_by_number() {
        let refused = Pins::of(vec![1_000_000]).expect_err("no such processor");
        assert!(refused.contains("processor 1000000"), "{refused}");
    }
}
