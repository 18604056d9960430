//! The group of a play: it is made before anybody works for it, and audited when nobody does any more.

use super::super::audit::Finding;
use super::super::shape::GroupShape;
use super::super::tally::GroupCounts;
use super::super::violation::Violation;
use super::journal::{Counts, FRAMES, Journal, JournalFile, Mapping};
use super::{GROUP, HOLDER, SIDE};
use crate::exit::Failure;
use busway::{Bus, BusStat, Delivery, Group, GroupStat};

/// A tortured group.
pub struct Stage {
    group: Group,
    file: JournalFile,
    journal: Mapping,
    /// Its members that were killed.
    pub members_killed: u64,
}

impl Stage {
    /// Makes the group on its bus.
    pub fn set(bus: &Bus, shape: &GroupShape) -> Result<Self, Failure> {
        let group = bus
            .group(GROUP)
            .delivery(shape.delivery)
            .affinity(shape.affinity)
            .members(shape.seats())
            .max_attempts(shape.attempts_max)
            .processing_timeout(shape.timeout)
            .create()?;
        let file = JournalFile::create()?;
        let journal = Mapping::open(file.number())?;
        Ok(Self { group, file, journal, members_killed: 0 })
    }

    /// The number of the journal's descriptor.
    pub fn number(&self) -> i32 {
        self.file.number()
    }

    /// Everybody has left: whether every frame is accounted for, and nothing is left.
    pub fn audit(
        &self,
        bus: &Bus,
        stat: &BusStat,
        counts: &mut GroupCounts,
    ) -> Result<Vec<Finding>, Failure> {
        let group = self.group.stat()?;
        let mut findings = undone(&group);
        let mut account = Account::new(self.group.info().delivery);
        for lane in &stat.lanes {
            let published = lane.position.wrapping_sub(bus.info().origin);
            let kept = published.min(u64::try_from(FRAMES).unwrap_or(0));
            account.lane(&self.journal, lane.lane, kept);
            if kept < published {
                let what = format!("lane {}: {published} frames are not accounted for", lane.lane);
                findings.push((Violation::Failed, what));
            }
        }
        findings.append(&mut account.findings);
        findings.extend(account.lost_in_hand(self.members_killed));
        counts.add(&account.counts, &group);
        findings.extend(self.seats());
        findings.extend(self.letters()?);
        findings.extend(remove(bus)?);
        Ok(findings)
    }

    /// Takes every member's seat: those of the dead must be had again.
    fn seats(&self) -> Option<Finding> {
        let seats = 0..self.group.info().members;
        let members: Result<Vec<_>, _> = seats.map(|_| self.group.member().attach()).collect();
        members.err().map(|error| (Violation::LeakedSeat, error.to_string()))
    }

    /// Whether every letter was taken, and the seats of their bus are free.
    fn letters(&self) -> Result<Vec<Finding>, Failure> {
        let Some(letters) = self.group.dead_letters()? else {
            return Ok(Vec::new());
        };
        let bus = letters.bus();
        let mut findings = undone(&bus.open_group(HOLDER)?.stat()?);
        bus.remove_group(HOLDER)?;
        bus.reclaim()?;
        findings.extend(super::super::audit::seats(bus));
        Ok(findings)
    }
}

/// Removes the groups: nothing but what was made must be there.
fn remove(bus: &Bus) -> Result<Vec<Finding>, Failure> {
    let mut findings = Vec::new();
    // The last keeper may have died with it.
    if let Err(error) = bus.remove_group(SIDE)
        && error.code() != "no_group"
    {
        findings.push((Violation::LeakedSegment, format!("group {SIDE:?} stays: {error}")));
    }
    bus.remove_group(GROUP)?;
    for left in bus.groups()? {
        let what = format!("group {left:?} was left");
        findings.push((Violation::LeakedSegment, what));
        bus.remove_group(&left)?;
    }
    Ok(findings)
}

/// What a group has not done with, though nobody works on it and nobody publishes.
fn undone(stat: &GroupStat) -> Vec<Finding> {
    let mut findings = Vec::new();
    if (stat.backlog, stat.claimed, stat.waiting) != (0, 0, 0) {
        let GroupStat { backlog, claimed, waiting, .. } = stat;
        let what = format!("{backlog} frames are left, {claimed} claimed, {waiting} waiting");
        findings.push((Violation::Undone, what));
    }
    let alive = stat.members.iter().filter(|member| member.participant.alive);
    findings.extend(alive.map(|member| {
        (Violation::LeakedSeat, format!("{:?} has left and sits", member.participant))
    }));
    findings
}

/// The sums over all frames.
struct Account {
    delivery: Delivery,
    counts: FrameCounts,
    findings: Vec<Finding>,
}

/// What became of the frames of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    pub frames: u64,
    pub handed: u64,
    pub handed_again: u64,
    pub acknowledged: u64,
    pub too_late: u64,
    pub letters: u64,
    pub letters_again: u64,
    pub unknown: u64,
    pub lost_in_hand: u64,
}

impl FrameCounts {
    /// Adds another group's.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.handed += other.handed;
        self.handed_again += other.handed_again;
        self.acknowledged += other.acknowledged;
        self.too_late += other.too_late;
        self.letters += other.letters;
        self.letters_again += other.letters_again;
        self.unknown += other.unknown;
        self.lost_in_hand += other.lost_in_hand;
    }
}

impl Account {
    fn new(delivery: Delivery) -> Self {
        Self { delivery, counts: FrameCounts::default(), findings: Vec::new() }
    }

    fn lane(&mut self, journal: &Journal, lane: u32, frames: u64) {
        for index in 0..frames {
            let counts = journal.entry(lane, index).map(super::journal::Entry::counts);
            self.frame(lane, index, counts.unwrap_or_default());
        }
    }

    fn frame(&mut self, lane: u32, index: u64, counts: Counts) {
        let Counts { handed, late, done, letters, .. } = counts;
        let sums = &mut self.counts;
        sums.frames += 1;
        sums.handed += handed;
        sums.handed_again += handed.saturating_sub(1);
        sums.acknowledged += done;
        sums.too_late += late;
        sums.letters += letters.min(1);
        sums.letters_again += letters.saturating_sub(1);
        sums.unknown += u64::from(done == 0 && letters == 0 && counts.unknown() > 0);
        let what = |says: &str| format!("lane {lane}, frame {index}: {says}: {counts:?}");
        if self.delivery == Delivery::AtMostOnce {
            sums.lost_in_hand += u64::from(handed == 0);
            if handed > 1 {
                self.findings.push((Violation::Doubled, what("handed out again")));
            }
            return;
        }
        if done == 0 && letters == 0 && counts.unknown() == 0 {
            self.findings.push((Violation::Lost, what("nobody has dealt with it")));
        }
        if done > 1 || (done > 0 && letters > 0) {
            self.findings.push((Violation::Doubled, what("done with twice")));
        }
    }

    /// Who is killed may take the one frame with it that it was just being handed.
    fn lost_in_hand(&self, members_killed: u64) -> Option<Finding> {
        let lost = self.counts.lost_in_hand;
        let what =
            format!("{lost} frames were never handed out; {members_killed} members were killed");
        (lost > members_killed).then_some((Violation::Lost, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Counts = Counts { handed: 1, begun: 1, late: 0, done: 1, letters: 0 };

    fn judged(delivery: Delivery, counts: Counts) -> Vec<Violation> {
        let mut account = Account::new(delivery);
        account.frame(0, 0, counts);
        let over = account.lost_in_hand(0);
        account.findings.into_iter().chain(over).map(|(violation, _)| violation).collect()
    }

    #[test]
    fn at_least_once_each_frame_is_done_with_by_one_or_is_a_letter() {
        let judged = |counts| judged(Delivery::AtLeastOnce, counts);
        assert_eq!(judged(ONCE), []);
        // Handed out five times, acknowledged too late twice, begun to be by one that died.
        assert_eq!(judged(Counts { handed: 5, begun: 4, late: 2, ..ONCE }), []);
        assert_eq!(judged(Counts { done: 0, ..ONCE }), [], "who began it is dead");
        let letter = Counts { handed: 3, letters: 2, ..Counts::default() };
        assert_eq!(judged(letter), [], "a letter may be sent again by a second sender");
        assert_eq!(judged(Counts::default()), [Violation::Lost]);
        assert_eq!(judged(Counts { done: 0, late: 1, ..ONCE }), [Violation::Lost]);
        assert_eq!(judged(Counts { handed: 2, begun: 2, done: 2, ..ONCE }), [Violation::Doubled]);
        assert_eq!(judged(Counts { letters: 1, ..ONCE }), [Violation::Doubled]);
    }

    #[test]
    fn at_most_once_each_frame_is_handed_out_once_or_was_in_the_hands_of_a_dead_member() {
        let judged = |counts| judged(Delivery::AtMostOnce, counts);
        assert_eq!(judged(Counts { handed: 1, ..Counts::default() }), []);
        assert_eq!(judged(Counts { handed: 2, ..Counts::default() }), [Violation::Doubled]);
        assert_eq!(judged(Counts::default()), [Violation::Lost]);
        let mut account = Account::new(Delivery::AtMostOnce);
        account.frame(0, 0, Counts::default());
        account.frame(0, 1, Counts::default());
        assert!(account.lost_in_hand(2).is_none() && account.lost_in_hand(1).is_some());
    }
}
