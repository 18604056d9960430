//! Latency at a steady rate, from the moment at which each message ought to have been sent.
//!
//! A producer that is held up sends late what was due meanwhile, and that counts as late: stalls
//! are not left out of the percentiles. When a message was due follows from its number, so nothing
//! but the number travels.

use super::echo::{add_latency, receive_one};
use super::{Part, Stage, place};
use crate::board::{Board, Word};
use crate::clock::{now_ns, wait_until};
use crate::latency::Latency;
use crate::pattern::{self, Checker};
use crate::peer::{Peer, Rx, Tx};
use crate::plan::{Report, Task};
use std::sync::atomic::Ordering;

/// From the barrier until the first message is due, in nanoseconds.
const LEAD_NS: u64 = 1_000_000;

/// The share of the messages that is not recorded: one of so many parts.
const WARM_PART: u64 = 10;

/// Sends a message every `interval_ns`.
pub fn send<P: Peer>(task: &Task, interval_ns: u64) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let board = Board::open(place)?;
    let mut stage = Stage::new(&board, task, Part::Call);
    stage.rx_attached()?;
    let mut tx = P::tx(shape, place, 0)?;
    stage.tx_attached()?;
    tx.begin()?;
    stage.begun()?;
    let start_ns = now_ns() + LEAD_NS;
    // ORDERING: relaxed; the barrier that follows makes it visible.
    board.word(Word::StartNs).store(start_ns, Ordering::Relaxed);
    board.meet(Word::Started, task.ends)?;
    let messages = task.duration_ns / interval_ns;
    for number in 0..messages {
        wait_until(start_ns + number * interval_ns, shape.crowded);
        tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, number)))?;
    }
    tx.flush()?;
    board.set_total(0, messages);
    let report = Report { probes_ns: stage.finished()?, ..Report::default() };
    stage.leave_tx(tx)?;
    Ok(report)
}

/// Notes how late each message is.
pub fn receive<P: Peer>(task: &Task, interval_ns: u64) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let board = Board::open(place)?;
    let mut stage = Stage::new(&board, task, Part::Answer);
    let mut rx = P::rx(shape, place, 0)?;
    stage.rx_attached()?;
    stage.tx_attached()?;
    rx.begin()?;
    stage.begun()?;
    board.meet(Word::Started, task.ends)?;
    // ORDERING: relaxed; the barrier has made it visible.
    let start_ns = board.word(Word::StartNs).load(Ordering::Relaxed);
    let warm = task.duration_ns / interval_ns / WARM_PART;
    let mut latency = Latency::new();
    let mut checker = Checker::new(1, shape.payload_bytes, false);
    let mut number = 0;
    while receive_one(&mut rx, shape, &mut checker, || board.total(0) == Some(number))? {
        checker.verdict()?;
        if number >= warm {
            latency.record(now_ns().saturating_sub(start_ns + number * interval_ns));
        }
        number += 1;
    }
    let mut report = Report { probes_ns: stage.finished()?, ..Report::default() };
    add_latency(&mut report, latency.percentiles()?);
    stage.leave_rx(rx)?;
    Ok(report)
}
