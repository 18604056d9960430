//! `limit:lanes`: one bare ring for each producer; the consumer looks at them in turn.

use std::path::Path;

use super::lane::{LaneRx, LaneTx, Ring, plain};
use crate::peer::{Order, Peer, Shape, need};
use crate::peers::rings::Rings;

/// The rings' files; the place removes them.
pub struct Lanes;

impl Peer for Lanes {
    const NAME: &'static str = "limit:lanes";
    const ABOUT: &'static str = "the limit: one bare ring for each producer, read in turn";
    type Tx = LaneTx;
    type Rx = Rings<LaneRx>;

    fn supports(shape: &Shape) -> Result<(), String> {
        plain(shape)?;
        need(shape.seats() > 1, "as limit:lane with one producer")?;
        need(shape.consumers == 1, "one consumer")?;
        need(shape.order == Order::PerProducer, "no total order; see limit:order")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        (0..shape.seats()).try_for_each(|lane| Ring::create(shape, place, lane)).map(|()| Self)
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<LaneTx, String> {
        LaneTx::open(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<Rings<LaneRx>, String> {
        Rings::attach(shape.seats(), |lane| LaneRx::open(shape, place, lane, 0))
    }
}
