//! Round trips: one message under way at a time, there by the first place and back by the second.

use super::{PATIENCE_NS, Part, Stage, place};
use crate::board::Board;
use crate::clock::{Ticks, now_ns};
use crate::figure::Figure;
use crate::latency::{Latency, Percentiles};
use crate::pattern::{self, Checker};
use crate::peer::{Peer, Rx, Shape, Tx, Wait};
use crate::plan::{Report, Task};
use std::time::Duration;

/// The share of the time that is not recorded: one of so many parts.
const WARM_PART: u64 = 10;

/// How long a parked end sleeps at most before it looks whether the other has finished.
const NAP: Duration = Duration::from_millis(50);

/// Empty polls between looks at the clock.
const POLLS_PER_LOOK: u32 = 1 << 14;

/// Polls between offers of the core to the other end, where it may be needed.
const POLLS_PER_YIELD: u32 = 1 << 5;

/// Sends, waits for the echo, and notes the time.
pub fn call<P: Peer>(task: &Task) -> Result<Report, String> {
    let shape = &task.shape;
    let board = Board::open(place(task, 0)?)?;
    let mut stage = Stage::new(&board, task, Part::Call);
    let mut rx = P::rx(shape, place(task, 1)?, 0)?;
    stage.rx_attached()?;
    let mut tx = P::tx(shape, place(task, 0)?, 0)?;
    stage.tx_attached()?;
    rx.begin()?;
    tx.begin()?;
    let ticks = Ticks::calibrate();
    stage.begun()?;
    let mut latency = Latency::new();
    let mut checker = Checker::new(1, shape.payload_bytes, false);
    let begin = Ticks::now();
    let mut trips = 0;
    loop {
        let sent = Ticks::now();
        let elapsed_ns = ticks.between(begin, sent);
        if elapsed_ns >= task.duration_ns {
            break;
        }
        tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, trips)))?;
        if !receive_one(&mut rx, shape, &mut checker, || false)? {
            return Err(String::from("the echo did not come"));
        }
        if elapsed_ns >= task.duration_ns / WARM_PART {
            latency.record(ticks.between(sent, Ticks::now()));
        }
        checker.verdict()?;
        trips += 1;
    }
    tx.flush()?;
    board.set_total(0, trips);
    let mut report = Report { probes_ns: stage.finished()?, ..Report::default() };
    add_latency(&mut report, latency.percentiles()?);
    stage.leave_tx(tx)?;
    drop(rx);
    Ok(report)
}

/// Sends back what comes, until the caller has finished.
pub fn answer<P: Peer>(task: &Task) -> Result<Report, String> {
    let shape = &task.shape;
    let board = Board::open(place(task, 0)?)?;
    let mut stage = Stage::new(&board, task, Part::Answer);
    let mut rx = P::rx(shape, place(task, 0)?, 0)?;
    stage.rx_attached()?;
    let mut tx = P::tx(shape, place(task, 1)?, 0)?;
    stage.tx_attached()?;
    rx.begin()?;
    tx.begin()?;
    stage.begun()?;
    let mut checker = Checker::new(1, shape.payload_bytes, false);
    let mut trips = 0;
    while receive_one(&mut rx, shape, &mut checker, || board.total(0) == Some(trips))? {
        tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, trips)))?;
        checker.verdict()?;
        trips += 1;
    }
    stage.finished()?;
    drop(tx);
    stage.leave_rx(rx)?;
    Ok(Report::default())
}

/// Waits for one message, as the shape says; false when `over` says that none will come.
pub fn receive_one(
    rx: &mut impl Rx,
    shape: &Shape,
    checker: &mut Checker,
    over: impl Fn() -> bool,
) -> Result<bool, String> {
    let mut polls = 0_u32;
    let mut since_ns = None;
    loop {
        let count = match shape.wait {
            Wait::Spin => rx.poll(1, |payload| {
                checker.take(payload);
            })?,
            Wait::Park => rx.wait(NAP, |payload| {
                checker.take(payload);
            })?,
        };
        if count > 0 {
            return Ok(true);
        }
        if over() {
            return Ok(false);
        }
        polls += 1;
        if shape.crowded && polls.is_multiple_of(POLLS_PER_YIELD) {
            std::thread::yield_now();
        }
        if shape.wait == Wait::Park || polls.is_multiple_of(POLLS_PER_LOOK) {
            let now_ns = now_ns();
            if now_ns - *since_ns.get_or_insert(now_ns) > PATIENCE_NS {
                let patience_s = PATIENCE_NS / 1_000_000_000;
                let received = checker.received();
                return Err(format!("no message for {patience_s} s after {received}"));
            }
        }
    }
}

/// Puts percentiles into a report.
pub fn add_latency(report: &mut Report, latency: Percentiles) {
    let figures = [
        (Figure::P50Ns, latency.p50_ns),
        (Figure::P99Ns, latency.p99_ns),
        (Figure::P999Ns, latency.p99_9_ns),
        (Figure::MaxNs, latency.max_ns),
    ];
    for (figure, ns) in figures {
        report.figures.insert(figure, crate::probe::to_f64(ns));
    }
}
