//! The library while the system fails: every operation, with each of its system calls failing in
//! every way that it plausibly may, and with its process killed before and after each call.
//!
//! ```text
//! operation   what a child does between two marks; the child is this very binary
//! experiment  one child, one fault, and what must be true afterwards
//! verdict     which outcomes are right for which fault
//! peer        a process that publishes at full rate on the same bus all the while
//! ```
//!
//! Each test takes every few calls only, from a random one on, so that the suite is quick; all of
//! them by `BUSWAY_FAULTS=all cargo test --test faults`. With `-- --nocapture` it shows a table of
//! what came of each fault.

#[path = "../scratch/mod.rs"]
mod scratch;

mod experiment;
mod operation;
mod peer;
mod verdict;

use std::time::Duration;

use experiment::{failures, kills};
use operation::Operation;

/// How long anything may take before a test gives up. Nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Not a test: what a child runs. Returns at once in the tests' own process.
#[test]
fn child() {
    operation::run_if_asked();
}

#[test]
fn creating_under_failure_names_the_error_and_leaves_nothing() {
    for operation in [Operation::Create, Operation::CreateUnlessThere, Operation::AcceptExisting] {
        failures(operation, 3);
    }
}

#[test]
fn creator_killed_anywhere_leaves_a_whole_bus_or_none() {
    for operation in [Operation::Create, Operation::CreateUnlessThere] {
        kills(operation, 3);
    }
}

#[test]
fn opening_listing_and_observing_under_failure_name_the_error() {
    for operation in [Operation::Open, Operation::List, Operation::Observe] {
        failures(operation, 3);
    }
}

#[test]
fn attaching_publishing_and_detaching_under_failure_disturb_nobody() {
    failures(Operation::Produce, 3);
    failures(Operation::Consume, 3);
}

#[test]
fn producer_killed_at_any_call_disturbs_nobody() {
    kills(Operation::Produce, 3);
}

#[test]
fn consumer_killed_at_any_call_disturbs_nobody() {
    kills(Operation::Consume, 3);
}

#[test]
fn observer_killed_at_any_call_disturbs_nobody() {
    kills(Operation::Observe, 5);
}

#[test]
fn waits_whose_calls_fail_end_neither_early_nor_never() {
    for operation in [Operation::WaitForFrame, Operation::WaitForRoom, Operation::Wake] {
        failures(operation, 1);
    }
}

#[test]
fn reclaiming_under_failure_is_an_error_that_the_next_makes_good() {
    failures(Operation::Reclaim, 3);
    failures(Operation::AttachOverDead, 3);
}

#[test]
fn reclaimer_killed_anywhere_is_followed_by_the_next() {
    kills(Operation::Reclaim, 3);
    kills(Operation::AttachOverDead, 4);
}

#[test]
fn removing_under_failure_removes_or_says_why_not() {
    failures(Operation::Remove, 2);
}

#[test]
fn remover_killed_anywhere_leaves_a_whole_bus_or_none() {
    kills(Operation::Remove, 2);
}
