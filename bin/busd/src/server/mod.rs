//! The HTTP side of the daemon.
//!
//! ```text
//! serve    accepts connections, bounds them, ends them when the daemon ends
//! access   who is at the other end, and what they may do
//! routes   which handler answers what; the limits of a request; 404, 405, timeouts as JSON
//! buses, schedules, service, monitoring     the handlers
//! work     threads for what may block
//! extract  bodies, paths and queries, refused as JSON
//! error    an error answer: status, code, message, hint
//! ```
//!
//! The handlers keep nothing: every answer is read from the segments when it is asked for, so that
//! it is as true after a restart as before, and whoever else creates or removes buses is seen. (The
//! brokered buses and the schedules are the daemon's own.)

mod access;
mod buses;
mod error;
mod extract;
mod monitoring;
mod routes;
mod schedules;
mod serve;
mod service;
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use access::Access;
pub use routes::routes;
#[cfg(fuzzing)]
pub(crate) use routes::{BODY_BYTES_MAX, router};
#[cfg(fuzzing)]
pub(crate) use serve::converse;
pub(crate) use serve::serve;
pub(crate) use work::finish;

use crate::broker::Brokered;
use crate::schedule::Schedules;
use crate::watch::WatchHandle;

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct Context {
    shared: Arc<Shared>,
}

struct Shared {
    access: Access,
    watch: WatchHandle,
    brokered: Brokered,
    schedules: Schedules,
    runtime_dir: PathBuf,
    config_file: Option<PathBuf>,
    /// The buses that the config file declares.
    declared: Vec<String>,
    started: Instant,
}

impl Context {
    pub(crate) fn new(
        access: Access,
        watch: WatchHandle,
        brokered: Brokered,
        schedules: Schedules,
        runtime_dir: PathBuf,
        config_file: Option<PathBuf>,
        declared: Vec<String>,
    ) -> Self {
        let shared = Shared {
            access,
            watch,
            brokered,
            schedules,
            runtime_dir,
            config_file,
            declared,
            started: Instant::now(),
        };
        Self { shared: Arc::new(shared) }
    }
}
