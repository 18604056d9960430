//! Redis over a Unix socket: one list for each consumer, in a server without persistence that is
//! started for the measurement.
//!
//! Settings: `RPUSH` of a whole batch in one command and of all consumers' lists in one pipeline,
//! `LPOP` with a count, parking by `BLPOP`. Lists and not its publish-subscribe, which loses, nor
//! streams, which are slower. A list has no bound: its length comes back from `RPUSH`, and a
//! producer waits while it is above the shape's slots. Every send and every look is a round trip.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Client, Connection, RedisError};

use super::broker::Broker;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, need};

/// The server's program.
const SERVER: &str = "redis-server";

/// Messages that a consumer takes in one look at most.
const POLL_MAX: usize = 256;

/// A server.
pub struct Redis {
    _server: Broker,
}

impl Peer for Redis {
    const NAME: &'static str = "redis";
    const ABOUT: &'static str = "Redis lists over a Unix socket, no persistence (crate redis 1)";
    type Tx = RedisTx;
    type Rx = RedisRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(Broker::is_installed(SERVER), "redis-server is not installed")?;
        need(!shape.lossy, "lossless here: lists have no bound")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1 || shape.consumers == 1,
            "one list for each consumer: no order over all",
        )
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        let socket = socket(place);
        let path = socket.to_string_lossy();
        let arguments = ["--port", "0", "--unixsocket", &path, "--save", "", "--appendonly", "no"];
        let ready = || UnixStream::connect(&socket).is_ok();
        Ok(Self { _server: Broker::start(SERVER, &arguments, place, ready)? })
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<RedisTx, String> {
        Ok(RedisTx {
            connection: connect(place)?,
            lists: (0..shape.consumers).map(list).collect(),
            batch: vec![0; shape.batch * shape.payload_bytes],
            payload_bytes: shape.payload_bytes,
            messages_max: shape.slots(shape.payload_bytes) as u64,
            backoff: Backoff::new(&Shape { crowded: true, ..shape.clone() }),
        })
    }

    fn rx(_shape: &Shape, place: &Path, index: usize) -> Result<RedisRx, String> {
        Ok(RedisRx { connection: connect(place)?, list: list(index) })
    }
}

fn tried(what: &'static str) -> impl FnOnce(RedisError) -> String {
    move |error| format!("{what}: {error}")
}

fn socket(place: &Path) -> PathBuf {
    place.join("redis")
}

fn list(consumer: usize) -> String {
    format!("consumer-{consumer}")
}

fn connect(place: &Path) -> Result<Connection, String> {
    let client = Client::open(format!("unix://{}", socket(place).display()));
    client.map_err(tried("naming"))?.get_connection().map_err(tried("connecting"))
}

/// A connection that pushes.
pub struct RedisTx {
    connection: Connection,
    lists: Vec<String>,
    batch: Vec<u8>,
    payload_bytes: usize,
    messages_max: u64,
    backoff: Backoff,
}

impl RedisTx {
    /// Waits while the longest list is too long.
    fn wait_for_room(&mut self, mut lengths: Vec<u64>) -> Result<(), String> {
        while lengths.iter().any(|length| *length > self.messages_max) {
            self.backoff.pause();
            let mut pipeline = redis::pipe();
            for list in &self.lists {
                pipeline.cmd("LLEN").arg(list);
            }
            lengths = pipeline.query(&mut self.connection).map_err(tried("asking for lengths"))?;
        }
        Ok(())
    }
}

impl Tx for RedisTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let bytes = self.payload_bytes;
        for (index, message) in self.batch.chunks_exact_mut(bytes).take(count).enumerate() {
            fill(index, message);
        }
        let mut pipeline = redis::pipe();
        for list in &self.lists {
            let push = pipeline.cmd("RPUSH").arg(list);
            for message in self.batch.chunks_exact(bytes).take(count) {
                push.arg(message);
            }
        }
        let lengths = pipeline.query(&mut self.connection).map_err(tried("pushing"))?;
        self.wait_for_room(lengths)
    }
}

/// A connection that pops.
pub struct RedisRx {
    connection: Connection,
    list: String,
}

impl Rx for RedisRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let mut pop = redis::cmd("LPOP");
        pop.arg(&self.list).arg(max.min(POLL_MAX));
        let popped: Option<Vec<Vec<u8>>> =
            pop.query(&mut self.connection).map_err(tried("popping"))?;
        let messages = popped.unwrap_or_default();
        for message in &messages {
            each(message);
        }
        Ok(messages.len())
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let mut pop = redis::cmd("BLPOP");
        // 0 would be for ever.
        pop.arg(&self.list).arg(timeout.as_secs_f64().max(0.001));
        let popped: Option<(String, Vec<u8>)> =
            pop.query(&mut self.connection).map_err(tried("popping"))?;
        let Some((_, message)) = popped else { return Ok(0) };
        each(&message);
        Ok(1)
    }
}
