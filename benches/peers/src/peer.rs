//! What every measured thing looks like to the driver: a [`Peer`] with a sending and a receiving
//! end. The traits are static: the driver's loops are compiled once for each peer, and no message
//! passes through a function pointer.
//!
//! ```text
//! parent process          one process (or thread) for each end
//! prepare() ───────────▶  rx(0..consumers)  ─▶ all tx(0..producers) ─▶ begin() ─▶ send / poll
//! drop      ◀───────────  the ends are dropped
//! ```

use std::hint::spin_loop;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Spin hints after each look at an empty or full ring: the same for all peers.
const SPINS_PER_LOOK: u32 = 16;

/// Looks between two offers of the core to others, when there are more ends than processors.
const LOOKS_PER_YIELD: u32 = 8;

/// What is asked of a peer in one measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Bytes of each message; a multiple of 8, at least 8.
    pub payload_bytes: usize,
    /// Messages that a producer makes visible together.
    pub batch: usize,
    /// Sending ends.
    pub producers: usize,
    /// Receiving ends; each receives every message.
    pub consumers: usize,
    /// What order consumers see the messages of several producers in.
    pub order: Order,
    /// Bytes of each ring or queue, whatever a message costs in it; see [`Shape::slots`].
    pub capacity_bytes: usize,
    /// How a consumer waits when there is nothing.
    pub wait: Wait,
    /// A full ring loses messages (the oldest, where the peer has a choice), and nobody waits.
    pub lossy: bool,
    /// There are more ends than processors: who waits must let go of the core.
    pub crowded: bool,
    /// Seats for producers beyond those that send: lanes or rings that stay idle. They are attached
    /// with [`Peer::tx`] as well, and never send.
    pub idle_producers: usize,
    /// At most one message is under way at a time: round trips and wake-ups.
    pub lockstep: bool,
}

/// The order between messages of different producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// None: each producer's own messages come in order.
    PerProducer,
    /// All consumers see one and the same order.
    Total,
}

/// How a consumer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// It looks again and again.
    Spin,
    /// It sleeps in the kernel; see [`Rx::wait`].
    Park,
}

impl Shape {
    /// The greatest power of two of slots of `stride_bytes` that fits `capacity_bytes`; at least
    /// twice the batch.
    pub fn slots(&self, stride_bytes: usize) -> usize {
        let fit = (self.capacity_bytes / stride_bytes).max(1);
        let power = if fit.is_power_of_two() { fit } else { fit.next_power_of_two() / 2 };
        power.max((2 * self.batch).next_power_of_two())
    }

    /// Producers that the peer needs room for: those that send and those that are idle.
    pub fn seats(&self) -> usize {
        self.producers + self.idle_producers
    }
}

/// Something that carries messages from producers to consumers.
pub trait Peer: Sized {
    /// As it is called on the command line and in tables: `name` or `name:variant`.
    const NAME: &'static str;
    /// One line for the list of peers: what it is, which version, which settings.
    const ABOUT: &'static str;
    /// The ends have to be threads of one process; `prepare`, `tx` and `rx` are then called there.
    const THREADS: bool = false;

    /// Messages that may be sent before the first is received, where something other than the
    /// shape's ring bounds that.
    const IN_FLIGHT_MAX: usize = usize::MAX;

    /// The sending end.
    type Tx: Tx;
    /// The receiving end.
    type Rx: Rx;

    /// Whether it can do this.
    ///
    /// # Errors
    /// Why not, in a few words for a table: "one producer only".
    fn supports(shape: &Shape) -> Result<(), String>;

    /// Makes what the ends share (segment, sockets, a broker process), before any end is made.
    /// Dropping it removes that. What has a name outside `place` carries [`tag`] in it.
    ///
    /// # Errors
    /// What was tried and what the system said.
    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String>;

    /// Attaches producer `index` of `shape.producers`; every consumer is attached by then.
    ///
    /// # Errors
    /// What was tried and what the system said.
    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<Self::Tx, String>;

    /// Attaches consumer `index` of `shape.consumers`; no producer is attached yet.
    ///
    /// # Errors
    /// What was tried and what the system said.
    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<Self::Rx, String>;

    /// Removes what a killed `prepare` left outside `place` where listing `/dev/shm` would not find
    /// it, by the [`tag`] of the place; called by a process of its own after the driver was killed.
    fn sweep(place: &Path) {
        let _ = place;
    }
}

/// A sending end.
pub trait Tx {
    /// Called once when every end is attached, before the first [`send`](Self::send).
    ///
    /// # Errors
    /// What was tried and what the system said.
    fn begin(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Sends `count` messages (at most `shape.batch`), which become visible together where the peer
    /// has batches. `fill(index, payload)` writes message `index` of `0..count`; `payload` has
    /// `shape.payload_bytes` bytes, in place where the peer allows that. Waits for room, unless
    /// the shape is lossy. `fill` runs exactly once for each message, in order.
    ///
    /// # Errors
    /// What was tried and what the system said; the measurement ends.
    fn send(&mut self, count: usize, fill: impl FnMut(usize, &mut [u8])) -> Result<(), String>;

    /// Makes visible what a peer may still hold back; called after the last message.
    ///
    /// # Errors
    /// What was tried and what the system said.
    fn flush(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// A receiving end.
pub trait Rx {
    /// Called once when every end is attached, before the first [`poll`](Self::poll).
    ///
    /// # Errors
    /// What was tried and what the system said.
    fn begin(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// One look without waiting: hands up to `max` messages to `each` and says how many. 0 when
    /// there is nothing. `max` is a bound, not a wish: a peer may hand over fewer.
    ///
    /// # Errors
    /// What was tried and what the system said; the measurement ends.
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String>;

    /// Sleeps in the kernel until there is a message, and hands over at least that one; 0 after
    /// `timeout`. Called only where [`Peer::supports`] accepts [`Wait::Park`].
    ///
    /// # Errors
    /// What was tried and what the system said; the measurement ends.
    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        let _ = (timeout, each);
        Err(String::from("this peer has no blocking receive"))
    }
}

/// The part of a place's path that is unique on this machine: letters, digits and `-`, at most 24
/// bytes. Whatever a peer names outside its place carries it, so that it can be found and removed.
pub fn tag(place: &Path) -> String {
    place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What a waiting end does after a look that found nothing: 16 spin hints, and now and then an
/// offer of the core when the shape is crowded.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    looks: u32,
    crowded: bool,
}

impl Backoff {
    /// A fresh one for this shape.
    pub fn new(shape: &Shape) -> Self {
        Self { looks: 0, crowded: shape.crowded }
    }

    /// To be called after each look that found nothing.
    #[inline]
    pub fn pause(&mut self) {
        for _ in 0..SPINS_PER_LOOK {
            spin_loop();
        }
        self.looks = self.looks.wrapping_add(1);
        if self.crowded && self.looks.is_multiple_of(LOOKS_PER_YIELD) {
            std::thread::yield_now();
        }
    }
}

/// `Err` with a reason for tables, for [`Peer::supports`].
///
/// # Errors
/// `reason`, when `fine` is false.
pub fn need(fine: bool, reason: &str) -> Result<(), String> {
    if fine { Ok(()) } else { Err(reason.to_owned()) }
}
