//! A segment's regions as typed words: the floor between bytes and protocols.
//!
//! Each end maps what its role needs, with the least access that its role can do with:
//!
//! | role | control | cursors | heads | order | data |
//! |---|---|---|---|---|---|
//! | producer | rw | r | rw | rw | rw, its own lane |
//! | consumer | rw | rw | r | rw | r |
//! | recovery | rw | r | rw | rw | - |
//! | observer, statistics | r | r | r | r | r |
//!
//! On a brokered bus each of these is memory of its own, a row and a lane even anew for each tenant;
//! `broker::memory` puts the same `Regions` together from them.

mod evict;
mod standings;

use std::sync::Arc;

pub(crate) use evict::Eviction;
pub(crate) use standings::{Standings, bury};

use crate::error::Error;
use crate::lane::Gates;
use crate::layout::geometry::{Geometry, Region};
use crate::layout::header::{FEATURES_KNOWN, Header};
use crate::layout::latency;
use crate::layout::state::SeatState;
use crate::layout::words::{ControlWords, CursorWords, LANE_WORDS_BYTES, LaneWords, SeatWords};
use crate::order::{Laps, OrderWords};
use crate::participant::Role;
use crate::shm::alarm;
use crate::shm::mapping::{Access, Mapping, Shared, SharedArray};
use crate::shm::segment::Segment;
use crate::shm::slots::Slots;
use crate::sync::{AtomicU64, Ordering};

/// Who maps, which decides what is writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Producer,
    Consumer,
    Recovery,
    Observer,
}

impl View {
    /// The access that the file has to be opened with.
    pub(crate) fn file(self) -> Access {
        if self == Self::Observer { Access::Look } else { Access::ReadWrite }
    }

    fn control(self) -> Access {
        self.file()
    }

    /// To read, as this role does it.
    fn reads(self) -> Access {
        if self == Self::Observer { Access::Look } else { Access::Read }
    }

    fn cursors(self) -> Access {
        if self == Self::Consumer { Access::ReadWrite } else { self.reads() }
    }

    fn heads(self) -> Access {
        if matches!(self, Self::Producer | Self::Recovery) {
            Access::ReadWrite
        } else {
            self.reads()
        }
    }

    fn order(self) -> Access {
        self.file()
    }
}

/// The regions of one bus that every role maps; the data is mapped apart.
#[derive(Clone, Debug)]
pub(crate) struct Regions {
    pub(crate) geometry: Geometry,
    pub(crate) origin: u64,
    /// Who is attached, and what only whoever changes that stores.
    pub(crate) words: Shared<ControlWords>,
    /// Who sleeps, and that something changed: hints, which anybody stores. Believing a wrong one
    /// costs a delay. The same memory as `words`, reached by a name of its own.
    pub(crate) bells: Shared<ControlWords>,
    pub(crate) cursors: Cursors,
    control: Arc<Mapping>,
    bell_control: Arc<Mapping>,
    heads: Heads,
    /// Every mapping of these regions that could be cut short.
    health: Health,
    entries: SharedArray,
    standings: Standings,
    eviction: Option<Eviction>,
}

/// Where the lanes' words are.
#[derive(Clone, Debug)]
enum Heads {
    /// All in one region.
    Together(Arc<Mapping>),
    /// Each in its lane's own memory.
    Apart(Arc<[Shared<LaneWords>]>),
}

impl Regions {
    /// Maps them.
    ///
    /// # Errors
    /// `Incompatible` for who would write to a bus that has features this build does not know;
    /// `Io` when the system refuses a mapping.
    pub(crate) fn map(segment: &Segment, header: &Header, view: View) -> Result<Self, Error> {
        let unknown = header.features_ro_compat & !FEATURES_KNOWN;
        if unknown != 0 && view != View::Observer {
            return Err(Error::Incompatible {
                name: segment.name.clone(),
                reason: format!(
                    "writing to it takes features {unknown:#x}, which this build lacks; it can be \
                     observed"
                ),
            });
        }
        let geometry = header.geometry;
        let map = |region: Region, access| map(segment, region, access);
        let control = map(geometry.control, view.control())?;
        let cursors = map(geometry.cursors, view.cursors())?;
        let heads = map(geometry.heads, view.heads())?;
        // Without entries the region is empty and its page is somebody else's.
        let order_access = if geometry.order.bytes > 0 { view.order() } else { view.reads() };
        let order = map(geometry.order, order_access)?;
        let outside = || outside(segment);
        let mut regions = Self {
            geometry,
            origin: header.origin,
            words: Shared::at(&control, 0).ok_or_else(outside)?,
            bells: Shared::at(&control, 0).ok_or_else(outside)?,
            cursors: Cursors::of(&cursors, &geometry).ok_or_else(outside)?,
            health: Health::of(&[&control, &cursors, &heads, &order]),
            bell_control: Arc::clone(&control),
            standings: Standings::of(&control, &geometry).ok_or_else(outside)?,
            control,
            heads: Heads::Together(heads),
            entries: SharedArray::at(&order, 0, geometry.order_capacity).ok_or_else(outside)?,
            eviction: None,
        };
        // Who only looks cannot evict, and asks the seats by itself who was.
        if let Some(rule) = header.evict {
            regions.eviction = Some(Eviction::of(&regions, rule));
        }
        Ok(regions)
    }

    /// The regions of a brokered bus: a board and bells, mapped as control regions, and whatever
    /// rows and lanes there are so far. `None` when the mappings are too small.
    pub(crate) fn apart(
        header: &Header,
        board: &Arc<Mapping>,
        bells: &Arc<Mapping>,
        lanes: Arc<[Shared<LaneWords>]>,
    ) -> Option<Self> {
        let geometry = header.geometry;
        let mut regions = Self {
            geometry,
            origin: header.origin,
            words: Shared::at(board, 0)?,
            bells: Shared::at(bells, 0)?,
            cursors: Cursors { rows: Vec::new(), seats: Vec::new() },
            control: Arc::clone(board),
            bell_control: Arc::clone(bells),
            heads: Heads::Apart(lanes),
            // What is sealed cannot be cut short.
            health: Health(Vec::new()),
            standings: Standings::of(board, &geometry)?,
            entries: SharedArray::at(board, 0, 0)?,
            eviction: None,
        };
        let consumers = 0..geometry.shape.consumers;
        regions.cursors.rows = consumers.clone().map(|_| None).collect();
        regions.cursors.seats =
            consumers.map(|seat| regions.seat(Role::Consumer, seat)).collect::<Option<_>>()?;
        Some(regions)
    }

    /// The same with other lanes.
    pub(crate) fn with_lanes(&self, lanes: Arc<[Shared<LaneWords>]>) -> Self {
        Self { heads: Heads::Apart(lanes), ..self.clone() }
    }

    /// A participant's seat; `None` when the bus has no such seat.
    pub(crate) fn seat(&self, role: Role, seat: u32) -> Option<Shared<SeatWords>> {
        self.seat_in(&self.control, role, seat)
    }

    /// Where the holder of a seat sleeps; `None` when the bus has no such seat.
    pub(crate) fn bell(&self, role: Role, seat: u32) -> Option<Shared<SeatWords>> {
        self.seat_in(&self.bell_control, role, seat)
    }

    fn seat_in(&self, control: &Arc<Mapping>, role: Role, seat: u32) -> Option<Shared<SeatWords>> {
        let offset = match role {
            Role::Producer => self.geometry.producer_seat(seat),
            Role::Consumer => self.geometry.consumer_seat(seat),
        };
        let known = seat < self.seats(role);
        Shared::at(control, offset - self.geometry.control.offset).filter(|_| known)
    }

    /// How many seats the bus has for a role.
    pub(crate) fn seats(&self, role: Role) -> u32 {
        match role {
            Role::Producer => self.geometry.shape.lanes,
            Role::Consumer => self.geometry.shape.consumers,
        }
    }

    /// A lane's words; `None` when the bus has no such lane.
    pub(crate) fn lane(&self, lane: u32) -> Option<Shared<LaneWords>> {
        match &self.heads {
            Heads::Together(heads) => {
                let known = lane < self.geometry.shape.lanes;
                Shared::at(heads, u64::from(lane) * LANE_WORDS_BYTES).filter(|_| known)
            }
            Heads::Apart(lanes) => lanes.get(usize::try_from(lane).ok()?).cloned(),
        }
    }

    /// The words that gate a lane.
    pub(crate) fn gates(&self, lane: u32) -> LaneGates {
        LaneGates {
            words: self.words.clone(),
            cursors: self.cursors.clone(),
            standings: self.standings.clone(),
            eviction: self.eviction.clone(),
            producer: self.seat(Role::Producer, lane),
            health: self.health.clone(),
            lane,
        }
    }

    /// These regions' mappings.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// How this bus evicts consumers that are slow, if it does.
    pub(crate) fn eviction(&self) -> Option<&Eviction> {
        self.eviction.as_ref()
    }

    /// Whether a consumer gates nobody any more although it has not left yet.
    pub(crate) fn is_let_go(&self, consumer: u32) -> bool {
        self.standings.is_dead(consumer)
            || self.eviction.as_ref().is_some_and(|evict| evict.state(consumer).is_evicted())
    }

    /// Whether a seat is a consumer group's.
    pub(crate) fn is_group(&self, role: Role, seat: u32) -> bool {
        role == Role::Consumer && self.standings.state(seat).is_group()
    }

    /// Tells the holder of a seat in this tenancy to leave. `false`: it is gone, or was told before.
    pub(crate) fn evict(&self, role: Role, seat: u32, epoch: u64) -> bool {
        self.seat(role, seat).is_some_and(|words| {
            // ORDERING: acquire, pairs with the release store in `seat::sit`.
            let state = SeatState::from_word(words.state.load(Ordering::Acquire));
            state.epoch() == epoch && evict::evict_seat(&words, state, &self.words, &self.bells)
        })
    }

    /// Tells whoever watches that a seat was taken, left, given back or told to leave.
    pub(crate) fn note_change(&self) {
        note_change(&self.bells);
    }

    /// Counts an impossible word that was met.
    #[cold]
    pub(crate) fn note_corruption(&self) {
        // ORDERING: relaxed; a statistic.
        self.bells.corruptions.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the bus has been removed.
    pub(crate) fn is_removed(&self) -> bool {
        // ORDERING: acquire, pairs with the release store in `Bus::remove`.
        self.words.removed.load(Ordering::Acquire) != 0
    }

    /// The order ring's words.
    pub(crate) fn order(&self) -> OrderMemory {
        OrderMemory {
            words: self.words.clone(),
            cursors: self.cursors.clone(),
            standings: self.standings.clone(),
            eviction: self.eviction.clone(),
            entries: self.entries.clone(),
        }
    }

    /// The order ring's geometry.
    pub(crate) fn laps(&self) -> Laps {
        Laps::new(self.geometry.order_capacity, self.origin)
    }
}

/// Mappings of which somebody may have cut the file short.
#[derive(Clone, Debug)]
pub(crate) struct Health(Vec<Arc<Mapping>>);

impl Health {
    /// These.
    pub(crate) fn of(mappings: &[&Arc<Mapping>]) -> Self {
        Self(mappings.iter().copied().map(Arc::clone).collect())
    }

    /// These, and the slots of a lane.
    pub(crate) fn and(mut self, data: &LaneData) -> Self {
        let mapping = data.slots.mapping();
        // Readers have one mapping for all lanes.
        if self.0.last().is_none_or(|last| !Arc::ptr_eq(last, mapping)) {
            self.0.push(Arc::clone(mapping));
        }
        self
    }

    /// Whether a page was found missing. Cost: a load, as long as none ever was in this process.
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        alarm::is_raised() && self.0.iter().any(|mapping| mapping.is_broken())
    }
}

/// The data of one lane.
#[derive(Clone, Debug)]
pub(crate) struct LaneData {
    pub(crate) slots: Slots,
    /// The ticket of the run that starts in each slot; empty unless `ordered`.
    pub(crate) tickets: SharedArray,
}

impl LaneData {
    /// Where the ticket of a position is kept. Only where there is an order.
    #[inline]
    pub(crate) fn ticket(&self, position: u64) -> Option<&AtomicU64> {
        // One for each slot: a power of two of them.
        let mask = (self.tickets.len() as u64).wrapping_sub(1);
        self.tickets.get(usize::try_from(position & mask).ok()?)
    }
}

/// Maps one lane's data for its producer.
///
/// # Errors
/// `Io` when the system refuses the mapping.
pub(crate) fn map_lane(
    segment: &Segment,
    geometry: &Geometry,
    lane: u32,
) -> Result<LaneData, Error> {
    let offset = geometry.data.offset + u64::from(lane) * geometry.lane_bytes;
    let region = Region { offset, bytes: geometry.lane_bytes };
    let mapping = map(segment, region, Access::ReadWrite)?;
    lane_data(&mapping, geometry, 0).ok_or_else(|| outside(segment))
}

/// Maps all lanes' data, read-only.
///
/// # Errors
/// `Io` when the system refuses the mapping.
pub(crate) fn map_lanes(
    segment: &Segment,
    geometry: &Geometry,
    view: View,
) -> Result<Vec<LaneData>, Error> {
    let mapping = map(segment, geometry.data, view.reads())?;
    (0..u64::from(geometry.shape.lanes))
        .map(|lane| lane_data(&mapping, geometry, lane * geometry.lane_bytes))
        .collect::<Option<_>>()
        .ok_or_else(|| outside(segment))
}

/// A lane's slots, `offset` bytes into a mapping; `None` when they do not lie in it.
pub(crate) fn lane_data(
    mapping: &Arc<Mapping>,
    geometry: &Geometry,
    offset: u64,
) -> Option<LaneData> {
    let capacity = geometry.shape.capacity;
    let tickets = if geometry.order_capacity > 0 { capacity } else { 0 };
    Some(LaneData {
        slots: Slots::at(mapping, offset, capacity, geometry.frame_shape()?)?,
        tickets: SharedArray::at(mapping, offset + geometry.tickets_offset, tickets)?,
    })
}

fn map(segment: &Segment, region: Region, access: Access) -> Result<Arc<Mapping>, Error> {
    Mapping::new(&segment.file, region, access)
        .map_err(|source| Error::Io { action: "map the segment", source })
}

fn outside(segment: &Segment) -> Error {
    Error::Corrupt {
        name: segment.name.clone(),
        reason: "its words do not lie in its regions".to_owned(),
    }
}

/// Every consumer's row of cursors.
#[derive(Clone, Debug)]
pub(crate) struct Cursors {
    rows: Vec<Option<Row>>,
    /// To whom each row is lent, where each tenant gets a new one; else empty.
    seats: Vec<Shared<SeatWords>>,
}

/// One consumer's cursors.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) words: Shared<CursorWords>,
    /// Positions below are read, lane by lane.
    pub(crate) positions: SharedArray,
    /// Frames lost, lane by lane.
    pub(crate) losses: SharedArray,
    /// How long frames took (`layout::latency`), where those have timestamps.
    pub(crate) latencies: Option<SharedArray>,
    /// The tenancy of the seat that it is for; 0 where rows stay and tenants change.
    epoch: u64,
}

impl Row {
    /// The row at `offset` bytes into a mapping; `None` when it does not lie in it.
    pub(crate) fn at(
        mapping: &Arc<Mapping>,
        geometry: &Geometry,
        offset: u64,
        epoch: u64,
    ) -> Option<Self> {
        let lanes = geometry.shape.lanes.into();
        let positions = offset + crate::layout::words::CURSOR_WORDS_BYTES;
        let latencies = match geometry.latencies_offset() {
            Some(start) => Some(SharedArray::at(mapping, offset + start, latency::WORDS)?),
            None => None,
        };
        Some(Self {
            words: Shared::at(mapping, offset)?,
            positions: SharedArray::at(mapping, positions, lanes)?,
            losses: SharedArray::at(mapping, offset + geometry.losses_offset(), lanes)?,
            latencies,
            epoch,
        })
    }
}

impl Cursors {
    fn of(mapping: &Arc<Mapping>, geometry: &Geometry) -> Option<Self> {
        let row = |consumer: u32| {
            Row::at(mapping, geometry, u64::from(consumer) * geometry.row_bytes, 0).map(Some)
        };
        let rows = (0..geometry.shape.consumers).map(row).collect::<Option<_>>()?;
        Some(Self { rows, seats: Vec::new() })
    }

    /// A consumer's row; `None` when the bus has no such consumer, or nobody has fetched it.
    #[inline]
    pub(crate) fn row(&self, consumer: u32) -> Option<&Row> {
        self.rows.get(usize::try_from(consumer).ok()?)?.as_ref()
    }

    /// Whether the row is that of whoever holds the seat now.
    #[inline]
    pub(crate) fn is_current(&self, consumer: u32) -> bool {
        let index = usize::try_from(consumer).unwrap_or(usize::MAX);
        match self.seats.get(index) {
            Some(seat) => self.row(consumer).is_some_and(|row| row.epoch == seat.epoch()),
            // No seats: rows stay. No such seat: nobody to know.
            None => true,
        }
    }

    /// Puts the row of a new tenant in the place of its predecessor's.
    pub(crate) fn set(&mut self, consumer: u32, row: Row) {
        let index = usize::try_from(consumer).unwrap_or(usize::MAX);
        if let Some(place) = self.rows.get_mut(index) {
            *place = Some(row);
        }
    }
}

/// Tells whoever watches that a seat changed.
fn note_change(bells: &ControlWords) {
    // ORDERING: release, pairs with the acquire load in `Bus::seat_changes`.
    bells.seat_changes.fetch_add(1, Ordering::Release);
}

/// What gates one lane.
#[derive(Clone, Debug)]
pub(crate) struct LaneGates {
    pub(crate) words: Shared<ControlWords>,
    pub(crate) cursors: Cursors,
    standings: Standings,
    eviction: Option<Eviction>,
    /// The seat of the lane's producer.
    producer: Option<Shared<SeatWords>>,
    health: Health,
    lane: u32,
}

impl LaneGates {
    /// The same, for the producer of the lane: it stops when its slots are cut off.
    pub(crate) fn with_data(mut self, data: &LaneData) -> Self {
        self.health = self.health.and(data);
        self
    }

    /// Whether a page of what this lane needs was found missing.
    pub(crate) fn is_broken(&self) -> bool {
        self.health.is_broken()
    }
}

impl Gates for LaneGates {
    fn attached(&self) -> &AtomicU64 {
        &self.words.consumers
    }

    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        self.cursors.row(consumer)?.positions.get(usize::try_from(self.lane).ok()?)
    }

    fn knows(&self, consumer: u32) -> bool {
        self.cursors.is_current(consumer)
    }

    fn lets_go(&self, consumer: u32) -> bool {
        self.standings.is_dead(consumer)
            || self.eviction.as_ref().is_some_and(|evict| evict.state(consumer).is_evicted())
    }

    fn evicts(&self, consumer: u32, head: u64) -> bool {
        self.eviction.as_ref().is_some_and(|evict| evict.evicts(consumer, self.lane, head))
    }

    fn is_closed(&self) -> bool {
        if self.health.is_broken() {
            return true;
        }
        self.producer.as_ref().is_some_and(|seat| {
            // ORDERING: relaxed; whoever was told to leave may learn it a little later.
            SeatState::from_word(seat.state.load(Ordering::Relaxed)).is_evicted()
        })
    }
}

/// The order ring in a segment.
#[derive(Clone, Debug)]
pub(crate) struct OrderMemory {
    words: Shared<ControlWords>,
    cursors: Cursors,
    standings: Standings,
    eviction: Option<Eviction>,
    entries: SharedArray,
}

impl OrderWords for OrderMemory {
    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.words.order_tail
    }

    #[inline]
    fn entries(&self) -> &[AtomicU64] {
        &self.entries
    }

    fn attached(&self) -> &AtomicU64 {
        &self.words.consumers
    }

    fn cursor(&self, consumer: u32) -> Option<&AtomicU64> {
        Some(&self.cursors.row(consumer)?.words.order_cursor)
    }

    fn lets_go(&self, consumer: u32) -> bool {
        self.standings.is_dead(consumer)
            || self.eviction.as_ref().is_some_and(|evict| evict.state(consumer).is_evicted())
    }

    fn patience_ns(&self) -> &AtomicU64 {
        &self.words.patience_ns
    }

    fn punches(&self) -> &AtomicU64 {
        &self.words.punches
    }
}
