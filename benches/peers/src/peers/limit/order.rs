//! `limit:order`: bare lanes under one total order. Each message takes its place in the order by
//! `fetch_add`, one for a batch, and writes the number of its lane there; the consumer follows the order.
//! `limit:order-cas` sets its entries by compare-and-swap, as anything must that lets somebody else give
//! up the place of a producer which does not come.
//!
//! ```text
//!     0   ticket    places taken; all producers
//!   128   entries   of 8 bytes, a power of two of them: place << 16 | lane + 1
//! ```
//! There are as many entries as slots in all lanes, so that a place is never taken again before
//! its message is read. A producer that died between ticket and entry would stop the consumer for
//! ever: that is what a bus has to be better at.

#![allow(unsafe_code, reason = "entries are reached without a bounds check")]

use std::marker::PhantomData;
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

/// How an entry is set, as a type: one peer for each.
pub trait Set {
    /// The peer's name.
    const NAME: &'static str;
    /// The peer's line in the list.
    const ABOUT: &'static str;

    /// Sets an entry; it makes the message visible.
    fn set(entry: &AtomicU64, value: u64);
}

/// By a store.
pub struct Store;

impl Set for Store {
    const NAME: &'static str = "limit:order";
    const ABOUT: &'static str = "the limit: bare lanes and one order ring by fetch_add";

    #[inline]
    fn set(entry: &AtomicU64, value: u64) {
        // ORDERING: release, pairs with the acquire load in `OrderRx::poll`.
        entry.store(value, Ordering::Release);
    }
}

/// By compare-and-swap.
pub struct Cas;

impl Set for Cas {
    const NAME: &'static str = "limit:order-cas";
    const ABOUT: &'static str = "the same; entries are set by compare-and-swap";

    #[inline]
    fn set(entry: &AtomicU64, value: u64) {
        // ORDERING: relaxed; the compare-and-swap checks it again.
        let old = entry.load(Ordering::Relaxed);
        // ORDERING: release, as above. It cannot fail: nobody else sets entries of this place.
        let _ = entry.compare_exchange(old, value, Ordering::Release, Ordering::Relaxed);
    }
}

/// The rings' and the order's files; the place removes them.
pub struct Order<S>(PhantomData<S>);

impl<S: Set> Peer for Order<S> {
    const NAME: &'static str = S::NAME;
    const ABOUT: &'static str = S::ABOUT;
    type Tx = OrderTx<S>;
    type Rx = OrderRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        plain(shape)?;
        need(shape.order == peer::Order::Total, "total order only; see limit:lanes")?;
        need(shape.consumers == 1, "one consumer")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        Entries::create(shape, place)?;
        (0..shape.seats()).try_for_each(|lane| Ring::create(shape, place, lane))?;
        Ok(Self(PhantomData))
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<OrderTx<S>, String> {
        let lane = LaneTx::open(shape, place, index)?;
        let (entries, number) = (Entries::open(shape, place)?, index as u64);
        Ok(OrderTx { entries, lane, number, _set: PhantomData })
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
pub struct OrderTx<S> {
    entries: Entries,
    lane: LaneTx,
    number: u64,
    _set: PhantomData<S>,
}

impl<S: Set> Tx for OrderTx<S> {
    #[inline]
    fn send(&mut self, count: usize, fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        self.lane.write(count, fill);
        // ORDERING: relaxed; the place alone is taken, the entry makes the message visible.
        let first = self.entries.ticket().fetch_add(count as u64, Ordering::Relaxed);
        for place in first..first + count as u64 {
            S::set(self.entries.entry(place), place << LANE_BITS | (self.number + 1));
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
            // ORDERING: acquire, pairs with the release of `Set::set`: makes the message
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
