//! The daemon, as the command line needs it: the one that runs, or one that is started on demand.
//!
//! As tmux does with its server: this very executable, called again with a hidden verb that hosts
//! `busd::run`, in a session of its own, so that it stays when the terminal goes. Two that start
//! one at the same time are sorted out by the daemon's lock: the second daemon ends, both callers
//! talk to the first.

use crate::context::Context;
use crate::exit::{Exit, Failure, hint_for};
use busd::{Client, ClientError, RuntimeDir, wait_until_ready};
use clap::Args;
use rustix::fs::OFlags;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The hidden verb that hosts the daemon.
pub const HOST_VERB: &str = "host-daemon";

/// What a daemon that was started on demand says, beside its socket.
const LOG_NAME: &str = "busd.log";

/// A log longer than this is started afresh with the next daemon.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// How long a daemon may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a daemon that does not answer yet is checked for having ended.
const START_SLICE: Duration = Duration::from_millis(100);

/// The daemon's exit code for "another daemon holds the lock".
const EXIT_OTHER_DAEMON: i32 = 7;

/// Arguments of the hidden verb.
#[derive(Debug, Args)]
pub struct HostArgs {}

/// Hosts the daemon: what the started process does.
pub fn host(context: &Context) -> ExitCode {
    // Fails only for a session leader already, which is then what is wanted.
    let _ = rustix::process::setsid();
    // For ps and top; the command line says `busd` too.
    let _ = rustix::thread::set_name(c"busd");
    let runtime_dir = Some(context.runtime_dir.path().to_owned());
    busd::run(&busd::Args { runtime_dir, ..busd::Args::default() })
}

/// The daemon if one runs; `None` with `--no-daemon` or when nobody listens.
///
/// # Errors
/// When the runtime directory is not safe to talk to anybody in.
pub fn running(context: &Context) -> Result<Option<Client>, Failure> {
    if context.no_daemon {
        return Ok(None);
    }
    match Client::connect(&context.runtime_dir) {
        Ok(client) => Ok(Some(client)),
        Err(ClientError::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The daemon, started if none runs.
///
/// # Errors
/// [`Exit::Daemon`] when it cannot be started, with what it said.
pub fn ensure(context: &Context) -> Result<Client, Failure> {
    match running(context)? {
        Some(client) => Ok(client),
        None => start(&context.runtime_dir),
    }
}

fn start(directory: &RuntimeDir) -> Result<Client, Failure> {
    let cannot = |error: io::Error| {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Daemon,
        };
        let directory = directory.path().display();
        Failure::new(exit, format!("cannot start a daemon in {directory}: {error}"))
            .hint("--runtime-dir names another directory; --no-daemon works without a daemon")
    };
    let mut log = open_log(directory).map_err(cannot)?;
    let log_start = log.seek(SeekFrom::End(0)).map_err(cannot)?;
    let mut child = spawn(directory, &log).map_err(cannot)?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let error = match wait_until_ready(directory, START_SLICE) {
            Ok(client) => {
                end_unless_it_serves(&mut child, &client)?;
                return Ok(client);
            }
            Err(error) => error,
        };
        let ended = child.try_wait().map_err(cannot)?;
        if let Some(status) = ended.filter(|status| status.code() != Some(EXIT_OTHER_DAEMON)) {
            return Err(did_not_start(status, &log_since(&mut log, log_start), directory));
        }
        if Instant::now() >= deadline {
            end(&mut child);
            return Err(Failure::from(error));
        }
    }
}

fn spawn(directory: &RuntimeDir, log: &File) -> io::Result<Child> {
    // Not by its path, where another version may have been installed since this one started.
    Command::new("/proc/self/exe")
        .arg0("busd")
        .arg(HOST_VERB)
        .arg("--runtime-dir")
        .arg(directory.path())
        .current_dir("/")
        // Readiness is told to whoever started a service, and that is not this daemon's parent.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone()?)
        .spawn()
}

fn open_log(directory: &RuntimeDir) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(directory.path()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        // Whether it is safe to use is checked by the daemon and by its clients.
        _ => {}
    }
    let log = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(log_path(directory))?;
    if log.metadata()?.len() > LOG_BYTES_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

/// Where a daemon that was started on demand writes its log.
pub fn log_path(directory: &RuntimeDir) -> PathBuf {
    directory.path().join(LOG_NAME)
}

fn log_since(log: &mut File, start: u64) -> String {
    let mut bytes = Vec::new();
    let read = log.seek(SeekFrom::Start(start)).and_then(|_| {
        let mut limited = io::Read::by_ref(log).take(LOG_BYTES_MAX);
        limited.read_to_end(&mut bytes)
    });
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// The daemon says `error: …` and `hint: …` last; those are worth passing on. One that broke off has at
/// best said something else.
fn did_not_start(status: ExitStatus, log: &str, directory: &RuntimeDir) -> Failure {
    let last = |label: &str| log.lines().rev().find_map(|line| line.strip_prefix(label));
    let silent = || match log.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("it broke off ({status}) after saying {line:?}"),
        None => format!("it ended without a word ({status})"),
    };
    let reason = last("error: ").map_or_else(silent, str::to_owned);
    let hint = last("hint: ")
        .map_or_else(|| format!("its log is {}", log_path(directory).display()), str::to_owned);
    Failure::new(Exit::Daemon, format!("the daemon did not start: {reason}")).hint(hint)
}

/// Somebody else's daemon may have been faster. Then ours would find the lock taken and end by itself,
/// unless the other one is told to stop just before: it would be started behind everybody's back.
fn end_unless_it_serves(child: &mut Child, client: &Client) -> Result<(), Failure> {
    if client.health()?.pid != child.id() {
        end(child);
    }
    Ok(())
}

/// Ends a daemon that this process started and that serves nobody.
fn end(child: &mut Child) {
    // Both fail only when it has ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(Exit::from_error_code(error.code()), error.to_string());
        // Our own words first: the daemon's speak of its HTTP interface.
        match hint_for(error.code()).map(str::to_owned).or_else(|| error.hint()) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
