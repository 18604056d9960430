//! Where events come from: a consumer, or anything that hands out frames and wants to hear what became
//! of them.
//!
//! | | consumer | one that acknowledges (a group's member) |
//! |---|---|---|
//! | receipt | `()` | what its `ack` and `nack` take |
//! | the cursor moves | when the run has been handled or copied | as it says |
//! | `settle` | nothing to do | `Done`: ack; anything else: nack, or its own dead letters |

mod end;
mod group;

use std::time::Duration;

pub use group::GroupSource;

use busway::{Bus, Consumer, Error, Frame, FrameRef, PollError, Raw};
use smallvec::SmallVec;

use end::End;

/// Payloads up to this many bytes are copied without an allocation.
const INLINE_BYTES: usize = 64;

/// One event as a handler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The payload.
    pub payload: &'a [u8],
    /// Its kind: which handler it goes to.
    pub kind: u16,
    /// The user's flags.
    pub flags: u16,
    /// The lane that it was published on.
    pub lane: u32,
    /// Its position in that lane.
    pub position: u64,
    /// When it was published, `CLOCK_MONOTONIC` in nanoseconds; 0 if the bus keeps no timestamps.
    pub time_ns: u64,
    /// How often the source has handed it out, this time included; 1 from a consumer.
    pub delivery: u32,
}

impl Event<'_> {
    /// A copy of the payload as a value of type `T`.
    ///
    /// # Errors
    /// [`PollError::WrongType`] when the payload is not exactly of `T`'s size.
    pub fn value<T: Frame>(&self) -> Result<T, PollError> {
        T::read_from_bytes(self.payload)
            .map_err(|_| PollError::WrongType { len: self.payload.len(), want: size_of::<T>() })
    }

    /// A copy that outlives the frame.
    pub(crate) fn to_owned(self) -> OwnedEvent {
        OwnedEvent {
            payload: SmallVec::from_slice(self.payload),
            kind: self.kind,
            flags: self.flags,
            lane: self.lane,
            position: self.position,
            time_ns: self.time_ns,
            delivery: self.delivery,
        }
    }
}

impl<'a> From<FrameRef<'a>> for Event<'a> {
    fn from(frame: FrameRef<'a>) -> Self {
        Self {
            payload: frame.payload(),
            kind: frame.kind(),
            flags: frame.flags(),
            lane: frame.lane(),
            position: frame.position(),
            time_ns: frame.time_ns(),
            delivery: 1,
        }
    }
}

/// An event copied out of the bus.
#[derive(Clone, Debug)]
pub struct OwnedEvent {
    payload: SmallVec<[u8; INLINE_BYTES]>,
    kind: u16,
    flags: u16,
    lane: u32,
    position: u64,
    time_ns: u64,
    delivery: u32,
}

impl OwnedEvent {
    /// The event.
    #[must_use]
    pub fn as_event(&self) -> Event<'_> {
        Event {
            payload: &self.payload,
            kind: self.kind,
            flags: self.flags,
            lane: self.lane,
            position: self.position,
            time_ns: self.time_ns,
            delivery: self.delivery,
        }
    }
}

/// What became of an event, said to its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// Its handler succeeded, or nobody handles its kind and it was counted.
    Done,
    /// It is on the dead-letter bus.
    DeadLettered,
    /// Its handler failed for good, and there is no dead-letter bus for it.
    Failed,
    /// The dispatcher closed before it was done.
    NotDone,
}

/// What a call of [`Source::receive`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many events, at least one.
    Events(usize),
    /// None in that time.
    Nothing,
    /// Everything is read, and no producer is left. More may attach.
    Closed,
    /// Everything is read, and there will never be more.
    Removed,
}

/// Something that hands out events, one thread at a time.
///
/// A dispatcher calls both methods from its polling thread only, whichever thread handled the event; so a
/// source need not be shared between threads. It is polled at least every few milliseconds while events
/// are under way.
pub trait Source: Send {
    /// What is needed to say later what became of an event. `()` where nobody wants to hear.
    type Receipt: Send + 'static;

    /// Whether `settle` does anything. With `false` it is never called.
    const SETTLES: bool;

    /// What the source is called: for a bus, its name.
    fn name(&self) -> &str;

    /// The longest payload that it hands out.
    fn payload_bytes_max(&self) -> usize;

    /// Calls `take` for each of the next events, at most `max`; waits at most `timeout` for the first.
    /// An event's payload is only borrowed: it may change as soon as `take` has returned.
    ///
    /// # Errors
    /// What the bus reports. Events that were taken before are the caller's all the same.
    fn receive<F>(&mut self, max: usize, timeout: Duration, take: F) -> Result<Received, Error>
    where
        F: FnMut(Event<'_>, Self::Receipt);

    /// Says what became of an event.
    ///
    /// # Errors
    /// What the bus reports; the event counts as it did before.
    fn settle(&mut self, receipt: Self::Receipt, settled: Settled) -> Result<(), Error>;

    /// Events published and not yet received.
    fn unread(&self) -> u64;

    /// Events that were lost before they could be received: on a bus that drops the oldest.
    fn lost(&self) -> u64;
}

/// A source that a task can wait for, as [`AsyncDispatcher`](crate::AsyncDispatcher) does.
#[cfg(feature = "async")]
pub trait AsyncSource: Source {
    /// Ready when [`receive`](Source::receive) brings something, be it an error. Otherwise the waker of
    /// this context is woken then, and 100 ms later at the latest, so that a source can look who is alive.
    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<()>;
}

#[cfg(feature = "async")]
impl<T: Send> AsyncSource for BusSource<T> {
    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.consumer.poll_ready(context)
    }
}

/// The frames of a bus, all of them, by a consumer of its own.
///
/// # Examples
/// ```
/// # let name = format!("doc-source-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// use busway_toolkit::{BusSource, Source};
///
/// let bus = busway::Bus::options().payload_bytes(32).create(&name)?;
/// let source = BusSource::new(&bus, bus.consumer().name("orders").attach()?);
/// assert_eq!(source.payload_bytes_max(), 32);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Debug)]
pub struct BusSource<T = Raw> {
    bus: Bus,
    consumer: End<Consumer<T>>,
}

impl BusSource {
    /// A consumer of the bus, attached as by default: from the latest frame on.
    ///
    /// # Errors
    /// As `ConsumerOptions::attach`.
    pub fn attach(bus: &Bus) -> Result<Self, Error> {
        Ok(Self::new(bus, bus.consumer().attach()?))
    }
}

impl<T> BusSource<T> {
    /// A consumer of this bus, attached as you like.
    #[must_use]
    pub fn new(bus: &Bus, consumer: Consumer<T>) -> Self {
        Self { bus: bus.clone(), consumer: End::new(consumer) }
    }

    /// The same with one that tasks have waited for.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn from_async(bus: &Bus, consumer: busway::Async<Consumer<T>>) -> Self {
        Self { bus: bus.clone(), consumer: consumer.into() }
    }
}

impl<T: Send> Source for BusSource<T> {
    type Receipt = ();
    const SETTLES: bool = false;

    fn name(&self) -> &str {
        self.bus.name()
    }

    fn payload_bytes_max(&self) -> usize {
        self.bus.info().payload_bytes as usize
    }

    fn receive<F>(&mut self, max: usize, timeout: Duration, mut take: F) -> Result<Received, Error>
    where
        F: FnMut(Event<'_>, ()),
    {
        let run = self.consumer.get_mut().poll_batch(max, |frames| {
            for frame in frames {
                take(frame.into(), ());
            }
        });
        let received = match run {
            // A wait begins with spins before it looks at the time.
            Ok(0) if timeout.is_zero() => Ok(None),
            Ok(0) => self.consumer.get_mut().recv_timeout(timeout),
            Ok(count) => return Ok(Received::Events(count)),
            Err(error) => Err(error),
        };
        match received {
            Ok(Some(frame)) => {
                take(frame.into(), ());
                Ok(Received::Events(1))
            }
            Ok(None) => Ok(Received::Nothing),
            // Nobody attaches to a bus that is gone.
            Err(PollError::Closed) if self.bus.is_removed() => Ok(Received::Removed),
            Err(PollError::Closed) => Ok(Received::Closed),
            Err(PollError::Removed) => Ok(Received::Removed),
            Err(error) => Err(error.into()),
        }
    }

    fn settle(&mut self, (): (), _: Settled) -> Result<(), Error> {
        Ok(())
    }

    fn unread(&self) -> u64 {
        self.consumer.get_ref().lag()
    }

    fn lost(&self) -> u64 {
        self.consumer.get_ref().lost()
    }
}
