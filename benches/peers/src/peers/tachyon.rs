//! tachyon-ipc: a single-producer, single-consumer ring of bytes in a memfd, in C++, handed over
//! through a Unix socket.
//!
//! Settings: pure spinning (`set_polling_mode`), slots acquired and filled in place, batches of
//! unflushed commits with one flush, `acquire_rx_batch` in place. That non-blocking call is in its C
//! interface only (its Rust one blocks), so this goes through `tachyon-sys`. Each message has a
//! header of 64 bytes and is aligned to 64. The reader gives room back every 32 messages.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::slice;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tachyon_sys as sys;

use super::rings::Rings;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, Wait, need};

/// Bytes of a message's header, and what messages are aligned to.
const HEADER_BYTES: usize = 64;

/// Messages that a ring has to hold: the reader gives room back in runs of 32.
const MESSAGES_MIN: usize = 64;

/// The greatest ring, in bytes: its handshake has 32 bits for it.
const RING_BYTES_MAX: usize = 1 << 31;

/// Messages that a consumer takes in one look at most.
const POLL_MAX: usize = 256;

/// How long a consumer waits for the socket of a producer that begins.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing is shared before the ends begin.
pub struct Tachyon;

impl Peer for Tachyon {
    const NAME: &'static str = "tachyon-ipc";
    const ABOUT: &'static str = "tachyon-ipc 0.5 (C++), one ring for each producer, in place";
    type Tx = TachyonTx;
    type Rx = TachyonRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "one consumer only")?;
        need(shape.wait == Wait::Spin, "its blocking receive has no timeout")?;
        need(ring_bytes(shape) <= RING_BYTES_MAX, "a ring has 2 GiB at most")?;
        need(
            shape.order == Order::PerProducer || shape.seats() == 1,
            "one producer a ring: no total order",
        )
    }

    fn prepare(_shape: &Shape, _place: &Path) -> Result<Self, String> {
        Ok(Self)
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<TachyonTx, String> {
        let (socket, ring_bytes) = (socket(place, index)?, ring_bytes(shape));
        Ok(TachyonTx {
            listening: Some(thread::spawn(move || listen(&socket, ring_bytes))),
            bus: None,
            payload_bytes: shape.payload_bytes,
            backoff: Backoff::new(shape),
        })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<TachyonRx, String> {
        let ring =
            |number| Ok(RingRx { socket: socket(place, number)?, bus: None, views: views() });
        Rings::attach(shape.seats(), ring).map(TachyonRx)
    }
}

fn ring_bytes(shape: &Shape) -> usize {
    let stride_bytes = (HEADER_BYTES + shape.payload_bytes).next_multiple_of(HEADER_BYTES);
    let messages = (shape.capacity_bytes / stride_bytes).max(MESSAGES_MIN).max(2 * shape.batch);
    if messages * stride_bytes <= shape.capacity_bytes && shape.capacity_bytes.is_power_of_two() {
        shape.capacity_bytes
    } else {
        (messages * stride_bytes).next_power_of_two()
    }
}

fn socket(place: &Path, number: usize) -> Result<CString, String> {
    let path = place.join(format!("tachyon-{number}"));
    CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())
}

fn views() -> Vec<sys::tachyon_msg_view_t> {
    let view = sys::tachyon_msg_view_t {
        ptr: ptr::null(),
        actual_size: 0,
        reserved_: 0,
        type_id: 0,
        padding_: 0,
    };
    vec![view; POLL_MAX]
}

/// A handle to one end of a ring, used by one thread at a time.
struct Bus(NonNull<sys::tachyon_bus_t>);

// SAFETY: the library allows a handle to move between threads (its own wrapper is `Send`).
unsafe impl Send for Bus {}

impl Bus {
    /// The handle that a call has written, if its code says success.
    fn made(code: sys::tachyon_error_t, bus: *mut sys::tachyon_bus_t) -> Result<Self, String> {
        match (code, NonNull::new(bus)) {
            (sys::tachyon_error_t_TACHYON_SUCCESS, Some(bus)) => Ok(Self(bus)),
            (code, _) => Err(format!("tachyon's error {code}")),
        }
    }

    fn as_ptr(&self) -> *mut sys::tachyon_bus_t {
        self.0.as_ptr()
    }

    fn check(&self) -> Result<(), String> {
        // SAFETY: the handle is live until dropped.
        let state = unsafe { sys::tachyon_get_state(self.as_ptr()) };
        if state == sys::tachyon_state_t_TACHYON_STATE_FATAL_ERROR {
            return Err(String::from("the ring says that its state is a fatal error"));
        }
        Ok(())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // SAFETY: made by listen or connect, and destroyed once.
        unsafe { sys::tachyon_bus_destroy(self.as_ptr()) };
    }
}

fn not_begun() -> String {
    String::from("used before it began")
}

/// Makes a ring and waits until its consumer has fetched it.
fn listen(socket: &CStr, ring_bytes: usize) -> Result<Bus, String> {
    let mut bus = ptr::null_mut();
    // SAFETY: a C string, a power of two, and a place for the handle, all live for the call.
    let code = unsafe { sys::tachyon_bus_listen(socket.as_ptr(), ring_bytes, &raw mut bus) };
    Bus::made(code, bus).map_err(|error| format!("listening: {error}"))
}

/// A producer with its ring.
pub struct TachyonTx {
    /// Waits for the consumer, which may be an end of this same thread.
    listening: Option<JoinHandle<Result<Bus, String>>>,
    bus: Option<Bus>,
    payload_bytes: usize,
    backoff: Backoff,
}

impl Tx for TachyonTx {
    fn begin(&mut self) -> Result<(), String> {
        let listening = self.listening.take().ok_or("began twice")?;
        self.bus = Some(listening.join().map_err(|_| "the listening thread panicked")??);
        Ok(())
    }

    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let bus = self.bus.as_ref().ok_or_else(not_begun)?;
        for index in 0..count {
            let slot = loop {
                // SAFETY: a live handle of this thread.
                let slot = unsafe { sys::tachyon_acquire_tx(bus.as_ptr(), self.payload_bytes) };
                if !slot.is_null() {
                    break slot.cast::<u8>();
                }
                bus.check()?;
                // SAFETY: as above. What is committed has to be seen, or there is never room.
                unsafe { sys::tachyon_flush(bus.as_ptr()) };
                self.backoff.pause();
            };
            // SAFETY: a slot of so many bytes of zeroed or written shared memory, this producer's
            // until it is committed.
            fill(index, unsafe { slice::from_raw_parts_mut(slot, self.payload_bytes) });
            // SAFETY: the slot that was acquired last.
            let code = unsafe { sys::tachyon_commit_tx(bus.as_ptr(), self.payload_bytes, 0) };
            if code != sys::tachyon_error_t_TACHYON_SUCCESS {
                return Err(format!("committing: tachyon's error {code}"));
            }
        }
        // SAFETY: a live handle of this thread.
        unsafe { sys::tachyon_flush(bus.as_ptr()) };
        Ok(())
    }
}

/// The consumer of all rings.
pub struct TachyonRx(Rings<RingRx>);

impl Rx for TachyonRx {
    fn begin(&mut self) -> Result<(), String> {
        self.0.begin()
    }

    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.0.poll(max, each)
    }
}

struct RingRx {
    socket: CString,
    bus: Option<Bus>,
    views: Vec<sys::tachyon_msg_view_t>,
}

impl Rx for RingRx {
    fn begin(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let bus = loop {
            let mut bus = ptr::null_mut();
            // SAFETY: a C string and a place for the handle, both live for the call.
            let code = unsafe { sys::tachyon_bus_connect(self.socket.as_ptr(), &raw mut bus) };
            match Bus::made(code, bus) {
                Ok(bus) => break bus,
                Err(error) if start.elapsed() > PATIENCE => {
                    return Err(format!("connecting: {error}"));
                }
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        };
        // SAFETY: a live handle of this thread.
        unsafe { sys::tachyon_bus_set_polling_mode(bus.as_ptr(), 1) };
        self.bus = Some(bus);
        Ok(())
    }

    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let bus = self.bus.as_ref().ok_or_else(not_begun)?;
        let max = max.min(POLL_MAX);
        // SAFETY: a live handle of this thread, and room for `max` views.
        let count =
            unsafe { sys::tachyon_acquire_rx_batch(bus.as_ptr(), self.views.as_mut_ptr(), max) };
        if count == 0 {
            return Ok(0);
        }
        for view in &self.views[..count] {
            // SAFETY: a message of so many bytes in the ring, the reader's until committed.
            each(unsafe { slice::from_raw_parts(view.ptr.cast(), view.actual_size) });
        }
        // SAFETY: the views that were acquired last.
        let code =
            unsafe { sys::tachyon_commit_rx_batch(bus.as_ptr(), self.views.as_ptr(), count) };
        if code != sys::tachyon_error_t_TACHYON_SUCCESS {
            return Err(format!("releasing a batch: tachyon's error {code}"));
        }
        bus.check()?;
        Ok(count)
    }
}
