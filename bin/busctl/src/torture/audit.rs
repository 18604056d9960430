//! What is checked when nobody works on a bus any more.
//!
//! **Tenancies.** Each producer has recorded at which position of its lane it began, how many frames
//! it had begun to commit and how many commits had returned. So on each lane the first begins at the
//! bus's origin, and each begins where the one before ended: at all that returned, or one batch
//! further, if it died with a batch in flight and that became visible. A lane that goes on before
//! that has lost what was committed; one that goes on after it has frames of nobody.

use super::ledger::is_before;
use super::tally::Told;
use super::violation::Violation;
use busway::{Bus, BusStat};
use std::collections::BTreeMap;

/// One producer's time on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenancy {
    pub life: u64,
    pub lane: u32,
    pub start: u64,
    pub started: u64,
    pub returned: u64,
}

impl Tenancy {
    fn ends(&self) -> [u64; 2] {
        [self.start.wrapping_add(self.returned), self.start.wrapping_add(self.started)]
    }
}

/// A finding: what is broken, and what was seen.
pub type Finding = (Violation, String);

/// Checks that the tenancies of every lane follow one another, up to where the lane ends.
pub fn tenancies(origin: u64, all: &[Tenancy], stat: &BusStat) -> Vec<Finding> {
    let mut lanes: BTreeMap<u32, Vec<Tenancy>> = BTreeMap::new();
    for tenancy in all {
        lanes.entry(tenancy.lane).or_default().push(*tenancy);
    }
    let mut findings = Vec::new();
    for lane in &stat.lanes {
        let mut own = lanes.remove(&lane.lane).unwrap_or_default();
        own.sort_by_key(|tenancy| (tenancy.start.wrapping_sub(origin), tenancy.life));
        let mut ends = vec![origin];
        let mut before = String::from("its beginning");
        for group in own.chunk_by(|one, other| one.start == other.start) {
            let who = format!("{group:?}");
            findings.extend(follows(lane.lane, &ends, group[0].start, &before, &who));
            // Of several that began at the same position, at most the last has left frames; which
            // one that is, their numbers do not tell for sure.
            ends = group.iter().flat_map(Tenancy::ends).collect();
            before = who;
        }
        findings.extend(follows(lane.lane, &ends, lane.position, &before, "its end"));
    }
    findings
}

/// Whether a lane may go on at `at` after something that ends at one of `ends`.
fn follows(lane: u32, ends: &[u64], at: u64, before: &str, after: &str) -> Option<Finding> {
    if ends.contains(&at) {
        return None;
    }
    let what =
        format!("lane {lane} goes on at {at} with {after}; {before} ends at one of {ends:?}");
    let lost = ends.iter().all(|end| is_before(at, *end));
    Some((if lost { Violation::Lost } else { Violation::UncommittedSeen }, what))
}

/// Whether anybody has seen words that no honest process writes.
pub fn corruption(stat: &BusStat) -> Option<Finding> {
    let what = format!("words that nobody writes were seen {} times", stat.corruptions);
    (stat.corruptions > 0).then_some((Violation::Torn, what))
}

/// Takes every seat of a bus that nobody works on any more: those of the dead must be had again,
/// without anybody's help.
pub fn seats(bus: &Bus) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut leaked =
        |error: busway::Error| findings.push((Violation::LeakedSeat, error.to_string()));
    let producers: Result<Vec<_>, _> =
        (0..bus.info().lanes).map(|_| bus.producer().attach()).collect();
    let consumers: Result<Vec<_>, _> =
        (0..bus.info().consumers).map(|_| bus.consumer().attach()).collect();
    match (producers, consumers) {
        (Err(error), _) | (_, Err(error)) => leaked(error),
        (Ok(producers), Ok(consumers)) => drop((producers, consumers)),
    }
    let left = bus.participants();
    if !left.is_empty() {
        findings.push((Violation::LeakedSeat, format!("{left:?} are left")));
    }
    findings
}

/// Whether a bus whose maker died is whole, if it is there at all.
pub fn is_whole(name: &str) -> Option<Finding> {
    match Bus::open(name) {
        Err(error) if error.code() != "not_found" => {
            Some((Violation::HalfMadeBus, format!("{name:?}: {error}")))
        }
        _ => None,
    }
}

/// The buses of a play that are left when all that are known of have been removed.
pub fn segments(play: &str) -> Result<Vec<String>, busway::Error> {
    let mut left = Bus::list()?;
    left.retain(|name| name.starts_with(play));
    Ok(left)
}

/// A finding of the conductor's, to be told.
pub fn told((violation, what): Finding, bus: &str) -> Told {
    Told { violation, bus: bus.to_owned(), by: String::from("the conductor"), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks one lane that ends at `head`; each tenancy as start, started, returned.
    fn check(origin: u64, all: &[(u64, u64, u64)], head: u64) -> Vec<Violation> {
        let name = format!("audit-{}-{head}", std::process::id());
        let bus = Bus::options().lanes(1).create(&name).expect("a bus");
        let mut stat = bus.stat();
        drop(Bus::remove(&name));
        stat.lanes[0].position = head;
        let tenancy = |(life, (start, started, returned)): (u64, &(u64, u64, u64))| Tenancy {
            life,
            lane: 0,
            start: *start,
            started: *started,
            returned: *returned,
        };
        let all: Vec<Tenancy> = (1..).zip(all).map(tenancy).collect();
        tenancies(origin, &all, &stat).into_iter().map(|(violation, _)| violation).collect()
    }

    #[test]
    fn lives_follow_one_another_with_the_batch_in_flight_or_without_it() {
        assert_eq!(check(0, &[], 0), []);
        assert_eq!(check(0, &[(0, 12, 10), (10, 5, 5)], 15), []);
        assert_eq!(check(0, &[(12, 5, 5), (0, 12, 10)], 17), []);
        assert_eq!(check(0, &[(0, 12, 10)], 12), []);
        // Two died before anything of theirs was seen.
        assert_eq!(check(0, &[(0, 4, 0), (0, 2, 0), (0, 9, 9)], 9), []);
        let near = u64::MAX - 4;
        assert_eq!(check(near, &[(near, 10, 10), (5, 1, 1)], 6), []);
    }

    #[test]
    fn a_lane_that_goes_back_has_lost_and_one_that_jumps_has_frames_of_nobody() {
        assert_eq!(check(0, &[(0, 12, 10), (9, 5, 5)], 14), [Violation::Lost]);
        assert_eq!(check(0, &[(0, 12, 10), (11, 5, 5)], 16), [Violation::UncommittedSeen]);
        assert_eq!(check(0, &[(0, 12, 10)], 9), [Violation::Lost]);
        assert_eq!(check(3, &[], 4), [Violation::UncommittedSeen]);
    }

    #[test]
    fn a_bus_that_is_there_is_whole_and_one_that_is_not_is_nothing() {
        assert_eq!(is_whole("there-is-no-such-bus"), None);
        let name = format!("audit-whole-{}", std::process::id());
        let _bus = Bus::options().create(&name).expect("a bus");
        let (whole, listed) = (is_whole(&name), segments(&name).expect("listed"));
        // Before anything can fail.
        Bus::remove(&name).expect("removed");
        assert_eq!((whole, listed.as_slice()), (None, &[name.clone()][..]));
        assert!(segments(&name).expect("listed").is_empty());
    }
}
