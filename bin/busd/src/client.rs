//! A blocking client of the daemon, one connection a call.
//!
//! A Unix socket connects in tens of microseconds, so nothing is kept between calls, and a client
//! survives a restart of the daemon without noticing. Not for use inside an async runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::api::{
    Bus, BusDetail, BusList, CreateBus, CreateSchedule, ErrorBody, ErrorDocument, Health,
    ParticipantList, RemovedBus, Schedule, ScheduleList, Version,
};
use crate::runtime_dir::{RuntimeDir, RuntimeDirError};

/// Longest time for one call; longer than the daemon's own limit, so that its answer arrives.
const CALL_TIMEOUT: Duration = Duration::from_secs(75);
/// Largest answer that is read: 1000 buses of 256 lanes in full.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// First pause between two attempts to reach a daemon that is starting; doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(2);
/// Longest such pause.
const RETRY_LONGEST: Duration = Duration::from_millis(50);

/// Talks to the daemon of one runtime directory.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// The runtime directory is not safe to look for a daemon in.
    RuntimeDir(RuntimeDirError),
    /// No daemon answers there.
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon said no.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// The daemon did not answer in time.
    TimedOut {
        /// Its socket.
        socket: PathBuf,
        /// How long the call waited.
        after: Duration,
    },
    /// What came back is not what a daemon of this version says.
    Protocol {
        /// What was wrong with it.
        reason: String,
    },
}

impl Client {
    /// Makes sure that a daemon listens in this directory.
    ///
    /// # Errors
    /// [`ClientError::RuntimeDir`] when the directory is not safe, [`ClientError::Unreachable`]
    /// when nobody listens there.
    pub fn connect(directory: &RuntimeDir) -> Result<Self, ClientError> {
        directory.check().map_err(ClientError::RuntimeDir)?;
        let client = Self { socket: directory.socket(), runtime: runtime()? };
        client.within(CALL_TIMEOUT, client.open())?;
        Ok(client)
    }

    /// `GET /v1/version`.
    ///
    /// # Errors
    /// Any [`ClientError`], here and below.
    pub fn version(&self) -> Result<Version, ClientError> {
        self.get("/v1/version")
    }

    /// `GET /v1/health`.
    ///
    /// # Errors
    /// As above.
    pub fn health(&self) -> Result<Health, ClientError> {
        self.get("/v1/health")
    }

    /// `GET /v1/buses`.
    ///
    /// # Errors
    /// As above.
    pub fn buses(&self) -> Result<BusList, ClientError> {
        self.get("/v1/buses")
    }

    /// `GET /v1/buses/{name}`.
    ///
    /// # Errors
    /// As above; `not_found` when there is no such bus.
    pub fn bus(&self, name: &str) -> Result<BusDetail, ClientError> {
        self.get(&format!("/v1/buses/{}", checked(name)?))
    }

    /// `POST /v1/buses`. Says also whether the bus is new.
    ///
    /// # Errors
    /// As above; `already_exists` when there is such a bus.
    pub fn create_bus(&self, wish: &CreateBus) -> Result<(Bus, bool), ClientError> {
        let (status, bus) = self.call(Method::POST, "/v1/buses", Some(wish))?;
        Ok((bus, status == StatusCode::CREATED))
    }

    /// `DELETE /v1/buses/{name}`, with `force` also when somebody is attached.
    ///
    /// # Errors
    /// As above; `not_found` when there is no such bus, `in_use` when somebody is attached.
    pub fn remove_bus(&self, name: &str, force: bool) -> Result<RemovedBus, ClientError> {
        let query = if force { "?force=true" } else { "" };
        let path = format!("/v1/buses/{}{query}", checked(name)?);
        self.call(Method::DELETE, &path, None::<&()>).map(|(_, removed)| removed)
    }

    /// `GET /v1/participants`, or those of one bus.
    ///
    /// # Errors
    /// As above.
    pub fn participants(&self, bus: Option<&str>) -> Result<ParticipantList, ClientError> {
        match bus {
            Some(name) => self.get(&format!("/v1/buses/{}/participants", checked(name)?)),
            None => self.get("/v1/participants"),
        }
    }

    /// `POST /v1/schedules`. When this returns, the schedule is on the daemon's disk.
    ///
    /// # Errors
    /// As above; `not_found` when there is no such bus.
    pub fn create_schedule(&self, wish: &CreateSchedule) -> Result<Schedule, ClientError> {
        self.call(Method::POST, "/v1/schedules", Some(wish)).map(|(_, schedule)| schedule)
    }

    /// `GET /v1/schedules`.
    ///
    /// # Errors
    /// As above.
    pub fn schedules(&self) -> Result<ScheduleList, ClientError> {
        self.get("/v1/schedules")
    }

    /// `GET /v1/schedules/{id}`.
    ///
    /// # Errors
    /// As above; `not_found` when there is no such schedule.
    pub fn schedule(&self, id: u64) -> Result<Schedule, ClientError> {
        self.get(&format!("/v1/schedules/{id}"))
    }

    /// `DELETE /v1/schedules/{id}`. When this returns, nothing of it is published any more.
    ///
    /// # Errors
    /// As above; `not_found` when there is no such schedule, or it was published before.
    pub fn cancel_schedule(&self, id: u64) -> Result<Schedule, ClientError> {
        let path = format!("/v1/schedules/{id}");
        self.call(Method::DELETE, &path, None::<&()>).map(|(_, cancelled)| cancelled)
    }

    /// `GET /v1/openapi.json`.
    ///
    /// # Errors
    /// As above.
    pub fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.get("/v1/openapi.json")
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).map(|(_, answer)| answer)
    }

    fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, T), ClientError> {
        let body = body.map(serde_json::to_vec).transpose().map_err(protocol)?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "busd")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(protocol)?;
        let (status, bytes) = self.within(CALL_TIMEOUT, self.exchange(request))?;
        if status.is_success() {
            let answer = serde_json::from_slice(&bytes).map_err(protocol)?;
            return Ok((status, answer));
        }
        match serde_json::from_slice::<ErrorDocument>(&bytes) {
            Ok(document) => {
                Err(ClientError::Refused { status: status.as_u16(), body: document.error })
            }
            Err(_) => Err(ClientError::Protocol { reason: format!("status {status}") }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let stream = self.open().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
        let conversation = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(protocol)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let bytes = body.collect().await.map_err(protocol)?.to_bytes();
        conversation.abort();
        Ok((status, bytes))
    }

    async fn open(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Unreachable { socket: self.socket.clone(), source })
    }

    fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.runtime.block_on(async {
            match tokio::time::timeout(time, work).await {
                Ok(done) => done,
                Err(_) => Err(ClientError::TimedOut { socket: self.socket.clone(), after: time }),
            }
        })
    }
}

/// Waits until a daemon that is starting in this directory answers that it is well.
///
/// # Errors
/// The last attempt's error when the time is over; at once when the directory is not safe or its
/// socket is closed to this user, which no waiting changes.
pub fn wait_until_ready(directory: &RuntimeDir, timeout: Duration) -> Result<Client, ClientError> {
    let start = Instant::now();
    let mut pause = RETRY_FIRST;
    loop {
        let attempt = Client::connect(directory).and_then(|client| {
            client.health()?;
            Ok(client)
        });
        match attempt {
            Ok(client) => return Ok(client),
            Err(error) => {
                let is_final =
                    matches!(error, ClientError::RuntimeDir(_)) || error.code() == "permission";
                if is_final || start.elapsed() + pause > timeout {
                    return Err(error);
                }
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(protocol)
}

/// A name goes into a path: let nothing through that would be another path.
fn checked(name: &str) -> Result<&str, ClientError> {
    match busway::check_name(name) {
        Ok(()) => Ok(name),
        Err(error) => {
            let (code, message) = (error.code().to_owned(), error.to_string());
            Err(ClientError::Refused { status: 400, body: ErrorBody { code, message, hint: None } })
        }
    }
}

fn protocol(error: impl fmt::Display) -> ClientError {
    ClientError::Protocol { reason: error.to_string() }
}

impl ClientError {
    /// A stable code: the daemon's own when it said no, else `permission`,
    /// `daemon_unreachable`, `timed_out` or `protocol`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { body, .. } => &body.code,
            Self::RuntimeDir(error) if error.is_permission() => "permission",
            Self::Unreachable { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                "permission"
            }
            Self::RuntimeDir(_) | Self::Unreachable { .. } => "daemon_unreachable",
            Self::TimedOut { .. } => "timed_out",
            Self::Protocol { .. } => "protocol",
        }
    }

    /// What to do about it, where something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { body, .. } => body.hint.clone(),
            Self::RuntimeDir(error) => Some(error.hint()),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RuntimeDir(error) => error.fmt(f),
            Self::Unreachable { socket, source } => {
                write!(f, "no daemon answers on {}: {source}", socket.display())
            }
            Self::Refused { body, .. } => f.pad(&body.message),
            Self::TimedOut { socket, after } => write!(
                f,
                "the daemon on {} did not answer within {} s",
                socket.display(),
                after.as_secs()
            ),
            Self::Protocol { reason } => write!(f, "the daemon's answer makes no sense: {reason}"),
        }
    }
}

impl std::error::Error for ClientError {}
