//! A process that waits for the driver to end and removes what it could not: what a driver that was
//! killed has left in `/dev/shm` and elsewhere.
//!
//! However the driver ends, the pipe to the janitor ends too. A driver that ends in order has
//! removed everything itself, and the janitor finds nothing to do.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use crate::{place, registry};

/// The driver's end. Dropping waits until the janitor has looked.
pub struct Janitor(Child);

impl Janitor {
    /// Starts one.
    ///
    /// # Errors
    /// What the system said.
    pub fn hire() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("own program: {error}"))?;
        Command::new(program)
            .args(["janitor", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map(Self)
            .map_err(|error| format!("starting the janitor: {error}"))
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The janitor's `main`: waits for the end of stdin, then removes what driver `pid` has left.
pub fn run(pid: u32) -> ExitCode {
    // Nothing is ever said; the end of the pipe is what is waited for.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let left = place::left(pid);
    for entry in registry::all() {
        for place in &left {
            (entry.sweep)(place);
        }
    }
    place::sweep(pid);
    ExitCode::SUCCESS
}
