//! ringfire: one producer a ring of fixed-size slots with a sequence number each; readers copy a
//! slot out and check that it was not overwritten meanwhile.
//!
//! Settings: a file in `/dev/shm`; lossless by `LosslessBackpressure` with registered readers,
//! lossy by its default `LossyLatestWins`; `push_batch` and `recv_batch`, both of which copy;
//! parking by `FutexWait` with its default of 32 spins. A full ring is waited for as ringfire
//! itself does: it spins, yields, and then sleeps 10 µs at a time.
//!
//! Its ring of several producers is lossy only, so several producers have a ring each. Only a
//! producer can create a ring, so consumers attach in `begin`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ringfire::{
    FlowControl, FutexWait, RingConsumer, RingHeader, RingProducer, RingProducerBuilder,
    WaitStrategy,
};

use super::by_size::{Attach, Message, by_size_rx, by_size_tx, need_size};
use super::rings::Rings;
use super::shm;
use crate::peer::{Order, Peer, Rx, Shape, Tx, Wait, need};

/// Bytes of a slot beside the payload: its sequence number.
const HEADER_BYTES: usize = 8;

/// Messages that a consumer copies out in one look at most.
const POLL_MAX: usize = 256;

/// How long a producer waits for its readers to register.
const PATIENCE: Duration = Duration::from_secs(10);

/// Spins before a futex sleep: the default of `FutexWait`.
const SPINS: u32 = 32;

/// The rings of a measurement.
pub struct Ringfire {
    _sweep: shm::Sweep,
}

impl Peer for Ringfire {
    const NAME: &'static str = "ringfire";
    const ABOUT: &'static str = "ringfire 0.5, one ring for each producer, copies in and out";
    type Tx = RingfireTx;
    type Rx = RingfireRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1,
            "several producers on one ring: lossy only",
        )?;
        need(
            shape.wait == Wait::Spin || shape.seats() == 1,
            "cannot sleep on several rings at once",
        )
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        Ok(Self { _sweep: shm::Sweep::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<RingfireTx, String> {
        RingfireTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<RingfireRx, String> {
        RingfireRx::attach(shape, place, index)
    }
}

by_size_tx!(
    /// A producer with its ring.
    RingfireTx of RingTx
);

/// A producer with its ring of messages of one size.
pub struct RingTx<const WORDS: usize> {
    producer: RingProducer<Message<WORDS>>,
    batch: Vec<Message<WORDS>>,
    readers: usize,
}

impl<const WORDS: usize> Attach for RingTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        let path = shm::path(place, index);
        let slots = shape.slots(size_of::<Message<WORDS>>() + HEADER_BYTES);
        let builder = RingProducerBuilder::new(slots as u64);
        let builder = if shape.lossy {
            builder.flow_control(FlowControl::LossyLatestWins)
        } else {
            builder.flow_control(FlowControl::LosslessBackpressure).max_readers(shape.consumers)
        };
        let producer = builder
            .build(&path)
            .map_err(|error| format!("creating ring {}: {error}", path.display()))?;
        let readers = if shape.lossy { 0 } else { shape.consumers };
        Ok(Self { producer, batch: vec![Message::default(); shape.batch], readers })
    }
}

impl<const WORDS: usize> RingTx<WORDS> {
    fn registered(&self) -> usize {
        self.producer.registry().map_or(0, |registry| registry.active_readers(0).len())
    }
}

impl<const WORDS: usize> Tx for RingTx<WORDS> {
    fn begin(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while self.registered() < self.readers {
            if start.elapsed() > PATIENCE {
                let registered = self.registered();
                return Err(format!("{registered} of {} readers registered", self.readers));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        for (index, message) in self.batch[..count].iter_mut().enumerate() {
            fill(index, message.bytes_mut());
        }
        if count == 1 {
            self.producer.push(&self.batch[0]);
        } else {
            self.producer.push_batch(&self.batch[..count]);
        }
        Ok(())
    }
}

by_size_rx!(
    /// A consumer of all rings.
    RingfireRx of RingsRx
);

/// A consumer of all rings of messages of one size.
pub struct RingsRx<const WORDS: usize>(Rings<RingRx<WORDS>>);

impl<const WORDS: usize> Attach for RingsRx<WORDS> {
    fn attach(shape: &Shape, place: &Path, _index: usize) -> Result<Self, String> {
        Rings::attach(shape.seats(), |number| {
            Ok(RingRx {
                path: shm::path(place, number),
                consumer: None,
                messages: vec![Message::default(); POLL_MAX],
            })
        })
        .map(Self)
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

    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.wait(timeout, each)
    }
}

struct RingRx<const WORDS: usize> {
    path: PathBuf,
    consumer: Option<RingConsumer<Message<WORDS>>>,
    messages: Vec<Message<WORDS>>,
}

fn not_begun() -> String {
    String::from("received before it began")
}

impl<const WORDS: usize> Rx for RingRx<WORDS> {
    fn begin(&mut self) -> Result<(), String> {
        let consumer = RingConsumer::attach(&self.path)
            .map_err(|error| format!("attaching to ring {}: {error}", self.path.display()))?;
        self.consumer = Some(consumer);
        Ok(())
    }

    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let consumer = self.consumer.as_mut().ok_or_else(not_begun)?;
        let count = consumer.recv_batch(&mut self.messages[..max.min(POLL_MAX)]);
        for message in &self.messages[..count] {
            each(message.bytes());
        }
        Ok(count)
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let consumer = self.consumer.as_mut().ok_or_else(not_begun)?;
        let mut until = Until {
            futex: FutexWait::new(SPINS, Some(timeout)),
            deadline: Instant::now() + timeout,
        };
        let received = catch_unwind(AssertUnwindSafe(|| consumer.recv_blocking(&mut until)));
        match received {
            Ok(message) => {
                each(message.bytes());
                Ok(1)
            }
            Err(cause) if cause.is::<TimedOut>() => Ok(0),
            Err(cause) => resume_unwind(cause),
        }
    }
}

/// `FutexWait` that gives up: `recv_blocking` has no way out but a message, so this unwinds.
struct Until {
    futex: FutexWait,
    deadline: Instant,
}

struct TimedOut;

impl WaitStrategy for Until {
    fn wait(&mut self, header: &RingHeader, cursor: u64) {
        if Instant::now() >= self.deadline {
            resume_unwind(Box::new(TimedOut));
        }
        self.futex.wait(header, cursor);
    }

    fn reset(&mut self) {
        self.futex.reset();
    }
}
