//! What is counted and gauged on every bus, as one table.
//!
//! Tools and exporters are made from the table: what they call a thing, its unit and the sentence that says
//! what it is stand here alone. A metric keeps its number; that of one that is gone is not given again.
//!
//! # Examples
//! ```
//! # let name = format!("doc-metrics-{}", std::process::id());
//! # struct Guard<'a>(&'a str); // removes the bus whatever happens
//! # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Bus::remove(self.0); } }
//! # let _guard = Guard(&name);
//! # let bus = busway::Bus::options().create(&name)?;
//! bus.producer().attach()?.publish_bytes(1, b"seen")?;
//! let stat = bus.stat();
//! let of_bus: Vec<_> = busway::metrics::of_bus(&stat).collect();
//! assert!(of_bus.iter().any(|(metric, value)| metric.name == "published_bytes" && *value == 4));
//! # Ok::<(), busway::Error>(())
//! ```

use crate::bus::{BusStat, ConsumerStat, LaneStat};
use crate::group::GroupStat;

/// One thing that is counted or gauged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its number, for ever.
    pub number: u16,
    /// Its name: unique with the scope.
    pub name: &'static str,
    /// What has one of it.
    pub scope: Scope,
    /// How it moves.
    pub kind: Kind,
    /// What its value is a number of.
    pub unit: Unit,
    /// What it is, in one sentence.
    pub help: &'static str,
}

/// What has a value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The bus.
    Bus,
    /// Each lane: its producers, one after the other.
    Lane,
    /// Each attached consumer, from its attach on; a group holds a consumer's seat.
    Consumer,
    /// Each consumer group.
    Group,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, until whatever has it is gone.
    Counter,
    /// Up and down.
    Gauge,
}

/// What a value is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Frames.
    Frames,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
    /// Anything else, which the name says.
    Count,
}

/// A metric, and where its value is.
type Row<S> = (Metric, fn(&S) -> u64);

const fn row<S>(
    (number, name): (u16, &'static str),
    scope: Scope,
    (kind, unit): (Kind, Unit),
    read: fn(&S) -> u64,
    help: &'static str,
) -> Row<S> {
    (Metric { number, name, scope, kind, unit, help }, read)
}

const COUNTED_FRAMES: (Kind, Unit) = (Kind::Counter, Unit::Frames);
const COUNTED_BYTES: (Kind, Unit) = (Kind::Counter, Unit::Bytes);
const COUNTED_TIME: (Kind, Unit) = (Kind::Counter, Unit::Nanoseconds);
const COUNTED: (Kind, Unit) = (Kind::Counter, Unit::Count);
const FRAMES: (Kind, Unit) = (Kind::Gauge, Unit::Frames);
const NUMBER: (Kind, Unit) = (Kind::Gauge, Unit::Count);

static BUS: [Row<BusStat>; 8] = {
    use Scope::Bus;
    [
        row(
            (1, "published_frames"),
            Bus,
            COUNTED_FRAMES,
            |bus| bus.published,
            "Frames published, all lanes.",
        ),
        row(
            (2, "published_bytes"),
            Bus,
            COUNTED_BYTES,
            bytes,
            "Payload bytes published, all lanes.",
        ),
        row((3, "producers"), Bus, NUMBER, producers, "Producers that are attached."),
        row((4, "consumers"), Bus, NUMBER, consumers, "Consumers and groups that are attached."),
        row(
            (5, "recoveries"),
            Bus,
            COUNTED,
            |bus| bus.recoveries,
            "Seats given back after their holder died.",
        ),
        row(
            (6, "punches"),
            Bus,
            COUNTED,
            |bus| bus.punches,
            "Places in the total order given up for a late producer.",
        ),
        row(
            (7, "evictions"),
            Bus,
            COUNTED,
            |bus| bus.evictions,
            "Live participants that were made to leave.",
        ),
        row(
            (8, "corruptions"),
            Bus,
            COUNTED,
            |bus| bus.corruptions,
            "Impossible words that participants met in the segment.",
        ),
    ]
};

static LANE: [Row<LaneStat>; 8] = {
    use Scope::Lane;
    [
        row(
            (20, "published_frames"),
            Lane,
            COUNTED_FRAMES,
            |lane| lane.published,
            "Frames published on the lane.",
        ),
        row(
            (21, "published_bytes"),
            Lane,
            COUNTED_BYTES,
            |lane| lane.bytes,
            "Payload bytes published on the lane.",
        ),
        row(
            (22, "batches"),
            Lane,
            COUNTED,
            |lane| lane.batches,
            "Commits of more than one frame: batches and transactions.",
        ),
        row(
            (23, "batched_frames"),
            Lane,
            COUNTED_FRAMES,
            |lane| lane.batched,
            "Frames that were published in such commits.",
        ),
        row(
            (24, "rejected"),
            Lane,
            COUNTED,
            |lane| lane.rejected,
            "Publishes refused because the lane was full.",
        ),
        row(
            (25, "blocked"),
            Lane,
            COUNTED,
            |lane| lane.blocked_count,
            "Publishes that had to wait for room.",
        ),
        row(
            (26, "blocked_time"),
            Lane,
            COUNTED_TIME,
            |lane| lane.blocked_ns,
            "Time that publishes waited for room.",
        ),
        row(
            (27, "held_up"),
            Lane,
            NUMBER,
            |lane| lane.held_since_ns.is_some().into(),
            "1 while the lane is full and its producer wants room, else 0.",
        ),
    ]
};

static CONSUMER: [Row<ConsumerStat>; 3] = {
    use Scope::Consumer;
    [
        row(
            (40, "read_frames"),
            Consumer,
            COUNTED_FRAMES,
            |one| one.read,
            "Frames that the consumer has read.",
        ),
        row(
            (41, "lag_frames"),
            Consumer,
            FRAMES,
            |one| one.lag,
            "Frames published and not read yet.",
        ),
        row(
            (42, "lost_frames"),
            Consumer,
            COUNTED_FRAMES,
            |one| one.lost,
            "Frames that the consumer lost: overwritten before it could read them.",
        ),
    ]
};

static GROUP: [Row<GroupStat>; 10] = {
    use Scope::Group;
    [
        row(
            (60, "acknowledged_frames"),
            Group,
            COUNTED_FRAMES,
            |group| group.acknowledged,
            "Frames that members acknowledged.",
        ),
        row(
            (61, "backlog_frames"),
            Group,
            FRAMES,
            |group| group.backlog,
            "Frames published that the group has not done with.",
        ),
        row(
            (62, "claimed_frames"),
            Group,
            FRAMES,
            |group| group.claimed,
            "Frames that members work on.",
        ),
        row(
            (63, "waiting_frames"),
            Group,
            FRAMES,
            |group| group.waiting,
            "Frames that wait for another attempt.",
        ),
        row(
            (64, "refused"),
            Group,
            COUNTED,
            |group| group.refused,
            "Attempts that ended by a refusal.",
        ),
        row(
            (65, "timed_out"),
            Group,
            COUNTED,
            |group| group.timed_out,
            "Attempts that took too long.",
        ),
        row((66, "died"), Group, COUNTED, |group| group.died, "Attempts whose member died."),
        row(
            (67, "redelivered"),
            Group,
            COUNTED,
            redelivered,
            "Attempts that failed and were followed, or will be, by another.",
        ),
        row(
            (68, "dead_letters"),
            Group,
            COUNTED_FRAMES,
            |group| group.dead_letters,
            "Frames that became dead letters.",
        ),
        row(
            (69, "members"),
            Group,
            NUMBER,
            |group| group.members.len() as u64,
            "Members that are attached.",
        ),
    ]
};

fn bytes(bus: &BusStat) -> u64 {
    bus.lanes.iter().fold(0, |sum, lane| lane.bytes.saturating_add(sum))
}

fn producers(bus: &BusStat) -> u64 {
    bus.lanes.iter().filter(|lane| lane.producer.is_some()).count() as u64
}

fn consumers(bus: &BusStat) -> u64 {
    bus.consumers.len() as u64
}

fn redelivered(group: &GroupStat) -> u64 {
    let failed = group.refused.saturating_add(group.timed_out).saturating_add(group.died);
    failed.saturating_sub(group.dead_letters)
}

/// Every metric there is, by number.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    let bus = BUS.iter().map(|(metric, _)| metric);
    let lane = LANE.iter().map(|(metric, _)| metric);
    let consumer = CONSUMER.iter().map(|(metric, _)| metric);
    let group = GROUP.iter().map(|(metric, _)| metric);
    bus.chain(lane).chain(consumer).chain(group)
}

/// The values of a bus.
pub fn of_bus(stat: &BusStat) -> impl Iterator<Item = (&'static Metric, u64)> {
    BUS.iter().map(|(metric, read)| (metric, read(stat)))
}

/// The values of a lane.
pub fn of_lane(stat: &LaneStat) -> impl Iterator<Item = (&'static Metric, u64)> {
    LANE.iter().map(|(metric, read)| (metric, read(stat)))
}

/// The values of a consumer. How long frames took is in [`ConsumerStat::latency`].
pub fn of_consumer(stat: &ConsumerStat) -> impl Iterator<Item = (&'static Metric, u64)> {
    CONSUMER.iter().map(|(metric, read)| (metric, read(stat)))
}

/// The values of a group.
pub fn of_group(stat: &GroupStat) -> impl Iterator<Item = (&'static Metric, u64)> {
    GROUP.iter().map(|(metric, read)| (metric, read(stat)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fmt::Write;

    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_help_is_a_sentence() {
        let numbers: HashSet<u16> = all().map(|metric| metric.number).collect();
        let names: HashSet<_> = all().map(|metric| (metric.scope as u8, metric.name)).collect();
        assert_eq!((numbers.len(), names.len()), (all().count(), all().count()));
        assert!(all().is_sorted_by_key(|metric| metric.number));
        for metric in all() {
            assert!(
                metric.help.ends_with('.')
                    && metric.help.starts_with(|first: char| !first.is_lowercase())
            );
        }
    }

    /// The table as docs/metrics.md has it.
    fn documented() -> String {
        let mut text = String::new();
        for metric in all() {
            let Metric { number, name, scope, kind, unit, help } = metric;
            let (scope, kind, unit) =
                (format!("{scope:?}"), format!("{kind:?}"), format!("{unit:?}"));
            writeln!(
                text,
                "| {number} | {} | `{name}` | {} | {} | {help} |",
                scope.to_lowercase(),
                kind.to_lowercase(),
                unit.to_lowercase()
            )
            .unwrap();
        }
        text
    }

    #[test]
    fn table_in_the_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        // The library built once more, with its crash points, has another directory.
        let path = path.replace("/crates/busway-crashable", "");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&documented()), "docs/metrics.md is to have\n{}", documented());
    }
}
