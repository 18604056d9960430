//! The model with one thing wrong, and the check that must notice.

use crate::search::{Outcome, explore};
use crate::setups::{self, Setup};
use crate::system::{Bus, Mutant};

const OVERWRITTEN: &str = "what a consumer still needs was overwritten";
const STUCK: &str = "somebody who lives can never come to an end";
const FALSE_LOSS: &str = "a consumer that nobody evicted reports a loss";
const TWICE: &str = "a ticket is decided twice";
const BURIED: &str = "a live consumer is declared dead";
const RECOVERED: &str = "a lane is recovered to a head that is not its end";

/// Explores the mutant, and prints the shortest way to what is wrong.
fn caught(mutant: Mutant, setup: Setup, expected: &str) {
    match explore(&Bus { setup, mutant }) {
        Outcome::Holds { states, .. } => panic!("{mutant:?} is missed in {states} states"),
        Outcome::Broken { why, trace } => {
            println!("{mutant:?}: {why}\n{trace}\n");
            assert_eq!(why, expected, "{mutant:?}");
        }
    }
}

#[test]
fn mutants_of_a_lane_are_caught() {
    caught(Mutant::GateUnread, setups::lanes(), OVERWRITTEN);
    caught(Mutant::SecondLookDropped, setups::seats(), OVERWRITTEN);
    caught(Mutant::JoinerLooksFirst, setups::seats(), OVERWRITTEN);
    caught(Mutant::HeadBeforeFrames, setups::lanes(), OVERWRITTEN);
    caught(Mutant::BatchByPieces, setups::lanes(), "a consumer sees part of a batch");
    caught(Mutant::CursorBeforeReading, setups::lanes(), OVERWRITTEN);
}

#[test]
fn mutants_of_seats_and_recovery_are_caught() {
    caught(Mutant::VacatesBeforeBit, setups::seats(), OVERWRITTEN);
    caught(Mutant::RecoveryUnlocked, setups::seats(), OVERWRITTEN);
    caught(Mutant::RecoveryFreesFirst, setups::lanes(), STUCK);
    caught(Mutant::RecoveryKeepsBit, setups::lanes(), STUCK);
    caught(Mutant::RecoveryDropsRun, setups::recovering(), RECOVERED);
}

#[test]
fn mutants_of_declaring_death_are_caught() {
    caught(Mutant::DeclaredByStore, setups::seats(), BURIED);
    caught(Mutant::DeclaredUnlooked, setups::seats(), BURIED);
    caught(Mutant::LockLookedAtFirst, setups::seats(), BURIED);
    caught(Mutant::EpochKept, setups::seats(), BURIED);
    caught(Mutant::DeathRemembered, setups::seats(), OVERWRITTEN);
    caught(Mutant::DeathUnheeded, setups::stopping(), STUCK);
    caught(Mutant::DeathUnheeded, setups::stopping_in_order(), STUCK);
    caught(Mutant::DeathUndeclared, setups::stopping(), STUCK);
    caught(Mutant::DeathUndeclared, setups::stopping_in_order(), STUCK);
    caught(Mutant::AnyLockIsLife, setups::stopping(), STUCK);
    caught(Mutant::KeepsBeforeRecovery, setups::stopping(), STUCK);
    caught(Mutant::SitsBeforeKeeping, setups::seats(), BURIED);
}

#[test]
fn mutants_of_an_eviction_are_caught() {
    let believed = "a consumer believes a frame that is not the one committed there";
    caught(Mutant::EvictByStore, setups::evicting(), FALSE_LOSS);
    caught(Mutant::EpochKept, Setup { crashes: 0, ..setups::evicting() }, FALSE_LOSS);
    caught(Mutant::CopyUnchecked, setups::evicting(), believed);
    caught(Mutant::TenantForgetsReserve, setups::heir(), believed);
    caught(Mutant::ReserveAlone, setups::evicting(), FALSE_LOSS);
    let inexact = "an evicted consumer reports a loss that is not the exact one";
    caught(Mutant::LossFromCursor, setups::evicting(), inexact);
}

#[test]
fn mutants_of_the_order_ring_are_caught() {
    caught(Mutant::CommitByStore, setups::laps(), TWICE);
    caught(Mutant::PunchByStore, setups::laps(), TWICE);
    caught(Mutant::PunchUngated, setups::laps(), OVERWRITTEN);
    caught(Mutant::PunchNever, setups::laps(), STUCK);
    caught(Mutant::ReuseUngated, setups::laps(), OVERWRITTEN);
    caught(Mutant::HeadBeforeCommit, setups::laps(), "a head is beyond what was committed");
    caught(Mutant::RecordAfterCommit, setups::recovering(), OVERWRITTEN);
    caught(Mutant::OrderCursorFirst, setups::reuse(), RECOVERED);
}
