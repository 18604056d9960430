//! What worker processes do: one file a role.

mod consume;
mod observe;
mod produce;
mod try_all;

use crate::support::role::{Note, Role};
use crate::support::worker::{MARK, ROLE};

/// Plays the role in the environment, if there is one.
pub fn run_if_asked() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    match serde_json::from_str(&role).expect("a role") {
        Role::Produce(role) => produce::run(&role),
        Role::Consume(role) => consume::run(&role),
        Role::Observe(role) => observe::run(&role),
        Role::Try { bus } => try_all::run(&bus),
    }
}

/// Says something to the test.
fn say(note: &Note) {
    println!("{MARK}{}", serde_json::to_string(note).expect("a note as JSON"));
}
