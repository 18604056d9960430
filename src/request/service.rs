//! A service by name: two buses that belong together.

use super::caller::CallerOptions;
use super::server::ServerOptions;
use super::wire::HEAD_BYTES;
use crate::bus::{Bus, BusOptions};
use crate::error::Error;
use crate::options::{OnFull, Timestamps, Topology};

const REQUESTS: &str = ".req";
const REPLIES: &str = ".rep";
/// Bytes of a request and of a reply, unless said.
const PAYLOAD_BYTES: u32 = 48;
const CALLERS: u32 = 16;
/// Requests of one caller that wait for the server.
const REQUESTS_FRAMES: u64 = 1024;
/// Replies that are kept for callers to come and read them.
const REPLIES_FRAMES: u64 = 16_384;

/// A named service: makes callers and servers.
///
/// One server at a time answers it. As soon as that one has left or is provably dead, another can attach.
/// Requests that it has not answered are not handed on: their callers are told
/// ([`CallError::ServerGone`](super::CallError::ServerGone)) and know best whether to repeat them.
///
/// # Examples
/// ```
/// use busway::Service;
/// use std::time::Duration;
///
/// # let name = format!("doc-service-{}", std::process::id());
/// # struct Guard<'a>(&'a str); // removes the service whatever happens
/// # impl Drop for Guard<'_> { fn drop(&mut self) { let _ = busway::Service::remove(self.0); } }
/// # let _guard = Guard(&name);
/// let service = Service::options().create(&name)?;
/// let mut server = service.server().attach()?;
/// let mut caller = service.caller().attach()?;
///
/// let call = caller.send(1, b"six times seven", Some(Duration::from_secs(1)))?;
/// let request = server.recv_timeout(Duration::from_secs(1))?.expect("a request");
/// assert_eq!(request.payload(), b"six times seven");
/// request.reply(1, b"42")?;
/// assert_eq!(caller.wait(call)?.payload(), b"42");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Service {
    pub(super) requests: Bus,
    pub(super) replies: Bus,
}

impl Service {
    /// The options of a service that is to be created.
    pub fn options() -> ServiceOptions {
        ServiceOptions::default()
    }

    /// Opens an existing service.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it or half of it is not there, [`Error::Differs`] for buses that are no
    /// service; otherwise as [`Bus::open`].
    pub fn open(name: &str) -> Result<Self, Error> {
        let requests = Bus::open(&format!("{name}{REQUESTS}"))?;
        let replies = Bus::open(&format!("{name}{REPLIES}"))?;
        let service = Self { requests, replies };
        service.check()?;
        Ok(service)
    }

    /// Refuses buses that have only the names of a service.
    fn check(&self) -> Result<(), Error> {
        let (requests, replies) = (self.requests.info(), self.replies.info());
        let fits = |bytes: u32| usize::try_from(bytes).is_ok_and(|bytes| bytes >= HEAD_BYTES);
        let is_service = requests.consumers == 1
            && requests.on_full == OnFull::Block
            && replies.topology == Topology::Single
            && replies.on_full == OnFull::DropOldest
            && fits(requests.payload_bytes)
            && fits(replies.payload_bytes);
        if is_service {
            return Ok(());
        }
        let difference = "it is not the half of a service".to_owned();
        Err(Error::Differs { name: self.requests.name().to_owned(), difference })
    }

    /// Removes a service: callers and servers that are attached are told.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no half of it is there; otherwise as [`Bus::remove`].
    pub fn remove(name: &str) -> Result<(), Error> {
        let requests = Bus::remove(&format!("{name}{REQUESTS}"));
        let replies = Bus::remove(&format!("{name}{REPLIES}"));
        match (requests, replies) {
            // Half of one: its creator or a remover died in between.
            (Ok(()), Err(Error::NotFound { .. })) | (Err(Error::NotFound { .. }), Ok(())) => Ok(()),
            (requests, replies) => requests.and(replies),
        }
    }

    /// Attaches a caller.
    pub fn caller(&self) -> CallerOptions<'_> {
        CallerOptions::new(self)
    }

    /// Attaches a server.
    pub fn server(&self) -> ServerOptions<'_> {
        ServerOptions::new(self)
    }

    /// The bus of the requests: for looking at.
    #[must_use]
    pub fn requests(&self) -> &Bus {
        &self.requests
    }

    /// The bus of the replies: for looking at.
    #[must_use]
    pub fn replies(&self) -> &Bus {
        &self.replies
    }
}

/// How a service is created: from [`Service::options`].
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `create`"]
pub struct ServiceOptions {
    request_bytes: u32,
    reply_bytes: u32,
    callers: u32,
    requests_frames: u64,
    replies_frames: u64,
    if_not_exists: bool,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            request_bytes: PAYLOAD_BYTES,
            reply_bytes: PAYLOAD_BYTES,
            callers: CALLERS,
            requests_frames: REQUESTS_FRAMES,
            replies_frames: REPLIES_FRAMES,
            if_not_exists: false,
        }
    }
}

impl ServiceOptions {
    /// Bytes of a request at most; 48 by default.
    pub fn request_bytes(mut self, bytes: u32) -> Self {
        self.request_bytes = bytes;
        self
    }

    /// Bytes of a reply at most; 48 by default.
    pub fn reply_bytes(mut self, bytes: u32) -> Self {
        self.reply_bytes = bytes;
        self
    }

    /// Callers that can be attached at once, 1 to 64; 16 by default.
    pub fn callers(mut self, callers: u32) -> Self {
        self.callers = callers;
        self
    }

    /// Requests that each caller can have waiting for the server, a power of two; 1024 by default.
    pub fn requests_frames(mut self, frames: u64) -> Self {
        self.requests_frames = frames;
        self
    }

    /// Replies, of all callers together, that are kept for their callers to read, a power of two; 16 384 by
    /// default. A caller that reads nothing while so many are replied loses its own among them.
    pub fn replies_frames(mut self, frames: u64) -> Self {
        self.replies_frames = frames;
        self
    }

    /// Opens the service if there is one already, as long as it is like this.
    pub fn if_not_exists(mut self, yes: bool) -> Self {
        self.if_not_exists = yes;
        self
    }

    /// Creates the service's buses.
    ///
    /// # Errors
    /// As creating a bus: [`Error::BadName`] (four characters go to the names of the buses),
    /// [`Error::BadGeometry`], [`Error::AlreadyExists`], [`Error::Differs`], [`Error::NoSpace`].
    pub fn create(self, name: &str) -> Result<Service, Error> {
        let head = u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX);
        let options = |bytes: u32| -> BusOptions {
            Bus::options()
                .payload_bytes(bytes.saturating_add(head))
                .timestamps(Timestamps::Off)
                .if_not_exists(self.if_not_exists)
        };
        let requests = options(self.request_bytes)
            .topology(Topology::Lanes)
            .on_full(OnFull::Block)
            .lanes(self.callers)
            .consumers(1)
            .capacity_frames(self.requests_frames)
            .create(&format!("{name}{REQUESTS}"))?;
        let replies = options(self.reply_bytes)
            .topology(Topology::Single)
            .on_full(OnFull::DropOldest)
            .lanes(1)
            .consumers(self.callers)
            .capacity_frames(self.replies_frames)
            .create(&format!("{name}{REPLIES}"));
        match replies {
            Ok(replies) => Ok(Service { requests, replies }),
            Err(error) => {
                if !self.if_not_exists {
                    // This half is nobody's but ours.
                    let _removed = Bus::remove(requests.name());
                }
                Err(error)
            }
        }
    }
}
