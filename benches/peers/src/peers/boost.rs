//! Boost.Lockfree's `spsc_queue` in a Boost.Interprocess segment, in C++ (`native/boost.cpp`).
//!
//! Settings: one queue for each producer, with a run-time capacity; `push` and `pop` of ranges, both
//! of which copy, through one virtual call for each batch.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr::NonNull;

use busway::zerocopy::IntoBytes as _;

use super::by_size::need_size;
use super::rings::Rings;
use super::shm;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, Wait, need};

/// Messages that a consumer copies out in one look at most.
const POLL_MAX: usize = 256;

/// The C++ object.
#[repr(C)]
struct Queue {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn peers_boost_attach(name: *const c_char, words: usize, slots: usize) -> *mut Queue;
    fn peers_boost_detach(queue: *mut Queue);
    fn peers_boost_push(queue: *mut Queue, messages: *const c_void, count: usize) -> usize;
    fn peers_boost_pop(queue: *mut Queue, messages: *mut c_void, count: usize) -> usize;
}

/// The queues of a measurement, kept mapped until it is over.
pub struct Boost {
    _queues: Vec<Handle>,
    _sweep: shm::Sweep,
}

impl Peer for Boost {
    const NAME: &'static str = "boost";
    const ABOUT: &'static str =
        "Boost.Lockfree spsc_queue in shared memory (C++), one for each producer, copies";
    type Tx = BoostTx;
    type Rx = BoostRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need_size(shape)?;
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "one consumer only")?;
        need(shape.wait == Wait::Spin, "no blocking receive")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1,
            "one producer a queue: no total order",
        )
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        let sweep = shm::Sweep::new(place);
        let slots = shape.slots(shape.payload_bytes);
        let queues = (0..shape.seats())
            .map(|index| Handle::attach(shape, place, index, slots))
            .collect::<Result<_, _>>()?;
        Ok(Self { _queues: queues, _sweep: sweep })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<BoostTx, String> {
        Ok(BoostTx {
            queue: Handle::attach(shape, place, index, 0)?,
            batch: words(shape, shape.batch),
            payload_bytes: shape.payload_bytes,
            backoff: Backoff::new(shape),
        })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<BoostRx, String> {
        let ring = |number| {
            Ok(RingRx {
                queue: Handle::attach(shape, place, number, 0)?,
                messages: words(shape, POLL_MAX),
                payload_bytes: shape.payload_bytes,
            })
        };
        Rings::attach(shape.seats(), ring).map(BoostRx)
    }
}

/// Room for so many messages, aligned as C++ expects it.
fn words(shape: &Shape, messages: usize) -> Vec<u64> {
    vec![0; messages * shape.payload_bytes / 8]
}

/// One process's view of a queue, used by one thread.
struct Handle(NonNull<Queue>);

impl Handle {
    /// Creates a queue of so many slots, or opens one if they are 0.
    fn attach(shape: &Shape, place: &Path, number: usize, slots: usize) -> Result<Self, String> {
        let name = shm::name(place, number);
        let text = CString::new(name.as_str()).map_err(|error| error.to_string())?;
        // SAFETY: a C string that lives for the call.
        let queue = unsafe { peers_boost_attach(text.as_ptr(), shape.payload_bytes / 8, slots) };
        let what = if slots > 0 { "creating" } else { "opening" };
        NonNull::new(queue).map(Self).ok_or_else(|| format!("Boost failed {what} segment {name}"))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: attached once, detached once.
        unsafe { peers_boost_detach(self.0.as_ptr()) };
    }
}

/// A producer with its queue.
pub struct BoostTx {
    queue: Handle,
    batch: Vec<u64>,
    payload_bytes: usize,
    backoff: Backoff,
}

impl Tx for BoostTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let words = self.payload_bytes / 8;
        for (index, message) in self.batch.chunks_exact_mut(words).take(count).enumerate() {
            fill(index, message.as_mut_bytes());
        }
        let mut sent = 0;
        while sent < count {
            let rest = &self.batch[sent * words..count * words];
            // SAFETY: a live view whose only producer this is, and so many messages of its size.
            let pushed = unsafe {
                peers_boost_push(self.queue.0.as_ptr(), rest.as_ptr().cast(), count - sent)
            };
            sent += pushed;
            if pushed == 0 {
                self.backoff.pause();
            }
        }
        Ok(())
    }
}

/// The consumer of all queues.
pub struct BoostRx(Rings<RingRx>);

impl Rx for BoostRx {
    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.poll(max, each)
    }
}

struct RingRx {
    queue: Handle,
    messages: Vec<u64>,
    payload_bytes: usize,
}

impl Rx for RingRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let into = self.messages.as_mut_ptr().cast();
        // SAFETY: a live view whose only consumer this is, and room for so many messages.
        let count = unsafe { peers_boost_pop(self.queue.0.as_ptr(), into, max.min(POLL_MAX)) };
        for message in self.messages.chunks_exact(self.payload_bytes / 8).take(count) {
            each(message.as_bytes());
        }
        Ok(count)
    }
}
