//! Lanes of a hosted bus, tenancy by tenancy.
//!
//! A tenancy's memory is made for its producer, which seals it for itself, and ends where the broker
//! settles its head. The next one begins there, in memory of its own: whatever the former tenant may
//! still store is seen by nobody who has learnt of the next.
//!
//! What a tenant had published is kept until every attached consumer has fetched it, and of a lane
//! that is free, until it is let again.

use std::collections::VecDeque;
use std::fs::File;
use std::mem::offset_of;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::acl::Peer;
use super::bus::{Hold, HostedBus, index};
use super::refusal_of;
use crate::broker::memory::Part;
use crate::broker::message::{Lent, Refusal, Wanted};
use crate::error::Error;
use crate::lane::{bits, is_before};
use crate::layout::PAGE_BYTES;
use crate::layout::geometry::Region;
use crate::layout::words::LaneWords;
use crate::participant::Role;
use crate::seat::{self, recovery};
use crate::shm::mapping::{Access, Mapping, Shared};
use crate::sync::Ordering;

/// Former tenancies of one lane that are kept at most, for consumers that have not fetched them:
/// with the present one, sixteen lanes' fit a packet.
pub(super) const KEPT_MAX: usize = 3;

/// One lane.
#[derive(Debug)]
pub(super) struct HostedLane {
    pub(super) hold: Hold,
    /// Oldest first; the last is the present one, or the last one if the lane is free.
    tenancies: VecDeque<Tenancy>,
    /// Where the next tenancy begins.
    end: u64,
    /// In the place of the words of a lane that was never let.
    blank: Shared<LaneWords>,
}

#[derive(Debug)]
struct Tenancy {
    lent: Lent,
    file: Arc<File>,
    words: Shared<LaneWords>,
}

impl HostedLane {
    pub(super) fn new(origin: u64, blank: Shared<LaneWords>) -> Self {
        Self { hold: Hold::Nobody, tenancies: VecDeque::new(), end: origin, blank }
    }

    /// The present tenancy's memory.
    pub(super) fn present(&self) -> Option<(Lent, Arc<File>)> {
        self.tenancies.back().map(|tenancy| (tenancy.lent, Arc::clone(&tenancy.file)))
    }

    /// The present tenancy's words.
    pub(super) fn words(&self) -> Shared<LaneWords> {
        self.tenancies.back().map_or(&self.blank, |tenancy| &tenancy.words).clone()
    }
}

impl HostedBus {
    /// Lends a lane to a producer: the first that is free.
    pub(super) fn lend_lane(
        &mut self,
        session: u64,
        name: &str,
    ) -> Result<(Lent, Arc<File>), Refusal> {
        for lane in 0..self.bus.header.geometry.shape.lanes {
            self.forget_fetched(lane);
        }
        let is_lossless = self.bus.header.geometry.shape.on_full.is_lossless();
        let can_be_let = |lane: &HostedLane| {
            lane.hold.is_free() && (!is_lossless || lane.tenancies.len() <= KEPT_MAX)
        };
        let Some(free) = self.lanes.iter().position(can_be_let) else {
            let mut refusal = self.taken(Role::Producer);
            if refusal.holders.len() < self.lanes.len() {
                refusal.message +=
                    ", or has not been read to the end by consumers that are attached";
            }
            return Err(refusal);
        };
        let seat = u32::try_from(free).unwrap_or(u32::MAX);
        let epoch = self.regions.seat(Role::Producer, seat).map_or(0, |words| words.epoch()) + 1;
        let start = self.lanes.get(free).map_or(0, |lane| lane.end);
        let lent = Lent { seat, epoch, start };
        let file = Arc::new(self.make(Part::Lane(lent))?);
        self.write_first_words(&file, lent)
            .map_err(|source| refusal_of(&Error::Io { action: "write to a lane", source }))?;
        if let Some(lane) = self.lanes.get_mut(free) {
            let (name, file) = (name.to_owned(), Arc::clone(&file));
            lane.hold = Hold::Lent { session, name, lent, file };
        }
        Ok((lent, file))
    }

    /// The words of a lane whose tenant has not published yet; counters go on.
    fn write_first_words(&self, file: &File, lent: Lent) -> std::io::Result<()> {
        let before = self.regions.lane(lent.seat);
        let counter = |of: fn(&LaneWords) -> &crate::sync::AtomicU64| {
            // ORDERING: relaxed; a statistic.
            before.as_ref().map_or(0, |words| of(words).load(Ordering::Relaxed))
        };
        let words = [
            (offset_of!(LaneWords, head), lent.start),
            (offset_of!(LaneWords, reserve), lent.start),
            (offset_of!(LaneWords, ticket_at), lent.start.wrapping_sub(1)),
            (offset_of!(LaneWords, rejected), counter(|words| &words.rejected)),
            (offset_of!(LaneWords, blocked_count), counter(|words| &words.blocked_count)),
            (offset_of!(LaneWords, blocked_ns), counter(|words| &words.blocked_ns)),
        ];
        words
            .iter()
            .try_for_each(|(offset, value)| file.write_all_at(&value.to_le_bytes(), *offset as u64))
    }

    /// A tenant has sealed its lane: from now on it is the present one.
    pub(super) fn open_lane(
        &mut self,
        session: u64,
        peer: &Peer,
        name: &str,
        lent: Lent,
        file: &File,
    ) -> Result<(), Refusal> {
        let reader = self.verify(Part::Lane(lent), file)?;
        let region = Region { offset: 0, bytes: PAGE_BYTES };
        let mapping = Mapping::new(&reader, region, Access::Read)
            .map_err(|source| refusal_of(&Error::Io { action: "map memory", source }))?;
        let words = Shared::at(&mapping, 0).ok_or_else(|| refusal_of(&self.bus.outside()))?;
        let is_lossless = self.bus.header.geometry.shape.on_full.is_lossless();
        if let Some(lane) = self.lanes.get_mut(index(lent.seat)) {
            // Nothing can be read of a tenancy in which nothing was published.
            lane.tenancies.retain(|tenancy| tenancy.lent.start != lent.start);
            if !is_lossless && lane.tenancies.len() > KEPT_MAX {
                lane.tenancies.pop_front();
            }
            lane.tenancies.push_back(Tenancy { lent, file: reader, words });
            lane.hold = Hold::Held { session, unheard: 0 };
        }
        if let Some(words) = self.regions.seat(Role::Producer, lent.seat) {
            seat::sit(&words, peer.pid, peer.uid, name);
        }
        if let Some((word, bit)) = recovery::lane_bit(&self.regions.words.producers, lent.seat) {
            // ORDERING: release, pairs with the acquire load in the consumers' look at who is there.
            word.fetch_or(bit, Ordering::Release);
        }
        self.forget_fetched(lent.seat);
        Ok(())
    }

    /// Settles where a tenancy has ended, and says that the lane has no producer. Returns the
    /// position at which it goes on.
    pub(super) fn close_lane(&mut self, seat: u32) -> u64 {
        let end = self.settled_end(seat);
        if let Some(lane) = self.lanes.get_mut(index(seat)) {
            lane.end = end;
        }
        recovery::clear_producer_bits(&self.regions, seat);
        self.forget_fetched(seat);
        end
    }

    /// Where a tenancy has ended: its head, if an honest tenant could have stored it.
    ///
    /// A head before the first position is none, and neither is, where producers wait for consumers,
    /// one that no attached consumer's cursor allows. Then what somebody has read was published, and
    /// nothing else. A lie costs readers what they have to skip, of this lane alone.
    fn settled_end(&self, seat: u32) -> u64 {
        let Some(lane) = self.lanes.get(index(seat)) else {
            return 0;
        };
        let start = lane.end;
        // ORDERING: acquire, pairs with the release store in `LaneWriter::publish`.
        let head = lane.words().head.load(Ordering::Acquire);
        if is_before(head, start) {
            return start;
        }
        // ORDERING: relaxed; this process alone stores there.
        let attached = self.regions.words.consumers.load(Ordering::Relaxed);
        let cursors = bits(attached).filter_map(|consumer| {
            let cursor = self.regions.cursors.row(consumer)?.positions.get(index(seat))?;
            // ORDERING: acquire, pairs with the release store in `LaneReader::release`.
            Some(cursor.load(Ordering::Acquire).wrapping_sub(start)).filter(|read| *read < 1 << 63)
        });
        let shape = self.bus.header.geometry.shape;
        match cursors.max().filter(|_| shape.on_full.is_lossless()) {
            Some(read) if head.wrapping_sub(start) > read.saturating_add(shape.capacity) => {
                start.wrapping_add(read)
            }
            _ => head,
        }
    }

    /// The memory of each lane's tenancies after the one that the client has, oldest first.
    pub(super) fn lanes(
        &mut self,
        wanted: &[Wanted],
        consumer: Option<u32>,
    ) -> (Vec<Lent>, Vec<Arc<File>>) {
        let mut found = Vec::new();
        for Wanted { lane, since } in wanted {
            let Some(hosted) = self.lanes.get(index(*lane)) else {
                continue;
            };
            let later = hosted.tenancies.iter().filter(|tenancy| tenancy.lent.epoch > *since);
            found.extend(later.map(|tenancy| (tenancy.lent, Arc::clone(&tenancy.file))));
            let newest = hosted.tenancies.back().map_or(0, |tenancy| tenancy.lent.epoch);
            if let Some(row) = consumer.and_then(|seat| self.rows.get_mut(index(seat))) {
                row.has_fetched(index(*lane), newest);
            }
        }
        found.into_iter().unzip()
    }

    /// Lets go of former tenancies that every attached consumer has fetched.
    fn forget_fetched(&mut self, seat: u32) {
        // ORDERING: relaxed; this process alone stores there.
        let attached = self.regions.words.consumers.load(Ordering::Relaxed);
        let rows = bits(attached).filter_map(|consumer| self.rows.get(index(consumer)));
        let fetched = rows.map(|row| row.fetched(index(seat))).min().unwrap_or(u64::MAX);
        if let Some(lane) = self.lanes.get_mut(index(seat)) {
            while lane.tenancies.len() > 1
                && lane.tenancies.front().is_some_and(|oldest| oldest.lent.epoch <= fetched)
            {
                lane.tenancies.pop_front();
            }
        }
    }
}
