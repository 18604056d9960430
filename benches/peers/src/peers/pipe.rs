//! A named pipe for each consumer. Reference: pipe(7).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::bytes::{BytesRx, BytesTx};
use crate::peer::{Order, Peer, Rx, Shape, need};

/// Writes up to this size are not mixed with those of other producers: `PIPE_BUF`.
const ATOMIC_BYTES: usize = 4096;

/// The pipes' names; the place removes them.
pub struct Pipe;

fn path(place: &Path, consumer: usize) -> PathBuf {
    place.join(format!("pipe-{consumer}"))
}

fn open(path: &Path, access: OFlags) -> Result<OwnedFd, String> {
    rustix::fs::open(path, access | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| format!("opening {}: {error}", path.display()))
}

impl Peer for Pipe {
    const NAME: &'static str = "pipe";
    const ABOUT: &'static str =
        "a named pipe per consumer, non-blocking, a batch is one write, F_SETPIPE_SZ";
    type Tx = BytesTx;
    type Rx = PipeRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(
            shape.producers == 1 || shape.batch * shape.payload_bytes <= ATOMIC_BYTES,
            "several producers: writes up to 4096 bytes only",
        )?;
        need(
            shape.order == Order::PerProducer || shape.consumers == 1 || shape.producers == 1,
            "a pipe per consumer: no total order over several",
        )
    }

    fn prepare(shape: &Shape, place: &Path) -> Result<Self, String> {
        for consumer in 0..shape.consumers {
            let path = path(place, consumer);
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
                .map_err(|error| format!("making {}: {error}", path.display()))?;
        }
        Ok(Self)
    }

    fn tx(shape: &Shape, place: &Path, _index: usize) -> Result<BytesTx, String> {
        let files: Result<Vec<_>, _> = (0..shape.consumers)
            .map(|consumer| open(&path(place, consumer), OFlags::WRONLY))
            .collect();
        Ok(BytesTx::new(shape, files?))
    }

    fn rx(shape: &Shape, place: &Path, index: usize) -> Result<PipeRx, String> {
        let path = path(place, index);
        let file = open(&path, OFlags::RDONLY)?;
        // Kept open for writing, too: reading finds no end while no producer is attached.
        let keeper = open(&path, OFlags::WRONLY)?;
        // Refused beyond /proc/sys/fs/pipe-max-size and a user's share; then the size stays.
        let _ = rustix::pipe::fcntl_setpipe_size(&file, shape.capacity_bytes);
        Ok(PipeRx { bytes: BytesRx::new(shape, vec![file]), _keeper: keeper })
    }
}

/// The reading end.
pub struct PipeRx {
    bytes: BytesRx,
    _keeper: OwnedFd,
}

impl Rx for PipeRx {
    #[inline]
    fn poll(&mut self, max: usize, each: impl FnMut(&[u8])) -> Result<usize, String> {
        self.bytes.poll(max, each)
    }

    fn wait(
        &mut self,
        timeout: std::time::Duration,
        each: impl FnMut(&[u8]),
    ) -> Result<usize, String> {
        self.bytes.wait(timeout, each)
    }
}
