//! shaq's queue of several producers: one order for all of them, and one consumer here, since of
//! several each would get a part.

use std::path::Path;
use std::time::Duration;

use shaq::mpmc::{Consumer, Producer, minimum_file_size};

use super::{at_least_one, file, payload};
use crate::peer::{Backoff, Peer, Rx, Shape, Tx, need};
use crate::peers::by_size::{Attach, Message, by_size_rx, by_size_tx, need_size};
use crate::peers::shm;

/// The queue of a measurement.
pub struct Mpmc {
    _sweep: shm::Sweep,
}

impl Peer for Mpmc {
    const NAME: &'static str = "shaq:mpmc";
    const ABOUT: &'static str = "shaq 4.3, one queue for all producers, in place";
    type Tx = MpmcTx;
    type Rx = MpmcRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "of several consumers each gets a part")?;
        // Who has reserved after a producer that lost its core spins until that one has published,
        // and then they take turns: a message for each time slice.
        need(shape.producers == 1 || !shape.crowded, "producers spin on each other: needs cores")
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        Ok(Self { _sweep: shm::Sweep::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<MpmcTx, String> {
        MpmcTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<MpmcRx, String> {
        MpmcRx::attach(shape, place, index)
    }
}

by_size_tx!(
    /// A producer.
    MpmcTx of QueueTx
);

/// A producer of messages of one size.
pub struct QueueTx<const WORDS: usize> {
    producer: Producer<Message<WORDS>>,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for QueueTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        // SAFETY: the consumer has created the queue; all ends are of one program and one type.
        let producer = unsafe { Producer::join(&file(place, 0)?) };
        let producer = producer.map_err(|error| format!("joining as a producer: {error:?}"))?;
        Ok(Self { producer, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for QueueTx<WORDS> {
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
    /// The consumer.
    MpmcRx of QueueRx
);

/// The consumer of messages of one size.
pub struct QueueRx<const WORDS: usize> {
    consumer: Consumer<Message<WORDS>>,
}

impl<const WORDS: usize> Attach for QueueRx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        let bytes = minimum_file_size::<Message<WORDS>>(shape.slots(size_of::<Message<WORDS>>()));
        // SAFETY: the only consumer creates the queue, once, before a producer joins.
        let consumer = unsafe { Consumer::create(&file(place, 0)?, bytes) };
        let consumer = consumer.map_err(|error| format!("creating the queue: {error:?}"))?;
        Ok(Self { consumer })
    }
}

impl<const WORDS: usize> Rx for QueueRx<WORDS> {
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
