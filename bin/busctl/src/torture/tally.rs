//! What a run has come to: counts, gaps, and every violation.

use super::board::{Board, Life};
use super::gaps::{Counts, Gaps, Kind};
use super::group::journal::Again;
use super::group::stage::FrameCounts;
use super::plan::Part;
use super::violation::Violation;
use busway::GroupStat;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Violations that are told in full; the others are counted.
const TOLD_MAX: usize = 20;

/// How often something was done, at random and at each point.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Blows {
    pub total: u64,
    pub at_random: u64,
    pub at_points: u64,
}

/// Deaths and stops at one crash point.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct PointCount {
    pub kills: u64,
    pub stops: u64,
}

/// A violation as it is told.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    pub violation: Violation,
    /// The bus, by topology and policy.
    pub bus: String,
    /// Who says so.
    pub by: String,
    pub what: String,
}

/// The counts of groups.
#[derive(Clone, Debug, Default)]
pub struct GroupCounts {
    pub frames: FrameCounts,
    pub refused: u64,
    pub timed_out: u64,
    pub died: u64,
    pub letters_held_up: u64,
    /// Second groups that keepers made, or found, and used.
    pub kept: u64,
}

impl GroupCounts {
    /// Adds those of a group that nobody works for any more.
    pub fn add(&mut self, frames: &FrameCounts, group: &GroupStat) {
        self.frames.add(frames);
        self.refused += group.refused;
        self.timed_out += group.timed_out;
        self.died += group.died;
        self.letters_held_up += group.letters_held_up;
    }
}

/// The counts of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub kills: Blows,
    pub stops: Blows,
    pub points: BTreeMap<&'static str, PointCount>,
    pub buses: u64,
    pub processes: u64,
    pub published_frames: u64,
    pub read_frames: u64,
    pub overwritten_frames: u64,
    pub refusals: u64,
    pub seats_given_back: u64,
    pub tickets_punched: u64,
    pub evictions: u64,
    pub buses_made: u64,
    pub point_hits: u64,
    pub daemon_kills: u64,
    pub groups: GroupCounts,
    gaps: [Counts; 4],
    again: [Counts; 2],
    violations: BTreeMap<Violation, u64>,
    told: Vec<Told>,
}

impl Tally {
    /// Counts a kill, at a crash point or at random.
    pub fn killed(&mut self, point: Option<&'static str>) {
        count(&mut self.kills, point.is_some());
        if let Some(point) = point {
            self.points.entry(point).or_default().kills += 1;
        }
    }

    /// Counts a stop, at a crash point or at random.
    pub fn stopped(&mut self, point: Option<&'static str>) {
        count(&mut self.stops, point.is_some());
        if let Some(point) = point {
            self.points.entry(point).or_default().stops += 1;
        }
    }

    /// Adds the record of a life that has ended.
    pub fn ended(&mut self, part: Part, life: &Life) {
        // ORDERING: relaxed for all; the process has been reaped.
        let get = |word: &std::sync::atomic::AtomicU64| word.load(Ordering::Relaxed);
        self.published_frames += get(&life.returned);
        self.read_frames += get(&life.read);
        self.overwritten_frames += if part == Part::Consumer { get(&life.lost) } else { 0 };
        self.point_hits += get(&life.hits);
        match part {
            Part::Producer => self.refusals += get(&life.deeds),
            Part::Creator => self.buses_made += get(&life.deeds),
            Part::Keeper => self.groups.kept += get(&life.deeds),
            Part::Consumer | Part::Observer | Part::Recoverer | Part::Member | Part::Undertaker => {
            }
        }
    }

    /// Adds the gaps of a bus.
    pub fn add_gaps(&mut self, board: &Board) {
        for (sum, gaps) in self.gaps.iter_mut().zip(&board.gaps) {
            sum.add(&gaps.counts());
        }
        for (sum, gaps) in self.again.iter_mut().zip(&board.again) {
            sum.add(&gaps.counts());
        }
    }

    /// How long frames took to be handed out again.
    pub fn again(&self, why: Again) -> Gaps {
        self.again[why as usize].gaps()
    }

    /// The gaps of a kind.
    pub fn gaps(&self, kind: Kind) -> Gaps {
        self.gaps[kind as usize].gaps()
    }

    /// Counts a violation, and keeps what is told of it.
    pub fn violated(&mut self, told: Told) {
        *self.violations.entry(told.violation).or_default() += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(told);
        }
    }

    /// How often a promise was broken.
    pub fn violations(&self, violation: Violation) -> u64 {
        self.violations.get(&violation).copied().unwrap_or(0)
    }

    /// Whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// The violations that are told in full.
    pub fn told(&self) -> &[Told] {
        &self.told
    }
}

fn count(blows: &mut Blows, at_point: bool) {
    blows.total += 1;
    *(if at_point { &mut blows.at_points } else { &mut blows.at_random }) += 1;
}
