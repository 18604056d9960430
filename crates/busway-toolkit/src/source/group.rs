//! The frames of a consumer group, shared with its other members.

use std::time::Duration;

use busway::{AckError, Bus, Delivered, Error, Group, GroupMember, PollError, Receipt};

use super::end::End;
use super::{Event, Received, Settled, Source};

/// A member of a consumer group: each event goes to one member, and is acknowledged when it is done.
///
/// An event whose handler succeeded, that nobody handles, or that is on the dispatcher's dead-letter bus
/// is acknowledged. One that failed for good without such a bus, or was not done at the end, goes back to
/// the group: it is handed out again, to whichever member asks, until it had the group's attempts. So
/// attempts multiply: those of the policy within each of the group's.
///
/// What takes longer than the group's processing timeout goes to another member as well. Its
/// acknowledgement comes too late then, and is counted in [`too_late`](Self::too_late).
///
/// # Examples
/// ```
/// # let name = format!("doc-group-source-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the buses whatever happens
/// # impl Drop for Guard<'_> {
/// #     fn drop(&mut self) {
/// #         let _ = busway::Bus::remove(self.0);
/// #         let _ = busway::Bus::remove(&format!("{}.work.dead", self.0));
/// #     }
/// # }
/// # let _guard = Guard(&name);
/// use std::time::Duration;
/// use busway_toolkit::{Dispatcher, GroupSource};
///
/// let bus = busway::Bus::options().create(&name)?;
/// let group = bus.group("work").create()?;
/// let source = GroupSource::new(&bus, &group, group.member().attach()?);
/// let mut dispatcher = Dispatcher::builder(source).on(7, |_, _| Ok(())).build()?;
///
/// bus.producer().attach()?.publish_bytes(7, b"an order")?;
/// dispatcher.poll(Duration::from_secs(1))?;
/// dispatcher.close(Duration::from_secs(1));
/// assert_eq!(group.stat()?.acknowledged, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GroupSource {
    bus: Bus,
    group: Group,
    member: End<GroupMember>,
    too_late: u64,
}

impl GroupSource {
    /// A member of this group of this bus, attached as you like.
    #[must_use]
    pub fn new(bus: &Bus, group: &Group, member: GroupMember) -> Self {
        Self { bus: bus.clone(), group: group.clone(), member: End::new(member), too_late: 0 }
    }

    /// The same with one that tasks have waited for.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn from_async(bus: &Bus, group: &Group, member: busway::Async<GroupMember>) -> Self {
        Self { bus: bus.clone(), group: group.clone(), member: member.into(), too_late: 0 }
    }

    /// Events that this member dealt with after the group had given them to another.
    #[must_use]
    pub fn too_late(&self) -> u64 {
        self.too_late
    }
}

#[cfg(feature = "async")]
impl super::AsyncSource for GroupSource {
    fn poll_ready(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        self.member.poll_ready(context)
    }
}

fn hand(delivered: Delivered<'_>, take: &mut impl FnMut(Event<'_>, Receipt)) {
    let event = Event { delivery: delivered.attempt(), ..delivered.frame().into() };
    take(event, delivered.receipt());
}

impl Source for GroupSource {
    type Receipt = Receipt;
    const SETTLES: bool = true;

    fn name(&self) -> &str {
        self.bus.name()
    }

    fn payload_bytes_max(&self) -> usize {
        self.bus.info().payload_bytes as usize
    }

    fn receive<F>(&mut self, max: usize, timeout: Duration, mut take: F) -> Result<Received, Error>
    where
        F: FnMut(Event<'_>, Receipt),
    {
        let mut count = 0;
        while count < max {
            // Only the first is waited for.
            let next = if count == 0 && !timeout.is_zero() {
                self.member.get_mut().receive(timeout)
            } else {
                self.member.get_mut().poll()
            };
            match next {
                Ok(Some(delivered)) => hand(delivered, &mut take),
                Ok(None) => break,
                // What was taken comes first; the next call says the same.
                Err(_) if count > 0 => break,
                Err(PollError::Removed) => return Ok(Received::Removed),
                Err(error) => return Err(error.into()),
            }
            count += 1;
        }
        Ok(if count == 0 { Received::Nothing } else { Received::Events(count) })
    }

    fn settle(&mut self, receipt: Receipt, settled: Settled) -> Result<(), Error> {
        let told = match settled {
            Settled::Done | Settled::DeadLettered => self.member.get_mut().ack(receipt),
            Settled::Failed | Settled::NotDone => {
                self.member.get_mut().nack(receipt, Duration::ZERO)
            }
        };
        match told {
            // Of an at-most-once group everything is settled when it is handed out.
            Ok(()) | Err(AckError::Settled) => Ok(()),
            Err(AckError::TakenBack) => {
                self.too_late += 1;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Events that the group has not done with; 0 when it cannot be looked at any more.
    fn unread(&self) -> u64 {
        self.group.stat().map_or(0, |stat| stat.backlog)
    }

    /// None: what a group has not done with is not overwritten.
    fn lost(&self) -> u64 {
        0
    }
}
