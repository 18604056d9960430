//! Keeps a reader up with lanes that are let again: each tenancy has memory of its own, and the board
//! says which one is the present one.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Connection;
use super::memory::{Bus, LaneMemory};
use super::message::{Ask, Lent, WANTED_MAX, Wanted};
use crate::error::Error;
use crate::participant::Role;
use crate::regions::Regions;
use crate::sync::Ordering;

/// After a broker did not answer, the time until it is asked again.
const RETRY: Duration = Duration::from_millis(100);

/// What a reader has of a brokered bus's lanes.
#[derive(Debug)]
pub(crate) struct Feed {
    bus: Arc<Bus>,
    connection: Arc<Connection>,
    /// The board's count of changes when all lanes were looked at.
    seen: Option<u32>,
    /// The newest tenancy of each lane that has been fetched; 0 for one never let.
    epochs: Vec<u64>,
    not_before: Option<Instant>,
}

impl Feed {
    pub(crate) fn new(bus: &Arc<Bus>, connection: &Arc<Connection>) -> Self {
        let lanes = usize::try_from(bus.header.geometry.shape.lanes).unwrap_or(0);
        let (bus, connection) = (Arc::clone(bus), Arc::clone(connection));
        Self { bus, connection, seen: None, epochs: vec![0; lanes], not_before: None }
    }

    /// Whether lanes may have been let since they were fetched. Cost: one load of a line that
    /// changes when somebody attaches or detaches.
    #[inline]
    pub(crate) fn is_stale(&self, regions: &Regions) -> bool {
        // ORDERING: acquire, pairs with the release in `host::note_change`: the epochs that changed
        // before it are visible.
        self.seen != Some(regions.words.seat_changes.load(Ordering::Acquire))
    }

    /// Fetches every tenancy that this reader does not have into `fetched`: by lane, oldest first.
    ///
    /// A broker that is gone lets no lane again: then there is nothing to fetch. One that does not
    /// answer is asked again after a while.
    ///
    /// # Errors
    /// `Corrupt` when what comes is not what it should be; then it is not asked for again.
    pub(crate) fn fetch(
        &mut self,
        regions: &Regions,
        fetched: &mut Vec<(usize, LaneMemory)>,
    ) -> Result<(), Error> {
        let now = Instant::now();
        if self.not_before.is_some_and(|time| now < time) {
            return Ok(());
        }
        // ORDERING: as in `is_stale`. Before the look at the epochs: a change that comes between
        // makes the next look find it stale.
        let seen = regions.words.seat_changes.load(Ordering::Acquire);
        let done = self.fetch_changed(regions, fetched);
        if matches!(done, Err(Error::Broker { .. })) && !self.connection.is_gone() {
            self.not_before = Some(now + RETRY);
            return Ok(());
        }
        (self.seen, self.not_before) = (Some(seen), None);
        match done {
            // A bus that has been removed lets no lane again either.
            Ok(()) | Err(Error::Broker { .. } | Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn fetch_changed(
        &mut self,
        regions: &Regions,
        fetched: &mut Vec<(usize, LaneMemory)>,
    ) -> Result<(), Error> {
        // Only what follows on what is here: one in between may not have been sent, and is asked for.
        let mut came = Vec::new();
        for (lent, file) in self.connection.unasked() {
            let known = self.epochs.get(index(lent));
            if known.is_some_and(|known| known.wrapping_add(1) == lent.epoch) {
                self.take(lent, &file, fetched)?;
                came.push(lent.seat);
            }
        }
        let mut wanted = Vec::new();
        for (lane, since) in (0..).zip(&self.epochs) {
            let epoch = regions.seat(Role::Producer, lane).map_or(0, |seat| seat.epoch());
            // Asking for more of what came is how the broker learns that it is here.
            if epoch != *since || came.contains(&lane) {
                wanted.push(Wanted { lane, since: *since });
            }
        }
        for wanted in wanted.chunks(WANTED_MAX) {
            let ask = Ask::Lanes { wanted: wanted.to_vec() };
            for (lent, file) in self.connection.regions(ask)? {
                if !wanted.iter().any(|wanted| wanted.lane == lent.seat) {
                    return Err(self.connection.nonsense());
                }
                self.take(lent, &file, fetched)?;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        lent: Lent,
        file: &File,
        fetched: &mut Vec<(usize, LaneMemory)>,
    ) -> Result<(), Error> {
        fetched.push((index(lent), self.bus.lane(file, lent)?));
        if let Some(epoch) = self.epochs.get_mut(index(lent)) {
            *epoch = lent.epoch;
        }
        Ok(())
    }
}

fn index(lent: Lent) -> usize {
    usize::try_from(lent.seat).unwrap_or(usize::MAX)
}
