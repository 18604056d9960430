//! crossbeam's `ArrayQueue`: several producers into one consumer, in one order.
//!
//! Settings: `push` and `pop`, both of which copy; it has no batches.

use std::path::Path;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::{Ends, Side, fetch, leave};
use crate::peer::{Backoff, Peer, Rx, Shape, Tx, Wait, need};
use crate::peers::by_size::{Attach, Message, by_size_rx, by_size_tx, make_by_size, need_size};

/// The queue of a measurement.
pub struct ArrayQueues {
    _ends: Ends,
}

impl Peer for ArrayQueues {
    const NAME: &'static str = "threads:array-queue";
    const ABOUT: &'static str =
        "crossbeam ArrayQueue between threads of one process, for reference";
    const THREADS: bool = true;
    type Tx = ArrayQueueTx;
    type Rx = ArrayQueueRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(shape.consumers == 1, "of several consumers each gets a part")?;
        need(shape.wait == Wait::Spin, "spins only")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        make_by_size!(shape, make(shape, place))?;
        Ok(Self { _ends: Ends::new(place) })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<ArrayQueueTx, String> {
        ArrayQueueTx::attach(shape, place, index)
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<ArrayQueueRx, String> {
        ArrayQueueRx::attach(shape, place, index)
    }
}

type Queue<const WORDS: usize> = Arc<ArrayQueue<Message<WORDS>>>;

fn make<const WORDS: usize>(shape: &Shape, place: &Path) {
    let slots = shape.slots(size_of::<Message<WORDS>>() + size_of::<usize>());
    let queue: Queue<WORDS> = Arc::new(ArrayQueue::new(slots));
    for index in 0..shape.seats() {
        leave(place, Side::Tx, index, Arc::clone(&queue));
    }
    leave(place, Side::Rx, 0, queue);
}

by_size_tx!(
    /// A producer.
    ArrayQueueTx of QueueTx
);

/// A producer of messages of one size.
pub struct QueueTx<const WORDS: usize> {
    queue: Queue<WORDS>,
    lossy: bool,
    backoff: Backoff,
}

impl<const WORDS: usize> Attach for QueueTx<WORDS> {
    fn attach(shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        let queue = fetch(place, Side::Tx, index)?;
        Ok(Self { queue, lossy: shape.lossy, backoff: Backoff::new(shape) })
    }
}

impl<const WORDS: usize> Tx for QueueTx<WORDS> {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        for index in 0..count {
            let mut message = Message::default();
            fill(index, message.bytes_mut());
            if self.lossy {
                self.queue.force_push(message);
                continue;
            }
            while let Err(back) = self.queue.push(message) {
                message = back;
                self.backoff.pause();
            }
        }
        Ok(())
    }
}

by_size_rx!(
    /// The consumer.
    ArrayQueueRx of QueueRx
);

/// The consumer of messages of one size.
pub struct QueueRx<const WORDS: usize> {
    queue: Queue<WORDS>,
}

impl<const WORDS: usize> Attach for QueueRx<WORDS> {
    fn attach(_shape: &Shape, place: &Path, index: usize) -> Result<Self, String> {
        Ok(Self { queue: fetch(place, Side::Rx, index)? })
    }
}

impl<const WORDS: usize> Rx for QueueRx<WORDS> {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for count in 0..max {
            match self.queue.pop() {
                Some(message) => each(message.bytes()),
                None => return Ok(count),
            }
        }
        Ok(max)
    }
}
