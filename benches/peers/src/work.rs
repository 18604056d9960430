//! What a worker does, compiled once for each peer: the parts of a measurement, and the steps that
//! all ends of one take together.
//!
//! ```text
//! consumers attach │ producers attach │ begin │ probe │ messages │ probe │ producers leave, then
//!                  └─── each bar is a barrier on the board ──────┘       │ consumers leave
//! ```

mod echo;
mod pace;
mod solo;
mod stream;
mod wake;

use crate::affinity;
use crate::board::{Board, Word};
use crate::clock;
use crate::peer::{Peer, Rx, Tx};
use crate::plan::{Report, Role, Task};
use crate::probe;
use std::path::Path;

/// How long a consumer waits for a message that must come, in nanoseconds.
const PATIENCE_NS: u64 = 20_000_000_000;

/// Plays the task's part with peer `P`.
///
/// # Errors
/// What went wrong, with the values that matter.
pub fn work<P: Peer>(task: &Task) -> Result<Report, String> {
    if let Some(cpu) = task.cpu {
        affinity::pin(cpu)?;
    }
    clock::precise_timers();
    match task.role {
        Role::Send { index } => stream::send::<P>(task, index),
        Role::Receive { index, poll_max, pause_ns } => {
            stream::receive::<P>(task, stream::Reader { index, poll_max, pause_ns })
        }
        Role::Call => echo::call::<P>(task),
        Role::Answer => echo::answer::<P>(task),
        Role::Pace { interval_ns } => pace::send::<P>(task, interval_ns),
        Role::Clock { interval_ns } => pace::receive::<P>(task, interval_ns),
        Role::Rouse => wake::rouse::<P>(task),
        Role::Sleep => wake::sleep::<P>(task),
        Role::Attach => solo::attach::<P>(task),
        Role::PollCost => solo::poll_cost::<P>(task),
        Role::PublishCost => solo::publish_cost::<P>(task),
    }
}

/// The task's place of that number.
fn place(task: &Task, index: usize) -> Result<&Path, String> {
    let place = task.places.get(index).ok_or_else(|| format!("the plan has no place {index}"))?;
    Ok(place)
}

/// The ends of a measurement that meet at barriers; see the picture above.
struct Stage<'a> {
    board: &'a Board,
    ends: usize,
    part: Part,
    before_ns: Option<f64>,
}

/// What an end does for the probe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Call,
    Answer,
    Watch,
}

impl<'a> Stage<'a> {
    fn new(board: &'a Board, task: &Task, part: Part) -> Self {
        let part = if task.probe { part } else { Part::Watch };
        Self { board, ends: task.ends, part, before_ns: None }
    }

    fn rx_attached(&self) -> Result<(), String> {
        self.board.meet(Word::RxAttached, self.ends)
    }

    fn tx_attached(&self) -> Result<(), String> {
        self.board.meet(Word::TxAttached, self.ends)
    }

    fn begun(&mut self) -> Result<(), String> {
        self.board.meet(Word::Begun, self.ends)?;
        self.before_ns = self.probe();
        self.board.meet(Word::Probed, self.ends)
    }

    /// To be called when all messages are sent or received; returns what the caller measured.
    fn finished(&self) -> Result<Option<[f64; 2]>, String> {
        self.board.meet(Word::Finished, self.ends)?;
        let after_ns = self.probe();
        self.board.meet(Word::ProbedAgain, self.ends)?;
        Ok(self.before_ns.zip(after_ns).map(|(before_ns, after_ns)| [before_ns, after_ns]))
    }

    /// Drops a sending end while the receiving ones are still there.
    fn leave_tx(&self, tx: impl Tx) -> Result<(), String> {
        drop(tx);
        self.board.meet(Word::Left, self.ends)
    }

    /// Drops a receiving end after the sending ones.
    fn leave_rx(&self, rx: impl Rx) -> Result<(), String> {
        self.board.meet(Word::Left, self.ends)?;
        drop(rx);
        Ok(())
    }

    fn probe(&self) -> Option<f64> {
        match self.part {
            Part::Call => Some(probe::call(self.board)),
            Part::Answer => {
                probe::answer(self.board);
                None
            }
            Part::Watch => None,
        }
    }
}
