//! Aeron over IPC: a log of three terms in shared memory, written by one publication or several,
//! read in place by every subscription. Its media driver, in C, is not on the way of a message, but
//! moves the limit up to which a publication may write.
//!
//! Settings: one exclusive publication for each producer, or where a total order is asked for one
//! concurrent publication that all share; `try_claim`, in place; no batches: a batch is a loop. The
//! driver runs in the parent process, as one thread (`SHARED`): spinning if there is a processor
//! left for it, else with its own back-off, and then ends that wait offer it their cores. Logs are
//! preallocated, clients touch them beforehand.
//!
//! A publication may be half a term ahead, so a term of `aeron` is twice the shape's capacity. Since
//! the limit moves only when the driver runs, a small log waits for it: `aeron:64M` has the terms
//! that Aeron gives IPC by default.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusteron_media_driver::{
    Aeron as Client, AeronClaim, AeronContext, AeronDriver, AeronDriverContext,
    AeronExclusivePublication, AeronIdleStrategyKind, AeronOfferError, AeronPublication,
    AeronSubscription, EmbeddedMediaDriver, Handlers, IntoCString as _, bindings,
};

use super::shm;
use crate::peer::{Backoff, Order, Peer, Rx, Shape, Tx, Wait, need};

/// The stream of all ends.
const STREAM: i32 = 1001;

/// How long the driver may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a message's header in the log, and what messages there are aligned to.
const HEADER_BYTES: usize = 32;

/// Aeron's own unit of transfer over IPC, in bytes; a claim has to fit in it.
const MTU_BYTES: usize = 1408;

/// The least and the greatest term, in bytes.
const TERM_BYTES: (usize, usize) = (64 << 10, 1 << 30);

/// Aeron's own length of a term over IPC, in bytes.
const DEFAULT_TERM_BYTES: usize = 64 << 20;

/// Logs of [`DEFAULT_TERM_BYTES`] that a machine's `/dev/shm` is expected to have room for.
const DEFAULT_LOGS_MAX: usize = 4;

/// How long a log is, as a type: one peer for each.
pub trait Terms {
    /// The peer's name.
    const NAME: &'static str;
    /// The peer's line in the list.
    const ABOUT: &'static str;
    /// Bytes of a term.
    fn bytes(shape: &Shape) -> usize;
    /// Whether there is room for the logs of so many publications.
    fn fit(logs: usize) -> bool;
}

/// Terms by the shape's capacity.
pub struct Equal;

impl Terms for Equal {
    const NAME: &'static str = "aeron";
    const ABOUT: &'static str = "Aeron IPC, C driver and client (rusteron 0.2), claims in place";

    fn bytes(shape: &Shape) -> usize {
        let ahead_bytes = shape.capacity_bytes.max(2 * shape.batch * message_bytes(shape));
        (2 * ahead_bytes).next_power_of_two().max(TERM_BYTES.0)
    }

    fn fit(_logs: usize) -> bool {
        true
    }
}

/// Terms as Aeron has them by default.
pub struct Long;

impl Terms for Long {
    const NAME: &'static str = "aeron:64M";
    const ABOUT: &'static str = "Aeron IPC with its default terms of 64 MiB";

    fn bytes(_shape: &Shape) -> usize {
        DEFAULT_TERM_BYTES
    }

    fn fit(logs: usize) -> bool {
        logs <= DEFAULT_LOGS_MAX
    }
}

/// The peer `aeron`.
pub type Aeron = Driver<Equal>;
/// The peer `aeron:64M`.
pub type Aeron64M = Driver<Long>;

/// A media driver.
pub struct Driver<T> {
    /// Dropped first: it removes its directory.
    _running: EmbeddedMediaDriver,
    _sweep: shm::Sweep,
    _terms: PhantomData<T>,
}

impl<T: Terms> Peer for Driver<T> {
    const NAME: &'static str = T::NAME;
    const ABOUT: &'static str = T::ABOUT;
    type Tx = AeronTx;
    type Rx = AeronRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(shape.wait == Wait::Spin, "spins or sleeps by the clock; no wake-up")?;
        need(T::bytes(shape) <= TERM_BYTES.1, "a term has 1 GiB at most")?;
        need(T::fit(logs(shape)), "4 logs of 192 MiB at most")
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        let sweep = shm::Sweep::new(place);
        let context = AeronDriverContext::new().map_err(tried("making a driver context"))?;
        driver_settings(&context, shape, place).map_err(tried("configuring the driver"))?;
        let driver = AeronDriver::launch_embedded_guard(context, false);
        let start = Instant::now();
        while !directory(place).join("cnc.dat").exists() {
            if driver.is_finished() || start.elapsed() > PATIENCE {
                return Err(format!("the media driver did not start in {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { _running: driver, _sweep: sweep, _terms: PhantomData })
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<AeronTx, String> {
        let client = client(place)?;
        let channel = channel(shape, T::bytes(shape)).into_c_string();
        let publication = if shares_a_log(shape) {
            let adding = client.async_add_publication(&channel, STREAM);
            let adding = adding.map_err(tried("adding a publication"))?;
            Publication::Concurrent(adding.poll_blocking(PATIENCE).map_err(tried("publishing"))?)
        } else {
            let adding = client.async_add_exclusive_publication(&channel, STREAM);
            let adding = adding.map_err(tried("adding a publication"))?;
            Publication::Exclusive(adding.poll_blocking(PATIENCE).map_err(tried("publishing"))?)
        };
        Ok(AeronTx {
            publication,
            payload_bytes: shape.payload_bytes,
            backoff: backoff(shape),
            _client: client,
        })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<AeronRx, String> {
        let client = client(place)?;
        let channel = channel(shape, T::bytes(shape)).into_c_string();
        let adding =
            client.async_add_subscription(&channel, STREAM, Handlers::NONE, Handlers::NONE);
        let adding = adding.map_err(tried("adding a subscription"))?;
        let subscription = adding.poll_blocking(PATIENCE).map_err(tried("subscribing"))?;
        let yields = (!shape.crowded && !spare_processor(shape)).then(|| backoff(shape));
        Ok(AeronRx { subscription, logs: logs(shape), yields, _client: client })
    }
}

fn tried<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

fn shares_a_log(shape: &Shape) -> bool {
    shape.order == Order::Total && shape.seats() > 1
}

fn logs(shape: &Shape) -> usize {
    if shares_a_log(shape) { 1 } else { shape.seats() }
}

fn message_bytes(shape: &Shape) -> usize {
    (shape.payload_bytes + HEADER_BYTES).next_multiple_of(HEADER_BYTES)
}

fn channel(shape: &Shape, term_bytes: usize) -> String {
    let mtu_bytes = message_bytes(shape).max(MTU_BYTES);
    format!("aeron:ipc?term-length={term_bytes}|mtu={mtu_bytes}")
}

/// Whether a processor is left for the driver.
fn spare_processor(shape: &Shape) -> bool {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    processors > shape.seats() + shape.consumers
}

/// How an end waits, with the driver as one more that needs a core.
fn backoff(shape: &Shape) -> Backoff {
    let crowded = shape.crowded || !spare_processor(shape);
    Backoff::new(&Shape { crowded, ..shape.clone() })
}

fn directory(place: &Path) -> PathBuf {
    shm::path(place, 0)
}

fn driver_settings(
    context: &AeronDriverContext,
    shape: &Shape,
    place: &Path,
) -> Result<(), rusteron_media_driver::AeronCError> {
    let idle = if spare_processor(shape) {
        AeronIdleStrategyKind::BusySpin
    } else {
        AeronIdleStrategyKind::Backoff
    };
    context.set_dir(&directory(place).to_string_lossy().into_owned().into_c_string())?;
    context.set_dir_delete_on_start(true)?;
    context.set_dir_delete_on_shutdown(true)?;
    context.set_threading_mode(bindings::aeron_threading_mode_t::AERON_THREADING_MODE_SHARED)?;
    context.set_shared_idle_strategy_kind(idle)?;
    context.set_term_buffer_sparse_file(false)?;
    Ok(())
}

fn client(place: &Path) -> Result<Client, String> {
    let connect = || {
        let context = AeronContext::new()?;
        context.set_dir(&directory(place).to_string_lossy().into_owned().into_c_string())?;
        context.set_pre_touch_mapped_memory(true)?;
        let client = Client::new(&context)?;
        client.start()?;
        Ok::<_, rusteron_media_driver::AeronCError>(client)
    };
    connect().map_err(tried("connecting to the media driver"))
}

enum Publication {
    Exclusive(AeronExclusivePublication),
    Concurrent(AeronPublication),
}

impl Publication {
    #[inline]
    fn claim(&self, bytes: usize) -> Result<AeronClaim, AeronOfferError> {
        match self {
            Self::Exclusive(publication) => publication.try_claim_owned(bytes),
            Self::Concurrent(publication) => publication.try_claim_owned(bytes),
        }
    }

    fn is_connected(&self) -> bool {
        match self {
            Self::Exclusive(publication) => publication.is_connected(),
            Self::Concurrent(publication) => publication.is_connected(),
        }
    }
}

/// A publication.
pub struct AeronTx {
    publication: Publication,
    payload_bytes: usize,
    backoff: Backoff,
    _client: Client,
}

impl Tx for AeronTx {
    fn begin(&mut self) -> Result<(), String> {
        until("the publication is connected", || Ok(self.publication.is_connected()))
    }

    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        for index in 0..count {
            let mut claim = loop {
                match self.publication.claim(self.payload_bytes) {
                    Ok(claim) => break claim,
                    Err(error) if error.is_retryable() => self.backoff.pause(),
                    Err(error) => return Err(format!("claiming: {error}")),
                }
            };
            fill(index, claim.data());
            claim.commit().map_err(tried("committing"))?;
        }
        Ok(())
    }
}

/// A subscription.
pub struct AeronRx {
    subscription: AeronSubscription,
    /// Logs that it is to see: its images.
    logs: usize,
    /// What offers the core to the driver, if the caller does not.
    yields: Option<Backoff>,
    _client: Client,
}

impl Rx for AeronRx {
    fn begin(&mut self) -> Result<(), String> {
        let logs = i32::try_from(self.logs).map_err(tried("counting logs"))?;
        until("every log has an image", || {
            Ok(self.subscription.image_count().map_err(tried("counting images"))? >= logs)
        })
    }

    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        let polled = self.subscription.poll_fn(|payload, _| each(payload), max);
        let polled = polled.map_err(tried("polling"))?;
        if let (0, Some(backoff)) = (polled, &mut self.yields) {
            backoff.pause();
        }
        usize::try_from(polled).map_err(tried("counting fragments"))
    }
}

fn until(what: &str, mut met: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let start = Instant::now();
    while !met()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} until {what}"));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
