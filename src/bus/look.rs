//! What a handle on a brokered bus fetches to look at it: lanes and rows, read-only.

use std::sync::Arc;

use crate::broker::client::Connection;
use crate::broker::feed::Feed;
use crate::broker::memory::{Bus, LaneMemory};
use crate::error::Error;
use crate::regions::Regions;
use crate::tie::{self, Tie};

/// What has been fetched so far.
#[derive(Debug)]
pub(super) struct Look {
    feed: Feed,
    lanes: Vec<LaneMemory>,
    regions: Regions,
}

impl Look {
    /// Fetches nothing yet: who may only publish is not shown the lanes.
    pub(super) fn new(
        bus: &Arc<Bus>,
        connection: &Arc<Connection>,
        regions: &Regions,
    ) -> Result<Self, Error> {
        let blank = bus.blank_lane()?;
        let count = usize::try_from(bus.header.geometry.shape.lanes).unwrap_or(0);
        let lanes = vec![blank; count];
        let regions = regions.with_lanes(tie::words_of(&lanes));
        Ok(Self { feed: Feed::new(bus, connection), lanes, regions })
    }

    /// The regions with all that can be had now. Who is left out is seen at a later look.
    pub(super) fn regions(&mut self, tie: &Tie) -> Regions {
        if self.feed.is_stale(&self.regions) {
            let mut fetched = Vec::new();
            // What is not what it should be is not looked at, and the rest is.
            let _all = self.feed.fetch(&self.regions, &mut fetched);
            for (index, memory) in fetched {
                if let Some(lane) = self.lanes.get_mut(index) {
                    *lane = memory;
                }
            }
            self.regions = self.regions.with_lanes(tie::words_of(&self.lanes));
        }
        let words = self.regions.words.clone();
        let _all = tie.fetch_cursors(&words.consumers, &mut self.regions.cursors);
        self.regions.clone()
    }
}
