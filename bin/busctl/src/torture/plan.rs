//! What a worker is told when it is started, as one JSON argument.

use super::board::Phase;
use busway_crashable::{CrashAction, CrashPoint};
use serde::{Deserialize, Serialize};

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Publishes checkable frames as fast as it can.
    Producer,
    /// Takes a seat, reads and checks.
    Consumer,
    /// Takes no seat, reads and checks.
    Observer,
    /// Gives back the seats of the dead, all the time.
    Recoverer,
    /// Makes and removes buses of its own.
    Creator,
    /// Works for a group: takes frames, acknowledges, refuses, is late.
    Member,
    /// Makes, uses, resets and removes another group of the bus.
    Keeper,
    /// Takes the dead letters.
    Undertaker,
}

impl Part {
    /// The name in `ps` and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Observer => "observer",
            Self::Recoverer => "recoverer",
            Self::Creator => "creator",
            Self::Member => "member",
            Self::Keeper => "keeper",
            Self::Undertaker => "undertaker",
        }
    }

    /// The phase in which it leaves.
    pub const fn leaves_in(self) -> Phase {
        match self {
            Self::Producer | Self::Recoverer | Self::Creator | Self::Keeper => Phase::Leave,
            Self::Consumer | Self::Observer | Self::Member => Phase::Drain,
            Self::Undertaker => Phase::Close,
        }
    }

    /// Whether others may rightly wait for it while it stands still.
    pub const fn is_waited_for(self) -> bool {
        matches!(self, Self::Consumer | Self::Member | Self::Keeper | Self::Undertaker)
    }

    /// Whether what is left is dealt with by nobody else: one that dies at the end is replaced.
    pub const fn is_needed_to_the_end(self) -> bool {
        matches!(self, Self::Member | Self::Undertaker)
    }
}

/// Where a worker dies or stops by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// The crash point's name.
    pub point: String,
    /// The how-manieth time that it comes there.
    pub nth: u64,
    /// Stands still there until it is told to go on, and does not die.
    pub stops: bool,
}

impl Arm {
    /// Arms this process.
    pub fn put_into_force(&self) -> Result<(), String> {
        let point: CrashPoint = self.point.parse()?;
        let action = if self.stops { CrashAction::Stop } else { CrashAction::Die };
        busway_crashable::arm(point, self.nth, action);
        Ok(())
    }
}

/// How a worker breaks a promise, so that it is seen to be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sabotage {
    /// A producer leaves a frame out.
    Skip,
    /// A producer publishes a frame twice.
    Repeat,
    /// A producer spoils a byte.
    Flip,
    /// A producer exchanges two frames of a batch.
    Swap,
    /// A producer publishes half of what it calls a batch.
    HalfBatch,
    /// A producer says that it begins to commit when it has.
    Early,
    /// A producer publishes what it ought to have given up.
    Abort,
    /// A producer says that it has committed what it has not.
    Boast,
    /// A producer stands still.
    Idle,
    /// A producer leaves its seat and goes on as if it had not.
    Leave,
    /// A consumer miscounts.
    Miscount,
    /// A creator leaves a bus behind.
    Litter,
    /// A member deals with frames that it tells nobody of.
    Swallow,
    /// A member is told twice that a frame is done.
    Twice,
    /// A member is handed a frame more often than allowed.
    Overtry,
    /// A member leaves and goes on as if it had not.
    Desert,
    /// A member does nothing.
    Doze,
    /// A keeper leaves a group behind.
    Abandon,
    /// An undertaker throws letters away.
    Burn,
}

impl Sabotage {
    /// Who does it.
    pub const fn part(self) -> Part {
        match self {
            Self::Miscount => Part::Consumer,
            Self::Litter => Part::Creator,
            Self::Swallow | Self::Twice | Self::Overtry | Self::Desert | Self::Doze => Part::Member,
            Self::Abandon => Part::Keeper,
            Self::Burn => Part::Undertaker,
            _ => Part::Producer,
        }
    }
}

/// A worker's orders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which of all that a run has had.
    pub life: u64,
    pub part: Part,
    /// The process it works for.
    pub parent_pid: u32,
    /// The number of the inherited descriptor.
    pub board: i32,
    /// The same of the journal, where a group is tortured.
    pub journal: Option<i32>,
    /// The bus; for a creator, the one that it makes.
    pub bus: String,
    /// Where it draws from what is not said here.
    pub seed: u64,
    /// Frames that it publishes, or claims, together at most.
    pub batch_max: u64,
    pub arm: Option<Arm>,
    /// When it leaves in order, if it does before the end.
    pub leave_after_ms: Option<u64>,
    /// It lives until the end: it is quick, and does not nap.
    pub stays: bool,
    pub sabotage: Option<Sabotage>,
}
