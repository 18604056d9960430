//! The daemon's life: config, directory, lock, buses, watch, socket; then serve until a signal;
//! then the same in reverse. Buses stay.
//!
//! The lock comes before anything is changed, so that a second daemon in the same directory
//! changes nothing.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::UnixListener;

use crate::api::{FileMode, GroupName, TextError};
use crate::args::Args;
use crate::broker::{BrokerService, Brokered};
use crate::config::{Config, ConfigError};
use crate::declared::{self, DeclareError};
use crate::lock::{DaemonLock, LockError};
use crate::log;
use crate::runtime_dir::{Passage, RuntimeDir, RuntimeDirError, own_uid};
use crate::schedule::{Schedules, StateDir};
use crate::server::{Access, Context, finish, serve};
use crate::signals::Signals;
use crate::socket;
use crate::watch::Watch;

/// Mode of the socket unless the config file says otherwise: its owner alone may connect.
const SOCKET_MODE: u32 = 0o600;
/// Longest time to let work go on whose request was given up already.
const WORK_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the daemon did not start, or ended.
#[derive(Debug)]
enum RunError {
    Config(ConfigError),
    SocketGroup { file: String, error: TextError },
    RuntimeDir(RuntimeDirError),
    Lock(LockError),
    Declared { file: String, error: Box<DeclareError> },
    Io { action: &'static str, source: io::Error },
}

/// Runs the daemon until it is told to stop by SIGTERM, SIGINT or SIGHUP.
///
/// Exit codes: 0 stopped as told, 2 bad config file, 5 no right to the runtime directory,
/// 7 another daemon runs, 8 a declared bus exists with other options, 1 anything else.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    log::start(args);
    match live(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn live(args: &Args) -> Result<(), RunError> {
    let config = Config::load(args.config.as_deref())?;
    let file = || config.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let group = config.daemon.socket_group.as_ref().map(GroupName::resolve).transpose();
    let group = group.map_err(|error| RunError::SocketGroup { file: file(), error })?;
    let mode = config.daemon.socket_mode.map_or(SOCKET_MODE, |FileMode(mode)| mode);
    let passage = Passage { group: group.filter(|_| mode & 0o020 != 0), others: mode & 0o002 != 0 };
    let directory = RuntimeDir::resolve(args.runtime_dir.as_deref());
    directory.prepare(passage)?;
    let _lock = DaemonLock::take(&directory.lock())?;
    raise_descriptor_limit();
    let signals = Signals::hold().map_err(io_error("handle signals"))?;
    let brokered = Brokered::default();
    let outcome = declared::ensure(&config, &brokered)
        .map_err(|error| RunError::Declared { file: file(), error: Box::new(error) })?;
    for name in &outcome.created {
        tracing::info!(bus = name, "created as declared");
    }
    for name in &outcome.kept {
        tracing::info!(bus = name, "exists as declared");
    }
    let watch = Watch::start().map_err(io_error("start the watch"))?;
    let state_dir = StateDir::resolve(args.state_dir.as_deref(), &directory);
    let schedules = Schedules::new(state_dir);
    schedules.resume();
    let (listener, socket_file) =
        socket::bind(&directory.socket(), mode, group).map_err(io_error("bind the socket"))?;
    let (packets, broker_file) = socket::bind_packets(&directory.broker_socket(), mode, group)
        .map_err(io_error("bind the broker's socket"))?;
    let broker =
        BrokerService::start(packets, brokered.clone()).map_err(io_error("start the broker"))?;
    let access = Access::new(own_uid(), config.daemon.allow_uids);
    let path = directory.path().to_owned();
    let declared = config.buses.iter().map(|(_, wish)| wish.name.clone()).collect();
    let (watched, scheduled) = (watch.handle(), schedules.clone());
    let context = Context::new(access, watched, brokered, scheduled, path, config.path, declared);
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io_error("start the runtime"))
        .and_then(|runtime| {
            let served = runtime.block_on(serve_until_told(listener, signals, context, &directory));
            if !finish(WORK_TIMEOUT) {
                tracing::warn!("ended with work under way that nobody waits for");
            }
            served
        });
    drop((socket_file, broker_file));
    schedules.stop();
    broker.stop();
    watch.stop();
    tracing::info!("stopped; the named buses stay, the brokered are gone");
    served
}

/// In two lines for people and for `busctl`, whatever the form of the log.
fn complain(error: &RunError) {
    let mut stderr = io::stderr();
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(stderr, "error: {error}");
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

async fn serve_until_told(
    listener: std::os::unix::net::UnixListener,
    signals: Signals,
    context: Context,
    directory: &RuntimeDir,
) -> Result<(), RunError> {
    // Before anybody is told that we are ready, so that a signal from then on ends us cleanly.
    let told = signals.first().map_err(io_error("wait for signals"))?;
    let listener = UnixListener::from_std(listener).map_err(io_error("use the socket"))?;
    tracing::info!(socket = %directory.socket().display(), pid = std::process::id(),
        version = env!("CARGO_PKG_VERSION"), "ready");
    notify(NotifyState::Ready);
    let stop = async {
        // The thread that waits says something before it ends. Waited for here and not among the
        // fields of the log line, which are looked at only if somebody wants the line.
        let signal = told.await.unwrap_or("none");
        tracing::info!(signal, "stopping");
        notify(NotifyState::Stopping);
    };
    serve(listener, context, stop).await;
    Ok(())
}

/// Tells the service manager, if there is one; one that does not listen is no reason to stop.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// Each bus and each attached process takes a descriptor here, and the usual soft limit of 1024
/// exists for programs that use select(2).
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let files = Resource::RLIMIT_NOFILE;
    if let Err(error) = getrlimit(files).and_then(|(_, most)| setrlimit(files, most, most)) {
        tracing::warn!(%error, "cannot raise the limit of descriptors");
    }
}

impl RunError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::SocketGroup { .. } => 2,
            Self::RuntimeDir(error) if error.is_permission() => 5,
            Self::Lock(LockError::Held { .. }) => 7,
            Self::Declared { error, .. } => match error.source.code() {
                "differs" | "incompatible" | "schema_mismatch" => 8,
                "permission" => 5,
                code if code.starts_with("bad_") => 2,
                _ => 1,
            },
            Self::RuntimeDir(_) | Self::Lock(LockError::Io { .. }) | Self::Io { .. } => 1,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::RuntimeDir(error) => Some(error.hint()),
            Self::Lock(LockError::Held { .. }) => {
                Some("use that one, or start this one with another --runtime-dir".to_owned())
            }
            Self::Declared { error, .. } if error.source.code() == "differs" => Some(
                "change the declaration, or remove the bus first; nothing was changed".to_owned(),
            ),
            _ => None,
        }
    }
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Io { action, source }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::SocketGroup { file, error } => write!(f, "{file}: socket-group: {error}"),
            Self::RuntimeDir(error) => error.fmt(f),
            Self::Lock(error) => error.fmt(f),
            Self::Declared { file, error } => {
                let DeclareError { line, name, source } = error.as_ref();
                write!(f, "{file}, line {line}: bus {name:?}: {source}")
            }
            Self::Io { action, source } => write!(f, "cannot {action}: {source}"),
        }
    }
}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<RuntimeDirError> for RunError {
    fn from(error: RuntimeDirError) -> Self {
        Self::RuntimeDir(error)
    }
}

impl From<LockError> for RunError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}
