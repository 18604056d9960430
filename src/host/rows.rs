//! Consumers' rows of a hosted bus: each tenant gets memory of its own, so that no former one can
//! move its successor's cursors.

use std::fs::File;
use std::sync::Arc;

use super::acl::Peer;
use super::bus::{Hold, HostedBus, index};
use crate::broker::memory::Part;
use crate::broker::message::{Lent, Refusal};
use crate::participant::Role;
use crate::seat;
use crate::sync::Ordering;

/// One consumer's seat.
#[derive(Debug, Default)]
pub(super) struct HostedRow {
    pub(super) hold: Hold,
    present: Option<(Lent, Arc<File>)>,
    /// The newest tenancy of each lane that the tenant has fetched.
    fetched: Vec<u64>,
}

impl HostedRow {
    /// The newest tenancy of a lane that the tenant has fetched; 0 for none.
    pub(super) fn fetched(&self, lane: usize) -> u64 {
        self.fetched.get(lane).copied().unwrap_or(0)
    }

    /// The present tenant's memory.
    pub(super) fn present(&self) -> Option<(Lent, Arc<File>)> {
        self.present.clone()
    }

    pub(super) fn has_fetched(&mut self, lane: usize, epoch: u64) {
        if let Some(fetched) = self.fetched.get_mut(lane) {
            *fetched = epoch;
        }
    }
}

impl HostedBus {
    /// Lends a row to a consumer: the first that is free.
    pub(super) fn lend_row(
        &mut self,
        session: u64,
        name: &str,
    ) -> Result<(Lent, Arc<File>), Refusal> {
        let Some(free) = self.rows.iter().position(|row| row.hold.is_free()) else {
            return Err(self.taken(Role::Consumer));
        };
        let seat = u32::try_from(free).unwrap_or(u32::MAX);
        let epoch = self.regions.seat(Role::Consumer, seat).map_or(0, |words| words.epoch()) + 1;
        let lent = Lent { seat, epoch, start: 0 };
        let file = Arc::new(self.make(Part::Row(lent))?);
        let lanes = self.lanes.len();
        if let Some(row) = self.rows.get_mut(free) {
            row.fetched = vec![0; lanes];
            let (name, file) = (name.to_owned(), Arc::clone(&file));
            row.hold = Hold::Lent { session, name, lent, file };
        }
        Ok((lent, file))
    }

    /// A tenant has placed its cursors and sealed its row: from now on it gates.
    pub(super) fn open_row(
        &mut self,
        session: u64,
        peer: &Peer,
        name: &str,
        lent: Lent,
        file: &File,
    ) -> Result<(), Refusal> {
        let reader = self.verify(Part::Row(lent), file)?;
        let row = self.bus.row(&reader, lent).map_err(|error| super::refusal_of(&error))?;
        self.regions.cursors.set(lent.seat, row);
        if let Some(hosted) = self.rows.get_mut(index(lent.seat)) {
            hosted.present = Some((lent, reader));
            hosted.hold = Hold::Held { session, unheard: 0 };
        }
        if let Some(words) = self.regions.seat(Role::Consumer, lent.seat) {
            seat::sit(&words, peer.pid, peer.uid, name);
        }
        // ORDERING: release, pairs with the acquire load of the bits in `LaneWriter::gate`: the
        // epoch is visible to whoever sees the bit, and so that the row is a new one. The consumer's
        // fence, its half of the Dekker pair with `LaneWriter::renew`, comes after the answer to its
        // request, hence after this.
        self.regions.words.consumers.fetch_or(1 << (lent.seat & 63), Ordering::Release);
        Ok(())
    }

    /// The rows of those who are attached.
    pub(super) fn rows(&self, wanted: &[u32]) -> (Vec<Lent>, Vec<Arc<File>>) {
        let rows = wanted.iter().filter_map(|seat| self.rows.get(index(*seat)));
        rows.filter_map(|row| row.present.clone()).unzip()
    }

    /// Lets go of a row whose tenant has gone.
    pub(super) fn drop_row(&mut self, seat: u32) {
        if let Some(row) = self.rows.get_mut(index(seat)) {
            row.present = None;
        }
    }
}
