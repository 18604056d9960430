//! A bus by name: open it, ask about it, attach to it.
//!
//! * `create`: the options of a new bus and its making.
//! * `info`: what a bus is and how it stands, as values for tools.
//! * `stat`, `latency`: the snapshot that fills them. * `kick`: telling participants to leave.
//! * `look`: what has to be fetched of a brokered bus to take a snapshot.

pub(crate) mod create;
pub(crate) mod info;
mod kick;
mod latency;
mod look;
pub(crate) mod stat;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use create::BusOptions;
pub use info::{BusInfo, BusStat, ConsumerStat, CursorStat, LaneStat, OrderStat};
pub use latency::{LatencyBucket, LatencyStat};

use crate::broker::client::Connection;
use crate::broker::memory;
use crate::crash::crash_point;
use crate::error::Error;
use crate::frame::Frame;
use crate::lane::kept::{self, TenancyEnd};
use crate::layout::header::Header;
use crate::options::FrameLayout;
use crate::participant::{Kicked, Participant, Reclaimed, Role};
use crate::regions::{Regions, View};
use crate::schema::Schema;
use crate::seat::{self, recovery};
use crate::shm::name;
use crate::shm::segment::{self, Segment};
use crate::sync::{Ordering, clock};
use crate::tie::Tie;
use look::Look;

/// An open bus: looks at it, and makes producers, consumers and observers.
///
/// Cheap to clone and to send between threads. It holds no seat and gates nobody; each end that is
/// attached through it opens the segment for itself and outlives it. Another process may remove the
/// bus at any time: whoever is attached goes on and learns it, new attaches fail with
/// [`Error::NotFound`].
///
/// # Examples
/// ```
/// use busway::{Bus, PollError};
///
/// # let name = format!("doc-bus-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the bus whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
/// # let _guard = Guard(&name);
/// let bus = Bus::options().payload_bytes(16).create(&name)?;
/// let mut consumer = bus.consumer().attach()?;
/// let mut producer = bus.producer().attach()?;
/// producer.publish_bytes(7, b"hello")?;
/// let frame = consumer.poll()?.expect("published after the consumer attached");
/// assert_eq!((frame.kind(), frame.payload()), (7, b"hello".as_slice()));
/// drop(producer);
/// assert_eq!(consumer.poll().err(), Some(PollError::Closed));
/// # Ok::<(), busway::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bus {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tie: Tie,
    header: Header,
    info: BusInfo,
    schema: Option<Schema>,
    regions: Regions,
    /// Of a brokered bus: what was fetched to look at it.
    look: Option<Mutex<Look>>,
}

impl Bus {
    /// The options of a bus that is to be created.
    pub fn options() -> BusOptions {
        BusOptions::new()
    }

    /// Opens an existing bus.
    ///
    /// Everything in its header is checked once, here, into memory of this process.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::NotFound`], [`Error::Permission`], [`Error::Incompatible`] for
    /// another layout version, [`Error::Corrupt`] for a file that is not a bus, [`Error::Untrusted`]
    /// for one that has a second name. Whose it is, is asked by who attaches.
    pub fn open(name: &str) -> Result<Self, Error> {
        name::check_name(name)?;
        Self::from_segment(Segment::open(name, View::Observer.file())?)
    }

    /// Opens a brokered bus, through the socket of the daemon that holds it
    /// (`broker.sock` in its runtime directory).
    ///
    /// The daemon looks at this process's user and groups and hands out memory accordingly. It is
    /// verified before it is mapped: that it cannot be cut short, that nobody but its owner can write
    /// to it, that it is what it is said to be. What can be done with the bus from then on is the
    /// same as with a named one; what others can do to it is less. `docs/security.md` compares the two.
    ///
    /// Cost: three connections an attached end in all, none of them used while frames flow.
    ///
    /// # Errors
    /// [`Error::BadName`]; [`Error::Broker`] when no daemon answers there; [`Error::NotFound`];
    /// [`Error::Permission`] for who may neither publish nor read; [`Error::Corrupt`] when what is
    /// handed out is not what it should be.
    pub fn connect(socket: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        name::check_name(name)?;
        let (connection, instance, board) = Connection::open(socket.as_ref(), name)?;
        let (bus, document) = memory::Bus::open(&board, name, instance, connection.owner)?;
        let header = bus.header;
        let schema = schema_of(name, &header, &document)?;
        let regions = bus.looked_at()?;
        let (bus, connection) = (Arc::new(bus), Arc::new(connection));
        let look = Some(Mutex::new(Look::new(&bus, &connection, &regions)?));
        let tie = Tie::Brokered { bus, connection };
        let info = BusInfo::of(name, &header);
        Ok(Self { inner: Arc::new(Inner { tie, header, info, schema, regions, look }) })
    }

    /// Opens an existing bus that has to belong to this user.
    ///
    /// Anybody may put a segment under a name that is free. Who attaches through [`open`](Self::open)
    /// is refused a bus of a stranger: one that belongs neither to this user nor to root, and is not
    /// open to a group that this user is in. This is how to say whose bus it is to be instead.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when it is another's; as [`open`](Self::open) otherwise.
    pub fn open_owned_by(name: &str, owner_uid: u32) -> Result<Self, Error> {
        name::check_name(name)?;
        let mut segment = Segment::open(name, View::Observer.file())?;
        segment.expect_owner(owner_uid)?;
        Self::from_segment(segment)
    }

    pub(crate) fn from_segment(segment: Segment) -> Result<Self, Error> {
        let (header, document) = segment.header()?;
        let schema = schema_of(&segment.name, &header, &document)?;
        let regions = Regions::map(&segment, &header, View::Observer)?;
        let info = BusInfo::of(&segment.name, &header);
        let tie = Tie::Named(segment);
        Ok(Self { inner: Arc::new(Inner { tie, header, info, schema, regions, look: None }) })
    }

    /// Removes a bus: takes its name away and tells whoever is attached.
    ///
    /// Frames that are published can still be read by consumers that are attached; after that they
    /// get [`PollError::Removed`](crate::PollError::Removed). A file of that name that is not a
    /// valid bus is removed as well. The bus's groups go with it; their dead letters stay.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when the name stands for a table, which is left as it is;
    /// [`Error::BadName`], [`Error::NotFound`], [`Error::Permission`]; [`Error::Io`] when its groups cannot
    /// be looked for. Then the bus is still there.
    pub fn remove(name: &str) -> Result<(), Error> {
        name::check_name(name)?;
        // Telling those attached takes write access to a valid segment; removing does not, so a
        // damaged bus can be removed all the same.
        let opened = Segment::open(name, View::Recovery.file()).and_then(|segment| {
            let (header, _) = segment.header()?;
            Regions::map(&segment, &header, View::Recovery)
        });
        let regions = match opened {
            Err(error @ Error::WrongKind { .. }) => return Err(error),
            opened => opened.ok(),
        };
        // Before anything is done, since it may fail.
        let groups = segment::list_of(name)?;
        segment::unlink(name)?;
        crash_point!(SegmentUnlinked);
        // What is left behind by who dies here, or was made meanwhile, is of a bus that is gone, which the
        // next group of the name finds out.
        for group in groups {
            let _gone = segment::unlink(&group);
        }
        if let Some(regions) = regions {
            // ORDERING: release, pairs with the acquire load in `Regions::is_removed`.
            regions.words.removed.store(1, Ordering::Release);
            regions.note_change();
        }
        Ok(())
    }

    /// The names of all buses of this host, sorted, whether or not this user may open them.
    ///
    /// # Errors
    /// [`Error::Io`] when shared memory cannot be listed.
    pub fn list() -> Result<Vec<String>, Error> {
        segment::list()
    }

    /// The bus's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.info.name
    }

    /// What the bus is; never changes.
    #[must_use]
    pub fn info(&self) -> &BusInfo {
        &self.inner.info
    }

    /// What its frames mean, if it was created with a schema.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.inner.schema.as_ref()
    }

    /// How the bus stands now. Reads only, never waits; the parts are not of one instant.
    ///
    /// Cost: one system call per attached participant (is it alive?); on a brokered bus instead a
    /// question to the broker when somebody has attached since, and what it does not answer is left
    /// out.
    #[must_use]
    pub fn stat(&self) -> BusStat {
        let Inner { tie, header, .. } = &*self.inner;
        stat::snapshot(tie.segment(), header, &self.looked_at())
    }

    /// The regions as they are now: on a brokered bus, with what was lent since the last look.
    pub(crate) fn looked_at(&self) -> Regions {
        match &self.inner.look {
            // Whoever panicked with it left what it had fetched until then.
            Some(look) => {
                look.lock().unwrap_or_else(PoisonError::into_inner).regions(&self.inner.tie)
            }
            None => self.inner.regions.clone(),
        }
    }

    /// Who is attached now, producers first. Cost: one system call each.
    #[must_use]
    pub fn participants(&self) -> Vec<Participant> {
        let Inner { tie, regions, .. } = &*self.inner;
        let segment = tie.segment();
        let mut all = seat::participants(segment, regions, Role::Producer);
        all.extend(seat::participants(segment, regions, Role::Consumer));
        all
    }

    /// Grows by one whenever somebody attaches, detaches, is recovered, or the bus is removed.
    /// Cheap: one load.
    #[must_use]
    pub fn seat_changes(&self) -> u32 {
        // ORDERING: acquire, pairs with the release in `Regions::note_change`.
        self.inner.regions.bells.seat_changes.load(Ordering::Acquire)
    }

    /// Whether the bus has been removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        let is_gone = |segment: &Segment| !segment.is_linked();
        self.inner.regions.is_removed() || self.inner.tie.segment().is_some_and(is_gone)
    }

    /// Whether somebody cut the bus's segment short since it was opened here, and this handle has come
    /// to a part that is missing. What it shows of the bus is then no longer to be believed.
    ///
    /// Touching what is missing does not end the process: busway answers the signal (SIGBUS) for its
    /// own mappings and passes on any other.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.inner.regions.health().is_broken()
    }

    /// Gives back the seats of participants that are provably dead, and says whose they were.
    ///
    /// Dead means that the kernel has released the lock that the participant held on its seat,
    /// which it does when the last mapping of the dead process is gone. Anybody who may write to
    /// the bus can do this at any time, several at once; published frames stay readable. On a
    /// brokered bus the broker has done it before anybody can ask: there are none.
    ///
    /// # Errors
    /// [`Error::Permission`], or [`Error::NotFound`] when the bus was removed.
    pub fn reclaim(&self) -> Result<Vec<Reclaimed>, Error> {
        self.inner.tie.segment().map_or_else(|| Ok(Vec::new()), recovery::reclaim)
    }

    /// How a producer's time on a lane ended: whether a frame at some position was still its own, long
    /// after its death and whoever has come since. Its tenancy is told by [`Producer::lane`] and
    /// [`Producer::epoch`]; it has attached with [`ProducerOptions::keep_end`].
    ///
    /// Of a dead one that nobody has noticed yet the answer is [`TenancyEnd::NotYet`] until
    /// [`reclaim`](Self::reclaim). On a brokered bus each tenancy has memory of its own, and nothing is
    /// kept.
    ///
    /// [`Producer::lane`]: crate::Producer::lane
    /// [`Producer::epoch`]: crate::Producer::epoch
    /// [`ProducerOptions::keep_end`]: crate::ProducerOptions::keep_end
    ///
    /// # Examples
    /// ```
    /// # let name = format!("doc-tenancy-{}", std::process::id());
    /// # struct Guard<'a>(&'a str); // removes the bus whatever happens
    /// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
    /// # let _guard = Guard(&name);
    /// use busway::{Bus, TenancyEnd};
    ///
    /// let bus = Bus::options().topology(busway::Topology::Single).create(&name)?;
    /// let mut first = bus.producer().keep_end(true).attach()?;
    /// let (lane, epoch) = (first.lane(), first.epoch());
    /// let intended = first.publish_bytes(1, b"mine")?;
    /// assert_eq!(bus.tenancy_end(lane, epoch), TenancyEnd::NotYet);
    /// drop(first);
    /// bus.producer().attach()?.publish_bytes(2, b"another's")?;
    /// assert_eq!(bus.tenancy_end(lane, epoch), TenancyEnd::At(intended + 1));
    /// # Ok::<(), busway::Error>(())
    /// ```
    #[must_use]
    pub fn tenancy_end(&self, lane: u32, epoch: u64) -> TenancyEnd {
        let Inner { tie, regions, .. } = &*self.inner;
        let words = regions.lane(lane).zip(regions.seat(Role::Producer, lane));
        match words.filter(|_| tie.segment().is_some()) {
            Some((words, seat)) => kept::end_of(&words, seat::state(&seat), epoch),
            None => TenancyEnd::Unknown,
        }
    }

    /// Tells every participant with this pid to leave the bus, and says who they are; none, when
    /// nobody has the pid.
    ///
    /// A consumer of a bus that evicts slow ones gates nobody from now on. On any other bus it may be
    /// reading in place, so it goes at its next call, with [`PollError::Evicted`](crate::PollError)
    /// and its loss; one that never calls again can only be ended, which is then noticed at once. A
    /// producer gets [`PublishError::Evicted`](crate::PublishError) when it next looks around, a few
    /// times a lap.
    ///
    /// # Errors
    /// [`Error::Permission`], also on a brokered bus, where nobody can store to another's seat;
    /// [`Error::NotFound`] when the bus was removed.
    pub fn kick(&self, pid: u32) -> Result<Vec<Kicked>, Error> {
        let not_mine = || Error::Permission { name: self.name().to_owned(), action: "evict from" };
        kick::kick(self.inner.tie.segment().ok_or_else(not_mine)?, pid)
    }

    /// Now, on the clock of the frames' `time_ns`: `CLOCK_MONOTONIC` in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    pub(crate) fn tie(&self) -> &Tie {
        &self.inner.tie
    }

    pub(crate) fn header(&self) -> &Header {
        &self.inner.header
    }

    /// Refuses a frame type whose layout is not the bus's.
    pub(crate) fn check_type<T: Frame>(&self) -> Result<(), Error> {
        let info = self.info();
        let name = || info.name.clone();
        if let Some(schema) = self.schema()
            && schema.hash() != T::SCHEMA_HASH
        {
            return Err(Error::SchemaMismatch {
                name: name(),
                bus_type: (schema.name.clone(), schema.hash()),
                asked_type: (T::NAME.to_owned(), T::SCHEMA_HASH),
            });
        }
        let bare = info.frames == FrameLayout::Bare;
        let fits = |want: usize| {
            if bare { size_of::<T>() == want } else { size_of::<T>() <= want }
        };
        if !usize::try_from(info.payload_bytes).is_ok_and(fits) {
            return Err(Error::BadGeometry {
                what: "frame type's size",
                value: u64::try_from(size_of::<T>()).unwrap_or(u64::MAX),
                allowed: format!(
                    "{}{} bytes on bus {:?}",
                    if bare { "" } else { "at most " },
                    info.payload_bytes,
                    info.name
                ),
            });
        }
        let align = self.header().geometry.payload_align_bytes();
        if usize::try_from(align).is_ok_and(|align| align_of::<T>() > align) {
            return Err(Error::BadGeometry {
                what: "frame type's alignment",
                value: u64::try_from(align_of::<T>()).unwrap_or(u64::MAX),
                allowed: format!("at most {align} bytes on bus {:?}", info.name),
            });
        }
        Ok(())
    }
}

/// The schema that a bus carries, if its document is what its header says.
pub(crate) fn schema_of(
    name: &str,
    header: &Header,
    document: &[u8],
) -> Result<Option<Schema>, Error> {
    if document.is_empty() {
        return Ok(None);
    }
    let corrupt = |reason: String| Error::Corrupt { name: name.to_owned(), reason };
    let schema = Schema::from_json(document)
        .map_err(|error| corrupt(format!("its schema is wrong: {error}")))?;
    if schema.hash() != header.schema_hash {
        return Err(corrupt("its schema does not have the hash it states".to_owned()));
    }
    Ok(Some(schema))
}
