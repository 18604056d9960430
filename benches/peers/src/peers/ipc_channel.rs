//! ipc-channel: the byte channel of Servo, on Linux a `SOCK_SEQPACKET` Unix socket.
//!
//! Settings: `bytes_channel` (no serialization), `try_recv`. The kernel's socket buffer bounds it,
//! not the shape's capacity; a full one blocks the sender in the kernel. Every receive allocates.
//!
//! The consumer has the one receiving end; producers get sending ends through a one-shot server
//! each, whose name they leave in the place.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ipc_channel::TryRecvError;
use ipc_channel::ipc::{
    IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel,
};

use crate::peer::{Peer, Rx, Shape, Tx, Wait, need};

/// How long the consumer waits for the names of the producers' servers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Nothing is shared before the ends begin.
pub struct IpcChannel;

impl Peer for IpcChannel {
    const NAME: &'static str = "ipc-channel";
    const ABOUT: &'static str = "ipc-channel 0.23, its byte channel, copies in and out";
    type Tx = IpcChannelTx;
    type Rx = IpcChannelRx;

    fn supports(shape: &Shape) -> Result<(), String> {
        need(!shape.lossy, "lossless only")?;
        need(shape.consumers == 1, "one receiver only")?;
        need(shape.wait == Wait::Spin, "its receive with a timeout is for typed messages only")
    }

    fn prepare(_shape: &Shape, _place: &Path) -> Result<Self, String> {
        Ok(Self)
    }

    fn tx(shape: &Shape, place: &Path, index: usize) -> Result<IpcChannelTx, String> {
        let (server, name) = IpcOneShotServer::new().map_err(tried("making a server"))?;
        // Under another name first: who sees the file sees all of it.
        let partly = place.join(format!("ipc-channel-{index}.partly"));
        fs::write(&partly, name).map_err(tried("writing the server's name"))?;
        fs::rename(&partly, file(place, index)).map_err(tried("naming the server"))?;
        Ok(IpcChannelTx {
            server: Some(server),
            sender: None,
            message: vec![0; shape.payload_bytes],
        })
    }

    fn rx(shape: &Shape, place: &Path, _index: usize) -> Result<IpcChannelRx, String> {
        let (sender, receiver) = bytes_channel().map_err(tried("making a channel"))?;
        let servers = (0..shape.seats()).map(|index| file(place, index)).collect();
        Ok(IpcChannelRx { servers, sender, receiver })
    }
}

fn tried<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}

fn file(place: &Path, index: usize) -> PathBuf {
    place.join(format!("ipc-channel-{index}"))
}

/// A sender.
pub struct IpcChannelTx {
    server: Option<IpcOneShotServer<IpcBytesSender>>,
    sender: Option<IpcBytesSender>,
    message: Vec<u8>,
}

impl Tx for IpcChannelTx {
    fn begin(&mut self) -> Result<(), String> {
        let server = self.server.take().ok_or("began twice")?;
        let (_, sender) = server.accept().map_err(|error| format!("accepting: {error:?}"))?;
        self.sender = Some(sender);
        Ok(())
    }

    #[inline]
    fn send(&mut self, count: usize, mut fill: impl FnMut(usize, &mut [u8])) -> Result<(), String> {
        let sender = self.sender.as_ref().ok_or("sent before it began")?;
        for index in 0..count {
            fill(index, &mut self.message);
            sender.send(&self.message).map_err(tried("sending"))?;
        }
        Ok(())
    }
}

/// The receiver.
pub struct IpcChannelRx {
    servers: Vec<PathBuf>,
    /// Kept, so that the channel is open as long as the receiver.
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
}

impl Rx for IpcChannelRx {
    fn begin(&mut self) -> Result<(), String> {
        let start = Instant::now();
        for server in &self.servers {
            let name = loop {
                match fs::read_to_string(server) {
                    Ok(name) => break name,
                    Err(error) if start.elapsed() > PATIENCE => {
                        return Err(format!("reading {}: {error}", server.display()));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            };
            let hand = IpcSender::connect(name).map_err(tried("connecting to a producer"))?;
            hand.send(self.sender.clone()).map_err(tried("handing the channel over"))?;
        }
        Ok(())
    }

    #[inline]
    fn poll(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> Result<usize, String> {
        for count in 0..max {
            match self.receiver.try_recv() {
                Ok(message) => each(&message),
                Err(TryRecvError::Empty) => return Ok(count),
                Err(error) => return Err(format!("receiving: {error}")),
            }
        }
        Ok(max)
    }
}
