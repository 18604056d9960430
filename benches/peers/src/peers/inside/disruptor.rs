//! disruptor: a ring of one or several producers.
//!
//! Settings: an event poller (the consumer's own thread), `take` and `try_batch_publish`, in place;
//! the single-producer ring for one producer, else the multi-producer one. One consumer here: a
//! ring's type depends on how many there are.

use std::path::Path;

use disruptor::{
    BusySpin, EventPoller, MultiProducer, MultiProducerBarrier, Polling, Producer,
    SingleConsumerBarrier, SingleProducer, SingleProducerBarrier, build_multi_producer,
    build_single_producer,
};

use super::{Ends, Side, fetch, leave};
use crate::peer::{Backoff, Peer, Rx, Shape, Tx, Wait, need};
use crate::peers::by_size::{Attach, Message, by_size_rx, by_size_tx, make_by_size, need_size};

/// The least ring that may have several producers.
const SLOTS_MIN: usize = 64;

/// The ring of a measurement.
pub struct Disruptor {
    _ends: Ends,
}

impl Peer for Disruptor {
    const NAME: &'static str = "threads:disruptor";
    const ABOUT: &'static str = "disruptor 4 between threads of one process, for reference";
    const THREADS: bool = true;
    type Tx = DisruptorTx;
    type Rx = DisruptorRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "one consumer here")?;
        need(shape.wait == Wait::Spin, "spins only")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        make_by_size!(shape, make(shape, place))?;
        Ok(Self { _ends: Ends::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<DisruptorTx, String> {
        DisruptorTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<DisruptorRx, String> {
        DisruptorRx::attach(shape, place, index)
    }
}

fn make<const WORDS: usize>(shape: &Shape, place: &Path) {
    let slots = shape.slots(size_of::<Message<WORDS>>()).max(SLOTS_MIN);
    let event = Message::<WORDS>::default;
    if shape.seats() == 1 {
        let (poller, builder) = build_single_producer(slots, event, BusySpin).new_event_poller();
        leave(place, Side::Rx, 0, Poller::Single(poller));
        leave(place, Side::Tx, 0, Ring::Single(builder.build()));
        return;
    }
    let (poller, builder) = build_multi_producer(slots, event, BusySpin).new_event_poller();
    leave(place, Side::Rx, 0, Poller::Multi(poller));
    let producer = builder.build();
    for index in 0..shape.seats() {
        leave(place, Side::Tx, index, Ring::Multi(producer.clone()));
    }
}

enum Ring<const WORDS: usize> {
    Single(SingleProducer<Message<WORDS>, SingleConsumerBarrier>),
    Multi(MultiProducer<Message<WORDS>, SingleConsumerBarrier>),
}

enum Poller<const WORDS: usize> {
    Single(EventPoller<Message<WORDS>, SingleProducerBarrier>),
    Multi(EventPoller<Message<WORDS>, MultiProducerBarrier>),
}

by_size_tx!(
    /// A producer.
    DisruptorTx of RingTx
);

/// A producer of messages of one size.
pub struct RingTx<const WORDS: usize> {
    ring: Ring<WORDS>,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for RingTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        Ok(Self { ring: fetch(place, Side::Tx, index)?, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for RingTx<WORDS> {
    #[inline]
    fn send(&mut self, count: usize, fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        match &mut self.ring {
            Ring::Single(producer) => publish(producer, &mut self.backoff, count, fill),
            Ring::Multi(producer) => publish(producer, &mut self.backoff, count, fill),
        }
        Ok(())
    }
}

#[inline]
fn publish<const WORDS: usize>(
    producer: &mut impl Producer<Message<WORDS>>,
    backoff: &mut Backoff,
    count: usize,
    mut fill: impl FnMut(usize, &mut [u8]),
) {
    if count == 1 {
        while producer.try_publish(|message| fill(0, message.bytes_mut())).is_err() {
            backoff.pause();
        }
        return;
    }
    loop {
        let published = producer.try_batch_publish(count, |messages| {
            for (index, message) in messages.enumerate() {
                fill(index, message.bytes_mut());
            }
        });
        if published.is_ok() {
            return;
        }
        backoff.pause();
    }
}

by_size_rx!(
    /// The consumer.
    DisruptorRx of RingRx
);

/// The consumer of messages of one size.
pub struct RingRx<const WORDS: usize> {
    poller: Poller<WORDS>,
}

impl<const WORDS: usize> Attach for RingRx<WORDS> {
    fn attach(_shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        Ok(Self { poller: fetch(place, Side::Rx, index)? })
    }
}

impl<const WORDS: usize> Rx for RingRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let mut count = 0;
        let mut take = |message: &Message<WORDS>| {
            each(message.bytes());
            count += 1;
        };
        let polled = match &mut self.poller {
            Poller::Single(poller) => {
                poller.take(max as u64).map(|mut events| (&mut events).for_each(&mut take))
            }
            Poller::Multi(poller) => {
                poller.take(max as u64).map(|mut events| (&mut events).for_each(&mut take))
            }
        };
        match polled {
            // The producers have finished and are gone; what they sent is read.
            Ok(()) | Err(Polling::NoEvents | Polling::Shutdown) => Ok(count),
        }
    }
}
