//! A daemon under the tracer, which has a thread of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Instant;

use busway_faults::{Begin, End, Fault, Plan, Tracer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Answer, PATIENCE, Scratch, command, exchange};

/// The daemon. Killed when this value goes.
pub struct Traced {
    pub plan: Arc<Plan>,
    pid: Pid,
    tracer: Option<JoinHandle<End>>,
    socket: PathBuf,
    log: PathBuf,
}

impl Traced {
    /// Starts one with a fault that waits for `begin`.
    pub fn start(place: &Scratch, fault: Fault, begin: Begin) -> Self {
        let log = place.join("log");
        let file = std::fs::File::create(&log).unwrap();
        let mut command: Command = command(&place.join("run"));
        command.arg("--config").arg(place.join("busd.toml"));
        command.arg("--state-dir").arg(place.join("state")).stderr(Stdio::from(file));
        let plan = Arc::new(Plan::new(fault));
        let shared = Arc::clone(&plan);
        let (sender, started) = channel();
        let tracer = std::thread::spawn(move || {
            let tracer = Tracer::start(command, begin, shared);
            sender.send(tracer.pid()).unwrap();
            tracer.run(PATIENCE)
        });
        let pid = started.recv().expect("a traced daemon");
        let pid = Pid::from_raw(i32::try_from(pid).unwrap());
        Self { plan, pid, tracer: Some(tracer), socket: place.join("run/busd.sock"), log }
    }

    /// Waits until it answers or has ended. Whether it answers.
    pub fn is_up(&self) -> bool {
        let start = Instant::now();
        loop {
            if self.has_ended() {
                return false;
            }
            if self.socket.exists() && self.request("GET", "/v1/health", "").is_some() {
                return true;
            }
            assert!(start.elapsed() < PATIENCE, "neither up nor ended: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    pub fn has_ended(&self) -> bool {
        self.tracer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// An answer, if one comes.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Option<Answer> {
        exchange(&self.socket, method, path, body).ok()
    }

    /// Tells it to end. It may have ended already.
    pub fn terminate(&self) {
        let _told = kill(self.pid, Signal::SIGTERM);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> End {
        self.tracer.take().expect("one end").join().expect("a tracer that works")
    }

    /// Descriptors that it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(tracer) = self.tracer.take() {
            // It is not waited for before the tracer ends, so the number is its own.
            if !tracer.is_finished() {
                let _killed = kill(self.pid, Signal::SIGKILL);
            }
            let _ended = tracer.join();
        }
    }
}
