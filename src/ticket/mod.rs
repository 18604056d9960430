//! Tickets: what one process waits for before it goes on with work that depends on another's.
//!
//! ```text
//! publisher ── publishes, makes a ticket ──▶ whoever depends on it     (24 bytes, by any way)
//!     │                                              │ waits
//!     ▼                                              ▼
//!    bus ──▶ group: a member acknowledges ──▶ the frame's word says done
//! ```
//!
//! A ticket is a name and nothing else: a bus, one of its lanes, a position. Nothing is kept for it in
//! shared memory, so any number may be waited for by any number of processes, and none is left behind.
//! Whether it is done, the group's own words say (`group::done`).

mod error;

use serde::{Deserialize, Serialize};

use crate::bus::Bus;

pub use error::TicketError;

/// A publication by name, to wait until a group has done with it: from [`Bus::ticket`], for
/// [`Group::wait_done`](crate::Group::wait_done).
///
/// It can be sent to other processes, as [bytes](Self::to_bytes) in a frame or by serde. It is meant for
/// this bus: one of the same name that is made later has other tickets.
///
/// # Examples
/// ```
/// use busway::{Bus, Ticket};
///
/// # let name = format!("doc-ticket-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// let bus = Bus::options().create(&name)?;
/// let mut producer = bus.producer().attach()?;
/// let position = producer.publish_bytes(1, b"first this")?;
/// let ticket = bus.ticket(producer.lane(), position);
/// assert_eq!(Ticket::from_bytes(ticket.to_bytes()), ticket);
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    instance: u64,
    lane: u64,
    position: u64,
}

impl Bus {
    /// The ticket of a frame of this bus: of one that was just published, or that was read.
    #[must_use]
    pub fn ticket(&self, lane: u32, position: u64) -> Ticket {
        Ticket { instance: self.info().instance, lane: lane.into(), position }
    }
}

impl Ticket {
    /// The bus's, [`BusInfo::instance`](crate::BusInfo::instance).
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// The frame's lane.
    #[must_use]
    pub fn lane(&self) -> u32 {
        // One that came as bytes may say anything; there is no such lane.
        u32::try_from(self.lane).unwrap_or(u32::MAX)
    }

    /// Its position in the lane.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The ticket as bytes: instance, lane and position, little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 24] {
        let words = [self.instance, self.lane, self.position];
        let mut bytes = [0; 24];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made. Of other bytes it is a ticket that no bus has made.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 24]) -> Self {
        let mut words = [0; 3];
        for (word, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*from);
        }
        let [instance, lane, position] = words;
        Self { instance, lane, position }
    }
}
