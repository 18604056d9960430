//! Worker processes: this very binary, run again with a role in its environment.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::PATIENCE;
use super::role::{Note, Published, Report, Role};

/// The environment variable that carries the role.
pub const ROLE: &str = "BUSWAY_TEST_ROLE";
/// What every line that a worker says starts with; the test harness writes lines of its own.
pub const MARK: &str = "@@";

/// A worker process. Killed, by its own handle, when this value goes.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    orders: ChildStdin,
    notes: Receiver<Note>,
}

impl Worker {
    /// Starts it and waits until it is attached.
    pub fn attached(role: &Role) -> Self {
        let worker = Self::start(role);
        let Note::Ready { .. } = worker.next() else { panic!("{role:?} did not get ready") };
        worker
    }

    /// Starts it.
    pub fn start(role: &Role) -> Self {
        Self::start_by(role, |_| {})
    }

    /// Starts it by a command that `change` may change.
    pub fn start_by(role: &Role, change: impl FnOnce(&mut Command)) -> Self {
        let exe = std::env::current_exe().expect("the path of this binary");
        let mut command = Command::new(exe);
        command
            .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, serde_json::to_string(role).expect("a role as JSON"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        change(&mut command);
        let mut child = command.spawn().expect("a worker process");
        let orders = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, notes) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, note)) = line.split_once(MARK) {
                    let note = serde_json::from_str(note).expect("a note");
                    if sender.send(note).is_err() {
                        return;
                    }
                }
            }
        });
        Self { child, orders, notes }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next thing it says.
    pub fn next(&self) -> Note {
        self.notes.recv_timeout(PATIENCE).expect("a worker that goes on")
    }

    pub fn published(&self) -> Published {
        match self.next() {
            Note::Published(published) => published,
            note => panic!("{note:?} is not what a producer says at its end"),
        }
    }

    pub fn report(&self) -> Report {
        match self.next() {
            Note::Read(report) => report,
            note => panic!("{note:?} is not what a reader says at its end"),
        }
    }

    /// Lets a producer begin.
    pub fn go(&mut self) {
        self.order("go");
    }

    /// Tells a producer to stop, or one that lingers to leave.
    pub fn stop(&mut self) {
        self.order("stop");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("a worker that listens");
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().expect("a worker to kill");
        self.child.wait().expect("a worker that dies");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Attaches all producers, then lets all begin.
pub fn producers(roles: impl IntoIterator<Item = super::role::Produce>) -> Vec<Worker> {
    let mut workers: Vec<Worker> =
        roles.into_iter().map(|role| Worker::attached(&Role::Produce(role))).collect();
    workers.iter_mut().for_each(Worker::go);
    workers
}
