//! `limit:order`: bare lanes under one total order. Each batch takes its place in the order by one
//! `fetch_add` and writes the number of its lane there; the consumer follows the order.
//!
//! ```text
//!     0   ticket    places taken; all producers
//!   128   entries   of 8 bytes, a power of two of them: place << 16 | lane + 1
//! ```
//! There are as many entries as slots in all lanes, so that a place is never taken again before
//! its message is read. A producer that died between ticket and entry would stop the consumer for
//! ever: that is what a bus has to be better at.

#![allow(unsafe_code, reason = "entries are reached without a bounds check")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::lane::{LaneRx, LaneTx, Ring, plain};
use crate::peer::{self, Peer, Rx, Shape, Tx, need};
use crate::shm::Map;

const ENTRIES_OFFSET: usize = 128;

/// Bits of an entry that hold the lane.
const LANE_BITS: u32 = 16;

/// The order's memory.
struct Entries {
    map: Map,
    /// Entries; a power of two.
    count: u64,
}

impl Entries {
    fn path(place: &Path) -> PathBuf {
        place.join("order")
    }

    fn count(shape: &Shape) -> usize {
        let slots = shape.slots(shape.payload_bytes.next_multiple_of(8));
        (slots * shape.seats()).next_power_of_two()
    }

    fn create(shape: &Shape, place: &Path) -> Result<(), String> {
        Map::create(&Self::path(place), ENTRIES_OFFSET + 8 * Self::count(shape)).map(drop)
    }

    fn open(shape: &Shape, place: &Path) -> Result<Self, String> {
        let (map, count) = (Map::open(&Self::path(place))?, Self::count(shape));
        if ENTRIES_OFFSET + 8 * count > map.len_bytes() {
            return Err(format!("the order is smaller than {count} entries"));
        }
        Ok(Self { map, count: count as u64 })
    }

    #[inline]
    fn ticket(&self) -> &AtomicU64 {
        self.map.word(0)
    }

    #[inline]
    fn entry(&self, place: u64) -> &AtomicU64 {
        #[allow(clippy::cast_possible_truncation, reason = "the mask keeps it below the count")]
        let index = (place & (self.count - 1)) as usize;
        // SAFETY: `open` has checked that all entries lie in the mapping, which lives as long as
        // `self`; they are aligned, and every process accesses them as atomics.
        unsafe { AtomicU64::from_ptr(self.map.base().add(ENTRIES_OFFSET + 8 * index).cast()) }
    }
}

/// The rings' and the order's files; the place removes them.
pub struct Order;

impl Peer for Order {
    const NAME: &'static str = "limit:order";
    const ABOUT: &'static str = "the limit: bare lanes and one order ring by fetch_add";
    type Tx = OrderTx;
    type Rx = OrderRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        plain(shape)?;
        need(shape.order == peer::Order::Total, "total order only; see limit:lanes")?;
        need(shape.consumers == 1, "one consumer")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        Entries::create(shape, place)?;
        (0..shape.seats()).try_for_each(|lane| Ring::create(shape, place, lane)).map(|()| Self)
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<OrderTx, String> {
        let lane = LaneTx::open(shape, place, index)?;
        Ok(OrderTx { entries: Entries::open(shape, place)?, lane, number: index as u64 })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<OrderRx, String> {
        let lanes: Result<Vec<_>, _> =
            (0..shape.seats()).map(|lane| LaneRx::open(shape, place, lane, 0)).collect();
        let (entries, lanes) = (Entries::open(shape, place)?, lanes?);
        let touched = vec![false; lanes.len()];
        Ok(OrderRx { entries, lanes, touched, place: 0 })
    }
}

/// A producer.
pub struct OrderTx {
    entries: Entries,
    lane: LaneTx,
    number: u64,
}

impl Tx for OrderTx {
    #[inline]
    fn send(&mut self, count: usize, fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        self.lane.write(count, fill);
        // ORDERING: relaxed; the place alone is taken, the entry makes the message visible.
        let first = self.entries.ticket().fetch_add(count as u64, Ordering::Relaxed);
        for place in first..first + count as u64 {
            // ORDERING: release, pairs with the acquire load in `OrderRx::poll`.
            let entry = place << LANE_BITS | (self.number + 1);
            self.entries.entry(place).store(entry, Ordering::Release);
        }
        Ok(())
    }
}

/// The consumer.
pub struct OrderRx {
    entries: Entries,
    lanes: Vec<LaneRx>,
    /// Lanes that were read in this run.
    touched: Vec<bool>,
    /// The next place.
    place: u64,
}

impl Rx for OrderRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let mut count = 0;
        while count < max {
            // ORDERING: acquire, pairs with the release store in `OrderTx::send`: makes the message
            // visible.
            let entry = self.entries.entry(self.place).load(Ordering::Acquire);
            let lane = entry & ((1 << LANE_BITS) - 1);
            if entry >> LANE_BITS != self.place || lane == 0 {
                break;
            }
            let lane = usize::try_from(lane - 1).unwrap_or(usize::MAX);
            let (Some(ring), Some(touched)) =
                (self.lanes.get_mut(lane), self.touched.get_mut(lane))
            else {
                return Err(format!("the order names lane {lane}"));
            };
            ring.read(&mut each);
            *touched = true;
            self.place += 1;
            count += 1;
        }
        if count > 0 {
            for (ring, touched) in self.lanes.iter().zip(&mut self.touched) {
                if std::mem::take(touched) {
                    ring.give_back();
                }
            }
        }
        Ok(count)
    }
}
