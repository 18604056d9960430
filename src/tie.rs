//! What ties an attached end to its bus: a named segment, whose locks prove that it lives, or a
//! connection to the broker, which does.
//!
//! The engines above are one code for both. What differs is here:
//!
//! | | named | brokered |
//! |---|---|---|
//! | take a seat | lock its byte | ask the broker, which lends memory |
//! | open a lane, join as a consumer | set the bit | tell the broker that the memory is sealed; it sets the bit |
//! | a dead peer's seat | whoever is held up gives it back | the broker does, as soon as the connection ends |
//! | leave | clear the bit, free, unlock | tell the broker |

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::client::{ATTACH_TIMEOUT, Connection, REFRESH_TIMEOUT};
use crate::broker::feed::Feed;
use crate::broker::memory::{Bus, LaneMemory};
use crate::broker::message::{Ask, WANTED_MAX};
use crate::crash::crash_point;
use crate::error::Error;
use crate::lane::bits;
use crate::lane::join::Joining;
use crate::layout::header::Header;
use crate::layout::words::LaneWords;
use crate::participant::Role;
use crate::regions::{self, Cursors, Regions, View};
use crate::seat::{self, Seat, recovery};
use crate::shm::alarm;
use crate::shm::lock;
use crate::shm::mapping::Shared;
use crate::shm::segment::Segment;
use crate::sync::{AtomicU64, Ordering};

/// How long an end that waits goes on without a broker and without anything moving before it says
/// so: longer than any honest peer takes between two looks.
const GRACE: Duration = Duration::from_secs(1);

/// What an attached end holds.
#[derive(Debug)]
pub(crate) enum Tie {
    Named(Segment),
    Brokered { bus: Arc<Bus>, connection: Arc<Connection> },
}

/// A seat that was taken, and the memory that goes with it.
#[derive(Debug)]
pub(crate) struct Berth {
    pub(crate) tie: Tie,
    pub(crate) regions: Regions,
    pub(crate) seat: Seat,
    /// A producer's own lane; every lane for a consumer.
    pub(crate) lanes: Vec<LaneMemory>,
    /// Keeps a consumer of a brokered bus up with lanes that are let again.
    pub(crate) feed: Option<Feed>,
}

/// What an observer has: no seat.
#[derive(Debug)]
pub(crate) struct Lookout {
    pub(crate) tie: Tie,
    pub(crate) regions: Regions,
    pub(crate) lanes: Vec<LaneMemory>,
    pub(crate) feed: Option<Feed>,
}

impl Tie {
    /// A tie of the same kind to the same bus, for an end of its own.
    ///
    /// # Errors
    /// `NotFound` when the bus is gone, `Permission`, `Broker`.
    pub(crate) fn again(&self, view: View) -> Result<Self, Error> {
        alarm::watch_forks();
        match self {
            Self::Named(segment) => {
                let segment = segment.reopen(view.file())?;
                if view != View::Observer {
                    segment.check_owner()?;
                }
                Ok(Self::Named(segment))
            }
            Self::Brokered { bus, connection } => Ok(Self::Brokered {
                connection: Arc::new(connection.again(bus.header.instance)?),
                bus: Arc::clone(bus),
            }),
        }
    }

    /// The named segment, unless there is none.
    pub(crate) fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Named(segment) => Some(segment),
            Self::Brokered { .. } => None,
        }
    }

    /// Takes a producer's seat and maps its lane.
    ///
    /// # Errors
    /// `SeatsTaken`, `Permission`, `NotFound`, `Broker`.
    pub(crate) fn producer(&self, header: &Header, name: &str) -> Result<Berth, Error> {
        let tie = self.again(View::Producer)?;
        match &tie {
            Self::Named(segment) => {
                let regions = Regions::map(segment, header, View::Producer)?;
                let seat = Seat::take(segment, &regions, Role::Producer, name)?;
                // Without its lane it is nobody: left taken, the seat would be that of a dead process.
                let data = regions::map_lane(segment, &header.geometry, seat.index)
                    .inspect_err(|_| seat.leave(segment, &regions, Role::Producer))?;
                let words = regions.lane(seat.index).ok_or_else(|| no_seat(segment, &seat))?;
                let lanes = vec![LaneMemory { words, data, start: header.origin }];
                Ok(Berth { tie, regions, seat, lanes, feed: None })
            }
            Self::Brokered { bus, connection } => {
                let (lent, bells, own) = connection.borrow(Role::Producer, name)?;
                let bells = bus.bells(&bells)?;
                let lane = bus.own_lane(&own, lent)?;
                let regions = Regions::apart(header, &bus.board, &bells, Arc::new([]))
                    .ok_or_else(|| bus.outside())?;
                let seat = lent_seat(bus, &regions, Role::Producer, lent.seat)?;
                Ok(Berth { tie, regions, seat, lanes: vec![lane], feed: None })
            }
        }
    }

    /// Takes a consumer's seat and maps every lane.
    ///
    /// # Errors
    /// As `producer`.
    pub(crate) fn consumer(&self, header: &Header, name: &str) -> Result<Berth, Error> {
        let tie = self.again(View::Consumer)?;
        match &tie {
            Self::Named(segment) => {
                let regions = Regions::map(segment, header, View::Consumer)?;
                let lanes = named_lanes(segment, &regions, View::Consumer)?;
                let seat = Seat::take(segment, &regions, Role::Consumer, name)?;
                Ok(Berth { tie, regions, seat, lanes, feed: None })
            }
            Self::Brokered { bus, connection } => {
                let (lent, bells, own) = connection.borrow(Role::Consumer, name)?;
                let bells = bus.bells(&bells)?;
                let row = bus.own_row(&own, lent)?;
                let mut regions = Regions::apart(header, &bus.board, &bells, Arc::new([]))
                    .ok_or_else(|| bus.outside())?;
                regions.cursors.set(lent.seat, row);
                let seat = lent_seat(bus, &regions, Role::Consumer, lent.seat)?;
                let (lanes, feed) = fetched_lanes(bus, connection, &regions)?;
                Ok(Berth { tie, regions, seat, lanes, feed: Some(feed) })
            }
        }
    }

    /// Maps everything for a member of a consumer group, whose seat is the group's.
    ///
    /// # Errors
    /// As `producer`. `None` on a brokered bus, which has no groups.
    pub(crate) fn member(&self, header: &Header) -> Result<Option<Lookout>, Error> {
        let Self::Named(_) = self else {
            return Ok(None);
        };
        let tie = self.again(View::Consumer)?;
        let Self::Named(segment) = &tie else {
            return Ok(None);
        };
        let regions = Regions::map(segment, header, View::Consumer)?;
        let lanes = named_lanes(segment, &regions, View::Consumer)?;
        Ok(Some(Lookout { tie, regions, lanes, feed: None }))
    }

    /// Maps everything for who only looks.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Broker`.
    pub(crate) fn observer(&self, header: &Header) -> Result<Lookout, Error> {
        let tie = self.again(View::Observer)?;
        match &tie {
            Self::Named(segment) => {
                let regions = Regions::map(segment, header, View::Observer)?;
                let lanes = named_lanes(segment, &regions, View::Observer)?;
                Ok(Lookout { tie, regions, lanes, feed: None })
            }
            Self::Brokered { bus, connection } => {
                let regions = bus.looked_at()?;
                let (lanes, feed) = fetched_lanes(bus, connection, &regions)?;
                Ok(Lookout { tie, regions, lanes, feed: Some(feed) })
            }
        }
    }

    /// Says that a lane has its producer from now on.
    ///
    /// # Errors
    /// `Broker`.
    pub(crate) fn open_lane(&self, regions: &Regions, lane: u32) -> Result<(), Error> {
        match self {
            Self::Named(_) => {
                if let Some((word, bit)) = recovery::lane_bit(&regions.words.producers, lane) {
                    // ORDERING: release, pairs with the acquire load in the consumers' look at who
                    // is there.
                    word.fetch_or(bit, Ordering::Release);
                }
                Ok(())
            }
            Self::Brokered { connection, .. } => connection.tell(Ask::Sealed {}, ATTACH_TIMEOUT),
        }
    }

    /// Makes a consumer whose cursors are placed count.
    ///
    /// # Errors
    /// `Broker`.
    pub(crate) fn join(&self, regions: &Regions, consumer: u32) -> Result<Joining, Error> {
        match self {
            Self::Named(_) => Ok(Joining::begin(&regions.words.consumers, consumer)),
            Self::Brokered { connection, .. } => {
                connection.tell(Ask::Sealed {}, ATTACH_TIMEOUT)?;
                Ok(Joining::announced())
            }
        }
    }

    /// Gives the seat back. This process stores nothing more on the strength of it.
    pub(crate) fn leave(&self, regions: &Regions, seat: &Seat, role: Role) {
        match self {
            Self::Named(segment) => {
                match role {
                    Role::Producer => {
                        recovery::note_end(regions, seat.index);
                        recovery::clear_producer(regions, seat.index);
                    }
                    Role::Consumer => recovery::clear_consumer(regions, seat.index),
                }
                crash_point!(BitsCleared);
                seat.leave(segment, regions, role);
            }
            Self::Brokered { connection, .. } => {
                // Should it not be heard, the connection's end, which follows, says the same.
                let _heard = connection.tell(Ask::Leave {}, REFRESH_TIMEOUT);
            }
        }
    }

    /// Gives back the seats of a role whose holders hold this end up and are provably dead, if that
    /// is for peers to do. `held` are the seats to ask about.
    pub(crate) fn give_back_dead(
        &self,
        regions: &Regions,
        role: Role,
        held: impl Iterator<Item = u32>,
    ) {
        let Self::Named(segment) = self else {
            return;
        };
        let dead = |index: u32| {
            // A bit that a peer set for a seat that there is not is nobody's.
            index < regions.seats(role)
                && !regions.is_group(role, index)
                && lock::is_inhabited(&segment.file, seat::byte(role, index))
                    .is_ok_and(|lives| !lives)
        };
        let mut any = false;
        for index in held.filter(|&index| dead(index)) {
            any = true;
            // So that it gates nobody from now on, whoever is slow to put its seat in order.
            if role == Role::Consumer
                && let Some(words) = regions.seat(role, index)
            {
                recovery::declare(segment, role, index, &words);
            }
        }
        if any {
            // Somebody else may be faster, or this user may lack the right: either way the next
            // look at the words tells.
            let _reclaimed = recovery::reclaim(segment);
        }
    }

    /// Whether whoever waits should be told that there is no broker any more. `gone_since` is kept
    /// from one call to the next, and cleared by the caller whenever something moves.
    pub(crate) fn is_given_up(&self, gone_since: &mut Option<Instant>) -> bool {
        match self {
            Self::Brokered { connection, .. } if connection.is_gone() => {
                gone_since.get_or_insert_with(Instant::now).elapsed() >= GRACE
            }
            _ => false,
        }
    }

    /// Fetches the cursors of those of the `attached` consumers that have joined since the last
    /// look. What cannot be fetched now keeps the lane closed, and is asked for again.
    ///
    /// # Errors
    /// `Corrupt` when what comes is not what it should be.
    pub(crate) fn fetch_cursors(
        &self,
        attached: &AtomicU64,
        cursors: &mut Cursors,
    ) -> Result<(), Error> {
        let Self::Brokered { bus, connection } = self else {
            return Ok(());
        };
        for (lent, file) in connection.unasked() {
            cursors.set(lent.seat, bus.row(&file, lent)?);
        }
        // ORDERING: acquire, as in `LaneWriter::gate`.
        let attached = attached.load(Ordering::Acquire);
        let wanted: Vec<u32> =
            bits(attached).filter(|consumer| !cursors.is_current(*consumer)).collect();
        for wanted in wanted.chunks(WANTED_MAX) {
            let fetched = match connection.regions(Ask::Rows { wanted: wanted.to_vec() }) {
                Ok(fetched) => fetched,
                Err(Error::Broker { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            for (lent, file) in fetched {
                cursors.set(lent.seat, bus.row(&file, lent)?);
            }
        }
        Ok(())
    }
}

impl Bus {
    /// The board alone: for who only looks.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn looked_at(&self) -> Result<Regions, Error> {
        // Nobody rings without a seat; what bells say is on the board as well.
        Regions::apart(&self.header, &self.board, &self.board, Arc::new([]))
            .ok_or_else(|| self.outside())
    }
}

/// The words of each lane, as regions hold them.
pub(crate) fn words_of(lanes: &[LaneMemory]) -> Arc<[Shared<LaneWords>]> {
    lanes.iter().map(|lane| lane.words.clone()).collect()
}

fn named_lanes(segment: &Segment, regions: &Regions, view: View) -> Result<Vec<LaneMemory>, Error> {
    let data = regions::map_lanes(segment, &regions.geometry, view)?;
    let start = regions.origin;
    (0..)
        .zip(data)
        .map(|(lane, data)| {
            let words = regions.lane(lane).ok_or_else(|| Error::Corrupt {
                name: segment.name.clone(),
                reason: format!("it has no lane {lane}"),
            })?;
            Ok(LaneMemory { words, data, start })
        })
        .collect()
}

/// The newest tenancy of every lane, and what keeps up with it.
fn fetched_lanes(
    bus: &Arc<Bus>,
    connection: &Arc<Connection>,
    regions: &Regions,
) -> Result<(Vec<LaneMemory>, Feed), Error> {
    let blank = bus.blank_lane()?;
    let count = usize::try_from(bus.header.geometry.shape.lanes).unwrap_or(0);
    let mut lanes = vec![blank; count];
    let mut feed = Feed::new(bus, connection);
    let mut fetched = Vec::new();
    feed.fetch(regions, &mut fetched)?;
    for (index, memory) in fetched {
        if let Some(lane) = lanes.get_mut(index) {
            *lane = memory;
        }
    }
    Ok((lanes, feed))
}

fn lent_seat(bus: &Bus, regions: &Regions, role: Role, index: u32) -> Result<Seat, Error> {
    let parts = regions.seat(role, index).zip(regions.bell(role, index));
    let (words, bell) = parts.ok_or_else(|| bus.outside())?;
    Ok(Seat { index, words, bell })
}

fn no_seat(segment: &Segment, seat: &Seat) -> Error {
    Error::Corrupt { name: segment.name.clone(), reason: format!("it has no lane {}", seat.index) }
}
