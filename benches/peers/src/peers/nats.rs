//! NATS on the loopback interface: core publish-subscribe through a server that is started for the
//! measurement, by the few lines of its text protocol that this needs (`nats/connection.rs`).
//!
//! Settings: a batch of `PUB`s in one write; every consumer subscribes to all producers. Core NATS
//! cuts off a consumer that falls too far behind, and loses what it has not had. So that nothing is
//! lost, consumers publish how many messages they have had, four times a round of the shape's slots,
//! and a producer is never further ahead of the slowest than that. `JetStream`, which acknowledges
//! each message, is slower still.

mod connection;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::connection::Connection;
use super::broker::Broker;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, need};

/// The server's program.
const SERVER: &str = "nats-server";

/// How often a consumer says in a round of the slots how far it is.
const REPORTS_PER_ROUND: u64 = 4;

/// A server.
pub struct Nats {
    _server: Broker,
}

impl Peer for Nats {
    const NAME: &'static str = "nats";
    const ABOUT: &'static str = "core NATS over loopback TCP, with reports so that none is lost";
    type Tx = NatsTx;
    type Rx = NatsRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(Broker::is_installed(SERVER), "nats-server is not installed")?;
        need(!shape.lossy, "lossless here: it cuts slow consumers off")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1 || shape.consumers == 1,
            "consumers see different orders",
        )
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        let directory = place.to_string_lossy();
        let arguments = ["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", &directory];
        let ready = || address(place).and_then(Connection::open).is_ok();
        Ok(Self { _server: Broker::start(SERVER, &arguments, place, ready)? })
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<NatsTx, String> {
        let mut connection = Connection::open(address(place)?)?;
        connection.subscribe(&format!("seen.{index}.*"))?;
        let ahead_max = shape.slots(shape.payload_bytes) as u64;
        Ok(NatsTx {
            connection,
            head: format!("PUB m.{index} {}\r\n", shape.payload_bytes).into_bytes(),
            batch: Vec::new(),
            payload_bytes: shape.payload_bytes,
            sent: 0,
            seen: vec![0; shape.consumers],
            ahead_max,
            backoff: Backoff::new(&Shape { crowded: true, ..shape.clone() }),
        })
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<NatsRx, String> {
        let mut connection = Connection::open(address(place)?)?;
        connection.subscribe("m.*")?;
        Ok(NatsRx {
            connection,
            index,
            seen: vec![0; shape.seats()],
            reported: vec![0; shape.seats()],
            report_every: (shape.slots(shape.payload_bytes) as u64 / REPORTS_PER_ROUND).max(1),
        })
    }
}

/// Where the server listens, from the file that it writes.
fn address(place: &Path) -> Result<SocketAddr, String> {
    let entries = fs::read_dir(place).map_err(|error| format!("listing the place: {error}"))?;
    let ports = entries.flatten().map(|entry| entry.path());
    let ports = ports.filter(|path| path.extension().is_some_and(|end| end == "ports"));
    let file = ports.last().ok_or("nats-server has not written its ports")?;
    let text = fs::read_to_string(&file).map_err(|error| format!("reading its ports: {error}"))?;
    let ports: Value =
        serde_json::from_str(&text).map_err(|error| format!("its ports: {error}"))?;
    let url = ports["nats"][0].as_str().ok_or("nats-server names no port")?;
    let address = url.trim_start_matches("nats://");
    address.parse().map_err(|error| format!("its address {address:?}: {error}"))
}

/// A connection that publishes.
pub struct NatsTx {
    connection: Connection,
    /// What stands before each payload.
    head: Vec<u8>,
    batch: Vec<u8>,
    payload_bytes: usize,
    sent: u64,
    /// Of its own messages, by consumer.
    seen: Vec<u64>,
    ahead_max: u64,
    backoff: Backoff,
}

impl NatsTx {
    /// Takes in one look what consumers have reported.
    fn look(&mut self) -> Result<usize, String> {
        let seen = &mut self.seen;
        self.connection.poll(usize::MAX, |subject, payload| {
            let consumer = last_number(subject);
            let report = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
            if let (Some(slot), Some(report)) = (seen.get_mut(consumer), report) {
                *slot = report;
            }
        })
    }
}

impl Tx for NatsTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let after = self.sent + count as u64;
        while self.seen.iter().any(|seen| after > seen + self.ahead_max) {
            if self.look()? == 0 {
                self.backoff.pause();
            }
        }
        self.batch.clear();
        for index in 0..count {
            self.batch.extend_from_slice(&self.head);
            let start = self.batch.len();
            self.batch.resize(start + self.payload_bytes, 0);
            fill(index, &mut self.batch[start..]);
            self.batch.extend_from_slice(b"\r\n");
        }
        self.sent = after;
        self.connection.write(&self.batch)
    }
}

/// The number at a subject's end: `seen.PRODUCER.CONSUMER` or `m.PRODUCER`.
fn last_number(subject: &[u8]) -> usize {
    let digits = subject.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit.wrapping_sub(b'0')))
}

/// A connection that is subscribed to all producers.
pub struct NatsRx {
    connection: Connection,
    index: usize,
    /// Messages, by producer.
    seen: Vec<u64>,
    reported: Vec<u64>,
    report_every: u64,
}

impl NatsRx {
    fn report(&mut self) -> Result<(), String> {
        for (producer, (seen, reported)) in self.seen.iter().zip(&mut self.reported).enumerate() {
            if seen - *reported >= self.report_every {
                *reported = *seen;
                let (text, index) = (seen.to_string(), self.index);
                let line = format!("PUB seen.{producer}.{index} {}\r\n{text}\r\n", text.len());
                self.connection.write(line.as_bytes())?;
            }
        }
        Ok(())
    }
}

impl Rx for NatsRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let seen = &mut self.seen;
        let count = self.connection.poll(max, |subject, payload| {
            seen[last_number(subject)] += 1;
            each(payload);
        })?;
        self.report()?;
        Ok(count)
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let deadline = Instant::now() + timeout;
        loop {
            let count = self.poll(1, &mut each)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if count > 0 || left.is_zero() {
                return Ok(count);
            }
            self.connection.sleep(left)?;
        }
    }
}
