//! rtrb: a ring of one producer and one consumer, one for each producer.
//!
//! Settings: chunks, filled and read in place, also one by one (a chunk of one is its `push` without
//! the copy).

use std::path::Path;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Ends, Side, fetch, leave};
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, Wait, need};
use crate::peers::by_size::{Attach, Message, by_size_rx, by_size_tx, make_by_size, need_size};
use crate::peers::rings::Rings;

/// The rings of a measurement.
pub struct Rtrb {
    _ends: Ends,
}

impl Peer for Rtrb {
    const NAME: &'static str = "threads:rtrb";
    const ABOUT: &'static str = "rtrb 0.4 between threads of one process, for reference";
    const THREADS: bool = true;
    type Tx = RtrbTx;
    type Rx = RtrbRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "one consumer only")?;
        need(shape.wait == Wait::Spin, "spins only")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1,
            "one producer a ring: no total order",
        )
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        make_by_size!(shape, make(shape, place))?;
        Ok(Self { _ends: Ends::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<RtrbTx, String> {
        RtrbTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<RtrbRx, String> {
        RtrbRx::attach(shape, place, index)
    }
}

fn make<const WORDS: usize>(shape: &Shape, place: &Path) {
    for index in 0..shape.seats() {
        let (producer, consumer) = RingBuffer::new(shape.slots(size_of::<Message<WORDS>>()));
        leave::<Producer<Message<WORDS>>>(place, Side::Tx, index, producer);
        leave::<Consumer<Message<WORDS>>>(place, Side::Rx, index, consumer);
    }
}

by_size_tx!(
    /// A producer with its ring.
    RtrbTx of RingTx
);

/// A producer of messages of one size.
pub struct RingTx<const WORDS: usize> {
    producer: Producer<Message<WORDS>>,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for RingTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        Ok(Self { producer: fetch(place, Side::Tx, index)?, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for RingTx<WORDS> {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        loop {
            if let Ok(mut chunk) = self.producer.write_chunk(count) {
                let (first, second) = chunk.as_mut_slices();
                for (index, message) in first.iter_mut().chain(second).enumerate() {
                    fill(index, message.bytes_mut());
                }
                chunk.commit_all();
                return Ok(());
            }
            self.backoff.pause();
        }
    }
}

by_size_rx!(
    /// The consumer of all rings.
    RtrbRx of RingsRx
);

/// The consumer of all rings of messages of one size.
pub struct RingsRx<const WORDS: usize>(Rings<RingRx<WORDS>>);

impl<const WORDS: usize> Attach for RingsRx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        let ring = |number| Ok(RingRx { consumer: fetch(place, Side::Rx, number)? });
        Rings::attach(shape.seats(), ring).map(Self)
    }
}

impl<const WORDS: usize> Rx for RingsRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.poll(max, each)
    }
}

struct RingRx<const WORDS: usize> {
    consumer: Consumer<Message<WORDS>>,
}

impl<const WORDS: usize> Rx for RingRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let count = self.consumer.slots().min(max);
        if count == 0 {
            return Ok(0);
        }
        let Ok(chunk) = self.consumer.read_chunk(count) else { return Ok(0) };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|message| each(message.bytes()));
        chunk.commit_all();
        Ok(count)
    }
}
