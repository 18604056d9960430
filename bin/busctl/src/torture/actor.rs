//! One worker as the conductor sees it: a process that it starts, stops, kills and reaps.

use super::plan::Plan;
use crate::exit::Failure;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// What has become of a worker since it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stands still.
    Stopped,
    /// SIGKILL ended it.
    Killed,
    /// Another signal did.
    Died(i32),
    /// It ended by itself.
    Exited(i32),
}

/// A worker process. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Actor {
    pid: Pid,
    reaped: bool,
}

impl Actor {
    /// Starts this program as a worker that speaks into `voice`.
    pub fn start(plan: &Plan, voice: &PipeWriter) -> Result<Self, Failure> {
        let orders = serde_json::to_string(plan).map_err(io::Error::from)?;
        // Not by its path, where another version may have been installed since this one started.
        let child = Command::new("/proc/self/exe")
            .arg0("busctl")
            .args(["torture", "worker", &orders])
            .stdin(Stdio::null())
            .stdout(voice.try_clone()?)
            // Ctrl-C is for the conductor, who ends in order.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                Failure::from(error).context(format_args!("starting a {}", plan.part.name()))
            })?;
        Ok(Self { pid: Pid::from_child(&child), reaped: false })
    }

    /// What has become of it, if anything has; reaps it when it has ended.
    pub fn look(&mut self) -> Result<Option<Change>, Failure> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        let Some((_, status)) = waitpid(Some(self.pid), options).map_err(io::Error::from)? else {
            return Ok(None);
        };
        if status.stopped() {
            return Ok(Some(Change::Stopped));
        }
        self.reaped = true;
        Ok(Some(match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) if signal == Signal::KILL.as_raw() => Change::Killed,
            (Some(signal), _) => Change::Died(signal),
            (None, code) => Change::Exited(code.unwrap_or(0)),
        }))
    }

    /// Sends it a signal. One that has ended and is not reaped takes it as well.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        Ok(kill_process(self.pid, signal).map_err(io::Error::from)?)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if !self.reaped {
            // Both fail only when it is gone, which is what is wanted.
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}
