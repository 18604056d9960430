//! The door of the fuzz targets to what is private: one connection with the daemon's server, and
//! the parsers of its command line and config file.
//!
//! Built only with `--cfg fuzzing`, which cargo-fuzz sets. The server is the one that `run` serves
//! with; in front of it stands a filter, since a fuzzer says anything and this host has buses.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use clap::Parser;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::runtime::Runtime;

use crate::api::{CreateBus, CreateSchedule};
use crate::args::Args;
use crate::broker::Brokered;
use crate::config::Config;
use crate::runtime_dir::own_uid;
use crate::schedule::{Schedules, StateDir};
use crate::server::{Access, BODY_BYTES_MAX, Context, converse, router};
use crate::watch::WatchHandle;

/// The largest bus that a request may ask for.
const SEGMENT_BYTES_MAX: u64 = 4 << 20;

/// The daemon's server without the daemon: no socket file, no lock, no watch.
pub struct Daemon {
    runtime: Runtime,
    router: Router,
}

impl Daemon {
    /// A server that creates and removes buses whose names start with `prefix`, and no others.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn new(prefix: &str) -> io::Result<Self> {
        let access = Access::new(own_uid(), Vec::new());
        // Nothing is there, and nothing can be made there: a fuzzer leaves no schedules behind.
        let schedules = Schedules::new(StateDir::at(PathBuf::from("/proc/none/state")));
        let (watch, brokered) = (WatchHandle::idle()?, Brokered::default());
        let (path, declared) = (PathBuf::new(), Vec::new());
        let context = Context::new(access, watch, brokered, schedules, path, None, declared);
        let prefix: Arc<str> = prefix.into();
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            router: router(context).layer(middleware::from_fn_with_state(prefix, own_buses_only)),
        })
    }

    /// What the server answers to a client that sends these bytes and then only listens.
    ///
    /// # Errors
    /// When the system gives no pair of sockets.
    pub fn answer(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let (mut client, server) = UnixStream::pair()?;
        server.set_nonblocking(true)?;
        std::thread::scope(|scope| {
            let listener = scope.spawn(move || {
                // The server may hang up early, as on a request that is too long.
                let _sent =
                    client.write_all(request).and_then(|()| client.shutdown(Shutdown::Write));
                let mut answer = Vec::new();
                let _ended = client.read_to_end(&mut answer);
                answer
            });
            self.runtime.block_on(async {
                let server = tokio::net::UnixStream::from_std(server)?;
                converse(server, self.router.clone(), GracefulShutdown::new().watcher()).await;
                io::Result::Ok(())
            })?;
            listener.join().map_err(|_| io::Error::other("the client broke off"))
        })
    }
}

/// Lets through what reads, and what changes the fuzzer's own buses; a small one at a time.
async fn own_buses_only(State(prefix): State<Arc<str>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX + 1).await else {
        return StatusCode::IM_A_TEAPOT.into_response();
    };
    let path = parts.uri.path();
    let named = path.strip_prefix("/v1/buses/");
    let own_path = match named {
        Some(name) => name.starts_with(&*prefix),
        None => !path.contains('%'),
    };
    let own_wish = match serde_json::from_slice::<CreateBus>(&body) {
        Ok(wish) if busway::check_name(&wish.name).is_ok() => {
            wish.name.starts_with(&*prefix) && is_small(&wish)
        }
        // The handler refuses it for the same reason.
        _ => true,
    };
    // A schedule that makes sense would be kept on a disk; what makes none is refused before.
    let is_kept =
        path == "/v1/schedules" && serde_json::from_slice::<CreateSchedule>(&body).is_ok();
    if own_path && own_wish && !is_kept {
        next.run(Request::from_parts(parts, Body::from(body))).await
    } else {
        StatusCode::IM_A_TEAPOT.into_response()
    }
}

fn is_small(wish: &CreateBus) -> bool {
    let size = wish.options().and_then(|options| options.size_bytes());
    // What has no size is refused by the handler for the same reason.
    size.map_or(true, |bytes| bytes <= SEGMENT_BYTES_MAX)
}

/// Reads the daemon's command line; the message of one that is wrong.
///
/// # Errors
/// That text.
pub fn parse(arguments: &[std::ffi::OsString]) -> Result<(), String> {
    Args::try_parse_from(arguments).map(drop).map_err(|error| error.render().to_string())
}

/// Reads a config file; the message of one that is wrong. Schema files that it names are read.
///
/// # Errors
/// That text.
pub fn config(text: &str) -> Result<(), String> {
    Config::parse(PathBuf::from("busd.toml"), text).map(drop).map_err(|error| error.to_string())
}
