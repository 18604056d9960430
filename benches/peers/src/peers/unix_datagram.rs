//! Datagram sockets of the Unix domain: one for each consumer, a datagram for each message, many
//! datagrams for each system call. Reference: unix(7), sendmmsg(2), recvmmsg(2).

#![allow(unsafe_code, reason = "sendmmsg and recvmmsg take pointers")]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt;

use super::bytes::wait_for_input;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, need};

/// Datagrams that one system call takes or brings at most.
const MESSAGES_PER_CALL: usize = 256;

/// The default of `net.unix.max_dgram_qlen`: a socket's queue, in messages.
const QUEUE_MESSAGES: usize = 10;

/// The sockets' names; the place removes them.
pub struct Datagram;

fn path(place: &Path, consumer: usize) -> PathBuf {
    place.join(format!("datagram-{consumer}"))
}

impl Peer for Datagram {
    const NAME: &'static str = "unix-datagram";
    const ABOUT: &'static str =
        "SOCK_DGRAM per consumer, sendmmsg and recvmmsg; queue of net.unix.max_dgram_qlen messages";
    const IN_FLIGHT_MAX: usize = QUEUE_MESSAGES;
    type Tx = DatagramTx;
    type Rx = DatagramRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(
            shape.order == Order::PerProducer || shape.consumers == 1 || shape.producers == 1,
            "a socket per consumer: no total order over several",
        )
    }

    fn prepare(_shape: &Shape, _place: &Path) -> Result<Self, String> {
        Ok(Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<DatagramTx, String> {
        let connect = |consumer| {
            let path = path(place, consumer);
            let socket = UnixDatagram::unbound()
                .and_then(|socket| socket.connect(&path).map(|()| socket))
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
                .map_err(|error| format!("connecting to {}: {error}", path.display()))?;
            // Bounded by net.core.wmem_max; what the kernel grants is what is measured.
            let _ = sockopt::set_socket_send_buffer_size(&socket, shape.capacity_bytes);
            Ok(OwnedFd::from(socket))
        };
        let sockets: Result<Vec<_>, String> = (0..shape.consumers).map(connect).collect();
        let messages = Messages::new(shape.batch.min(MESSAGES_PER_CALL), shape.payload_bytes);
        Ok(DatagramTx { sockets: sockets?, messages, backoff: Backoff::new(shape) })
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<DatagramRx, String> {
        let path = path(place, index);
        let socket = UnixDatagram::bind(&path)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|error| format!("binding {}: {error}", path.display()))?;
        let messages = Messages::new(MESSAGES_PER_CALL, shape.payload_bytes);
        Ok(DatagramRx { socket: socket.into(), messages })
    }
}

/// Buffers for many datagrams, and the headers by which the kernel finds them.
struct Messages {
    buffer: Vec<u8>,
    payload_bytes: usize,
    /// One for each message, pointing into `buffer`, which is never moved or resized.
    _parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Messages {
    fn new(count: usize, payload_bytes: usize) -> Self {
        let mut buffer = vec![0; count * payload_bytes];
        let mut parts: Vec<libc::iovec> = buffer
            .chunks_exact_mut(payload_bytes)
            .map(|chunk| libc::iovec { iov_base: chunk.as_mut_ptr().cast(), iov_len: chunk.len() })
            .collect();
        let header = |part: &mut libc::iovec| {
            // SAFETY: a structure of integers and pointers, for which zeros are valid.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = std::ptr::from_mut(part);
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let headers = parts.iter_mut().map(header).collect();
        Self { buffer, payload_bytes, _parts: parts, headers }
    }

    fn capacity(&self) -> usize {
        self.headers.len()
    }

    /// Sends messages `from..to`; how many went.
    fn send(&mut self, socket: &OwnedFd, from: usize, to: usize) -> io::Result<usize> {
        let headers = &mut self.headers[from..to];
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
        // SAFETY: so many headers, each with one part that lies in `buffer`; all live meanwhile.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives up to `max` messages; how many came.
    fn receive(&mut self, socket: &OwnedFd, max: usize) -> io::Result<usize> {
        let max = max.min(self.capacity());
        let headers = &mut self.headers[..max];
        let count = libc::c_uint::try_from(headers.len()).unwrap_or(0);
        let (first, no_timeout) = (headers.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: so many headers, each with one part that lies in `buffer`; all live meanwhile.
        let received = unsafe { libc::recvmmsg(socket.as_raw_fd(), first, count, 0, no_timeout) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}

/// The sending end.
pub struct DatagramTx {
    sockets: Vec<OwnedFd>,
    messages: Messages,
    backoff: Backoff,
}

impl Tx for DatagramTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let mut done = 0;
        while done < count {
            let part = (count - done).min(self.messages.capacity());
            let payload_bytes = self.messages.payload_bytes;
            let chunks = self.messages.buffer.chunks_exact_mut(payload_bytes);
            for (index, payload) in chunks.take(part).enumerate() {
                fill(done + index, payload);
            }
            for socket in &self.sockets {
                let mut sent = 0;
                while sent < part {
                    match self.messages.send(socket, sent, part) {
                        Ok(more) => sent += more,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            self.backoff.pause();
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(format!("sendmmsg: {error}")),
                    }
                }
            }
            done += part;
        }
        Ok(())
    }
}

/// The receiving end.
pub struct DatagramRx {
    socket: OwnedFd,
    messages: Messages,
}

impl Rx for DatagramRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let count = match self.messages.receive(&self.socket, max) {
            Ok(count) => count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(0);
            }
            Err(error) => return Err(format!("recvmmsg: {error}")),
        };
        let payload_bytes = self.messages.payload_bytes;
        let chunks = self.messages.buffer.chunks_exact(payload_bytes);
        for (header, payload) in self.messages.headers.iter().zip(chunks).take(count) {
            let len = usize::try_from(header.msg_len).unwrap_or(0);
            each(payload.get(..len).unwrap_or_default());
        }
        Ok(count)
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let count = self.poll(1, &mut each)?;
        if count > 0 {
            return Ok(count);
        }
        wait_for_input(std::iter::once(&self.socket), timeout)?;
        self.poll(1, each)
    }
}
