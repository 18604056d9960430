//! busway itself, by its public interface: claim in place, commit, poll runs in place.
//!
//! One producer is the `single` topology; several are `lanes`, or `ordered` where a total order is
//! asked for. Timestamps are off: no peer stamps its messages.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use busway::{
    Bus, BusOptions, Consumer, FrameLayout, OnFull, PollError, Producer, Timestamps, Topology,
};

use crate::peer::{self, Order, Peer, Rx, Shape, Tx, need};

/// Bytes of an event frame's header.
const EVENT_HEADER_BYTES: usize = 16;

/// The greatest segment that is asked for, in bytes: growth goes to a ring of 1 GiB.
const SIZE_MAX_BYTES: u64 = 4 << 30;

/// How long a producer waits for room before the measurement fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a slot holds, as a type: one peer for each.
pub trait Layout {
    /// The peer's name.
    const NAME: &'static str;
    /// The peer's line in the list.
    const ABOUT: &'static str;
    /// The bus's option.
    const FRAMES: FrameLayout;
    /// Bytes of a slot beside the payload.
    const HEADER_BYTES: usize;
}

/// Header and payload.
pub struct Event;

impl Layout for Event {
    const NAME: &'static str = "busway:event";
    const ABOUT: &'static str = "this bus, event frames (16-byte header), timestamps off";
    const FRAMES: FrameLayout = FrameLayout::Event;
    const HEADER_BYTES: usize = EVENT_HEADER_BYTES;
}

/// Payload only.
pub struct Bare;

impl Layout for Bare {
    const NAME: &'static str = "busway:bare";
    const ABOUT: &'static str = "this bus, bare frames (no header)";
    const FRAMES: FrameLayout = FrameLayout::Bare;
    const HEADER_BYTES: usize = 0;
}

/// A bus that is removed when dropped.
pub struct Busway<L> {
    name: String,
    _layout: PhantomData<L>,
}

impl<L> Drop for Busway<L> {
    fn drop(&mut self) {
        // The driver looks for what is left by its tag, and says so.
        let _ = Bus::remove(&self.name);
    }
}

fn options<L: Layout>(shape: &Shape) -> Result<BusOptions, String> {
    let topology = match (shape.seats(), shape.order) {
        (1, _) => Topology::Single,
        (_, Order::PerProducer) => Topology::Lanes,
        (_, Order::Total) => Topology::Ordered,
    };
    let number = |what: &str, value: usize| {
        u32::try_from(value).map_err(|_| format!("{what}: {value} does not fit 32 bits"))
    };
    let slots = shape.slots(shape.payload_bytes.next_multiple_of(8) + L::HEADER_BYTES);
    Ok(Bus::options()
        .topology(topology)
        .frames(L::FRAMES)
        .timestamps(Timestamps::Off)
        .on_full(if shape.lossy { OnFull::DropOldest } else { OnFull::Block })
        .payload_bytes(number("payload", shape.payload_bytes)?)
        .capacity_frames(slots as u64)
        .lanes(number("producers", shape.seats())?)
        .consumers(number("consumers", shape.consumers)?)
        .size_bytes_max(SIZE_MAX_BYTES))
}

fn wait(shape: &Shape) -> busway::Wait {
    match (shape.wait, shape.crowded) {
        (peer::Wait::Park, _) => busway::Wait::Parking,
        (peer::Wait::Spin, true) => busway::Wait::Yielding,
        (peer::Wait::Spin, false) => busway::Wait::Busy,
    }
}

impl<L: Layout> Peer for Busway<L> {
    const NAME: &'static str = L::NAME;
    const ABOUT: &'static str = L::ABOUT;
    type Tx = BuswayTx;
    type Rx = BuswayRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(shape.seats() <= 256, "at most 256 lanes")?;
        need(shape.consumers <= 64, "at most 64 consumers")?;
        options::<L>(shape)?.size_bytes().map(drop).map_err(|error| error.to_string())
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        let name = peer::tag(place);
        options::<L>(shape)?
            .create(&name)
            .map_err(|error| format!("creating bus {name:?}: {error}"))?;
        Ok(Self { name, _layout: PhantomData })
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<BuswayTx, String> {
        let producer = open(place)?.producer().wait(wait(shape)).timeout(Some(PATIENCE)).attach();
        Ok(BuswayTx { producer: producer.map_err(|error| format!("attaching: {error}"))? })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<BuswayRx, String> {
        let consumer = open(place)?.consumer().wait(wait(shape)).attach();
        Ok(BuswayRx { consumer: consumer.map_err(|error| format!("attaching: {error}"))? })
    }
}

fn open(place: &Path) -> Result<Bus, String> {
    Bus::open(&peer::tag(place)).map_err(|error| format!("opening the bus: {error}"))
}

/// A producer of the bus.
pub struct BuswayTx {
    producer: Producer,
}

impl Tx for BuswayTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        if count == 1 {
            let mut claim = self.producer.claim().map_err(|error| error.to_string())?;
            fill(0, claim.payload_mut());
            return claim.commit().map(drop).map_err(|error| error.to_string());
        }
        let frames = u32::try_from(count).map_err(|_| format!("a batch of {count}"))?;
        let mut batch = self.producer.claim_batch(frames).map_err(|error| error.to_string())?;
        for (index, number) in (0..frames).zip(0..) {
            if let Some(mut slot) = batch.frame(index) {
                fill(number, slot.payload_mut());
            }
        }
        batch.commit().map(drop).map_err(|error| error.to_string())
    }
}

/// A consumer of the bus.
pub struct BuswayRx {
    consumer: Consumer,
}

impl Rx for BuswayRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let polled = self.consumer.poll_batch(max, |frames| {
            for frame in frames {
                each(frame.payload());
            }
        });
        match polled {
            Ok(count) => Ok(count),
            // The producers have finished and are gone; what they sent is read.
            Err(PollError::Closed) => Ok(0),
            Err(error) => Err(error.to_string()),
        }
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        match self.consumer.recv_timeout(timeout) {
            Ok(Some(frame)) => {
                each(frame.payload());
                Ok(1)
            }
            Ok(None) | Err(PollError::Closed) => Ok(0),
            Err(error) => Err(error.to_string()),
        }
    }
}
