//! disruptor-mp: a Disruptor between processes, one producer a ring, every consumer sees all.
//!
//! Settings: POSIX shared memory; no discovery by scanning (the producer is told its consumers, so
//! that none is missed); batches by `try_batch_publish`, in place; the consumer by
//! `process_available`, which its documentation calls the fast way, in place.
//!
//! Only a producer can create a ring, and only when it is attached; consumers attach in `begin`.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use disruptor_mp::{
    CoordinationMode, SharedConsumer, SharedProducer, attach_shared_consumer,
    build_shared_single_producer,
};

use super::by_size::{Attach, Message, by_size_rx, by_size_tx, need_size};
use super::rings::Rings;
use super::shm;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, Wait, need};

/// How long a producer waits for the cursor of a consumer that is attaching.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rings of a measurement.
pub struct DisruptorMp {
    _sweep: shm::Sweep,
}

impl Peer for DisruptorMp {
    const NAME: &'static str = "disruptor-mp";
    const ABOUT: &'static str =
        "disruptor-mp 0.1.0-alpha.2, shared memory, one ring for each producer";
    type Tx = DisruptorMpTx;
    type Rx = DisruptorMpRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.wait == Wait::Spin, "spins or sleeps by the clock; no wake-up")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1,
            "one producer a ring: no total order",
        )
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        Ok(Self { _sweep: shm::Sweep::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<DisruptorMpTx, String> {
        DisruptorMpTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<DisruptorMpRx, String> {
        DisruptorMpRx::attach(shape, place, index)
    }
}

fn slots<const WORDS: usize>(shape: &Shape) -> usize {
    shape.slots(size_of::<Message<WORDS>>())
}

fn consumer_id(index: usize) -> String {
    format!("c{index}")
}

by_size_tx!(
    /// A producer with its ring.
    DisruptorMpTx of RingTx
);

/// A producer with its ring of messages of one size.
pub struct RingTx<const WORDS: usize> {
    producer: SharedProducer<Message<WORDS>>,
    consumers: usize,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for RingTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        let name = shm::name(place, index);
        let producer = build_shared_single_producer(&name, slots::<WORDS>(shape))
            .disable_discovery()
            .with_coordination(CoordinationMode::Immediate)
            .build_producer(Message::default)
            .map_err(|error| format!("creating ring {name}: {error}"))?;
        Ok(Self { producer, consumers: shape.consumers, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for RingTx<WORDS> {
    fn begin(&mut self) -> Result<(), String> {
        for index in 0..self.consumers {
            if !self.producer.wait_for_consumer_id(&consumer_id(index), PATIENCE) {
                return Err(format!("consumer {index} did not appear in {PATIENCE:?}"));
            }
        }
        Ok(())
    }

    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        if count == 1 {
            while self.producer.try_publish(|slot| fill(0, slot.bytes_mut())).is_err() {
                self.backoff.pause();
            }
            return Ok(());
        }
        // The batch takes a shared closure; a borrow flag in a register is what that costs.
        let fill = RefCell::new(fill);
        let write = |slot: &mut Message<WORDS>, index| fill.borrow_mut()(index, slot.bytes_mut());
        while self.producer.try_batch_publish(count, write).is_err() {
            self.backoff.pause();
        }
        Ok(())
    }
}

by_size_rx!(
    /// A consumer of all rings.
    DisruptorMpRx of RingsRx
);

/// A consumer of all rings of messages of one size.
pub struct RingsRx<const WORDS: usize>(Rings<RingRx<WORDS>>);

impl<const WORDS: usize> Attach for RingsRx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        let ring = |number| {
            Ok(RingRx {
                ring: shm::name(place, number),
                slots: slots::<WORDS>(shape),
                consumer_id: consumer_id(index),
                consumer: None,
            })
        };
        Rings::attach(shape.seats(), ring).map(Self)
    }
}

impl<const WORDS: usize> Rx for RingsRx<WORDS> {
    fn begin(&mut self) -> Result<(), String> {
        self.0.begin()
    }

    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.poll(max, each)
    }
}

struct RingRx<const WORDS: usize> {
    ring: String,
    slots: usize,
    consumer_id: String,
    consumer: Option<SharedConsumer<Message<WORDS>>>,
}

impl<const WORDS: usize> Rx for RingRx<WORDS> {
    fn begin(&mut self) -> Result<(), String> {
        let consumer = attach_shared_consumer(&self.ring, self.slots)
            .with_consumer_id(&self.consumer_id)
            .build_consumer()
            .map_err(|error| format!("attaching to ring {}: {error}", self.ring))?;
        self.consumer = Some(consumer);
        Ok(())
    }

    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let Some(consumer) = &mut self.consumer else {
            return Err(String::from("polled before it began"));
        };
        if max > 1 {
            // It has no bound of its own: it hands over what is there, a ring at most in one look.
            return Ok(consumer.process_available(|message, _| each(message.bytes())));
        }
        match consumer.try_consume_next_leased() {
            Some(message) => {
                each(message.bytes());
                Ok(1)
            }
            None => Ok(0),
        }
    }
}
