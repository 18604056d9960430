//! One hosted bus: the board that its broker alone writes, and who holds which seat.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::acl::{Allow, Peer, Roles, Who};
use super::lanes::HostedLane;
use super::rows::HostedRow;
use super::{Push, refusal, refusal_of};
use crate::broker::memory::{self, Part};
use crate::broker::message::{Lent, Refusal};
use crate::bus::{BusInfo, BusOptions, BusStat, schema_of, stat};
use crate::error::Error;
use crate::layout::geometry::Region;
use crate::layout::header::{FIXED_BYTES, Header};
use crate::participant::{Participant, Reclaimed, Role};
use crate::regions::Regions;
use crate::schema::Schema;
use crate::seat::{self, recovery};
use crate::shm::mapping::{Access, Mapping};
use crate::shm::sealed::{self, Expected, Seals};
use crate::sync::{Ordering, clock};

/// Holders that a refusal names at most, so that it fits a packet.
const HOLDERS_MAX: usize = 64;

/// Regions that are sent unasked to somebody who asks for nothing, at most: what is queued keeps its
/// memory, and counts against the descriptors that a user may have on the way.
const UNHEARD_MAX: u32 = 8;

/// A bus whose memory this process made and hands out.
#[derive(Debug)]
pub struct HostedBus {
    pub(super) bus: memory::Bus,
    info: BusInfo,
    schema: Option<Schema>,
    allow: Vec<Allow>,
    pub(super) regions: Regions,
    board: Arc<File>,
    bells: Arc<File>,
    pub(super) lanes: Vec<HostedLane>,
    pub(super) rows: Vec<HostedRow>,
}

/// Who has a seat.
#[derive(Debug, Default)]
pub(super) enum Hold {
    #[default]
    Nobody,
    /// Lent, and not sealed yet.
    Lent { session: u64, name: String, lent: Lent, file: Arc<File> },
    /// Taken. `unheard` counts what was sent unasked since its holder last asked for anything.
    Held { session: u64, unheard: u32 },
}

impl Hold {
    pub(super) fn is_free(&self) -> bool {
        matches!(self, Self::Nobody)
    }
}

impl HostedBus {
    pub(super) fn create(
        options: &BusOptions,
        name: &str,
        creator: u32,
        mut allow: Vec<Allow>,
    ) -> Result<Self, Error> {
        let (header, document) = options.brokered_header(name, creator)?;
        let owner = rustix::process::geteuid().as_raw();
        let always = [0, owner, creator];
        allow.extend(always.map(|uid| Allow { who: Who::User(uid), roles: Roles::Both }));
        let schema = schema_of(name, &header, document.as_bytes())?;
        let (board, mapping) = make_board(name, &header, document.as_bytes())?;
        let bus = memory::Bus { name: name.to_owned(), owner, header, board: mapping };
        let (bells, bell_mapping) = make_bells(&bus)?;
        let regions = Regions::apart(&header, &bus.board, &bell_mapping, Arc::new([]))
            .ok_or_else(|| bus.outside())?;
        let blank = bus.blank_lane()?;
        let shape = header.geometry.shape;
        let lanes: Vec<HostedLane> =
            (0..shape.lanes).map(|_| HostedLane::new(header.origin, blank.words.clone())).collect();
        let rows = (0..shape.consumers).map(|_| HostedRow::default()).collect();
        let info = BusInfo::of(name, &header);
        let mut hosted = Self { bus, info, schema, allow, regions, board, bells, lanes, rows };
        hosted.note_change();
        Ok(hosted)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.bus.name
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &BusInfo {
        &self.info
    }

    /// What its frames mean.
    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    /// Who may use it.
    #[must_use]
    pub fn allow(&self) -> &[Allow] {
        &self.allow
    }

    /// How it stands.
    #[must_use]
    pub fn stat(&self) -> BusStat {
        stat::snapshot(None, &self.bus.header, &self.regions)
    }

    /// Who is attached now, producers first.
    #[must_use]
    pub fn participants(&self) -> Vec<Participant> {
        let mut all = seat::participants(None, &self.regions, Role::Producer);
        all.extend(seat::participants(None, &self.regions, Role::Consumer));
        all
    }

    /// Now, on the clock of its frames.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        clock::monotonic_ns()
    }

    /// In what it is not what the options ask for, if in anything.
    ///
    /// # Errors
    /// [`Error::BadGeometry`] when the options themselves are wrong.
    pub fn difference(&self, options: &BusOptions) -> Result<Option<String>, Error> {
        options.difference_from(&self.bus.header)
    }

    pub(super) fn instance(&self) -> u64 {
        self.bus.header.instance
    }

    pub(super) fn board(&self) -> Arc<File> {
        Arc::clone(&self.board)
    }

    pub(super) fn bells(&self) -> Arc<File> {
        Arc::clone(&self.bells)
    }

    fn admits(&self, peer: &Peer, role: Role) -> bool {
        self.allow.iter().any(|line| line.admits(peer, role))
    }

    /// Refuses whoever may not be that.
    pub(super) fn check(&self, peer: &Peer, role: Role) -> Result<(), Refusal> {
        if self.admits(peer, role) {
            return Ok(());
        }
        let name = self.name();
        let message = format!("uid {} may not be a {role} on bus {name:?}", peer.uid);
        Err(refusal("permission", &message))
    }

    /// Refuses whoever may be nothing.
    pub(super) fn check_any(&self, peer: &Peer) -> Result<(), Refusal> {
        self.check(peer, Role::Consumer).or_else(|_| self.check(peer, Role::Producer)).map_err(
            |_| {
                let message = format!("uid {} may not use bus {:?}", peer.uid, self.name());
                refusal("permission", &message)
            },
        )
    }

    /// Makes a new region of this bus, whose tenant has still to map it.
    pub(super) fn make(&self, part: Part) -> Result<File, Refusal> {
        let label = part.label(&self.bus.name, self.bus.header.instance);
        let bytes = part.bytes(&self.bus.header.geometry);
        sealed::create(&label, bytes)
            .map_err(|source| refusal_of(&no_memory(&self.bus.name, bytes, source)))
    }

    /// Verifies that a tenant has sealed what it was lent, and gives a descriptor of it for everybody
    /// else.
    pub(super) fn verify(&self, part: Part, file: &File) -> Result<Arc<File>, Refusal> {
        let label = part.label(&self.bus.name, self.bus.header.instance);
        let bytes = part.bytes(&self.bus.header.geometry);
        let (seals, access, owner) = (Seals::Owned, Access::ReadWrite, self.bus.owner);
        sealed::check(file, &Expected { label: &label, bytes, seals, access, owner })
            .map_err(|reason| refusal("protocol", &reason))?;
        let reader = sealed::read_only(file)
            .map_err(|source| refusal_of(&Error::Io { action: "open memory again", source }))?;
        Ok(Arc::new(reader))
    }

    /// The seat's memory is mapped and sealed: its holder is attached from now on.
    pub(super) fn seal(
        &mut self,
        session: u64,
        peer: &Peer,
        role: Role,
        seat: u32,
    ) -> Result<Participant, Refusal> {
        let hold = match role {
            Role::Producer => self.lanes.get_mut(index(seat)).map(|lane| &mut lane.hold),
            Role::Consumer => self.rows.get_mut(index(seat)).map(|row| &mut row.hold),
        };
        let lent = hold.map(std::mem::take);
        let Some(Hold::Lent { name, lent, file, .. }) = lent else {
            return Err(refusal("protocol", "nothing is lent that could be sealed"));
        };
        match role {
            Role::Producer => self.open_lane(session, peer, &name, lent, &file)?,
            Role::Consumer => self.open_row(session, peer, &name, lent, &file)?,
        }
        self.note_change();
        seat::occupant(None, &self.regions, role, seat)
            .ok_or_else(|| refusal("protocol", "the seat is not there"))
    }

    /// Gives a seat back. `None` when nobody was attached there by this session.
    pub(super) fn vacate(
        &mut self,
        session: u64,
        role: Role,
        seat: u32,
        has_died: bool,
    ) -> Option<Reclaimed> {
        let hold = match role {
            Role::Producer => &mut self.lanes.get_mut(index(seat))?.hold,
            Role::Consumer => &mut self.rows.get_mut(index(seat))?.hold,
        };
        match hold {
            Hold::Lent { session: by, .. } if *by == session => {
                *hold = Hold::Nobody;
                return None;
            }
            Hold::Held { session: by, .. } if *by == session => *hold = Hold::Nobody,
            _ => return None,
        }
        let who = seat::occupant(None, &self.regions, role, seat)?;
        let position = match role {
            Role::Producer => self.close_lane(seat),
            Role::Consumer => {
                self.close_row(seat);
                0
            }
        };
        if has_died {
            // ORDERING: relaxed; a statistic.
            self.regions.words.recoveries.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(words) = self.regions.seat(role, seat) {
            seat::set_free(&words);
        }
        self.note_change();
        let Participant { pid, uid, name, .. } = who;
        Some(Reclaimed { role, seat, pid, uid, name, position })
    }

    /// Who holds the seats of a role, for whoever finds none.
    pub(super) fn taken(&self, role: Role) -> Refusal {
        let mut holders = seat::participants(None, &self.regions, role);
        holders.truncate(HOLDERS_MAX);
        let message = format!("every {role} seat of bus {:?} is taken", self.name());
        Refusal { code: "seats_taken".to_owned(), message, holders }
    }

    pub(super) fn mark_removed(&self) {
        // ORDERING: release, pairs with the acquire load in `Regions::is_removed`.
        self.regions.words.removed.store(1, Ordering::Release);
        self.count_change();
    }

    /// Tells everybody that something has changed, and whoever looks, how the lanes stand now.
    pub(super) fn note_change(&mut self) {
        let lanes = self.lanes.iter().map(HostedLane::words).collect();
        self.regions = self.regions.with_lanes(lanes);
        self.count_change();
    }

    fn count_change(&self) {
        // ORDERING: release, pairs with the acquire load in `Feed::is_stale`.
        self.regions.words.seat_changes.fetch_add(1, Ordering::Release);
        // The same where those who sleep look; anybody can write there.
        self.regions.note_change();
    }

    /// Stops a consumer from gating anybody.
    fn close_row(&mut self, seat: u32) {
        recovery::clear_consumer(&self.regions, seat);
        self.drop_row(seat);
    }
}

impl HostedBus {
    /// The holder of a seat has asked for something, and so has taken what was sent unasked.
    pub(super) fn has_heard(&mut self, role: Role, seat: u32) {
        let hold = match role {
            Role::Producer => self.lanes.get_mut(index(seat)).map(|lane| &mut lane.hold),
            Role::Consumer => self.rows.get_mut(index(seat)).map(|row| &mut row.hold),
        };
        if let Some(Hold::Held { unheard, .. }) = hold {
            *unheard = 0;
        }
    }

    /// The sessions of a role that are to be told of a new region now. The others have not listened
    /// for long, and ask when they want to know.
    fn listeners(&mut self, role: Role) -> Vec<u64> {
        let holds: Vec<&mut Hold> = match role {
            Role::Producer => self.lanes.iter_mut().map(|lane| &mut lane.hold).collect(),
            Role::Consumer => self.rows.iter_mut().map(|row| &mut row.hold).collect(),
        };
        let mut listeners = Vec::new();
        for hold in holds {
            if let Hold::Held { session, unheard } = hold
                && *unheard < UNHEARD_MAX
            {
                *unheard += 1;
                listeners.push(*session);
            }
        }
        listeners
    }

    pub(super) fn stop_pushing(&mut self, to: u64) {
        let lanes = self.lanes.iter_mut().map(|lane| &mut lane.hold);
        for hold in lanes.chain(self.rows.iter_mut().map(|row| &mut row.hold)) {
            if let Hold::Held { session, unheard } = hold
                && *session == to
            {
                *unheard = UNHEARD_MAX;
            }
        }
    }

    /// What those of the other role are to be sent, before the new tenant is told that it is attached:
    /// then they have it even if this process ends in the next moment.
    pub(super) fn news(&mut self, role: Role, seat: u32) -> Vec<Push> {
        let (present, to) = match role {
            Role::Producer => {
                (self.lanes.get(index(seat)).and_then(HostedLane::present), Role::Consumer)
            }
            Role::Consumer => {
                (self.rows.get(index(seat)).and_then(HostedRow::present), Role::Producer)
            }
        };
        let Some((lent, file)) = present else {
            return Vec::new();
        };
        let tell = |session| Push::of(session, lent, Arc::clone(&file));
        self.listeners(to).into_iter().map(tell).collect()
    }
}

/// A number of a seat as an index.
pub(super) fn index(seat: u32) -> usize {
    usize::try_from(seat).unwrap_or(usize::MAX)
}

fn make_board(
    name: &str,
    header: &Header,
    document: &[u8],
) -> Result<(Arc<File>, Arc<Mapping>), Error> {
    let bytes = header.geometry.board_bytes();
    let failed = |source| no_memory(name, bytes, source);
    let file = sealed::create(&Part::Board.label(name, header.instance), bytes).map_err(failed)?;
    file.write_all_at(header.encode(name, document).as_bytes(), 0).map_err(failed)?;
    file.write_all_at(document, FIXED_BYTES).map_err(failed)?;
    let mapping =
        Mapping::new(&file, header.geometry.control, Access::ReadWrite).map_err(failed)?;
    sealed::seal(&file, Seals::Owned).map_err(failed)?;
    Ok((Arc::new(sealed::read_only(&file).map_err(failed)?), mapping))
}

fn make_bells(bus: &memory::Bus) -> Result<(Arc<File>, Arc<Mapping>), Error> {
    let bytes = bus.header.geometry.bells_bytes();
    let failed = |source| no_memory(&bus.name, bytes, source);
    let label = Part::Bells.label(&bus.name, bus.header.instance);
    let file = sealed::create(&label, bytes).map_err(failed)?;
    sealed::seal(&file, Seals::Common).map_err(failed)?;
    let mapping = Mapping::new(&file, Region { offset: 0, bytes }, Access::ReadWrite);
    Ok((Arc::new(file), mapping.map_err(failed)?))
}

/// Memory that there is none of is an error that says how much was asked for.
fn no_memory(name: &str, bytes: u64, source: std::io::Error) -> Error {
    match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::OutOfMemory => {
            Error::NoSpace { name: name.to_owned(), bytes }
        }
        _ => Error::Io { action: "make memory for a brokered bus", source },
    }
}
