//! A client's connection to a NATS server: as much of the text protocol as the peer needs.
//!
//! ```text
//! client: CONNECT {…}  SUB subject id  PUB subject bytes⏎payload⏎  PING  PONG
//! server: INFO {…}     MSG subject id bytes⏎payload⏎               PING  PONG  -ERR 'text'
//! ```
//!
//! Reference: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that are read at once: more than a batch of the greatest payloads.
const READ_BYTES: usize = 256 << 10;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, never blocking but in [`sleep`](Self::sleep).
pub struct Connection {
    stream: TcpStream,
    /// What was read; `start..end` is not yet taken.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    pongs: u64,
}

/// One thing that the server says, as positions in the buffer.
enum Said {
    Message { subject: (usize, usize), payload: (usize, usize), next: usize },
    Other { line: (usize, usize), next: usize },
}

fn tried(what: &'static str) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

impl Connection {
    /// Connects, and waits until the server has answered.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(tried("connecting"))?;
        stream.set_nodelay(true).map_err(tried("switching Nagle's delay off"))?;
        stream.set_nonblocking(true).map_err(tried("asking for reads without waiting"))?;
        let buffer = vec![0; READ_BYTES];
        let mut connection = Self { stream, buffer, start: 0, end: 0, pongs: 0 };
        connection.write(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n")?;
        connection.await_pong()?;
        Ok(connection)
    }

    /// Subscribes, and waits until the server has done it.
    ///
    /// # Errors
    /// What was tried and what the system said.
    pub fn subscribe(&mut self, subject: &str) -> Result<(), String> {
        self.write(format!("SUB {subject} 1\r\n").as_bytes())?;
        self.await_pong()
    }

    fn await_pong(&mut self) -> Result<(), String> {
        let (before, start) = (self.pongs, Instant::now());
        self.write(b"PING\r\n")?;
        while self.pongs == before {
            self.poll(0, |_, _| {})?;
            if start.elapsed() > PATIENCE {
                return Err(format!("the server did not answer in {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Writes all of it, spinning while the socket is full.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        Ok(())
    }

    /// Hands up to `max` messages to `each`, with their subjects, and says how many; reads once if
    /// none is there. Answers the server's pings.
    ///
    /// # Errors
    /// What the system, or the server, said.
    #[inline]
    pub fn poll(
        &mut self,
        max: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize, String> {
        let mut count = self.take(max, &mut each)?;
        if count == 0 && self.read()? {
            count = self.take(max, &mut each)?;
        }
        Ok(count)
    }

    /// Sleeps in the kernel until there is something to read, or `timeout` is over.
    ///
    /// # Errors
    /// What the system said.
    pub fn sleep(&self, timeout: Duration) -> Result<(), String> {
        let timeout = Timespec::try_from(timeout).map_err(|error| format!("sleeping: {error}"))?;
        let mut descriptors = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(format!("sleeping: {error}")),
        }
    }

    fn take(&mut self, max: usize, each: &mut impl FnMut(&[u8], &[u8])) -> Result<usize, String> {
        let mut count = 0;
        while count < max || max == 0 {
            match self.next()? {
                None => break,
                Some(Said::Message { subject, payload, next }) => {
                    each(&self.buffer[subject.0..subject.1], &self.buffer[payload.0..payload.1]);
                    self.start = next;
                    count += 1;
                }
                Some(Said::Other { line, next }) => {
                    self.start = next;
                    self.answer(line)?;
                }
            }
        }
        Ok(count)
    }

    fn answer(&mut self, line: (usize, usize)) -> Result<(), String> {
        let line = &self.buffer[line.0..line.1];
        if line.starts_with(b"PING") {
            return self.write(b"PONG\r\n");
        }
        if line.starts_with(b"-ERR") {
            return Err(format!("the server says {}", String::from_utf8_lossy(line)));
        }
        self.pongs += u64::from(line.starts_with(b"PONG"));
        Ok(())
    }

    /// The next thing that is there as a whole.
    #[inline]
    fn next(&self) -> Result<Option<Said>, String> {
        let unread = &self.buffer[self.start..self.end];
        let Some(length) = unread.iter().position(|byte| *byte == b'\r') else { return Ok(None) };
        let (line, after) = (&unread[..length], self.start + length + 2);
        if !line.starts_with(b"MSG ") {
            let other = Said::Other { line: (self.start, self.start + length), next: after };
            return Ok((after <= self.end).then_some(other));
        }
        let subject = line[4..].iter().position(|byte| *byte == b' ').unwrap_or(0);
        let digits = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        let bytes = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<usize>().ok());
        let bytes = bytes.ok_or_else(|| {
            format!("the server says {:?}, which has no length", String::from_utf8_lossy(line))
        })?;
        let message = Said::Message {
            subject: (self.start + 4, self.start + 4 + subject),
            payload: (after, after + bytes),
            next: after + bytes + 2,
        };
        Ok((after + bytes + 2 <= self.end).then_some(message))
    }

    /// One read; whether it brought anything.
    fn read(&mut self) -> Result<bool, String> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        match self.stream.read(&mut self.buffer[self.end..]) {
            Ok(0) => Err(String::from("the server has closed the connection")),
            Ok(bytes) => {
                self.end += bytes;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(format!("reading: {error}")),
        }
    }
}
