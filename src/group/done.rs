//! Waiting for what members have done.
//!
//! Whoever waits looks at the frames' own words, and takes no part: it holds up nobody, nothing rings
//! for it, and it sleeps at most a millisecond at a time. What it waits for ends: the frame is done, or
//! nobody is alive who could do it, or the group is gone, or its time is over. The first is looked for
//! once more after the second was found, since a member may acknowledge and leave in between.
//!
//! "Done" is loaded with acquire and was stored with release by who acknowledged (`claims`), so all that
//! it wrote before that, in whatever memory, is visible to who has waited.

use std::time::{Duration, Instant};

use super::{Group, roster};
use crate::claims::Window;
use crate::error::PollError;
use crate::lane::is_before;
use crate::layout::claim::Stand;
use crate::options::Wait;
use crate::park::{Step, Waiting};
use crate::sync::Ordering;
use crate::ticket::{Ticket, TicketError};

/// How long a waiter sleeps at a time.
const NAP: Duration = Duration::from_millis(1);
/// How often it asks whether a member is alive.
const PROBE: Duration = Duration::from_millis(2);

impl Group {
    /// Whether the group has done with a publication: it was acknowledged, or became a dead letter. On an
    /// at-most-once group, whether it was handed out. What was published before the group was made, or was
    /// passed by a reset, counts as done. Never waits.
    ///
    /// # Errors
    /// [`TicketError::OtherBus`], [`TicketError::NotPublished`], [`TicketError::Poll`].
    pub fn is_done(&self, ticket: Ticket) -> Result<bool, TicketError> {
        let bus = self.bus();
        if ticket.instance() != bus.info().instance {
            return Err(TicketError::OtherBus(ticket));
        }
        let regions = bus.looked_at();
        let group = &self.inner.regions;
        if group.is_broken() || regions.health().is_broken() {
            return Err(TicketError::Poll(PollError::Truncated));
        }
        let (lane, position) = (ticket.lane(), ticket.position());
        let none = TicketError::NotPublished(ticket);
        let index = usize::try_from(lane).unwrap_or(usize::MAX);
        let row = regions.cursors.row(self.inner.berth.seat);
        let gate = row.as_ref().and_then(|row| row.positions.get(index));
        let parts = gate.zip(regions.lane(lane)).zip(group.lanes.get(index));
        let Some(((gate, words), claims)) = parts else {
            return Err(none);
        };
        let capacity = self.header().capacity;
        let window = Window::look(&words.head, gate, capacity)
            .map_err(|_| TicketError::Poll(self.impossible(lane)))?;
        if is_before(position, window.gate) {
            return Ok(true);
        }
        if !window.contains(position) {
            return Err(none);
        }
        let word = claims.claims.word(position);
        if claims.claims.stand(position, word) == Stand::Done {
            return Ok(true);
        }
        // The word may be of the next lap by now.
        // ORDERING: acquire, pairs with the CAS in `Claims::advance`.
        Ok(is_before(position, gate.load(Ordering::Acquire)))
    }

    /// Waits until the group has done with all of these publications, for `timeout` at most; no timeout is
    /// for as long as a member is alive.
    ///
    /// What the members wrote before they acknowledged, wherever, is visible when this returns. A member
    /// that dies ends nothing as long as another lives, which gets the frame.
    ///
    /// Cost: a look at a word each; 20 µs of spinning, then a look every millisecond, and a system call
    /// for each member every 2 ms.
    ///
    /// # Errors
    /// [`TicketError`] says which of them, and why. A frame is known to have become a dead letter for as
    /// long as the letter is neither replayed nor purged.
    ///
    /// # Examples
    /// ```
    /// use busway::Bus;
    /// use std::time::Duration;
    ///
    /// # let name = format!("doc-wait-done-{}", std::process::id());
    /// # struct Guard(String); // removes the buses whatever happens
    /// # impl Drop for Guard { fn drop(&mut self) {
    /// #     let _ = Bus::remove(&self.0);
    /// #     let _ = Bus::remove(&format!("{}.work.dead", self.0));
    /// # } }
    /// # let _guard = Guard(name.clone());
    /// let bus = Bus::options().create(&name)?;
    /// let group = bus.group("work").create()?;
    /// let mut producer = bus.producer().attach()?;
    /// let position = producer.publish_bytes(1, b"first this")?;
    /// let ticket = bus.ticket(producer.lane(), position);
    ///
    /// let mut member = group.member().attach()?; // in another process
    /// let receipt = member.poll()?.expect("what was published").receipt();
    /// member.ack(receipt)?;
    ///
    /// group.wait_done(&[ticket], Some(Duration::from_secs(1)))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_done(
        &self,
        tickets: &[Ticket],
        timeout: Option<Duration>,
    ) -> Result<(), TicketError> {
        let mut waiting = Waiting::new(Wait::Adaptive, timeout);
        let mut probe_at = Instant::now();
        let mut left = tickets;
        while let Some((ticket, others)) = left.split_first() {
            if self.is_done(*ticket)? {
                left = others;
                continue;
            }
            let nap = match waiting.step() {
                Step::Again => None,
                Step::Over => {
                    let open = left.iter().filter(|one| !self.is_done(**one).unwrap_or(false));
                    return Err(TicketError::TimedOut { open: open.count() });
                }
                Step::Park(longest) => Some(longest.min(NAP)),
            };
            if Instant::now() >= probe_at {
                self.check_that_it_will_be(*ticket)?;
                probe_at = Instant::now() + PROBE;
            }
            if let Some(nap) = nap {
                std::thread::sleep(nap);
            }
        }
        self.check_letters(tickets)
    }

    /// Refuses to wait for what nobody will do.
    fn check_that_it_will_be(&self, ticket: Ticket) -> Result<(), TicketError> {
        if self.is_removed() || self.bus().is_removed() {
            return Err(TicketError::Poll(PollError::Removed));
        }
        let members = roster::members(&self.inner.segment, &self.inner.regions);
        if members.iter().any(|member| member.alive) || self.is_done(ticket)? {
            return Ok(());
        }
        Err(TicketError::NoMember(ticket))
    }

    /// Whether some of what is done was done with as a dead letter.
    fn check_letters(&self, tickets: &[Ticket]) -> Result<(), TicketError> {
        // ORDERING: relaxed; counted before the frame is done, of which the word was loaded with acquire.
        if self.inner.regions.words.dead_letters.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let failed = |error| TicketError::Letters(Box::new(error));
        let Some(letters) = self.dead_letters().map_err(failed)? else {
            return Ok(());
        };
        // Letters outlive their bus: those of one of the same name were written before this one was made.
        let made = self.bus().info().created_unix_ns;
        let letters = letters.list().map_err(failed)?;
        let is_of = |ticket: &Ticket| {
            letters.iter().any(|letter| {
                (letter.lane, letter.position) == (ticket.lane(), ticket.position())
                    && letter.dead_unix_ns >= made
            })
        };
        match tickets.iter().find(|ticket| is_of(ticket)) {
            Some(ticket) => Err(TicketError::DeadLetter(*ticket)),
            None => Ok(()),
        }
    }
}
