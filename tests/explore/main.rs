//! A whole bus with everybody on it, in every order of their steps, with deaths at each of them.
//!
//! The loom models run the protocol's own code, but only two or three threads of it for a few
//! operations. This is the other half: a model of the whole system, written by hand, small enough to
//! be explored to the last state. It is not the code but a copy of its steps; `producer`, `consumer`,
//! `joiner`, `declaring` and `recovery` name the sources that they follow.
//!
//! **In it.** Producers with lanes of two slots, tenants that want a dead producer's seat, consumers
//! that are attached, join, leave or come to a seat that was left, an order ring of two entries that
//! goes round several times, holes and those who punch them, one who evicts, two who recover, and
//! deaths: anybody mortal at any step. A recoverer that never dies is the daemon's next life. Who
//! is held up by a dead consumer, comes to its seat or recovers it declares it dead; whoever does may
//! stop for ever at any step of it, and then keeps the lock that it has. (One that goes on later is
//! only slow.)
//!
//! **What is left out.**
//! * Memory is sequentially consistent: what orderings are worth is loom's business.
//! * A step is one access to shared memory. Merged into one are: the first look of a renewal (only
//!   the second counts), a joiner's look at one lane and its walk back through the order, the look
//!   before a ticket after a refusal, settling lanes that a joiner did not find, a producer's or
//!   recoverer's first look at a lock with the load of the seat's state, and a tenant's turning of its
//!   lock with its sitting down.
//! * A frame is one word, so a torn copy shows as one of another frame; who believes either fails.
//! * Positions and tickets start at 0 and do not wrap; laps do. The margin for other producers'
//!   tickets is one ticket, since the rings are as short as two entries.
//! * Patience is over at any time, but a ticket whose producer is about to commit it is punched only
//!   as often as the setup says, since that could go on for ever.
//! * Sleeping, closing, `reject`, timestamps and lossy buses. (Loom has lossy lanes.)
//! * Who evicts does so at any time, lag or none, and is a process of its own, as are those who recover;
//!   in the library it is a producer that is held up.
//!
//! **What must hold.** Nobody who is attached, alive and not evicted misses, repeats or reorders a
//! committed frame, sees one that was not committed or part of a batch, or has a slot or an entry
//! overwritten that it needs; a ticket is decided once; a lane goes on exactly where it ended; who is
//! evicted was meant to be, and reports exactly what it did not read; nobody else reports a loss; who
//! is declared dead is. And from every state everybody who lives and is not stopped can come to the end
//! of what they want, with no further death, eviction or leaving to help; only newcomers wait for a
//! seat whose lock a stopped one holds.
//!
//! Every check is seen to fail: the table of `mutants` breaks the model in one place each.
//!
//! ```sh
//! cargo test --test explore -- --nocapture                  # how many states, and the mutants' traces
//! EXPLORE_MORE=1 cargo test --release --test explore        # one more death, and longer scripts
//! ```

mod consumer;
mod declaring;
mod faults;
mod joiner;
mod mutants;
mod producer;
mod recovery;
mod search;
mod setups;
mod state;
mod system;

use search::{Outcome, explore};
use setups::Setup;
use system::{Bus, Mutant};

/// Explores a setup in which nothing is done wrong.
fn holds(name: &str, setup: Setup) {
    match explore(&Bus { setup: setup.more(), mutant: Mutant::Nothing }) {
        Outcome::Holds { states, steps } => println!("{name}: {states} states, {steps} steps"),
        Outcome::Broken { why, trace } => panic!("{name}: {why}\n{trace}"),
    }
}

#[test]
fn lanes_survive_their_producers_their_consumer_and_a_recoverer() {
    holds("lanes", setups::lanes());
}

#[test]
fn seat_that_is_left_or_died_in_is_let_again() {
    holds("seats", setups::seats());
}

#[test]
fn evicted_consumer_holds_nobody_and_whoever_follows_it_does() {
    holds("evicting", setups::evicting());
}

#[test]
fn copies_of_an_evicted_consumer_are_checked_across_a_death() {
    holds("heir", setups::heir());
}

#[test]
fn two_punchers_and_two_producers_agree_on_one_order() {
    holds("punching", setups::punching());
}

#[test]
fn order_ring_goes_round_with_two_consumers_and_a_death() {
    holds("laps", setups::laps());
}

#[test]
fn ordered_lane_is_recovered_to_its_end_by_one_of_two() {
    holds("recovering", setups::recovering());
}

#[test]
fn run_whose_entry_is_used_again_is_not_forgotten() {
    holds("reuse", setups::reuse());
}

#[test]
fn joiner_of_an_order_sees_its_end_whoever_dies() {
    holds("joining", setups::joining());
}

#[test]
fn evicted_consumer_of_an_order_holds_nobody() {
    holds("evicting in order", setups::evicting_in_order());
}

#[test]
fn recoverer_that_stops_anywhere_holds_up_nobody() {
    holds("stopping", setups::stopping());
}

#[test]
fn recoverer_that_stops_anywhere_holds_up_nobody_in_an_order() {
    holds("stopping in order", setups::stopping_in_order());
}

#[test]
fn two_that_stop_among_those_who_declare_one_seat_twice_hold_up_nobody() {
    holds("crowding", setups::crowding());
}
