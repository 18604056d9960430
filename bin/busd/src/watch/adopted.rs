//! One bus under watch: who was attached at the last look, told apart by the epoch of the seat.

use std::collections::BTreeMap;

use busway::{Bus, Participant, Role};

/// A bus and what was last seen of it.
pub(super) struct Adopted {
    bus: Bus,
    /// Tells the segment from a later one of the same name.
    pub inode: u64,
    seat_changes_seen: Option<u32>,
    recoveries_seen: u64,
    attached: BTreeMap<(u8, u32), Participant>,
}

/// What changed between two looks.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Who is new.
    pub attached: Vec<Participant>,
    /// Who has gone without this daemon's doing.
    pub gone: Vec<Participant>,
    /// Seats that somebody else gave back meanwhile.
    pub recovered_by_peers: u64,
    /// Whether somebody is attached whose lock is free.
    pub any_dead: bool,
}

impl Adopted {
    pub(super) fn new(bus: Bus, inode: u64) -> Self {
        let recoveries_seen = bus.stat().recoveries;
        Self { bus, inode, seat_changes_seen: None, recoveries_seen, attached: BTreeMap::new() }
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
        let stat = self.bus.stat();
        let producers = stat.lanes.into_iter().filter_map(|lane| lane.producer);
        let consumers = stat.consumers.into_iter().map(|consumer| consumer.participant);
        let now: BTreeMap<(u8, u32), Participant> =
            producers.chain(consumers).map(|who| (key(who.role, who.seat), who)).collect();

        let mut changes = Changes::default();
        let before = std::mem::take(&mut self.attached);
        for (key, who) in &before {
            if now.get(key).is_none_or(|found| found.epoch != who.epoch) {
                changes.gone.push(who.clone());
            }
        }
        for (key, who) in &now {
            if before.get(key).is_none_or(|found| found.epoch != who.epoch) {
                changes.attached.push(who.clone());
            }
            changes.any_dead |= !who.alive;
        }
        self.attached = now;
        // Who recovers a seat counts first and frees it then: the count of a seat that was seen
        // free is seen by a look that comes later.
        let recoveries =
            if changes.gone.is_empty() { stat.recoveries } else { self.bus.stat().recoveries };
        changes.recovered_by_peers = recoveries.saturating_sub(self.recoveries_seen);
        self.recoveries_seen = recoveries;
        changes
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
