//! Waking a consumer that sleeps in the kernel, and what its sleep costs.

use super::echo::{add_latency, receive_one};
use super::{Part, Stage, place};
use crate::board::{Board, Word};
use crate::clock::{now_ns, sleep_until};
use crate::figure::Figure;
use crate::latency::Latency;
use crate::pattern::{self, Checker};
use crate::peer::{Peer, Rx, Tx};
use crate::plan::{Report, Task};
use crate::probe::to_f64;
use rustix::thread::ClockId;
use rustix::time::clock_gettime;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two messages, in nanoseconds: long enough for the consumer to fall asleep, and for its
/// core to.
const GAP_NS: u64 = 1_000_000;

/// Messages that are not recorded.
const WARM_MESSAGES: u64 = 10;

/// How long the sleep without messages is measured.
const IDLE_NS: u64 = 300_000_000;

/// Sends a message every millisecond, none before the last one was received.
pub fn rouse<P: Peer>(task: &Task) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let board = Board::open(place)?;
    let mut stage = Stage::new(&board, task, Part::Call);
    stage.rx_attached()?;
    let mut tx = P::tx(shape, place, 0)?;
    stage.tx_attached()?;
    tx.begin()?;
    stage.begun()?;
    let messages = (task.duration_ns / GAP_NS).max(2 * WARM_MESSAGES);
    for number in 0..messages {
        sleep_until(now_ns() + GAP_NS);
        // ORDERING: acquire, pairs with the release store in `sleep`: that message is done with.
        while board.word(Word::Received).load(Ordering::Acquire) < number {
            sleep_until(now_ns() + GAP_NS);
        }
        // ORDERING: relaxed; the message itself orders it before the consumer's look.
        board.word(Word::SentNs).store(now_ns(), Ordering::Relaxed);
        tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, number)))?;
    }
    tx.flush()?;
    board.set_total(0, messages);
    let report = Report { probes_ns: stage.finished()?, ..Report::default() };
    stage.leave_tx(tx)?;
    Ok(report)
}

/// Sleeps until each comes, then goes on sleeping while none comes.
pub fn sleep<P: Peer>(task: &Task) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let board = Board::open(place)?;
    let mut stage = Stage::new(&board, task, Part::Answer);
    let mut rx = P::rx(shape, place, 0)?;
    stage.rx_attached()?;
    stage.tx_attached()?;
    rx.begin()?;
    stage.begun()?;
    let mut latency = Latency::new();
    let mut checker = Checker::new(1, shape.payload_bytes, false);
    let mut number = 0;
    while receive_one(&mut rx, shape, &mut checker, || board.total(0) == Some(number))? {
        // ORDERING: relaxed; the message that has come orders it after the producer's store.
        let sent_ns = board.word(Word::SentNs).load(Ordering::Relaxed);
        if number >= WARM_MESSAGES {
            latency.record(now_ns().saturating_sub(sent_ns));
        }
        checker.verdict()?;
        number += 1;
        // ORDERING: release, pairs with the acquire load in `rouse`.
        board.word(Word::Received).store(number, Ordering::Release);
    }
    let idle_share = idle_share::<P>(&mut rx)?;
    let mut report = Report { probes_ns: stage.finished()?, ..Report::default() };
    add_latency(&mut report, latency.percentiles()?);
    report.figures.insert(Figure::IdleCpuShare, idle_share);
    stage.leave_rx(rx)?;
    Ok(report)
}

/// Processor time over time while nothing comes: of the process, with all threads that the peer
/// may have; of the thread, where producer and consumer share a process.
fn idle_share<P: Peer>(rx: &mut P::Rx) -> Result<f64, String> {
    let clock = if P::THREADS { ClockId::ThreadCPUTime } else { ClockId::ProcessCPUTime };
    let cpu_ns = || {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
    };
    let (begin_ns, begin_cpu_ns) = (now_ns(), cpu_ns());
    let end_ns = begin_ns + IDLE_NS;
    loop {
        let now_ns = now_ns();
        if now_ns >= end_ns {
            let share = to_f64(cpu_ns() - begin_cpu_ns) / to_f64(now_ns - begin_ns);
            return Ok(share);
        }
        if rx.wait(Duration::from_nanos(end_ns - now_ns), |_| ())? > 0 {
            return Err(String::from("a message came that nobody sent"));
        }
    }
}
