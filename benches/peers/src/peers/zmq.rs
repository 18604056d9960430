//! `ZeroMQ` over Unix sockets (`ipc://`): libzmq, built by its crate.
//!
//! Settings: `PUSH` to `PULL` for one consumer, `XPUB` to `SUB` for several, with `XPUB_NODROP` so
//! that a full pipe is waited for; high-water marks of half the shape's capacity on each side, or libzmq's own
//! 1000 messages if that is more; one
//! input-output thread; sending and receiving without waiting, in a spin that offers the core to that
//! thread, the receiving end into one buffer. There are no batches of messages for its user (libzmq batches on its own).
//! Parking is `zmq_poll`.

use std::ffi::c_int;
use std::path::Path;
use std::time::{Duration, Instant};

use zmq::{Context, DONTWAIT, Error, POLLIN, Socket, SocketType};

use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, need};

/// How long a publisher waits for its subscribers.
const PATIENCE: Duration = Duration::from_secs(10);

/// libzmq's own high-water mark, in messages: a lower one makes its pipes stop and go.
const MARK_MIN: usize = 1000;

/// The sockets lie in the place.
pub struct Zmq;

impl Peer for Zmq {
    const NAME: &'static str = "zeromq";
    const ABOUT: &'static str = "ZeroMQ 4.3 (libzmq, crate zmq 0.10), ipc://, copies in and out";
    type Tx = ZmqTx;
    type Rx = ZmqRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless here: it drops the newest")?;
        need(shape.order == Order::PerProducer || shape.seats() == 1, "no order over producers")
    }

    fn prepare(_shape: &Shape, _place: &Path) -> Result<Self, String> {
        Ok(Self)
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<ZmqTx, String> {
        let fans_out = shape.consumers > 1;
        let mut socket = socket(shape, if fans_out { zmq::XPUB } else { zmq::PUSH })?;
        if fans_out {
            switch_on(&mut socket, zmq_sys::ZMQ_XPUB_NODROP)?;
            // Each subscription is told, not only the first of its kind.
            switch_on(&mut socket, zmq_sys::ZMQ_XPUB_VERBOSE)?;
            socket.bind(&address(place, index)).map_err(tried("binding"))?;
        } else {
            socket.connect(&address(place, 0)).map_err(tried("connecting"))?;
        }
        Ok(ZmqTx {
            socket,
            message: vec![0; shape.payload_bytes],
            subscribers: if fans_out { shape.consumers } else { 0 },
            backoff: backoff(shape),
        })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<ZmqRx, String> {
        let fans_out = shape.consumers > 1;
        let socket = socket(shape, if fans_out { zmq::SUB } else { zmq::PULL })?;
        if fans_out {
            socket.set_subscribe(b"").map_err(tried("subscribing"))?;
            for index in 0..shape.seats() {
                // The producer binds later; libzmq tries again.
                socket.connect(&address(place, index)).map_err(tried("connecting"))?;
            }
        } else {
            socket.bind(&address(place, 0)).map_err(tried("binding"))?;
        }
        let yields = (!shape.crowded).then(|| backoff(shape));
        Ok(ZmqRx { socket, message: vec![0; shape.payload_bytes], yields })
    }
}

fn tried(what: &'static str) -> impl FnOnce(Error) -> String {
    move |error| format!("{what}: {error}")
}

fn address(place: &Path, number: usize) -> String {
    format!("ipc://{}", place.join(format!("zmq-{number}")).display())
}

fn socket(shape: &Shape, kind: SocketType) -> Result<Socket, String> {
    let socket = Context::new().socket(kind).map_err(tried("making a socket"))?;
    let messages = (shape.capacity_bytes / shape.payload_bytes / 2).max(MARK_MIN);
    let mark = i32::try_from(messages).map_err(|_| format!("a queue of {messages} messages"))?;
    socket.set_sndhwm(mark).map_err(tried("setting the high-water mark"))?;
    socket.set_rcvhwm(mark).map_err(tried("setting the high-water mark"))?;
    // A first try to connect that came too early is to be repeated soon.
    socket.set_reconnect_ivl(1).map_err(tried("setting the reconnect interval"))?;
    Ok(socket)
}

/// Switches an option on that the crate has no method for.
fn switch_on(socket: &mut Socket, option: u32) -> Result<(), String> {
    let on: c_int = 1;
    // SAFETY: a live socket, and an option whose value is an `int` that lives for the call.
    let code = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            option.cast_signed(),
            (&raw const on).cast(),
            size_of::<c_int>(),
        )
    };
    if code == 0 { Ok(()) } else { Err(format!("libzmq refuses to switch option {option} on")) }
}

/// Offers the core after looks in vain: the input-output thread is on the end's own processor.
fn backoff(shape: &Shape) -> Backoff {
    Backoff::new(&Shape { crowded: true, ..shape.clone() })
}

/// A pushing or publishing socket.
pub struct ZmqTx {
    socket: Socket,
    message: Vec<u8>,
    /// Subscriptions to wait for.
    subscribers: usize,
    backoff: Backoff,
}

impl Tx for ZmqTx {
    fn begin(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let mut subscribers = 0;
        while subscribers < self.subscribers {
            match self.socket.recv_bytes(DONTWAIT) {
                Ok(_) => subscribers += 1,
                Err(Error::EAGAIN) if start.elapsed() < PATIENCE => self.backoff.pause(),
                Err(error) => return Err(format!("waiting for subscriptions: {error}")),
            }
        }
        Ok(())
    }

    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        for index in 0..count {
            fill(index, &mut self.message);
            loop {
                match self.socket.send(self.message.as_slice(), DONTWAIT) {
                    Ok(()) => break,
                    Err(Error::EAGAIN) => self.backoff.pause(),
                    Err(error) => return Err(format!("sending: {error}")),
                }
            }
        }
        Ok(())
    }
}

/// A pulling or subscribed socket.
pub struct ZmqRx {
    socket: Socket,
    message: Vec<u8>,
    /// What offers the core to the input-output thread, if the caller does not.
    yields: Option<Backoff>,
}

impl Rx for ZmqRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for count in 0..max {
            match self.socket.recv_into(&mut self.message, DONTWAIT) {
                Ok(bytes) => each(&self.message[..bytes.min(self.message.len())]),
                Err(Error::EAGAIN) => {
                    if let (0, Some(yields)) = (count, &mut self.yields) {
                        yields.pause();
                    }
                    return Ok(count);
                }
                Err(error) => return Err(format!("receiving: {error}")),
            }
        }
        Ok(max)
    }

    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        let milliseconds = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        self.socket.poll(POLLIN, milliseconds).map_err(tried("polling"))?;
        self.poll(1, each)
    }
}
