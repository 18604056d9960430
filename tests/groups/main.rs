//! Members of a group that die or stop at each point of their work, and at random, and what the others
//! make of it.
//!
//! | who | built with crash points | does |
//! |---|---|---|
//! | worker | yes | takes frames, notes each in a journal, acknowledges or refuses it |
//! | keyed | yes | the same in a group with affinity, noting when it begins and ends, and with what |
//! | maker | yes | makes a group and removes it |
//! | the test | no | publishes; works on when the others are gone; compares |
//!
//! The journal is a file to which everybody appends eight bytes a frame: after it is handed the frame, and
//! before it acknowledges. So at least once means that each frame is in it, or is a dead letter; at most
//! once, that none is in it twice.

mod affinity;
mod journal;
mod keyed;
mod points;
mod random;
mod tickets;
mod worker;

/// Not a test: what workers and makers run. Returns at once in the test's own process.
#[test]
fn worker_runs() {
    worker::run_if_asked();
}
