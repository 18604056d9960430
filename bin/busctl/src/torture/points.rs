//! Which crash points there are, which workers come to each on which buses, and how often.

use super::plan::Part;
use super::scenario::Scenario;
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
        }
    }

    /// Whether some of them have groups, and are tortured with one.
    fn have_groups(self) -> bool {
        !matches!(self, Self::Lossy | Self::Evicting)
    }

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Lossless => "block, reject",
            Self::Lossy => "drop-oldest",
            Self::Blocking => "block",
            Self::Ordered => "ordered",
            Self::Evicting => "evicting",
        }
    }
}

/// Who sleeps.
const WAITING: &[Part] = &[Part::Producer, Part::Consumer, Part::Member];
/// Who attaches to a bus; members do to send a letter.
const SITTING: &[Part] = &[Part::Producer, Part::Consumer, Part::Member, Part::Keeper];
/// Who publishes.
const WRITING: &[Part] = &[Part::Producer, Part::Member];
const RECOVERING: &[Part] =
    &[Part::Recoverer, Part::Producer, Part::Consumer, Part::Member, Part::Keeper];
const MAKING: &[Part] = &[Part::Creator, Part::Keeper];
/// Who works for a group.
const GROUPED: &[Part] = &[Part::Member, Part::Undertaker];

/// How often a member comes to a point in sending letters, before it is killed otherwise.
const LETTERS: u64 = 3;

/// Every point has a place, so that a new one cannot be forgotten.
fn place(point: CrashPoint) -> Place {
    use CrashPoint as P;
    let (parts, buses, often): (&'static [Part], Buses, u64) = match point {
        P::CreditAnnounced => (WRITING, Buses::Lossless, 200),
        P::OverwriteAnnounced => (&[Part::Producer], Buses::Lossy, 2_000),
        P::FrameHalfWritten | P::FrameWritten => (WRITING, Buses::All, 500),
        P::HeadNotStored | P::HeadStored => (WRITING, Buses::All, 5_000),
        P::TicketTaken | P::TicketMarked | P::TicketRecorded | P::EntrySet => {
            (&[Part::Producer], Buses::Ordered, 5_000)
        }
        P::HoleFound | P::HolePunched => (&[Part::Consumer], Buses::Ordered, 3),
        P::CursorNotStored | P::CursorStored => (&[Part::Consumer], Buses::All, 2_000),
        P::OrderCursorNotStored => (&[Part::Consumer], Buses::Ordered, 500),
        P::SeatLocked | P::SeatKept | P::SeatTaken => (SITTING, Buses::All, 1),
        P::BitsCleared | P::SeatFreed => {
            (&[Part::Producer, Part::Consumer, Part::Member], Buses::All, 1)
        }
        P::LaneNotOpen => (WRITING, Buses::All, 1),
        P::CursorsPlaced | P::JoinBegun => (&[Part::Consumer], Buses::All, 1),
        P::Sleeping => (WAITING, Buses::Blocking, 10),
        P::DeathDeclared | P::RecoveryBegun | P::LaneSettled | P::DeadCleared | P::DeadFreed => {
            (RECOVERING, Buses::All, 3)
        }
        // `torture table` and `tests/crash_points` try these.
        P::KeyAskedFor
        | P::ValueHalfWritten
        | P::CellNotSet
        | P::CellSet
        | P::SlotTaken
        | P::SlotClaimed
        | P::BellRung
        | P::DeskSettled => (&[], Buses::All, 1),
        P::EvictionMarked => (&[Part::Producer, Part::Recoverer], Buses::Evicting, 2),
        P::SegmentOpened | P::SegmentAllocated | P::SegmentWritten | P::SegmentNamed => {
            (MAKING, Buses::All, 5)
        }
        P::SegmentUnlinked => (&[Part::Creator], Buses::All, 5),
        P::GroupClaimed
        | P::GroupAckNotMade
        | P::GroupAckMade
        | P::GroupGateNotMoved
        | P::GroupGateMoved => (GROUPED, Buses::Lossless, 2_000),
        P::GroupClaimEnded => (GROUPED, Buses::Lossless, 20),
        P::GroupLetterSent => (&[Part::Member], Buses::Lossless, LETTERS),
        P::GroupSeatLocked | P::GroupMemberSeated => (GROUPED, Buses::Lossless, 1),
        P::GroupNamed | P::GroupNotSeated | P::GroupSeated | P::GroupDisbanded => {
            (&[Part::Keeper], Buses::Lossless, 5)
        }
        // Some groups have affinity; in the others, a member is killed otherwise in time.
        P::GroupShareTaken | P::GroupShareGivenUp => (&[Part::Member], Buses::Lossless, 5),
    };
    Place { parts, buses, often }
}

/// The points that the workers of a scenario come to.
pub fn of(scenario: Scenario) -> impl Iterator<Item = CrashPoint> {
    let is_reached = move |point: &CrashPoint| {
        let Place { parts, buses, .. } = place(*point);
        let is_there = scenario == Scenario::Buses || buses.have_groups();
        is_there && scenario.parts().iter().any(|part| parts.contains(part))
    };
    CrashPoint::ALL.iter().copied().filter(is_reached)
}

/// The points that a worker of this part comes to on such a bus.
pub fn reached_by(part: Part, shape: &Shape, among: &[CrashPoint]) -> Vec<CrashPoint> {
    let is_reached = |point: &CrashPoint| {
        let place = place(*point);
        place.parts.contains(&part) && place.buses.include(shape)
    };
    among.iter().copied().filter(is_reached).collect()
}

/// How often a process of this part comes to a point, roughly.
pub fn often(point: CrashPoint, part: Part) -> u64 {
    let Place { parts, often, .. } = place(point);
    // What members do as others do, they do for letters.
    let sends = part == Part::Member && parts.contains(&Part::Producer);
    if sends { often.min(LETTERS) } else { often }
}

/// Whether a point is reached by who leaves only.
pub fn is_in_leaving(point: CrashPoint) -> bool {
    matches!(point, CrashPoint::BitsCleared | CrashPoint::SeatFreed)
}

/// A point as `--list-points` shows it: name, who comes there, on which buses.
pub fn described(point: CrashPoint, scenario: Scenario) -> [String; 3] {
    let place = place(point);
    let parts = place.parts.iter().filter(|part| scenario.parts().contains(part));
    let parts: Vec<&str> = parts.map(|part| part.name()).collect();
    [point.name().to_owned(), parts.join(", "), place.buses.name().to_owned()]
}
