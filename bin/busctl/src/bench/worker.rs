//! A worker's end: a process that measures one thing for a parent and speaks to it through pipes.
//!
//! Orders come in on stdin and reports go out on stdout, one JSON value a line; stderr is the
//! user's. The end of stdin means that the parent wants no more. A worker never outlives its
//! parent: the kernel kills it when the parent dies, by whatever cause. Reference:
//! PR_SET_PDEATHSIG(2const).

use super::{affinity, pace};
use crate::exit::{Exit, Failure};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// What a worker says to its parent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// What the parent waits for: that the worker is ready, or what it measured.
    Report(serde_json::Value),
    /// Why it gives up.
    Failed(String),
}

/// Who a worker is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// Its name in `ps` and in messages, such as `producer 0`.
    pub name: String,
    /// The process it works for.
    pub parent_pid: u32,
    /// The processor it runs on.
    pub cpu: Option<usize>,
}

/// The worker's end of the pipes.
pub struct Station {
    orders: io::Stdin,
}

impl Station {
    /// Ties this process to its parent and to its processor, and names it.
    pub fn enter(identity: &Identity) -> Result<Self, Failure> {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
        // A parent that died before the line above sends no signal any more.
        let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        if i64::from(parent) != i64::from(identity.parent_pid) {
            return Err(Failure::failed("the process that started this worker is gone"));
        }
        if let Some(cpu) = identity.cpu {
            affinity::pin(cpu)?;
        }
        if let Ok(name) = CString::new(identity.name.as_str()) {
            // For `ps` and `top` only; the kernel keeps 15 bytes of it.
            let _ = rustix::thread::set_name(&name);
        }
        pace::precise_timers();
        Ok(Self { orders: io::stdin() })
    }

    /// Hands the parent what it waits for.
    #[allow(clippy::unused_self, reason = "only a worker that has entered may report")]
    pub fn report(&self, report: &impl Serialize) -> Result<(), Failure> {
        report_to_parent(report)
    }

    /// Waits for the next order; `None` when the parent wants no more.
    pub fn next_order<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        let mut line = String::new();
        if self.orders.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let order = serde_json::from_str(&line)
            .map_err(|error| Failure::usage(format!("order {line:?}: {error}")))?;
        Ok(Some(order))
    }

    /// What another thread does to wait until the parent wants no more.
    pub fn end_of_orders(self) -> impl FnOnce() + Send + 'static {
        move || {
            let _ = io::copy(&mut self.orders.lock(), &mut io::sink());
        }
    }
}

/// Runs a worker: what goes wrong is said to the parent, which says it to the user.
pub fn run(work: impl FnOnce() -> Result<(), Failure>) -> ExitCode {
    match work() {
        Ok(()) => Exit::Ok.code(),
        Err(failure) => {
            // A parent that is gone cannot be told; the exit code remains.
            let _ = say(&Message::Failed(failure.message().to_owned()));
            failure.exit().code()
        }
    }
}

/// Hands the parent what it waits for, where the station is with another thread.
pub fn report_to_parent(report: &impl Serialize) -> Result<(), Failure> {
    let report = serde_json::to_value(report).map_err(io::Error::from)?;
    say(&Message::Report(report))
}

fn say(message: &Message) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, message).map_err(io::Error::from)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}
