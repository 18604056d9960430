//! A bus for what failed for good.
//!
//! A dead letter begins as one of a consumer group does, so that the same tools read and replay both;
//! what only the toolkit knows stands behind the payload.
//!
//! ```text
//!   0   8  position        of the event in its lane
//!   8   8  time_ns         of its frame, as its bus kept it
//!  16   8  dead_unix_ns    when it was given up
//!  24   4  lane
//!  28   4  producer_pid    0: not known
//!  32   4  attempts        made by the dispatcher; 0: the handler was never asked
//!  36   4  cause           1 refused, 2 timed out
//!  40   4  len             bytes of the payload
//!  44   2  kind            of the event; the dead letter's frame has the same
//!  46   2  flags
//!  48  64  bus             UTF-8, padded with NUL, as are all texts
//! 112  64  handler         where a group's letter has the group
//! 176  32  producer        empty: not known
//! 208      the payload
//!   then:
//!   0   4  delivery        how often the source had handed the event out
//!   4   2  reason          see `Reason`
//!   6   2  version         1
//!   8  88  error           the last one, cut to fit
//! ```
//!
//! A dead-letter bus is a bus: without a consumer or a group it keeps as many letters as a lane of it
//! holds, the newest.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use busway::zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};
use busway::{Bus, BusOptions, FrameLayout, OnFull, PollError, Producer, PublishError};

use crate::clock::nanoseconds;
use crate::error::BuildError;
use crate::source::Event;

/// Bytes of a dead letter besides the payload.
pub const LETTER_EXTRA_BYTES: usize = size_of::<Header>() + size_of::<Trailer>();

/// The version of the trailer that this build writes and reads.
const VERSION: u16 = 1;
/// Causes as a group numbers them.
const CAUSE_REFUSED: u32 = 1;
const CAUSE_TIMED_OUT: u32 = 2;

const _: () = assert!(size_of::<Header>() == 208 && size_of::<Trailer>() == 96);

/// Before the payload.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(C)]
struct Header {
    position: u64,
    time_ns: u64,
    dead_unix_ns: u64,
    lane: u32,
    producer_pid: u32,
    attempts: u32,
    cause: u32,
    len: u32,
    kind: u16,
    flags: u16,
    bus: [u8; 64],
    handler: [u8; 64],
    producer: [u8; 32],
}

/// Behind the payload.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[repr(C)]
struct Trailer {
    delivery: u32,
    reason: u16,
    version: u16,
    error: [u8; 88],
}

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Its handler failed as often as it may.
    Failed,
    /// Its handler failed in a way that another attempt does not change.
    Permanent,
    /// Its handler took too long, as often as it may.
    TimedOut,
    /// Its handler panicked, as often as it may.
    Panicked,
    /// The breaker was open.
    BreakerOpen,
    /// Nobody handles its kind.
    Unhandled,
    /// A number that this build does not know.
    Unknown,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::Failed,
        Self::Permanent,
        Self::TimedOut,
        Self::Panicked,
        Self::BreakerOpen,
        Self::Unhandled,
    ];

    /// The number in the trailer, from 1.
    fn number(self) -> u16 {
        let mut numbered = (1..).zip(Self::ALL);
        numbered.find_map(|(number, reason)| (reason == self).then_some(number)).unwrap_or(0)
    }

    fn from_number(number: u16) -> Self {
        let index = usize::from(number).wrapping_sub(1);
        Self::ALL.get(index).copied().unwrap_or(Self::Unknown)
    }
}

/// A dead letter, read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter<'a> {
    /// The bus that the event was published on.
    pub bus: String,
    /// Its lane there.
    pub lane: u32,
    /// Its position in that lane.
    pub position: u64,
    /// When it was published, as its bus kept it.
    pub time_ns: u64,
    /// When it was given up, nanoseconds since 1970 UTC.
    pub dead_unix_ns: u64,
    /// Its kind.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// What its handler is called; empty: it had none.
    pub handler: String,
    /// Attempts that the dispatcher made; 0: the handler was never asked.
    pub attempts: u32,
    /// How often the source had handed it out.
    pub delivery: u32,
    /// Why it was given up.
    pub reason: Reason,
    /// The last error.
    pub error: String,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let used = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(used).into_owned()
}

/// As much of a text as fits, cut between characters, padded with NUL.
fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let mut len = text.len().min(LEN);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    for (to, from) in bytes.iter_mut().zip(text.as_bytes().iter().take(len)) {
        *to = *from;
    }
    bytes
}

impl<'a> DeadLetter<'a> {
    /// Reads one that a dispatcher wrote, from the payload of its frame.
    ///
    /// # Errors
    /// [`PollError::WrongType`] when this is none.
    ///
    /// # Examples
    /// ```
    /// assert!(busway_toolkit::DeadLetter::read(b"not one").is_err());
    /// ```
    pub fn read(bytes: &'a [u8]) -> Result<Self, PollError> {
        let wrong = PollError::WrongType { len: bytes.len(), want: LETTER_EXTRA_BYTES };
        let (header, rest) = Header::read_from_prefix(bytes).map_err(|_| wrong)?;
        let (payload, rest) = rest.split_at_checked(header.len as usize).ok_or(wrong)?;
        let (trailer, _) = Trailer::read_from_prefix(rest).map_err(|_| wrong)?;
        if trailer.version != VERSION {
            return Err(wrong);
        }
        Ok(Self {
            bus: text(&header.bus),
            lane: header.lane,
            position: header.position,
            time_ns: header.time_ns,
            dead_unix_ns: header.dead_unix_ns,
            kind: header.kind,
            flags: header.flags,
            handler: text(&header.handler),
            attempts: header.attempts,
            delivery: trailer.delivery,
            reason: Reason::from_number(trailer.reason),
            error: text(&trailer.error),
            payload,
        })
    }
}

/// An event that is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) source: &'a str,
    pub(crate) handler: &'a str,
    pub(crate) event: Event<'a>,
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    pub(crate) error: &'a str,
}

/// The producing end of a dead-letter bus, shared by all that a dispatcher runs.
///
/// # Examples
/// ```
/// # let name = format!("doc-letters-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// use busway_toolkit::DeadLetters;
///
/// // For events of up to 48 bytes.
/// let bus = DeadLetters::bus_options(48).create(&name)?;
/// let letters = DeadLetters::attach(&bus)?;
/// assert_eq!(letters.name(), name);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DeadLetters {
    /// `None` once detached.
    producer: Mutex<Option<Producer>>,
    bus: Bus,
}

impl DeadLetters {
    /// What a bus for the dead letters of another has to be, given the payload of that one's frames:
    /// one that blocks, of event frames. Choose the rest as you like.
    pub fn bus_options(payload_bytes: u32) -> BusOptions {
        let extra = u32::try_from(LETTER_EXTRA_BYTES).unwrap_or(u32::MAX);
        Bus::options()
            .on_full(OnFull::Block)
            .frames(FrameLayout::Event)
            .payload_bytes(extra.saturating_add(payload_bytes))
    }

    /// Attaches to a bus as its producer of dead letters.
    ///
    /// # Errors
    /// When the bus has bare frames or drops its oldest, and as attaching.
    pub fn attach(bus: &Bus) -> Result<Self, BuildError> {
        let unfit = |reason: &str| BuildError::DeadLetterBus {
            name: bus.name().to_owned(),
            reason: reason.to_owned(),
        };
        if bus.info().frames == FrameLayout::Bare {
            return Err(unfit("its frames are bare; create it with event frames"));
        }
        if bus.info().on_full == OnFull::DropOldest {
            return Err(unfit("it drops its oldest frames; create it with `block` or `reject`"));
        }
        let producer = Mutex::new(Some(bus.producer().name("dead-letters").attach()?));
        Ok(Self { producer, bus: bus.clone() })
    }

    /// The bus.
    #[must_use]
    pub fn name(&self) -> &str {
        self.bus.name()
    }

    /// Whether a letter with so long a payload fits.
    pub(crate) fn check(&self, payload_bytes: usize) -> Result<(), BuildError> {
        let holds = self.bus.info().payload_bytes as usize;
        let need = LETTER_EXTRA_BYTES + payload_bytes;
        if holds >= need {
            return Ok(());
        }
        let reason = format!("its payload is {holds} bytes, {need} are needed");
        Err(BuildError::DeadLetterBus { name: self.name().to_owned(), reason })
    }

    /// Detaches from the bus: nothing more is sent.
    pub(crate) fn detach(&self) {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Publishes a letter. Never waits.
    pub(crate) fn send(&self, letter: &Letter<'_>) -> Result<u64, PublishError> {
        let event = &letter.event;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timed_out = letter.reason == Reason::TimedOut;
        let header = Header {
            position: event.position,
            time_ns: event.time_ns,
            dead_unix_ns: nanoseconds(since_1970),
            lane: event.lane,
            attempts: letter.attempts,
            cause: if timed_out { CAUSE_TIMED_OUT } else { CAUSE_REFUSED },
            len: u32::try_from(event.payload.len()).unwrap_or(u32::MAX),
            kind: event.kind,
            flags: event.flags,
            bus: padded(letter.source),
            handler: padded(letter.handler),
            ..Header::new_zeroed()
        };
        let trailer = Trailer {
            delivery: event.delivery,
            reason: letter.reason.number(),
            version: VERSION,
            error: padded(letter.error),
        };
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = producer.as_mut().ok_or(PublishError::Removed)?;
        let mut claim = producer.try_claim()?;
        claim.set_len(LETTER_EXTRA_BYTES + event.payload.len())?;
        claim.set_kind(event.kind);
        claim.set_flags(event.flags);
        let bytes = header.as_bytes().iter().chain(event.payload).chain(trailer.as_bytes());
        for (to, from) in claim.payload_mut().iter_mut().zip(bytes) {
            *to = *from;
        }
        claim.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_come_back_as_they_were_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(reason.number()), reason);
        }
        assert_eq!(Reason::from_number(0), Reason::Unknown);
        assert_eq!(Reason::from_number(u16::MAX), Reason::Unknown);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(text(&padded::<4>("aaaé")), "aaa");
        assert_eq!(text(&padded::<5>("aaaé")), "aaaé");
        assert_eq!(text(&padded::<8>("a")), "a");
    }

    #[test]
    fn letter_that_is_shorter_than_it_says_is_none() {
        let header = Header { len: 1, ..Header::new_zeroed() };
        let trailer = Trailer { version: VERSION, ..Trailer::new_zeroed() };
        let mut bytes = [header.as_bytes(), &[7], trailer.as_bytes()].concat();
        assert_eq!(DeadLetter::read(&bytes).unwrap().payload, [7]);
        for len in 0..bytes.len() {
            assert!(DeadLetter::read(&bytes[..len]).is_err(), "{len} bytes");
        }
        bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(DeadLetter::read(&bytes).is_err());
    }

    #[test]
    fn header_is_that_of_a_groups_letters() {
        use std::mem::offset_of;
        assert_eq!((offset_of!(Header, lane), offset_of!(Header, cause)), (24, 36));
        assert_eq!((offset_of!(Header, len), offset_of!(Header, bus)), (40, 48));
        assert_eq!((offset_of!(Header, handler), offset_of!(Header, producer)), (112, 176));
    }
}
