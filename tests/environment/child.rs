//! Processes in an environment of their own: this binary, run again with a role.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Instant;

use crate::PATIENCE;

const ROLE: &str = "BUSWAY_TEST_ENVIRONMENT_ROLE";
const BUS: &str = "BUSWAY_TEST_ENVIRONMENT_BUS";
/// What every line that a child says starts with; the test harness in it writes lines of its own.
const SAID: &str = "@@";

/// What a child does on a bus, and its name.
pub type Roles = &'static [(&'static str, fn(&str))];

/// Plays the role in the environment, if there is one.
pub fn run_if_asked(roles: &[Roles]) {
    let (Ok(role), Ok(bus)) = (std::env::var(ROLE), std::env::var(BUS)) else {
        return;
    };
    let known = roles.iter().copied().flatten().find(|(name, _)| *name == role);
    let (_, run) = known.unwrap_or_else(|| panic!("no role {role:?}"));
    run(&bus);
}

/// In a child: says something to the test.
pub fn say(what: impl std::fmt::Display) {
    println!("{SAID}{what}");
}

/// In a child: waits until the test says that it may end.
pub fn wait_for_end() {
    let _closed = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
}

/// A child. Killed, by its own handle, when this value goes.
pub struct Actor {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Actor {
    /// Starts a role on a bus.
    pub fn start(role: &str, bus: &str) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), role, bus)
    }

    /// The same by a program that executes its last arguments.
    pub fn start_through(program: &[&str], role: &str, bus: &str) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(std::env::current_exe().unwrap());
        Self::start_by(command, role, bus)
    }

    pub fn start_by(mut command: Command, role: &str, bus: &str) -> Self {
        command
            .args(["role", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(BUS, bus)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "cannot start {role:?}: {error}. What takes namespaces needs unshare(1), and root \
                 or unprivileged user namespaces"
            )
        });
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next thing it says; `None` at its end.
    pub fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some((_, said)) = line.split_once(SAID) {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// Lets it end by itself and waits for that.
    pub fn finish(mut self) {
        let status = self.end();
        assert!(status.success(), "{status}");
    }

    /// How it ends once it is let. Killed when it takes too long.
    pub fn end(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if start.elapsed() > PATIENCE {
                self.kill();
                panic!("it does not end");
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Runs a role to its end. Its assertions are its own.
pub fn play(role: &str, bus: &str) {
    Actor::start(role, bus).finish();
}

/// unshare(1) with these namespaces, as a program that executes its arguments. Without root it
/// takes a user namespace besides.
pub fn namespaces(which: &[&'static str]) -> Vec<&'static str> {
    let mut program = vec!["unshare", "--fork", "--kill-child"];
    program.extend(which);
    if !rustix::process::geteuid().is_root() {
        program.extend(["--user", "--map-root-user"]);
    }
    program
}
