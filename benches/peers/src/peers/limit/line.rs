//! One cache line with a number and a payload beside it: `limit:ping-pong` spins on the number,
//! `limit:futex` sleeps on it.
//!
//! ```text
//!   0   number    messages sent
//!   8   payload   up to 56 bytes
//! ```

#![allow(unsafe_code, reason = "the payload is memory that two processes use in turn")]

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

use crate::peer::{Peer, Rx, Shape, Tx, Wait, need};
use crate::shm::Map;

const PAYLOAD_OFFSET: usize = 8;
const PAYLOAD_BYTES_MAX: usize = 56;
const FILE_BYTES: usize = 64;

fn path(place: &Path) -> PathBuf {
    place.join("line")
}

fn fits(shape: &Shape) -> Result<(), String> {
    need(shape.lockstep, "round trips and wake-ups only")?;
    need(shape.payload_bytes <= PAYLOAD_BYTES_MAX, "one cache line: at most 56 bytes")
}

/// `limit:ping-pong`.
pub struct PingPong;

impl Peer for PingPong {
    const NAME: &'static str = "limit:ping-pong";
    const ABOUT: &'static str = "the limit: one cache line to the other core, spinning";
    type Tx = LineTx<false>;
    type Rx = LineRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(shape.wait == Wait::Spin, "spins only; see limit:futex")?;
        fits(shape)
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        Map::create(&path(place), FILE_BYTES).map(|_| Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<LineTx<false>, String> {
        LineTx::open(shape, place)
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<LineRx, String> {
        LineRx::open(shape, place)
    }
}

/// `limit:futex`.
pub struct Futex;

impl Peer for Futex {
    const NAME: &'static str = "limit:futex";
    const ABOUT: &'static str = "the limit: one cache line and a raw futex, always woken";
    type Tx = LineTx<true>;
    type Rx = LineRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(shape.wait == Wait::Park, "sleeps only; see limit:ping-pong")?;
        fits(shape)
    }

    fn prepare(_shape: &Shape, place: &Path) -> Result<Self, String> {
        Map::create(&path(place), FILE_BYTES).map(|_| Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<LineTx<true>, String> {
        LineTx::open(shape, place)
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<LineRx, String> {
        LineRx::open(shape, place)
    }
}

/// The sending end; with `WAKES` it wakes the other after each message.
pub struct LineTx<const WAKES: bool> {
    map: Map,
    payload_bytes: usize,
    sent: u64,
}

impl<const WAKES: bool> LineTx<WAKES> {
    fn open(shape: &Shape, place: &Path) -> Result<Self, String> {
        let payload_bytes = shape.payload_bytes;
        Ok(Self { map: Map::open(&path(place))?, payload_bytes, sent: 0 })
    }
}

impl<const WAKES: bool> Tx for LineTx<WAKES> {
    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        if count != 1 {
            return Err(format!("one message at a time, not {count}"));
        }
        // SAFETY: inside the file's 64 bytes, as `supports` has seen to. Nobody reads them: shapes
        // in lockstep send again only when the last message was read.
        let payload = unsafe {
            let first = self.map.base().add(PAYLOAD_OFFSET);
            std::slice::from_raw_parts_mut(first, self.payload_bytes)
        };
        fill(0, payload);
        self.sent += 1;
        // ORDERING: release, pairs with the acquire load in `LineRx::poll`.
        self.map.word(0).store(self.sent, Ordering::Release);
        if WAKES {
            futex::wake(self.map.half(0), Flags::empty(), 1)
                .map_err(|error| format!("FUTEX_WAKE: {error}"))?;
        }
        Ok(())
    }
}

/// The receiving end.
pub struct LineRx {
    map: Map,
    payload_bytes: usize,
    seen: u64,
}

impl LineRx {
    fn open(shape: &Shape, place: &Path) -> Result<Self, String> {
        let payload_bytes = shape.payload_bytes;
        Ok(Self { map: Map::open(&path(place))?, payload_bytes, seen: 0 })
    }
}

impl Rx for LineRx {
    #[inline]
    fn poll(&mut self, _max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        // ORDERING: acquire, pairs with the release store in `LineTx::send`: makes the payload
        // visible.
        let sent = self.map.word(0).load(Ordering::Acquire);
        if sent == self.seen {
            return Ok(0);
        }
        self.seen = sent;
        // SAFETY: inside the file's 64 bytes, as `supports` has seen to, and not written before
        // this message is answered or the next is due.
        let payload = unsafe {
            let first = self.map.base().add(PAYLOAD_OFFSET);
            std::slice::from_raw_parts(first, self.payload_bytes)
        };
        each(payload);
        Ok(1)
    }

    fn wait(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, String> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        #[allow(clippy::cast_possible_truncation, reason = "the futex is the number's lower half")]
        let expected = self.seen as u32;
        match futex::wait(self.map.half(0), Flags::empty(), expected, Some(&timeout)) {
            Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT | Errno::INTR) => self.poll(1, each),
            Err(error) => Err(format!("FUTEX_WAIT: {error}")),
        }
    }
}
