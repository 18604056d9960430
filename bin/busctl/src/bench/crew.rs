//! The parent's end of a set of worker processes: start them, wait for what each has to say, and be
//! sure that none is left.
//!
//! Every worker is this program again, with a verb that help does not show. One thread a worker
//! reads its lines; the parent waits on one channel, so that the death of any worker is seen at
//! once, whoever it waits for. Workers are in process groups of their own: Ctrl-C reaches the
//! parent alone, which then ends in order. Dropping a crew kills and reaps what still runs.

use super::worker::Message;
use crate::exit::Failure;
use crate::signal::Stop;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How long the parent sleeps at most before it looks at its stop flag and its watch.
const LOOK: Duration = Duration::from_millis(50);

/// How long a worker that was told to end may take, before it is killed and that is a failure.
const FAREWELL: Duration = Duration::from_secs(10);

/// Worker processes, in the order they were hired.
pub struct Crew {
    members: Vec<Member>,
    outbox: Sender<(usize, Heard)>,
    inbox: Receiver<(usize, Heard)>,
    /// Ends every wait with a failure when it is raised.
    stop: Option<Stop>,
}

struct Member {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    /// Its stdout has ended.
    silent: bool,
    /// It was killed on purpose.
    killed: bool,
    /// Reports that nobody waited for yet.
    reports: VecDeque<serde_json::Value>,
}

enum Heard {
    Line(String),
    End,
}

impl Crew {
    /// Nobody yet. `stop` ends every wait with a failure.
    pub fn new(stop: &Stop) -> Self {
        let (outbox, inbox) = channel();
        Self { members: Vec::new(), outbox, inbox, stop: Some(stop.clone()) }
    }

    /// From now on waits go on whatever the user asks: for an end in order.
    pub fn ignore_stop(&mut self) {
        self.stop = None;
    }

    /// Starts this program with `arguments` as a worker that messages call `name`; returns its
    /// index.
    pub fn hire(&mut self, name: &str, arguments: &[&str]) -> Result<usize, Failure> {
        self.hire_with_stderr(name, arguments, Stdio::inherit())
    }

    /// The same, for a worker whose stderr is not for the user's eyes.
    pub fn hire_with_stderr(
        &mut self,
        name: &str,
        arguments: &[&str],
        stderr: Stdio,
    ) -> Result<usize, Failure> {
        let mut child = Command::new(own_program()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::from(error).context(format_args!("starting {name}")))?;
        let index = self.members.len();
        let (orders, stdout) = (child.stdin.take(), child.stdout.take());
        let outbox = self.outbox.clone();
        std::thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            for line in lines.map_while(Result::ok) {
                // The crew may be gone; then nobody wants to hear the rest.
                if outbox.send((index, Heard::Line(line))).is_err() {
                    return;
                }
            }
            let _ = outbox.send((index, Heard::End));
        });
        self.members.push(Member {
            name: name.to_owned(),
            child,
            orders,
            silent: false,
            killed: false,
            reports: VecDeque::new(),
        });
        Ok(index)
    }

    /// Kills a member on purpose: from now on its death is no failure, unless a report of it is
    /// waited for.
    pub fn kill(&mut self, index: usize) -> Result<(), Failure> {
        if let Some(member) = self.members.get_mut(index) {
            member.killed = true;
            member.child.kill()?;
            member.child.wait()?;
        }
        Ok(())
    }

    /// The process of a member.
    pub fn pid(&self, index: usize) -> u32 {
        self.members.get(index).map_or(0, |member| member.child.id())
    }

    /// Gives a member an order. One that has died is found by the next [`gather`](Self::gather).
    pub fn order(&mut self, index: usize, order: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(order).map_err(std::io::Error::from)?;
        line.push(b'\n');
        let pipe = self.members.get_mut(index).and_then(|member| member.orders.as_mut());
        match pipe.map(|pipe| pipe.write_all(&line)) {
            Some(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Ends a member's orders: it finishes what it does and reports a last time.
    pub fn end_orders(&mut self, index: usize) {
        if let Some(member) = self.members.get_mut(index) {
            member.orders = None;
        }
    }

    /// Waits for one report of each of these members, and returns them in the same order.
    ///
    /// `watch` is called a few times a second and may give up by an error.
    ///
    /// # Errors
    /// What a member failed with, that a member died, what `watch` said, or the user's stop.
    pub fn gather<T: DeserializeOwned>(
        &mut self,
        members: &[usize],
        mut watch: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Vec<T>, Failure> {
        while !members.iter().all(|&index| self.has_report(index)) {
            if self.stop.as_ref().is_some_and(Stop::requested) {
                return Err(Failure::failed("interrupted"));
            }
            self.hear(LOOK, members)?;
            watch()?;
        }
        let reports = members.iter().filter_map(|&index| {
            let member = self.members.get_mut(index)?;
            let report = member.reports.pop_front()?;
            Some(serde_json::from_value(report).map_err(|error| {
                Failure::failed(format!("{}: unreadable report: {error}", member.name))
            }))
        });
        reports.collect()
    }

    /// Takes in what members have said by now, without waiting.
    ///
    /// # Errors
    /// What a member failed with, or that one died.
    pub fn look(&mut self) -> Result<(), Failure> {
        self.hear(Duration::ZERO, &[])
    }

    /// Whether a report of this member is there to be gathered.
    pub fn has_report(&self, index: usize) -> bool {
        self.members.get(index).is_some_and(|member| !member.reports.is_empty())
    }

    /// Ends everybody's orders and waits until all have ended by themselves.
    ///
    /// # Errors
    /// A member that failed, died or did not end in time (it is killed then).
    pub fn dismiss(mut self) -> Result<(), Failure> {
        for member in &mut self.members {
            member.orders = None;
        }
        let deadline = Instant::now() + FAREWELL;
        while let Some(late) = self.members.iter().find(|member| !member.silent) {
            if Instant::now() > deadline {
                let name = late.name.clone();
                return Err(Failure::failed(format!(
                    "{name} did not end within {} s and was killed",
                    FAREWELL.as_secs()
                )));
            }
            self.take_in(LOOK)?;
        }
        for member in &mut self.members {
            let status = member.child.wait()?;
            if !(member.killed || status.success()) {
                return Err(died(member, status));
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` for words and takes them in. A member that has died is a failure, and
    /// so is one of `awaited` that has ended without a report.
    fn hear(&mut self, timeout: Duration, awaited: &[usize]) -> Result<(), Failure> {
        self.take_in(timeout)?;
        for (index, member) in self.members.iter_mut().enumerate() {
            if !member.silent {
                continue;
            }
            let status = member.child.wait()?;
            let owes = awaited.contains(&index) && member.reports.is_empty();
            if owes || !(member.killed || status.success()) {
                return Err(died(member, status));
            }
        }
        Ok(())
    }

    fn take_in(&mut self, timeout: Duration) -> Result<(), Failure> {
        let mut heard = self.inbox.recv_timeout(timeout).ok();
        while let Some((index, what)) = heard {
            if let Some(member) = self.members.get_mut(index) {
                match what {
                    Heard::Line(line) => member.take_line(&line)?,
                    Heard::End => member.silent = true,
                }
            }
            heard = self.inbox.try_recv().ok();
        }
        Ok(())
    }
}

impl Member {
    fn take_line(&mut self, line: &str) -> Result<(), Failure> {
        match serde_json::from_str(line) {
            Ok(Message::Report(report)) => {
                self.reports.push_back(report);
                Ok(())
            }
            Ok(Message::Failed(why)) => Err(Failure::failed(format!("{}: {why}", self.name))),
            Err(_) => Err(Failure::failed(format!("{} said {line:?}", self.name))),
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            // Both fail when the member has ended already, which is what is wanted.
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

fn died(member: &Member, status: ExitStatus) -> Failure {
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended early with exit code {code}"),
        (None, None) => String::from("ended early"),
    };
    Failure::failed(format!("{} (pid {}) {how}", member.name, member.child.id()))
}

/// The file of this program.
fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::from(error).context("finding this program's file"))
}
