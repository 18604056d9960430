//! What the tests share. Everything that is made here is unmade on drop, also when a test fails.

mod child;
mod daemon;
mod gate;
mod http;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub use child::{Child, Task};
pub use daemon::{Daemon, command, refused};
pub use gate::{Pass, alone, in_company};
pub use http::{Answer, as_other_user, exchange, exchange_with, send_raw};

/// Long enough for the slowest machine; nothing waits for it unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A name that nobody else uses, of a bus that is removed in the end.
pub struct BusName(String);

/// A directory that nobody else uses.
pub struct Scratch(PathBuf);

fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    // ORDERING: relaxed; only the number's uniqueness counts.
    format!("t-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl BusName {
    pub fn new() -> Self {
        Self(unique())
    }

    /// The file behind the bus.
    pub fn segment(&self) -> PathBuf {
        Path::new("/dev/shm").join(format!("busway.{}", self.0))
    }
}

impl std::ops::Deref for BusName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for BusName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.segment());
    }
}

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(unique());
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed on drop.
pub struct Leashed(std::process::Child);

impl Leashed {
    pub fn spawn(command: &mut std::process::Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl std::ops::Deref for Leashed {
    type Target = std::process::Child;

    fn deref(&self) -> &std::process::Child {
        &self.0
    }
}

impl std::ops::DerefMut for Leashed {
    fn deref_mut(&mut self) -> &mut std::process::Child {
        &mut self.0
    }
}

impl Drop for Leashed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks again and again until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
