//! shaq's queue of one producer and one consumer: one for each producer.

use std::path::Path;
use std::time::Duration;

use shaq::spsc::{Consumer, Producer, minimum_file_size};

use super::{at_least_one, file, payload};
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, Wait, need};
use crate::peers::by_size::{Attach, Message, by_size_rx, by_size_tx, need_size};
use crate::peers::rings::Rings;
use crate::peers::shm;

/// The queues of a measurement.
pub struct Spsc {
    _sweep: shm::Sweep,
}

impl Peer for Spsc {
    const NAME: &'static str = "shaq:spsc";
    const ABOUT: &'static str = "shaq 4.3, one single-producer queue for each producer, in place";
    type Tx = SpscTx;
    type Rx = SpscRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "one consumer only")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1,
            "one producer a queue: no total order",
        )?;
        need(
            shape.wait == Wait::Spin || shape.seats() == 1,
            "cannot sleep on several queues at once",
        )
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        Ok(Self { _sweep: shm::Sweep::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<SpscTx, String> {
        SpscTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<SpscRx, String> {
        SpscRx::attach(shape, place, index)
    }
}

by_size_tx!(
    /// A producer with its queue.
    SpscTx of QueueTx
);

/// A producer of messages of one size.
pub struct QueueTx<const WORDS: usize> {
    producer: Producer<Message<WORDS>>,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for QueueTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        let file = file(place, index)?;
        // SAFETY: the consumer has created the queue; this is its one producer, and both ends are
        // of one program, with one type.
        let producer = unsafe { Producer::join(&file) };
        let producer = producer.map_err(|error| format!("joining queue {index}: {error:?}"))?;
        Ok(Self { producer, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for QueueTx<WORDS> {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let mut sent = 0;
        while sent < count {
            let before = sent;
            let mut batch = self.producer.write_batch();
            while sent < count {
                // SAFETY: filled at once, before the batch is dropped; `fill` does not unwind
                // into a process that goes on.
                let Some(slot) = (unsafe { batch.try_as_mut() }) else { break };
                // SAFETY: the queue is in a mapped file.
                fill(sent, unsafe { payload(slot) });
                sent += 1;
            }
            drop(batch);
            if sent == before {
                self.backoff.pause();
            }
        }
        Ok(())
    }
}

by_size_rx!(
    /// The consumer of all queues.
    SpscRx of QueuesRx
);

/// The consumer of all queues of messages of one size.
pub struct QueuesRx<const WORDS: usize>(Rings<QueueRx<WORDS>>);

impl<const WORDS: usize> Attach for QueuesRx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        let bytes = minimum_file_size::<Message<WORDS>>(shape.slots(size_of::<Message<WORDS>>()));
        let queue = |number| {
            let file = file(place, number)?;
            // SAFETY: the only consumer creates the queue, once, before its producer joins.
            let consumer = unsafe { Consumer::create(&file, bytes) };
            let consumer =
                consumer.map_err(|error| format!("creating queue {number}: {error:?}"))?;
            Ok(QueueRx { consumer })
        };
        Rings::attach(shape.seats(), queue).map(Self)
    }
}

impl<const WORDS: usize> Rx for QueuesRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.poll(max, each)
    }

    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.wait(timeout, each)
    }
}

struct QueueRx<const WORDS: usize> {
    consumer: Consumer<Message<WORDS>>,
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
        let Ok(batch) = self.consumer.reserve_read_batch_timeout(at_least_one(1), timeout) else {
            return Ok(0);
        };
        batch.iter().for_each(|message| each(message.bytes()));
        Ok(batch.len())
    }
}
