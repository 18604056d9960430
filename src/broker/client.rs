//! One connection to a broker: asks, and waits for the answer, but not for ever.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, socket_with,
};

use super::message::{Answer, Ask, Lent, Refusal, Request, Tell, UNASKED, VERSION};
use super::wire;
use crate::error::Error;
use crate::participant::Role;

/// Longest time for an answer while attaching: a lane's memory is allocated meanwhile, half a second
/// a GiB.
pub(crate) const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for whoever is attached and has frames to handle.
pub(crate) const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection on which one bus is open.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    path: PathBuf,
    bus: String,
    /// Who runs the broker, as the kernel says: the owner of all that it hands out.
    pub(crate) owner: u32,
    talk: Mutex<Talk>,
}

/// One request at a time.
#[derive(Debug, Default)]
struct Talk {
    /// The number of the last request.
    last: u64,
    /// Regions that came without having been asked for, oldest first.
    unasked: Vec<(Lent, File)>,
}

impl Talk {
    /// Keeps what was not asked for. Any other answer is one to a call that was given up; its
    /// descriptors close.
    fn keep(&mut self, answer: Answer, descriptors: Vec<OwnedFd>) {
        if let (UNASKED, Tell::Regions { regions }) = (answer.id, answer.tell) {
            let files = descriptors.into_iter().map(File::from);
            self.unasked.extend(regions.into_iter().zip(files));
        }
    }
}

impl Connection {
    /// Connects and opens a bus. Gives its instance and its board as well.
    ///
    /// # Errors
    /// `Broker` when nobody answers there, `NotFound`, `Permission`.
    pub(crate) fn open(path: &Path, bus: &str) -> Result<(Self, u64, File), Error> {
        let failed = |error: io::Error| Error::Broker {
            socket: path.to_owned(),
            reason: format!("no broker answers: {error}"),
        };
        let address = SocketAddrUnix::new(path).map_err(|errno| failed(errno.into()))?;
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(|errno| failed(errno.into()))?;
        connect(&socket, &address).map_err(|errno| failed(errno.into()))?;
        let peer =
            nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials)
                .map_err(|errno| failed(errno.into()))?;
        let (path, bus) = (path.to_owned(), bus.to_owned());
        let connection = Self { socket, path, bus, owner: peer.uid(), talk: Mutex::default() };
        let ask = Ask::Open { version: VERSION, bus: connection.bus.clone() };
        match connection.call(ask, "open", ATTACH_TIMEOUT)? {
            (Tell::Opened { instance }, mut files) if files.len() == 1 => {
                let board = files.pop().ok_or_else(|| connection.nonsense())?;
                Ok((connection, instance, board))
            }
            _ => Err(connection.nonsense()),
        }
    }

    /// Another connection to the same bus, if it is still the same.
    ///
    /// # Errors
    /// As `open`; `NotFound` when another bus has its name by now.
    pub(crate) fn again(&self, instance: u64) -> Result<Self, Error> {
        match Self::open(&self.path, &self.bus)? {
            (connection, found, _) if found == instance => Ok(connection),
            _ => Err(Error::NotFound { name: self.bus.clone() }),
        }
    }

    /// Asks for a seat; gives what was lent, the bells and the seat's memory.
    ///
    /// # Errors
    /// `SeatsTaken`, `Permission`, `NoSpace`, `Broker`.
    pub(crate) fn borrow(&self, role: Role, name: &str) -> Result<(Lent, File, File), Error> {
        let name = name.to_owned();
        let (ask, action) = match role {
            Role::Producer => (Ask::Produce { name }, "publish on"),
            Role::Consumer => (Ask::Consume { name }, "read"),
        };
        match self.call(ask, action, ATTACH_TIMEOUT)? {
            (Tell::Lent(lent), files) => match <[File; 2]>::try_from(files) {
                Ok([bells, own]) => Ok((lent, bells, own)),
                Err(_) => Err(self.nonsense()),
            },
            _ => Err(self.nonsense()),
        }
    }

    /// Asks for something whose whole answer is that it is done.
    ///
    /// # Errors
    /// `Broker` when it is not.
    pub(crate) fn tell(&self, ask: Ask, timeout: Duration) -> Result<(), Error> {
        match self.call(ask, "attach to", timeout)? {
            (Tell::Done {}, _) => Ok(()),
            _ => Err(self.nonsense()),
        }
    }

    /// Asks for regions; gives each with its descriptor.
    ///
    /// # Errors
    /// `Broker`.
    pub(crate) fn regions(&self, ask: Ask) -> Result<Vec<(Lent, File)>, Error> {
        match self.call(ask, "read", REFRESH_TIMEOUT)? {
            (Tell::Regions { regions }, files) if regions.len() == files.len() => {
                Ok(regions.into_iter().zip(files).collect())
            }
            _ => Err(self.nonsense()),
        }
    }

    /// What the broker has sent without having been asked. It is there even if the broker has ended.
    pub(crate) fn unasked(&self) -> Vec<(Lent, File)> {
        let mut talk = self.talk();
        self.collect(&mut talk);
        std::mem::take(&mut talk.unasked)
    }

    /// Takes in what is in the socket.
    fn collect(&self, talk: &mut Talk) {
        // Bounded by what the broker sends to who does not listen. An error ends it as the end does;
        // one that the kernel tells once comes before what is left to be read.
        let mut errors = 0;
        while errors < 2 {
            match wire::receive(&self.socket) {
                Ok(Some((bytes, descriptors))) => {
                    // What is no answer is one to nothing, here.
                    if let Ok(answer) = serde_json::from_slice::<Answer>(&bytes) {
                        talk.keep(answer, descriptors);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) => return,
                Err(_) => errors += 1,
            }
        }
    }

    fn talk(&self) -> std::sync::MutexGuard<'_, Talk> {
        // Whoever panicked with it left a number that is as good as any.
        self.talk.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the broker has ended, or cut this connection. Cost: two system calls.
    pub(crate) fn is_gone(&self) -> bool {
        // What is in the queue would hide the end behind it.
        self.collect(&mut self.talk());
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.socket, &mut [0_u8; 1], flags) {
            Ok((bytes, _)) => bytes == 0,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(_) => true,
        }
    }

    fn call(
        &self,
        ask: Ask,
        action: &'static str,
        timeout: Duration,
    ) -> Result<(Tell, Vec<File>), Error> {
        let mut talk = self.talk();
        talk.last += 1;
        let request = Request { id: talk.last, ask };
        let bytes = serde_json::to_vec(&request).map_err(|_| self.nonsense())?;
        match wire::send(&self.socket, &bytes, &[]) {
            // It has closed, and may have said why.
            Err(error) if is_reset(&error) => {}
            sent => sent.map_err(|error| self.broken(error.into()))?,
        }
        let deadline = Instant::now() + timeout;
        loop {
            let (bytes, descriptors) = self.receive(deadline)?;
            let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| self.nonsense())?;
            if answer.id == talk.last {
                let files = descriptors.into_iter().map(File::from).collect();
                return match answer.tell {
                    Tell::Refused(refusal) => Err(self.refused(refusal, action)),
                    tell => Ok((tell, files)),
                };
            }
            talk.keep(answer, descriptors);
        }
    }

    fn receive(&self, deadline: Instant) -> Result<(Vec<u8>, Vec<OwnedFd>), Error> {
        let mut was_reset = false;
        loop {
            match wire::receive(&self.socket) {
                Ok(Some(packet)) => return Ok(packet),
                Ok(None) => return Err(self.broken(None)),
                // The kernel tells this once, before what is left to be read.
                Err(error) if is_reset(&error) && !was_reset => {
                    was_reset = true;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error.into())),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.broken(Some(io::ErrorKind::TimedOut.into())));
            }
            let left = Timespec::try_from(left).ok();
            let mut waited_for = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut waited_for, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.broken(Some(errno.into()))),
            }
        }
    }

    fn broken(&self, error: Option<io::Error>) -> Error {
        let reason = match error {
            Some(error) => format!("the broker does not answer: {error}"),
            None => "the broker has closed the connection".to_owned(),
        };
        Error::Broker { socket: self.path.clone(), reason }
    }

    /// An error for an answer that is none, or not to this question.
    pub(crate) fn nonsense(&self) -> Error {
        let reason = "what it answers makes no sense".to_owned();
        Error::Broker { socket: self.path.clone(), reason }
    }

    fn refused(&self, refusal: Refusal, action: &'static str) -> Error {
        let name = self.bus.clone();
        match refusal.code.as_str() {
            "not_found" => Error::NotFound { name },
            "permission" => Error::Permission { name, action },
            "seats_taken" => Error::SeatsTaken {
                name,
                role: if action == "read" { "consumer" } else { "producer" },
                holders: refusal.holders,
            },
            _ => Error::Broker { socket: self.path.clone(), reason: refusal.message },
        }
    }
}

/// Whether the peer has closed without having read everything.
fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
