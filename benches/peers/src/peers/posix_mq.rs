//! POSIX message queues: one for each consumer. Reference: `mq_overview(7)`.
//!
//! The queue has as many messages as the ring would have, where the limits of the system allow it,
//! and 10 elsewhere, which is what an ordinary user gets.

#![allow(unsafe_code, reason = "the queue's functions take pointers")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::bytes::wait_for_input;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, need, tag};

/// What every user may have: the default of `/proc/sys/fs/mqueue/msg_max`.
const MESSAGES_LEAST: usize = 10;

/// The default of `/proc/sys/fs/mqueue/msgsize_max`, in bytes.
const MESSAGE_BYTES_MAX: usize = 8192;

/// The kernel's own limit of messages in a queue.
const MESSAGES_MAX: usize = 65_536;

/// Queues of one place that a killed driver may have left.
const CONSUMERS_MAX: usize = 64;

/// The queues, which are removed when dropped.
pub struct Queues {
    names: Vec<CString>,
}

fn name(place: &Path, consumer: usize) -> Result<CString, String> {
    CString::new(format!("/{}-mq-{consumer}", tag(place))).map_err(|error| error.to_string())
}

fn remove(name: &CString) {
    // SAFETY: a string that ends with 0. A queue that does not exist is what is wanted.
    let _ = unsafe { libc::mq_unlink(name.as_ptr()) };
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.names.iter().for_each(remove);
    }
}

impl Peer for Queues {
    const NAME: &'static str = "posix-mq";
    const ABOUT: &'static str =
        "a message queue per consumer, non-blocking; as long as the system's limits allow";
    const IN_FLIGHT_MAX: usize = MESSAGES_LEAST;
    type Tx = QueueTx;
    type Rx = QueueRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(shape.payload_bytes <= MESSAGE_BYTES_MAX, "at most 8192 bytes")?;
        need(shape.consumers <= CONSUMERS_MAX, "at most 64 queues")?;
        need(
            shape.order == Order::PerProducer || shape.consumers == 1 || shape.producers == 1,
            "a queue per consumer: no total order over several",
        )
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        let mut queues = Self { names: Vec::new() };
        for consumer in 0..shape.consumers {
            let name = name(place, consumer)?;
            queues.names.push(name.clone());
            // A message costs its bytes and a header of some 48 in the kernel.
            let many = shape.slots(shape.payload_bytes + 48).min(MESSAGES_MAX);
            create(&name, many, shape.payload_bytes)
                .or_else(|_| create(&name, MESSAGES_LEAST, shape.payload_bytes))
                .map_err(|error| format!("mq_open {name:?}: {error}"))?;
        }
        Ok(queues)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<QueueTx, String> {
        let queues: Result<Vec<_>, _> = (0..shape.consumers)
            .map(|consumer| open(&name(place, consumer)?, libc::O_WRONLY))
            .collect();
        let buffer = vec![0; shape.payload_bytes];
        Ok(QueueTx { queues: queues?, buffer, backoff: Backoff::new(shape) })
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<QueueRx, String> {
        let queue = open(&name(place, index)?, libc::O_RDONLY)?;
        Ok(QueueRx { queue, buffer: vec![0; shape.payload_bytes] })
    }

    fn sweep(place: &Path) {
        (0..CONSUMERS_MAX).filter_map(|consumer| name(place, consumer).ok()).for_each(|name| {
            remove(&name);
        });
    }
}

fn create(name: &CString, messages: usize, bytes: usize) -> io::Result<()> {
    // SAFETY: a structure of integers, for which zeros are valid.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    attributes.mq_maxmsg = libc::c_long::try_from(messages).unwrap_or(libc::c_long::MAX);
    attributes.mq_msgsize = libc::c_long::try_from(bytes).unwrap_or(libc::c_long::MAX);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
    let mode: libc::mode_t = 0o600;
    // SAFETY: a string that ends with 0, and attributes that live meanwhile.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, mode, &raw mut attributes) };
    own(queue).map(drop)
}

fn open(name: &CString, access: libc::c_int) -> Result<OwnedFd, String> {
    let flags = access | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: a string that ends with 0; without O_CREAT no more is read.
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags) };
    own(queue).map_err(|error| format!("mq_open {name:?}: {error}"))
}

/// On Linux a queue's descriptor is a file's.
fn own(queue: libc::mqd_t) -> io::Result<OwnedFd> {
    if queue < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(queue) })
}

/// The sending end.
pub struct QueueTx {
    queues: Vec<OwnedFd>,
    buffer: Vec<u8>,
    backoff: Backoff,
}

impl Tx for QueueTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        for index in 0..count {
            fill(index, &mut self.buffer);
            for queue in &self.queues {
                let (first, len) = (self.buffer.as_ptr().cast(), self.buffer.len());
                // SAFETY: the buffer's bytes, which live meanwhile.
                while unsafe { libc::mq_send(queue.as_raw_fd(), first, len, 0) } < 0 {
                    let error = io::Error::last_os_error();
                    match error.kind() {
                        io::ErrorKind::WouldBlock => self.backoff.pause(),
                        io::ErrorKind::Interrupted => {}
                        _ => return Err(format!("mq_send: {error}")),
                    }
                }
            }
        }
        Ok(())
    }
}

/// The receiving end.
pub struct QueueRx {
    queue: OwnedFd,
    buffer: Vec<u8>,
}

impl Rx for QueueRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for count in 0..max {
            let (first, len) = (self.buffer.as_mut_ptr().cast(), self.buffer.len());
            let no_priority = std::ptr::null_mut();
            // SAFETY: the buffer's bytes, which live meanwhile.
            let received =
                unsafe { libc::mq_receive(self.queue.as_raw_fd(), first, len, no_priority) };
            let Ok(received) = usize::try_from(received) else {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(count),
                    _ => Err(format!("mq_receive: {error}")),
                };
            };
            each(self.buffer.get(..received).unwrap_or_default());
        }
        Ok(max)
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let count = self.poll(1, &mut each)?;
        if count > 0 {
            return Ok(count);
        }
        wait_for_input(std::iter::once(&self.queue), timeout)?;
        self.poll(1, each)
    }
}
