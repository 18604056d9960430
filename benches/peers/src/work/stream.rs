//! Producers flat out, consumers as fast as they can (or, on a lossy peer, slower).

use super::{PATIENCE_NS, Part, Stage, place};
use crate::board::{Board, Totals, Word};
use crate::clock::now_ns;
use crate::figure::Figure;
use crate::pattern::{self, Checker};
use crate::peer::{Backoff, Peer, Rx, Shape, Tx};
use crate::plan::{Report, Task};
use crate::probe::to_f64;

/// Messages between a producer's looks at the clock.
const MESSAGES_PER_LOOK: usize = 256;

/// Empty polls between a waiting consumer's looks at the clock.
const POLLS_PER_LOOK: u32 = 1 << 12;

/// The share of the time that is not counted at least: one of so many parts.
const WARM_PART: u64 = 5;

/// The warm-up goes on until a ring has been filled once, so that every page is there, or for so
/// many times the duration, where messages are slow.
const FILL_DURATIONS_MAX: u64 = 8;

/// How long a lossy consumer goes on after the producers' end, in nanoseconds: what has not come
/// by then is lost.
const STRAGGLE_NS: u64 = 50_000_000;

/// A producer: returns what it sent a second.
pub fn send<P: Peer>(task: &Task, index: usize) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let board = Board::open(place)?;
    let part = if index == 0 { Part::Call } else { Part::Watch };
    let mut stage = Stage::new(&board, task, part);
    stage.rx_attached()?;
    let mut tx = P::tx(shape, place, index)?;
    let mut idle = Vec::new();
    if index == 0 {
        for number in shape.producers..shape.seats() {
            idle.push(P::tx(shape, place, number)?);
        }
    }
    stage.tx_attached()?;
    tx.begin()?;
    for tx in &mut idle {
        tx.begin()?;
    }
    stage.begun()?;
    // Consumers look at an empty ring first, whoever leaves the last barrier first.
    board.meet(Word::Started, task.ends)?;
    let begin_ns = now_ns();
    let sent = send_all(&mut tx, task, index, begin_ns)?;
    let elapsed_ns = now_ns() - begin_ns;
    tx.flush()?;
    board.set_total(index, sent);
    let mut report = Report { probes_ns: stage.finished()?, ..Report::default() };
    report.figures.insert(Figure::SentPerS, per_second(sent, elapsed_ns)?);
    drop(idle);
    stage.leave_tx(tx)?;
    Ok(report)
}

/// Messages that fill each producer's ring once, whatever a message costs in it.
fn fill_messages(shape: &Shape) -> u64 {
    shape.slots(shape.payload_bytes) as u64
}

/// Fills the ring once, and goes on for the task's duration.
fn send_all(tx: &mut impl Tx, task: &Task, index: usize, begin_ns: u64) -> Result<u64, String> {
    let shape = &task.shape;
    let sends_per_look = (MESSAGES_PER_LOOK / shape.batch).max(1);
    let fill_messages = fill_messages(shape);
    let fill_end_ns = begin_ns + FILL_DURATIONS_MAX * task.duration_ns;
    let mut end_ns = None;
    let mut number = pattern::first_word(index, 0);
    let first = number;
    loop {
        for _ in 0..sends_per_look {
            tx.send(shape.batch, |offset, payload| {
                pattern::fill(payload, number + offset as u64);
            })?;
            number += shape.batch as u64;
        }
        let now_ns = now_ns();
        if end_ns.is_none() && (number - first >= fill_messages || now_ns >= fill_end_ns) {
            end_ns = Some(now_ns + task.duration_ns);
        }
        if end_ns.is_some_and(|end_ns| now_ns >= end_ns) {
            return Ok(number - first);
        }
    }
}

/// How a consumer reads: as in [`Role::Receive`](crate::plan::Role).
#[derive(Clone, Copy)]
pub struct Reader {
    pub index: usize,
    pub poll_max: usize,
    pub pause_ns: u64,
}

/// A consumer: returns what it received a second, after the warm-up.
pub fn receive<P: Peer>(task: &Task, reader: Reader) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let board = Board::open(place)?;
    let part = if reader.index == 0 { Part::Answer } else { Part::Watch };
    let mut stage = Stage::new(&board, task, part);
    let mut rx = P::rx(shape, place, reader.index)?;
    stage.rx_attached()?;
    stage.tx_attached()?;
    rx.begin()?;
    stage.begun()?;
    board.pass(Word::Started);
    let received = receive_all(&mut rx, &board, task, reader)?;
    let mut report = Report { probes_ns: stage.finished()?, ..Report::default() };
    let rate = per_second(received.counted, received.elapsed_ns)?;
    report.figures.insert(Figure::MessagesPerS, rate);
    if shape.lossy {
        let lost = received.sent.saturating_sub(received.messages);
        report.figures.insert(Figure::LostShare, to_f64(lost) / to_f64(received.sent.max(1)));
    }
    stage.leave_rx(rx)?;
    Ok(report)
}

struct Received {
    /// By all producers.
    sent: u64,
    /// By this consumer, in all.
    messages: u64,
    /// By this consumer, after the warm-up.
    counted: u64,
    /// The time that these took.
    elapsed_ns: u64,
}

fn receive_all(
    rx: &mut impl Rx,
    board: &Board,
    task: &Task,
    reader: Reader,
) -> Result<Received, String> {
    let shape = &task.shape;
    let mut checker = Checker::new(shape.producers, shape.payload_bytes, shape.lossy);
    let mut totals = Totals::new(board, shape.producers);
    let mut backoff = Backoff::new(shape);
    let begin_ns = now_ns();
    let warm_ns = begin_ns + task.duration_ns / WARM_PART;
    let fill_messages = fill_messages(shape) * shape.producers as u64;
    let fill_end_ns = begin_ns + FILL_DURATIONS_MAX * task.duration_ns;
    let mut from: Option<(u64, u64)> = None;
    let mut idle = Idle::default();
    let (sent, end_ns) = loop {
        let count = rx.poll(reader.poll_max, |payload| {
            checker.take(payload);
        })?;
        if count > 0 {
            if from.is_none() {
                let now_ns = now_ns();
                let filled = checker.received() >= fill_messages || now_ns >= fill_end_ns;
                from = (filled && now_ns >= warm_ns).then_some((checker.received(), now_ns));
            }
            if reader.pause_ns > 0 {
                be_busy(reader.pause_ns);
            }
            idle = Idle::default();
            continue;
        }
        checker.verdict()?;
        if let Some(sent) = totals.sum() {
            if checker.received() >= sent {
                break (sent, now_ns());
            }
            if shape.lossy {
                let now_ns = now_ns();
                let since_ns = *idle.since_ns.get_or_insert(now_ns);
                if now_ns - since_ns > STRAGGLE_NS {
                    break (sent, since_ns);
                }
            }
        }
        backoff.pause();
        idle.look(|| progress(&checker, &mut totals))?;
    };
    checker.verdict()?;
    if checker.received() > sent {
        return Err(format!("{} messages received, {sent} sent", checker.received()));
    }
    // A run so short that nothing came after the warm-up is counted as a whole.
    let counted_from = from.filter(|&(before, _)| before < checker.received());
    let (before, from_ns) = counted_from.unwrap_or((0, begin_ns));
    let counted = checker.received() - before;
    let elapsed_ns = end_ns.saturating_sub(from_ns);
    Ok(Received { sent, messages: checker.received(), counted, elapsed_ns })
}

/// How long a consumer has found nothing.
#[derive(Default)]
struct Idle {
    polls: u32,
    since_ns: Option<u64>,
}

impl Idle {
    /// To be called after each empty poll.
    #[inline]
    fn look(&mut self, progress: impl FnOnce() -> String) -> Result<(), String> {
        self.polls += 1;
        if self.polls < POLLS_PER_LOOK {
            return Ok(());
        }
        self.polls = 0;
        let now_ns = now_ns();
        if now_ns - *self.since_ns.get_or_insert(now_ns) < PATIENCE_NS {
            return Ok(());
        }
        Err(format!("no message for {} s: {}", PATIENCE_NS / 1_000_000_000, progress()))
    }
}

fn progress(checker: &Checker, totals: &mut Totals<'_>) -> String {
    let received = checker.received();
    match totals.sum() {
        Some(sent) => format!("{received} received of {sent} sent"),
        None => format!("{received} received, and the producers have not finished"),
    }
}

fn be_busy(time_ns: u64) {
    let end_ns = now_ns() + time_ns;
    while now_ns() < end_ns {
        std::hint::spin_loop();
    }
}

fn per_second(messages: u64, elapsed_ns: u64) -> Result<f64, String> {
    if messages == 0 || elapsed_ns == 0 {
        return Err(String::from("too short to be measured; give it a longer --duration"));
    }
    Ok(to_f64(messages) * 1e9 / to_f64(elapsed_ns))
}
