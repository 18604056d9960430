//! A bus for what failed for good.
//!
//! A dead letter is the event's payload behind a header that says from where and why:
//!
//! ```text
//!   0  position     u64   of the event in its lane
//!   8  time_ns      u64   of the event's frame, as its bus kept it
//!  16  dead_ns      u64   when it was given up, CLOCK_MONOTONIC
//!  24  lane         u32
//!  28  attempts     u32   made by the dispatcher; 0: its handler was never asked
//!  32  delivery     u32   how often the source had handed it out
//!  36  len          u32   bytes of the payload behind the header
//!  40  kind         u16   of the event; the dead letter has the same kind
//!  42  flags        u16   of the event
//!  44  reason       u16   see `Reason`
//!  46  version      u16   1
//!  48  bus          [u8; 64]    UTF-8, padded with NUL
//! 112  error        [u8; 80]    UTF-8, cut to fit, padded with NUL
//! 192  payload
//! ```
//!
//! A dead-letter bus is a bus: without a consumer it keeps as many letters as a lane of it holds, the
//! newest.

use std::sync::{Mutex, PoisonError};

use busway::zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use busway::{Bus, BusOptions, Frame, FrameLayout, OnFull, PollError, Producer, PublishError};

use crate::error::BuildError;
use crate::source::Event;

/// Bytes before the payload of a dead letter.
pub const LETTER_HEADER_BYTES: usize = size_of::<DeadLetterHeader>();
/// Bytes of the text that says why.
pub const LETTER_TEXT_BYTES: usize = 80;

/// The version of the header that this build writes and reads.
const VERSION: u16 = 1;

const _: () = assert!(LETTER_HEADER_BYTES == 192);

/// From where a dead letter is, and why.
#[derive(Clone, Copy, Debug, Frame, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[zerocopy(crate = "busway::zerocopy")]
#[frame(name = "dead-letter")]
#[repr(C)]
pub struct DeadLetterHeader {
    /// Position of the event in its lane.
    pub position: u64,
    /// When the event was published, as its bus kept it.
    #[frame(unit = "ns")]
    pub time_ns: u64,
    /// When it was given up, `CLOCK_MONOTONIC`.
    #[frame(unit = "ns")]
    pub dead_ns: u64,
    /// The lane that the event was published on.
    pub lane: u32,
    /// Attempts that the dispatcher made; 0: the handler was never asked.
    pub attempts: u32,
    /// How often the source had handed the event out.
    pub delivery: u32,
    /// Bytes of the payload behind this header.
    pub len: u32,
    /// The event's kind.
    pub kind: u16,
    /// The event's flags.
    pub flags: u16,
    /// Why, as a number; see [`reason`](Self::reason).
    pub reason: u16,
    /// The version of this header.
    pub version: u16,
    /// The bus that the event was published on.
    #[frame(text)]
    pub bus: [u8; 64],
    /// The last error, as text.
    #[frame(text)]
    pub error: [u8; LETTER_TEXT_BYTES],
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

    /// The number in the header, from 1.
    fn number(self) -> u16 {
        (1..)
            .zip(Self::ALL)
            .find_map(|(number, reason)| (reason == self).then_some(number))
            .unwrap_or(0)
    }
}

impl DeadLetterHeader {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let index = usize::from(self.reason).wrapping_sub(1);
        Reason::ALL.get(index).copied().unwrap_or(Reason::Unknown)
    }

    /// The bus that the event was published on.
    #[must_use]
    pub fn bus_name(&self) -> String {
        text(&self.bus)
    }

    /// The last error.
    #[must_use]
    pub fn error_text(&self) -> String {
        text(&self.error)
    }
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let used = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(used).into_owned()
}

/// As much of a text as fits, cut between characters, padded with NUL.
fn padded<const LEN: usize>(text: &str) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let len = text.floor_char_boundary(LEN);
    for (to, from) in bytes.iter_mut().zip(text.as_bytes().iter().take(len)) {
        *to = *from;
    }
    bytes
}

/// The header of a dead letter, and the payload of the event that it was.
///
/// # Errors
/// [`PollError::WrongType`] when this is no dead letter.
///
/// # Examples
/// ```
/// assert!(busway_toolkit::open_letter(b"not one").is_err());
/// ```
pub fn open_letter(payload: &[u8]) -> Result<(DeadLetterHeader, &[u8]), PollError> {
    let wrong = PollError::WrongType { len: payload.len(), want: LETTER_HEADER_BYTES };
    let (header, rest) = DeadLetterHeader::read_from_prefix(payload).map_err(|_| wrong)?;
    let payload = rest.get(..header.len as usize).ok_or(wrong)?;
    if header.version == VERSION { Ok((header, payload)) } else { Err(wrong) }
}

/// An event that is given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter<'a> {
    pub(crate) source: &'a str,
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
    #[must_use]
    pub fn bus_options(payload_bytes: u32) -> BusOptions {
        let header = u32::try_from(LETTER_HEADER_BYTES).unwrap_or(u32::MAX);
        Bus::options()
            .on_full(OnFull::Block)
            .frames(FrameLayout::Event)
            .payload_bytes(header.saturating_add(payload_bytes))
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
        let need = LETTER_HEADER_BYTES + payload_bytes;
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
        let header = DeadLetterHeader {
            position: event.position,
            time_ns: event.time_ns,
            dead_ns: self.bus.now_ns(),
            lane: event.lane,
            attempts: letter.attempts,
            delivery: event.delivery,
            len: u32::try_from(event.payload.len()).unwrap_or(u32::MAX),
            kind: event.kind,
            flags: event.flags,
            reason: letter.reason.number(),
            version: VERSION,
            bus: padded(letter.source),
            error: padded(letter.error),
        };
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        let producer = producer.as_mut().ok_or(PublishError::Removed)?;
        let mut claim = producer.try_claim()?;
        let len = LETTER_HEADER_BYTES + event.payload.len();
        claim.set_len(len)?;
        claim.set_kind(event.kind);
        claim.set_flags(event.flags);
        let bytes = header.as_bytes().iter().chain(event.payload);
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
            let mut header = DeadLetterHeader::new_zeroed();
            header.reason = reason.number();
            assert_eq!(header.reason(), reason);
        }
        assert_eq!(DeadLetterHeader::new_zeroed().reason(), Reason::Unknown);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(text(&padded::<4>("aaaé")), "aaa");
        assert_eq!(text(&padded::<5>("aaaé")), "aaaé");
        assert_eq!(text(&padded::<8>("a")), "a");
    }

    #[test]
    fn letter_that_is_shorter_than_it_says_is_none() {
        let mut header = DeadLetterHeader::new_zeroed();
        (header.version, header.len) = (VERSION, 1);
        assert!(open_letter(header.as_bytes()).is_err());
        let mut whole = header.as_bytes().to_vec();
        whole.push(7);
        assert_eq!(open_letter(&whole).unwrap().1, [7]);
        header.version = 9;
        whole[..LETTER_HEADER_BYTES].copy_from_slice(header.as_bytes());
        assert!(open_letter(&whole).is_err());
    }
}
