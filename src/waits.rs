//! What a [`WaitSet`](crate::WaitSet) can wait for, and what it asks of it.
//!
//! A wait set sleeps for many ends at once, so the end itself cannot: it says whether a call on it would
//! return something, where it is rung for, and does now and then what it would do in a wait of its own.

use std::time::Duration;

use crate::park::{Bed, PARK};

/// Something that can be waited for together with others: a [`Consumer`](crate::Consumer), for frames; a
/// [`GroupMember`](crate::GroupMember), for frames that it may work on; a
/// [`TableWatch`](crate::TableWatch), for changes; a [`Producer`](crate::Producer), for room; a
/// [`Server`](crate::Server) and a [`Caller`](crate::Caller), for requests and for the ends of calls; a
/// [`Timer`](crate::Timer), for its time.
///
/// A member that is found ready has claimed what it is found ready with, and the group's processing
/// timeout runs: poll it, or drop it, which gives the frames back.
///
/// Sealed: what it takes is this crate's business.
pub trait Waitable: Waits {}

impl<T: Waits> Waitable for T {}

/// What `Waitable` stands for; outside of this crate nobody can name it.
pub trait Waits {
    /// Whether the next poll returns something, be it an error. A closed bus counts once, since it stays
    /// closed for as long as nobody attaches.
    ///
    /// In a forked child this is asked before anything else, and says yes.
    fn look(&mut self) -> bool;

    /// Where it is rung for when that may have changed.
    fn bed(&self) -> &Bed;

    /// Asks after those whom it waits for, if it is time to: are they alive?
    fn probe(&mut self);

    /// How long it may sleep before it is to look and ask again.
    fn longest_wait(&self) -> Duration {
        PARK
    }

    /// How many pauses of a processor a look that finds nothing takes, for who spins.
    fn pauses(&self) -> u32 {
        1
    }
}
