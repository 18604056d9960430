//! shaq's broadcast: one lane for each producer, and every consumer reads all lanes.

use std::path::Path;
use std::time::Duration;

use shaq::broadcast::{Broadcast as Queue, BroadcastConfig, Consumer, Producer, ProducerId};

use super::{at_least_one, file, payload};
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, need};
use crate::peers::by_size::{Attach, Message, by_size_rx, by_size_tx, make_by_size, need_size};
use crate::peers::shm;

/// The queue of a measurement.
pub struct Broadcast {
    _sweep: shm::Sweep,
}

impl Peer for Broadcast {
    const NAME: &'static str = "shaq:broadcast";
    const ABOUT: &'static str = "shaq 4.3, one lane for each producer, consumers see all, in place";
    type Tx = BroadcastTx;
    type Rx = BroadcastRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.order == Order::PerProducer || shape.seats() == 1, "lanes: no total order")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        let sweep = shm::Sweep::new(place);
        make_by_size!(shape, create(shape, place))??;
        Ok(Self { _sweep: sweep })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<BroadcastTx, String> {
        BroadcastTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<BroadcastRx, String> {
        BroadcastRx::attach(shape, place, index)
    }
}

fn create<const WORDS: usize>(shape: &Shape, place: &Path) -> Result<(), String> {
    let config = BroadcastConfig {
        capacity: shape.slots(size_of::<Message<WORDS>>()),
        producer_slots: shape.seats(),
        consumer_slots: shape.consumers,
    };
    // SAFETY: created once, here, before anybody joins; all ends are of one program and one type.
    let queue = unsafe { Queue::<Message<WORDS>>::create(&file(place, 0)?, config) };
    queue.map(drop).map_err(|error| format!("creating the queue: {error:?}"))
}

by_size_tx!(
    /// A producer with its lane.
    BroadcastTx of LaneTx
);

/// A producer of messages of one size.
pub struct LaneTx<const WORDS: usize> {
    producer: Producer<Message<WORDS>>,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for LaneTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        let id = ProducerId::new(index as u64);
        // SAFETY: a live queue, created with this type.
        let producer = unsafe { Producer::join(&file(place, 0)?, id) };
        let producer = producer.map_err(|error| format!("joining as a producer: {error:?}"))?;
        Ok(Self { producer, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for LaneTx<WORDS> {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        loop {
            // SAFETY: every slot is filled below, before the batch is dropped.
            let reserved = unsafe { self.producer.try_reserve_write_batch(at_least_one(count)) };
            if let Some(mut batch) = reserved {
                for index in 0..count {
                    // SAFETY: the batch has `count` slots.
                    let slot = unsafe { batch.as_mut(index) };
                    // SAFETY: the queue is in a mapped file.
                    fill(index, unsafe { payload(slot) });
                }
                return Ok(());
            }
            self.backoff.pause();
        }
    }
}

by_size_rx!(
    /// A consumer of all lanes.
    BroadcastRx of LanesRx
);

/// A consumer of messages of one size.
pub struct LanesRx<const WORDS: usize> {
    consumer: Consumer<Message<WORDS>>,
}

impl<const WORDS: usize> Attach for LanesRx<WORDS> {
    fn attach(_shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        // SAFETY: a live queue, created with this type.
        let consumer = unsafe { Consumer::join(&file(place, 0)?) };
        let consumer = consumer.map_err(|error| format!("joining as a consumer: {error:?}"))?;
        Ok(Self { consumer })
    }
}

impl<const WORDS: usize> Rx for LanesRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let Some(batch) = self.consumer.try_reserve_read_batch(at_least_one(max)) else {
            return Ok(0);
        };
        let (first, second) = batch.as_slices();
        first.iter().chain(second).for_each(|message| each(message.bytes()));
        Ok(batch.len())
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let Ok(message) = self.consumer.reserve_read_timeout(timeout) else { return Ok(0) };
        each(message.as_ref().bytes());
        Ok(1)
    }
}
