//! What a run is of, and what all runs are told: the arguments that they share, and what each makes
//! of its own.

use super::plan::{self, Part};
use super::shape::Shape;
use crate::units::{in_range, parse_count_from_one};
use busway::{Delivery, OnFull, Topology};
use busway_crashable::CrashPoint;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Whose promises are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Those of buses.
    Buses,
    /// Those of a consumer group.
    Groups,
}

impl Scenario {
    /// Who has a place in it.
    pub const fn parts(self) -> &'static [Part] {
        match self {
            Self::Buses => {
                &[Part::Producer, Part::Consumer, Part::Observer, Part::Recoverer, Part::Creator]
            }
            Self::Groups => {
                &[Part::Producer, Part::Member, Part::Keeper, Part::Undertaker, Part::Recoverer]
            }
        }
    }

    /// The command.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Buses => "busctl torture",
            Self::Groups => "busctl torture group",
        }
    }

    /// The schemas of its report and of its list of points.
    pub const fn schemas(self) -> [&'static str; 2] {
        match self {
            Self::Buses => ["busway.torture/1", "busway.torture-points/1"],
            Self::Groups => ["busway.torture-group/1", "busway.torture-group-points/1"],
        }
    }
}

/// What every run is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Orders {
    /// How long it runs [default: 30]
    #[arg(long, value_name = "N", value_parser = in_range::<u64>(1, super::SECONDS_MAX))]
    pub seconds: Option<u64>,
    /// Runs until so many processes have been killed
    #[arg(long, value_name = "N", value_parser = parse_count_from_one, conflicts_with = "seconds")]
    pub kills: Option<u64>,
    /// The buses' topology
    #[arg(long, value_name = "TOPOLOGY", default_value = "all", value_parser = topologies())]
    pub topology: Several<Topology>,
    /// Producers of a bus; `single` has one
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = in_range::<u32>(1, super::ENDS_MAX))]
    pub producers: u32,
    /// Draws the schedule: who is killed or stopped, when, and where; random unless given
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Crash points at which workers die, separated by commas; all unless given
    #[arg(long, value_name = "POINT,…", value_delimiter = ',', value_parser = parse_point)]
    pub points: Vec<CrashPoint>,
    /// List the crash points
    #[arg(long)]
    pub list_points: bool,
    /// Go on after a violation
    #[arg(long)]
    pub keep_going: bool,
    /// Has a worker break a promise, to see that it is noticed
    #[arg(long, hide = true, value_name = "KIND")]
    pub sabotage: Option<plan::Sabotage>,
}

/// A run, as its arguments say it.
pub struct Run<'a> {
    pub scenario: Scenario,
    pub orders: &'a Orders,
    /// How many kinds of buses there are, in turn.
    pub kinds: u64,
    /// The `number`-th bus that a seed draws.
    pub shape: &'a dyn Fn(u64, u64) -> Shape,
    /// Words of the command line that are not in the orders.
    pub words: String,
    /// Readers of a bus at a time, as the arguments call them.
    pub readers: (&'static str, u32),
    /// Daemons are killed as well.
    pub daemon: bool,
}

/// One choice or all of them.
#[derive(Clone, Debug)]
pub struct Several<T>(pub Vec<T>);

impl<T: Copy> Several<T> {
    /// The choice by its name, or `all`.
    pub fn name(&self, name: impl Fn(T) -> &'static str) -> &'static str {
        match self.0.as_slice() {
            [one] => name(*one),
            _ => "all",
        }
    }
}

/// Reads one of several by its name, or `all` of them.
pub fn several<T>(
    names: &'static [&'static str],
    all: &'static [T],
) -> impl TypedValueParser<Value = Several<T>>
where
    T: std::str::FromStr + Copy + Send + Sync + 'static,
{
    let with_all: Vec<&'static str> = names.iter().copied().chain(["all"]).collect();
    PossibleValuesParser::new(with_all)
        .map(|name| Several(name.parse().map_or_else(|_| all.to_vec(), |one| vec![one])))
}

/// The kind of the `number`-th bus, of several in turn.
pub fn in_turn<T: Copy>(kinds: &[T], number: u64) -> Option<T> {
    let count = u64::try_from(kinds.len()).unwrap_or(0);
    kinds.get(usize::try_from(number.checked_rem(count)?).ok()?).copied()
}

fn topologies() -> impl TypedValueParser<Value = Several<Topology>> {
    several(Topology::NAMES, &[Topology::Single, Topology::Lanes, Topology::Ordered])
}

/// Reads what a full lane does, of buses that have groups.
pub fn lossless() -> impl TypedValueParser<Value = Several<OnFull>> {
    several(&["block", "reject"], &[OnFull::Block, OnFull::Reject])
}

/// Reads what a group promises.
pub fn deliveries() -> impl TypedValueParser<Value = Several<Delivery>> {
    several(Delivery::NAMES, &[Delivery::AtLeastOnce, Delivery::AtMostOnce])
}

/// Reads what a full lane does.
pub fn policies() -> impl TypedValueParser<Value = Several<OnFull>> {
    several(OnFull::NAMES, &[OnFull::Block, OnFull::Reject, OnFull::DropOldest])
}

fn parse_point(text: &str) -> Result<CrashPoint, String> {
    text.parse().map_err(|error| format!("{error}; --list-points shows them"))
}
