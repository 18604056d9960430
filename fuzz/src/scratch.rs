//! Names of buses that only this process uses, and the taking away of all of them.
//!
//! A name is `fuzz-PID-NUMBER`, the pid in ten digits. A target that panics takes its buses away
//! first. One that ends in any other way cannot; whoever starts next takes those away whose process
//! is no more, and `run.sh` looks for them after each target.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use busway::Bus;

/// What every name starts with, whichever process it is of.
const FAMILY: &str = "fuzz-";

/// What the names of this process start with; always of the same length.
#[must_use]
pub fn prefix() -> String {
    format!("{FAMILY}{:010}-", std::process::id())
}

/// Takes away what dead processes left, and sees to it that a panic leaves nothing. Call it once,
/// before the first input.
pub fn init() {
    remove_all(is_of_the_dead);
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        remove_own();
        report(info);
    }));
}

/// Removes every bus of this process.
pub fn remove_own() {
    let prefix = prefix();
    remove_all(|name| name.starts_with(&prefix));
}

fn remove_all(which: impl Fn(&str) -> bool) {
    for name in Bus::list().unwrap_or_default() {
        if which(&name) {
            // Whoever else takes away what the dead left may be faster.
            let _removed = Bus::remove(&name);
        }
    }
}

fn is_of_the_dead(name: &str) -> bool {
    let pid = name.strip_prefix(FAMILY).and_then(|rest| rest.get(..10));
    let pid = pid.and_then(|digits| digits.parse::<u32>().ok());
    pid.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
}

/// A name that no other input uses; the bus is removed when this goes.
#[derive(Debug)]
pub struct Name(pub String);

impl Name {
    /// The next name of this process.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "no two are the same")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{}{}", prefix(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The bus's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm/busway.{}", self.0))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // The input may have removed it already.
        let _removed = Bus::remove(&self.0);
    }
}
