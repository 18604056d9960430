//! `torture group`: members of a consumer group that are killed and stopped while they share the work,
//! beside others who make and remove a second group and take the dead letters.
//!
//! ```text
//! member      takes frames, acknowledges, refuses, is late, leaves     book     what it looks at
//! keeper      makes, uses, resets and removes a second group           journal  what became of each frame
//! undertaker  takes dead letters                                       stage    the group, and its audit
//! report      what is shown of it
//! ```
//! Producers, and what is done to everybody, are those of `torture`.

mod book;
pub mod journal;
pub mod keeper;
pub mod member;
pub mod report;
pub mod stage;
pub mod undertaker;

use super::scenario::{self, Orders, Run, Scenario, Several};
use super::shape::{GroupKind, Shape};
use super::{ENDS_MAX, conduct};
use crate::exit::Failure;
use crate::output::Out;
use crate::units::in_range;
use busway::{Affinity, Delivery, OnFull, Topology};
use std::process::ExitCode;

/// The group that is tortured.
const GROUP: &str = "work";
/// The one that keepers have.
const SIDE: &str = "side";
/// The one that a keeper leaves behind, where it is to be noticed.
const ABANDONED: &str = "abandoned";
/// The group that holds letters on their bus.
const HOLDER: &str = "dead";

/// The buses that belong to the group of a bus.
pub fn litter(bus: &str) -> String {
    format!("{bus}.{GROUP}.dead")
}

/// Arguments of `torture group`.
#[derive(Clone, Debug, clap::Args)]
pub struct GroupArgs {
    #[command(flatten)]
    orders: Orders,
    /// What a full lane does
    #[arg(long, value_name = "POLICY", default_value = "all", value_parser = scenario::lossless())]
    on_full: Several<OnFull>,
    /// What the group promises of each frame
    #[arg(long, value_name = "DELIVERY", default_value = "all", value_parser = scenario::deliveries())]
    delivery: Several<Delivery>,
    /// Which frames go to the same member while it lives: off, kind, lane, or payload:OFFSET:LEN; drawn unless given
    #[arg(long, value_name = "KEY")]
    affinity: Option<Affinity>,
    /// Members at work at a time
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = in_range::<u32>(1, ENDS_MAX))]
    members: u32,
    /// Attempts after which a frame is a dead letter; 0: it never is; drawn unless given
    #[arg(long, value_name = "N", value_parser = in_range::<u32>(0, 254))]
    max_attempts: Option<u32>,
    /// How long a member may take, in milliseconds; drawn unless given
    #[arg(long, value_name = "N", value_parser = in_range::<u32>(5, 1_000))]
    timeout_ms: Option<u32>,
    /// Frames that a member claims together at most; drawn unless given
    #[arg(long, value_name = "N", value_parser = in_range::<u32>(1, 256))]
    batch: Option<u32>,
}

/// Tortures.
pub fn run(args: &GroupArgs, out: &Out) -> Result<ExitCode, Failure> {
    let GroupArgs { orders, on_full, delivery, affinity, members, .. } = args;
    let GroupArgs { max_attempts, timeout_ms, batch, .. } = args;
    if orders.list_points {
        return super::list_points(Scenario::Groups, out);
    }
    let mut kinds = Vec::new();
    for topology in &orders.topology.0 {
        for on_full in &on_full.0 {
            kinds.extend(delivery.0.iter().map(|delivery| (*topology, *on_full, *delivery)));
        }
    }
    let shape = |seed, number| {
        let usual = (Topology::Lanes, OnFull::Block, Delivery::AtLeastOnce);
        let (topology, on_full, delivery) = scenario::in_turn(&kinds, number).unwrap_or(usual);
        let kind = GroupKind {
            delivery,
            affinity: *affinity,
            members: *members,
            attempts_max: *max_attempts,
            timeout_ms: *timeout_ms,
            batch: *batch,
        };
        Shape::draw_grouped(seed, number, (topology, on_full), orders.producers, kind)
    };
    let mut words = vec![format!(
        "--on-full {} --delivery {} --members {members}",
        on_full.name(OnFull::name),
        delivery.name(Delivery::name)
    )];
    words.extend(affinity.map(|affinity| format!("--affinity {affinity}")));
    words.extend(max_attempts.map(|attempts| format!("--max-attempts {attempts}")));
    words.extend(timeout_ms.map(|ms| format!("--timeout-ms {ms}")));
    words.extend(batch.map(|frames| format!("--batch {frames}")));
    let run = Run {
        scenario: Scenario::Groups,
        orders,
        kinds: u64::try_from(kinds.len()).unwrap_or(1),
        shape: &shape,
        words: words.join(" "),
        readers: ("members", *members),
        daemon: false,
    };
    conduct::run(&run, out)
}
