//! Messages of one size in a stream of bytes, for pipes and stream sockets: a batch is one write,
//! and a read takes what there is.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::peer::{Backoff, Rx, Shape, Tx};

/// What a reader asks the kernel for at once, in bytes; and at least one message.
const READ_BYTES: usize = 1 << 16;

/// Descriptors that are written: one for each consumer, all of them non-blocking.
pub struct BytesTx {
    files: Vec<OwnedFd>,
    buffer: Vec<u8>,
    payload_bytes: usize,
    backoff: Backoff,
}

impl BytesTx {
    /// Writes to these.
    pub fn new(shape: &Shape, files: Vec<OwnedFd>) -> Self {
        let buffer = vec![0; shape.batch * shape.payload_bytes];
        let (payload_bytes, backoff) = (shape.payload_bytes, Backoff::new(shape));
        Self { files, buffer, payload_bytes, backoff }
    }
}

impl Tx for BytesTx {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let messages = self.buffer.chunks_exact_mut(self.payload_bytes).take(count);
        for (index, message) in messages.enumerate() {
            fill(index, message);
        }
        for file in &self.files {
            let mut rest = &self.buffer[..count * self.payload_bytes];
            while !rest.is_empty() {
                match rustix::io::write(file, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::AGAIN) => self.backoff.pause(),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(format!("write: {error}")),
                }
            }
        }
        Ok(())
    }
}

/// Descriptors that are read, all of them non-blocking: one for each producer, or one for all.
pub struct BytesRx {
    sources: Vec<Source>,
    payload_bytes: usize,
    next: usize,
}

impl BytesRx {
    /// Reads these.
    pub fn new(shape: &Shape, files: Vec<OwnedFd>) -> Self {
        let payload_bytes = shape.payload_bytes;
        // Whole messages only: what is left of the last one is moved to the front.
        let len = READ_BYTES.next_multiple_of(payload_bytes).max(payload_bytes);
        let source = |file| Source { file, buffer: vec![0; len], begin: 0, end: 0 };
        Self { sources: files.into_iter().map(source).collect(), payload_bytes, next: 0 }
    }
}

impl Rx for BytesRx {
    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for _ in 0..self.sources.len() {
            let source = self.next;
            self.next = if source + 1 == self.sources.len() { 0 } else { source + 1 };
            let count = self.sources[source].take(max, self.payload_bytes, &mut each)?;
            if count > 0 {
                return Ok(count);
            }
        }
        Ok(0)
    }

    fn wait(&mut self, timeout: Duration, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let count = self.poll(1, &mut each)?;
        if count > 0 {
            return Ok(count);
        }
        wait_for_input(self.sources.iter().map(|source| &source.file), timeout)?;
        self.poll(1, each)
    }
}

/// Sleeps until one of these can be read, or until the time is over.
///
/// # Errors
/// What the system said.
pub fn wait_for_input<'a>(
    files: impl Iterator<Item = &'a OwnedFd>,
    timeout: Duration,
) -> Result<(), String> {
    let mut waited: Vec<PollFd<'_>> = files.map(|file| PollFd::new(file, PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match poll(&mut waited, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(format!("poll: {error}")),
    }
}

struct Source {
    file: OwnedFd,
    buffer: Vec<u8>,
    /// What was read and not handed over.
    begin: usize,
    end: usize,
}

impl Source {
    fn take(
        &mut self,
        max: usize,
        payload_bytes: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, String> {
        if self.end - self.begin < payload_bytes {
            self.read()?;
        }
        let whole = ((self.end - self.begin) / payload_bytes).min(max);
        let taken = self.begin..self.begin + whole * payload_bytes;
        self.begin = taken.end;
        self.buffer[taken].chunks_exact(payload_bytes).for_each(&mut each);
        Ok(whole)
    }

    fn read(&mut self) -> Result<(), String> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        match rustix::io::read(&self.file, &mut self.buffer[self.end..]) {
            Ok(read) => {
                self.end += read;
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(format!("read: {error}")),
        }
    }
}
