//! A process that waits for its parent to end and removes what the parent could not: the bus and
//! the directory of a benchmark or demo that was killed.
//!
//! The parent tells it what there is and what is gone again. However the parent ends, the pipe
//! between them ends too, and the janitor removes what is left. A parent that ends in order has
//! removed everything itself, so that the janitor finds nothing to do.

use crate::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

/// How often, and how far apart, a directory is tried that a dying process may still write to.
const ATTEMPTS: u32 = 40;
const ATTEMPT_GAP: Duration = Duration::from_millis(50);

/// Something that has to go when the parent goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Litter {
    /// A bus or a table, by name.
    Bus(String),
    /// A directory with all that is in it.
    Directory(PathBuf),
}

impl Litter {
    /// Removes it. What is gone already is fine.
    pub fn remove(&self) -> Result<(), Failure> {
        match self {
            Self::Bus(name) => match busway::Bus::remove(name) {
                Err(error) if error.code() == "wrong_kind" => Ok(busway::Table::remove(name)?),
                Err(error) if error.code() != "not_found" => Err(error.into()),
                _ => Ok(()),
            },
            Self::Directory(path) => match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Failure::from(error).context(format_args!("removing {}", path.display())))
                }
                _ => Ok(()),
            },
        }
    }
}

/// What the parent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Expect(Litter),
    Gone(Litter),
}

/// The parent's end of a janitor. What it still holds when dropped is removed here already.
pub struct Janitor {
    child: Child,
    pipe: Option<ChildStdin>,
    litter: BTreeSet<Litter>,
}

impl Janitor {
    /// Starts one.
    pub fn hire() -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["bench", "janitor"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::from(error).context("starting the janitor"))?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe, litter: BTreeSet::new() })
    }

    /// To be said before the thing is made.
    pub fn expect(&mut self, litter: Litter) -> Result<(), Failure> {
        self.say(&Word::Expect(litter.clone()))?;
        self.litter.insert(litter);
        Ok(())
    }

    /// Removes the thing now.
    pub fn clear(&mut self, litter: &Litter) -> Result<(), Failure> {
        litter.remove()?;
        self.litter.remove(litter);
        self.say(&Word::Gone(litter.clone()))
    }

    fn say(&mut self, word: &Word) -> Result<(), Failure> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(word).map_err(io::Error::from)?;
        line.push(b'\n');
        pipe.write_all(&line).map_err(|error| {
            Failure::failed(format!("the janitor is gone, nobody would clean up: {error}"))
        })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        for litter in std::mem::take(&mut self.litter) {
            // What fails here the janitor tries again, for longer.
            let _ = litter.remove();
        }
        self.pipe = None;
        let _ = self.child.wait();
    }
}

/// The janitor process: listens until the parent is gone, then removes what is left.
pub fn run() -> ExitCode {
    // For `ps` only.
    let _ = rustix::thread::set_name(c"bench janitor");
    let mut left = BTreeSet::new();
    for line in io::stdin().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Word::Expect(litter)) => {
                left.insert(litter);
            }
            Ok(Word::Gone(litter)) => {
                left.remove(&litter);
            }
            // Half a line: the parent died while it spoke, before it made the thing.
            Err(_) => break,
        }
    }
    let mut clean = true;
    for litter in &left {
        clean &= remove_patiently(litter);
    }
    if !left.is_empty() {
        // Workers die a moment after the parent, and a member of a group that has a letter to send
        // makes the bus for dead letters anew if it is gone.
        std::thread::sleep(ATTEMPT_GAP);
        for litter in &left {
            clean &= remove_patiently(litter);
        }
    }
    if clean { Exit::Ok.code() } else { Exit::Failure.code() }
}

fn remove_patiently(litter: &Litter) -> bool {
    for _ in 0..ATTEMPTS {
        if litter.remove().is_ok() {
            return true;
        }
        std::thread::sleep(ATTEMPT_GAP);
    }
    false
}
