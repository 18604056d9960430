//! One bus under watch: who was attached at the last look, told apart by the epoch of the seat, and
//! how far its counters of bad news were.

use std::collections::BTreeMap;

use busway::{Bus, BusInfo, Participant, Role};

use super::processes::has_ended;

/// A bus and what was last seen of it.
pub(super) struct Adopted {
    bus: Bus,
    /// Tells the segment from a later one of the same name.
    pub inode: u64,
    seat_changes_seen: Option<u32>,
    /// Seats given back that are accounted for: by this daemon, or by a death that it logged.
    recoveries_seen: u64,
    /// Recoveries that nobody's end explained at the last look. Who recovers a seat counts before
    /// it is free, so the next look may see whose it was; after that it was a stranger's.
    recoveries_unexplained: u64,
    /// Evictions that are accounted for.
    evictions_seen: u64,
    corruptions_seen: u64,
    attached: BTreeMap<(u8, u32), Participant>,
}

/// What changed between two looks.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Who is new.
    pub attached: Vec<Participant>,
    /// Who has gone without this daemon's doing.
    pub gone: Vec<Gone>,
    /// Who was told to leave and has not left yet, since the last look.
    pub evicted: Vec<Participant>,
    /// How many were told to leave and are gone already, so that nobody can say who.
    pub evicted_unseen: u64,
    /// How many impossible words were met since the last look, and ever.
    pub corruptions: (u64, u64),
    /// Whether somebody is attached whose lock is free.
    pub any_dead: bool,
}

/// Somebody who holds no seat any more, without this daemon's doing.
#[derive(Debug)]
pub(super) struct Gone {
    pub who: Participant,
    /// It died, and somebody else gave its seat back.
    pub by_a_peer: bool,
}

impl Adopted {
    pub(super) fn new(bus: Bus, inode: u64) -> Self {
        let stat = bus.stat();
        // Those who are on their way out now are new to the first look, which accounts for them.
        let leaving = bus.participants().iter().filter(|who| who.evicted).count() as u64;
        Self {
            bus,
            inode,
            seat_changes_seen: None,
            recoveries_seen: stat.recoveries,
            recoveries_unexplained: 0,
            evictions_seen: stat.evictions.saturating_sub(leaving),
            corruptions_seen: 0,
            attached: BTreeMap::new(),
        }
    }

    /// The bus, for the log.
    pub(super) fn info(&self) -> &BusInfo {
        self.bus.info()
    }

    /// The segment's size, for the log.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.bus.info().segment_bytes
    }

    /// Whether somebody cut the segment short since it was opened.
    pub(super) fn is_truncated(&self) -> bool {
        self.bus.is_truncated()
    }

    /// Everybody who was attached at the last look.
    pub(super) fn attached(&self) -> impl Iterator<Item = &Participant> {
        self.attached.values()
    }

    /// Looks who is attached, if anything has changed. Reads one shared word if not.
    pub(super) fn look(&mut self) -> Option<Changes> {
        // Read before the seats are: a change that comes between is seen at the next look.
        let seat_changes = self.bus.seat_changes();
        if self.seat_changes_seen == Some(seat_changes) {
            return None;
        }
        self.seat_changes_seen = Some(seat_changes);
        Some(self.look_closely())
    }

    /// Looks who is attached and whether they are alive. One system call a taken seat.
    pub(super) fn look_closely(&mut self) -> Changes {
        let everybody = self.bus.participants().into_iter();
        let now: BTreeMap<(u8, u32), Participant> =
            everybody.map(|who| (key(who.role, who.seat), who)).collect();

        let mut changes = Changes::default();
        let mut gone = Vec::new();
        let before = std::mem::take(&mut self.attached);
        for (key, who) in &before {
            if now.get(key).is_none_or(|found| found.epoch != who.epoch) {
                gone.push(who.clone());
            }
        }
        for (key, who) in &now {
            let known = before.get(key).filter(|found| found.epoch == who.epoch);
            if known.is_none() {
                changes.attached.push(who.clone());
            }
            if who.evicted && known.is_none_or(|known| !known.evicted) {
                changes.evicted.push(who.clone());
            }
            changes.any_dead |= !who.alive;
        }
        self.attached = now;
        // Who recovers a seat counts first and frees it then, and who evicts marks first and counts
        // then: the count of a seat that was seen free is seen by a look that comes later, and an
        // eviction that was seen before it was counted is accounted for when it is.
        let stat = self.bus.stat();
        changes.gone = gone.into_iter().map(|who| self.explain_end(who, stat.recoveries)).collect();
        let left = stat.recoveries.saturating_sub(self.recoveries_seen);
        let strangers = left.min(self.recoveries_unexplained);
        self.recoveries_seen += strangers;
        self.recoveries_unexplained = left - strangers;
        self.evictions_seen += changes.evicted.len() as u64;
        changes.evicted_unseen = stat.evictions.saturating_sub(self.evictions_seen);
        self.evictions_seen += changes.evicted_unseen;
        let growth = stat.corruptions.saturating_sub(self.corruptions_seen);
        changes.corruptions = (growth, stat.corruptions);
        self.corruptions_seen = stat.corruptions;
        changes
    }

    /// A seat that is free without our doing was left, or its holder died and somebody has counted
    /// a recovery that nobody else's end explains.
    fn explain_end(&mut self, who: Participant, recoveries: u64) -> Gone {
        let by_a_peer = recoveries > self.recoveries_seen && has_ended(who.pid);
        self.recoveries_seen += u64::from(by_a_peer);
        Gone { who, by_a_peer }
    }

    /// Gives back the seats of those who are provably dead, and forgets them.
    ///
    /// # Errors
    /// When this user may only read the bus, or the bus was removed meanwhile.
    pub(super) fn recover(&mut self) -> Result<Vec<busway::Reclaimed>, busway::Error> {
        let recovered = self.bus.reclaim()?;
        for seat in &recovered {
            self.attached.remove(&key(seat.role, seat.seat));
        }
        self.recoveries_seen += recovered.len() as u64;
        Ok(recovered)
    }
}

/// Producers first, by seat.
fn key(role: Role, seat: u32) -> (u8, u32) {
    match role {
        Role::Producer => (0, seat),
        Role::Consumer => (1, seat),
    }
}
