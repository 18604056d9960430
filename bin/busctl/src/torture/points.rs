//! Which crash points there are, which workers come to each on which buses, and how often.

use super::plan::Part;
use super::shape::Shape;
use busway::{OnFull, Topology};
use busway_crashable::CrashPoint;

/// Where a point is reached.
struct Place {
    parts: &'static [Part],
    /// On which buses.
    buses: Buses,
    /// How often a process comes there before it is killed otherwise, roughly.
    often: u64,
}

/// Kinds of buses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Buses {
    All,
    Lossless,
    Lossy,
    Blocking,
    Ordered,
    Evicting,
    /// None: tables.
    Tables,
}

impl Buses {
    fn include(self, shape: &Shape) -> bool {
        match self {
            Self::All => true,
            Self::Lossless => shape.on_full.is_lossless(),
            Self::Lossy => !shape.on_full.is_lossless(),
            Self::Blocking => shape.on_full == OnFull::Block,
            Self::Ordered => shape.topology == Topology::Ordered,
            Self::Evicting => shape.evicts(),
            Self::Tables => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Lossless => "block, reject",
            Self::Lossy => "drop-oldest",
            Self::Blocking => "block",
            Self::Ordered => "ordered",
            Self::Evicting => "evicting",
            Self::Tables => "tables",
        }
    }
}

const ENDS: &[Part] = &[Part::Producer, Part::Consumer];
const RECOVERING: &[Part] = &[Part::Recoverer, Part::Producer, Part::Consumer];

/// Every point has a place, so that a new one cannot be forgotten.
fn place(point: CrashPoint) -> Place {
    use CrashPoint as P;
    let (parts, buses, often): (&'static [Part], Buses, u64) = match point {
        P::CreditAnnounced => (&[Part::Producer], Buses::Lossless, 200),
        P::OverwriteAnnounced => (&[Part::Producer], Buses::Lossy, 2_000),
        P::FrameHalfWritten | P::FrameWritten => (&[Part::Producer], Buses::All, 500),
        P::HeadNotStored | P::HeadStored => (&[Part::Producer], Buses::All, 5_000),
        P::TicketTaken | P::TicketMarked | P::TicketRecorded | P::EntrySet => {
            (&[Part::Producer], Buses::Ordered, 5_000)
        }
        P::HoleFound | P::HolePunched => (&[Part::Consumer], Buses::Ordered, 3),
        P::CursorNotStored | P::CursorStored => (&[Part::Consumer], Buses::All, 2_000),
        P::OrderCursorNotStored => (&[Part::Consumer], Buses::Ordered, 500),
        P::SeatLocked | P::SeatKept | P::SeatTaken | P::BitsCleared | P::SeatFreed => {
            (ENDS, Buses::All, 1)
        }
        P::LaneNotOpen => (&[Part::Producer], Buses::All, 1),
        P::CursorsPlaced | P::JoinBegun => (&[Part::Consumer], Buses::All, 1),
        P::Sleeping => (ENDS, Buses::Blocking, 10),
        P::DeathDeclared | P::RecoveryBegun | P::LaneSettled | P::DeadCleared | P::DeadFreed => {
            (RECOVERING, Buses::All, 3)
        }
        P::KeyAskedFor
        | P::ValueHalfWritten
        | P::CellNotSet
        | P::CellSet
        | P::SlotTaken
        | P::SlotClaimed
        | P::BellRung
        | P::DeskSettled => (&[Part::Producer], Buses::Tables, 1_000),
        P::EvictionMarked => (&[Part::Producer, Part::Recoverer], Buses::Evicting, 2),
        P::SegmentOpened
        | P::SegmentAllocated
        | P::SegmentWritten
        | P::SegmentNamed
        | P::SegmentUnlinked => (&[Part::Creator], Buses::All, 5),
        // Nobody here works for a group; `tests/groups` tries these.
        P::GroupClaimed
        | P::GroupAckNotMade
        | P::GroupAckMade
        | P::GroupClaimEnded
        | P::GroupGateNotMoved
        | P::GroupGateMoved
        | P::GroupLetterSent
        | P::GroupShareTaken
        | P::GroupShareGivenUp
        | P::GroupSeatLocked
        | P::GroupMemberSeated
        | P::GroupNamed
        | P::GroupNotSeated
        | P::GroupSeated
        | P::GroupDisbanded => (&[], Buses::Lossless, 1),
    };
    Place { parts, buses, often }
}

/// The points that workers come to.
pub fn all() -> impl Iterator<Item = CrashPoint> {
    CrashPoint::ALL.iter().copied().filter(|point| !place(*point).parts.is_empty())
}

/// The points that a worker of this part comes to on such a bus.
pub fn reached_by(part: Part, shape: &Shape, among: &[CrashPoint]) -> Vec<CrashPoint> {
    let is_reached = |point: &CrashPoint| {
        let place = place(*point);
        place.parts.contains(&part) && place.buses.include(shape)
    };
    among.iter().copied().filter(is_reached).collect()
}

/// How often a process comes to a point, roughly.
pub fn often(point: CrashPoint) -> u64 {
    place(point).often
}

/// Whether a point is reached by who leaves only.
pub fn is_in_leaving(point: CrashPoint) -> bool {
    matches!(point, CrashPoint::BitsCleared | CrashPoint::SeatFreed)
}

/// A point as `--list-points` shows it: name, who comes there, on which buses.
pub fn described(point: CrashPoint) -> [String; 3] {
    let place = place(point);
    let parts: Vec<&str> = place.parts.iter().map(|part| part.name()).collect();
    [point.name().to_owned(), parts.join(", "), place.buses.name().to_owned()]
}
