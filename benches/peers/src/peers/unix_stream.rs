//! Stream sockets of the Unix domain: a connection for each pair of producer and consumer.
//! Reference: unix(7).

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt;

use super::bytes::{BytesRx, BytesTx};
use crate::peer::{Order, Peer, Rx, Shape, need};

/// Connections that wait to be accepted at most, as the standard library listens.
const BACKLOG: usize = 128;

/// The sockets' names; the place removes them.
pub struct Stream;

fn path(place: &Path, consumer: usize) -> PathBuf {
    place.join(format!("stream-{consumer}"))
}

impl Peer for Stream {
    const NAME: &'static str = "unix-stream";
    const ABOUT: &'static str =
        "SOCK_STREAM per producer and consumer, non-blocking, a batch is one write, SO_SNDBUF";
    type Tx = BytesTx;
    type Rx = StreamRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(shape.seats() <= BACKLOG, "at most 128 connections that wait to be accepted")?;
        need(
            shape.order == Order::PerProducer || shape.producers == 1,
            "a connection per producer: no total order",
        )
    }

    fn prepare(_shape: &Shape, _place: &Path) -> Result<Self, String> {
        Ok(Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<BytesTx, String> {
        let connect = |consumer| {
            let path = path(place, consumer);
            let stream = UnixStream::connect(&path)
                .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
                .map_err(|error| format!("connecting to {}: {error}", path.display()))?;
            // Bounded by net.core.wmem_max; what the kernel grants is what is measured.
            let _ = sockopt::set_socket_send_buffer_size(&stream, shape.capacity_bytes);
            Ok(OwnedFd::from(stream))
        };
        let files: Result<Vec<_>, String> = (0..shape.consumers).map(connect).collect();
        Ok(BytesTx::new(shape, files?))
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<StreamRx, String> {
        let path = path(place, index);
        let listener = UnixListener::bind(&path)
            .map_err(|error| format!("listening at {}: {error}", path.display()))?;
        Ok(StreamRx { listener, shape: shape.clone(), bytes: None })
    }
}

/// The receiving end.
pub struct StreamRx {
    listener: UnixListener,
    shape: Shape,
    /// The connections, once all producers have made theirs.
    bytes: Option<BytesRx>,
}

impl Rx for StreamRx {
    fn begin(&mut self) -> Result<(), String> {
        let accept = |_| {
            let (stream, _) = self.listener.accept()?;
            stream.set_nonblocking(true)?;
            Ok(OwnedFd::from(stream))
        };
        let files: Result<Vec<_>, std::io::Error> = (0..self.shape.seats()).map(accept).collect();
        let files = files.map_err(|error| format!("accepting: {error}"))?;
        self.bytes = Some(BytesRx::new(&self.shape, files));
        Ok(())
    }

    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.bytes.as_mut().map_or(Ok(0), |bytes| bytes.poll(max, each))
    }

    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.bytes.as_mut().map_or(Ok(0), |bytes| bytes.wait(timeout, each))
    }
}
