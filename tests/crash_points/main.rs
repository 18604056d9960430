//! Every named crash point, on every kind of bus: a process dies there, or stops there, and the
//! others go on as if it had never been.
//!
//! | who | built with crash points | does |
//! |---|---|---|
//! | victim | yes | everything that a participant can do, and ends or stops at one point of it |
//! | corpse | yes | attaches as both, takes a ticket where there are tickets, and dies |
//! | bystander (the test) | no | publishes and reads before, during and after |
//!
//! This is what `busctl torture` does at random and under load, here one by one, each seen to happen:
//! the test fails if a point was reached on no bus. `tables` does the same to the writers and watchers
//! of tables.

mod experiment;
mod tables;
mod victim;

use std::collections::BTreeSet;
use std::sync::Mutex;

use busway::{OnFull, Topology};
use busway_crashable::{CrashAction, CrashPoint};

use experiment::{Experiment, Outcome};

/// Not a test: what a victim runs. Returns at once in the test's own process.
#[test]
fn victim_runs() {
    victim::run_if_asked();
    tables::run_if_asked();
}

/// Runs a point on every kind of bus; returns the points that were reached.
fn everywhere(action: CrashAction) -> BTreeSet<&'static str> {
    let mut all = Vec::new();
    for topology in [Topology::Single, Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject, OnFull::DropOldest] {
            for point in points() {
                all.push(Experiment { topology, on_full, point, action });
            }
        }
    }
    let left = Mutex::new(all.into_iter());
    let reached = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().next();
                    let Some(experiment) = next else { return };
                    if experiment.run() == Outcome::Reached {
                        reached.lock().unwrap().insert(experiment.point.name());
                    }
                }
            });
        }
    });
    reached.into_inner().unwrap()
}

/// All points but those of groups, which `tests/groups` tries, and those of tables (`tables`).
fn points() -> impl Iterator<Item = CrashPoint> {
    let is_of_groups = |point: CrashPoint| point.name().starts_with("group-");
    let all = CrashPoint::ALL.iter().copied();
    all.filter(move |&point| !is_of_groups(point) && !point.is_of_tables())
}

fn every_point() -> BTreeSet<&'static str> {
    points().map(CrashPoint::name).collect()
}

/// Promises 1, 2, 4 (ARCHITECTURE.md).
#[test]
fn who_dies_at_any_point_costs_the_others_nothing() {
    assert_eq!(everywhere(CrashAction::Die), every_point());
}

/// Promises 1, 2, 3 (ARCHITECTURE.md): a stopped consumer is dealt with by the bus's rule.
#[test]
fn who_stops_at_any_point_costs_the_others_nothing() {
    assert_eq!(everywhere(CrashAction::Stop), every_point());
}

/// Promises 1, 3, 4 (ARCHITECTURE.md).
#[test]
fn recoverer_that_stops_anywhere_holds_up_nobody() {
    let action = CrashAction::Stop;
    for topology in [Topology::Lanes, Topology::Ordered] {
        for on_full in [OnFull::Block, OnFull::Reject] {
            for point in [CrashPoint::DeathDeclared, CrashPoint::RecoveryBegun] {
                let experiment = Experiment { topology, on_full, point, action };
                experiment.run_beside_a_stopped_recoverer();
            }
        }
    }
}
