//! Costs in one thread, with no cache line under way: making and attaching; polling beside idle
//! producers; publishing to more and more consumers.

use super::place;
use crate::clock::now_ns;
use crate::figure::Figure;
use crate::pattern::{self, Checker};
use crate::peer::{Peer, Rx, Shape, Tx};
use crate::plan::{Report, Task};
use crate::probe::to_f64;
use std::path::Path;

/// How long the first message may take, in nanoseconds.
const FIRST_MESSAGE_NS: u64 = 10_000_000_000;

/// Polls or messages between two looks at the clock.
const STEPS_PER_LOOK: u64 = 256;

/// Messages that are sent before the consumers are asked to read them, at most.
const MESSAGES_PER_ROUND: usize = 256;

/// Makes and attaches everything once in each place; returns the median of each step.
pub fn attach<P: Peer>(task: &Task) -> Result<Report, String> {
    let mut rounds = Vec::new();
    for place in &task.places {
        rounds.push(attach_once::<P>(&task.shape, place)?);
    }
    let mut report = Report::default();
    let figures = rounds.first().map(|round| round.map(|(figure, _)| figure));
    for (index, figure) in figures.into_iter().flatten().enumerate() {
        let mut values: Vec<u64> = rounds.iter().map(|round| round[index].1).collect();
        values.sort_unstable();
        let median = values.get(values.len() / 2).copied().unwrap_or(0);
        report.figures.insert(figure, to_f64(median));
    }
    Ok(report)
}

fn attach_once<P: Peer>(shape: &Shape, place: &Path) -> Result<[(Figure, u64); 6], String> {
    let memory = Memory::now()?;
    let begin_ns = now_ns();
    let peer = P::prepare(shape, place)?;
    let created_ns = now_ns();
    let mut rx = P::rx(shape, place, 0)?;
    let rx_ns = now_ns();
    let mut tx = P::tx(shape, place, 0)?;
    let tx_ns = now_ns();
    rx.begin()?;
    tx.begin()?;
    let mut checker = Checker::new(1, shape.payload_bytes, false);
    tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, 0)))?;
    tx.flush()?;
    receive(&mut rx, &mut checker, 1)?;
    let first_ns = now_ns();
    let after = Memory::now()?;
    drop(tx);
    drop(rx);
    drop(peer);
    Ok([
        (Figure::CreateNs, created_ns - begin_ns),
        (Figure::AttachRxNs, rx_ns - created_ns),
        (Figure::AttachTxNs, tx_ns - rx_ns),
        (Figure::FirstMessageNs, first_ns - begin_ns),
        (Figure::MappedBytes, after.mapped_bytes.saturating_sub(memory.mapped_bytes)),
        (Figure::ResidentBytes, after.resident_bytes.saturating_sub(memory.resident_bytes)),
    ])
}

/// Polls until `messages` have come in all.
fn receive(rx: &mut impl Rx, checker: &mut Checker, messages: u64) -> Result<(), String> {
    let mut since_ns = None;
    while checker.received() < messages {
        let count = rx.poll(MESSAGES_PER_ROUND, |payload| {
            checker.take(payload);
        })?;
        checker.verdict()?;
        if count == 0 {
            let now_ns = now_ns();
            if now_ns - *since_ns.get_or_insert(now_ns) > FIRST_MESSAGE_NS {
                return Err(format!("{} of {messages} messages came", checker.received()));
            }
        }
    }
    Ok(())
}

/// A poll that finds nothing, and a message sent and polled, beside `idle_producers`.
pub fn poll_cost<P: Peer>(task: &Task) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let _peer = P::prepare(shape, place)?;
    let mut rx = P::rx(shape, place, 0)?;
    let mut ends = Vec::new();
    for index in 0..shape.seats() {
        ends.push(P::tx(shape, place, index)?);
    }
    rx.begin()?;
    for tx in &mut ends {
        tx.begin()?;
    }
    let tx = ends.first_mut().ok_or("a shape without a producer")?;
    let mut checker = Checker::new(1, shape.payload_bytes, false);
    let mut number = 0;
    let send_and_poll_ns = cost_ns(task.duration_ns / 2, || {
        tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, number)))?;
        tx.flush()?;
        number += 1;
        receive(&mut rx, &mut checker, number)
    })?;
    let empty_poll_ns = cost_ns(task.duration_ns / 2, || {
        let count = rx.poll(1, |_| ())?;
        if count == 0 { Ok(()) } else { Err(String::from("a message came that nobody sent")) }
    })?;
    let mut report = Report::default();
    report.figures.insert(Figure::SendAndPollNs, send_and_poll_ns);
    report.figures.insert(Figure::EmptyPollNs, empty_poll_ns);
    Ok(report)
}

/// The mean time of a step that is repeated for about `duration_ns`.
fn cost_ns(duration_ns: u64, mut step: impl FnMut() -> Result<(), String>) -> Result<f64, String> {
    let begin_ns = now_ns();
    let mut steps = 0;
    loop {
        for _ in 0..STEPS_PER_LOOK {
            step()?;
        }
        steps += STEPS_PER_LOOK;
        let elapsed_ns = now_ns() - begin_ns;
        if elapsed_ns >= duration_ns {
            return Ok(to_f64(elapsed_ns) / to_f64(steps));
        }
    }
}

/// Sending one message, with `consumers` attached that read between the rounds.
pub fn publish_cost<P: Peer>(task: &Task) -> Result<Report, String> {
    let (shape, place) = (&task.shape, place(task, 0)?);
    let _peer = P::prepare(shape, place)?;
    let mut consumers = Vec::new();
    for index in 0..shape.consumers {
        let checker = Checker::new(1, shape.payload_bytes, false);
        consumers.push((P::rx(shape, place, index)?, checker));
    }
    let mut tx = P::tx(shape, place, 0)?;
    for (rx, _) in &mut consumers {
        rx.begin()?;
    }
    tx.begin()?;
    // Half of what the smallest ring holds with the greatest header that a peer may have.
    let room = shape.capacity_bytes / (shape.payload_bytes + 128) / 2;
    let round = room.clamp(1, MESSAGES_PER_ROUND.min(P::IN_FLIGHT_MAX)) as u64;
    let (mut number, mut sending_ns) = (0, 0);
    let begin_ns = now_ns();
    while now_ns() - begin_ns < task.duration_ns {
        let from_ns = now_ns();
        for _ in 0..round {
            tx.send(1, |_, payload| pattern::fill(payload, pattern::first_word(0, number)))?;
            number += 1;
        }
        tx.flush()?;
        sending_ns += now_ns() - from_ns;
        for (rx, checker) in &mut consumers {
            receive(rx, checker, number)?;
        }
    }
    let mut report = Report::default();
    report.figures.insert(Figure::SendNs, to_f64(sending_ns) / to_f64(number));
    Ok(report)
}

/// The shared memory that this process maps. Reference: `proc_pid_smaps(5)`.
struct Memory {
    mapped_bytes: u64,
    resident_bytes: u64,
}

impl Memory {
    fn now() -> Result<Self, String> {
        let text = std::fs::read_to_string("/proc/self/smaps")
            .map_err(|error| format!("reading /proc/self/smaps: {error}"))?;
        Ok(Self::of(&text))
    }

    fn of(smaps: &str) -> Self {
        let mut memory = Self { mapped_bytes: 0, resident_bytes: 0 };
        let mut shared = false;
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            let (Some(first), Some(second)) = (words.next(), words.next()) else {
                continue;
            };
            let kib = || second.parse::<u64>().unwrap_or(0) * 1024;
            match first {
                "Size:" if shared => memory.mapped_bytes += kib(),
                "Rss:" if shared => memory.resident_bytes += kib(),
                // A mapping's own line: its addresses, then its permissions, `s` for shared.
                _ if !first.ends_with(':') => shared = second.ends_with('s'),
                _ => {}
            }
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_mappings_count() {
        let smaps = "\
7f00-7f10 rw-p 00000000 00:00 0\nSize:   64 kB\nRss:   32 kB\n\
7f20-7f30 rw-s 00000000 00:19 7 /dev/shm/x\nSize:   16 kB\nRss:   8 kB\nVmFlags: rd wr sh\n\
7f40-7f50 r--p 00000000 00:00 0\nSize:   4 kB\nRss:   4 kB\n";
        let memory = Memory::of(smaps);
        assert_eq!((memory.mapped_bytes, memory.resident_bytes), (16 * 1024, 8 * 1024));
    }
}
