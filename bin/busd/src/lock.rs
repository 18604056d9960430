//! One daemon per runtime directory: an exclusive `flock` on `busd.lock`.
//!
//! The kernel releases it when the daemon dies, however it dies, so that a left-over file never
//! bars the next start. The file holds the holder's pid, for the message and for people. Whoever
//! holds the lock may unlink whatever socket lies in the directory: it cannot be in use.
//!
//! References: flock(2).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

/// Attempts to lock the file that has the name, while a daemon that ends removes it. Each needs
/// another daemon to end between our open and our lock.
const ATTEMPTS_MAX: u32 = 16;

/// The lock of the runtime directory; held until dropped, when its file is removed too.
#[derive(Debug)]
pub struct DaemonLock {
    path: PathBuf,
    file: File,
}

/// Why the lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another daemon serves this directory.
    Held {
        /// The lock file.
        path: PathBuf,
        /// Its process, if it has written it yet.
        pid: Option<u32>,
    },
    /// The file cannot be used.
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DaemonLock {
    /// Takes the lock, or says who holds it. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] while another daemon runs, [`LockError::Io`] when the file cannot be
    /// created or locked.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |source: io::Error| LockError::Io { path: path.to_owned(), source };
        for _ in 0..ATTEMPTS_MAX {
            let file = open(path).map_err(io)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(LockError::Held { path: path.to_owned(), pid: holder(path) });
                }
                Err(errno) => return Err(io(errno.into())),
            }
            if is_named(&file, path).map_err(io)? {
                // From here on the file is ours, and goes when it cannot be written to.
                let mut lock = Self { path: path.to_owned(), file };
                lock.file.set_len(0).map_err(io)?;
                writeln!(lock.file, "{}", std::process::id()).map_err(io)?;
                return Ok(lock);
            }
        }
        Err(io(io::Error::other("the file was removed again and again while it was being locked")))
    }
}

impl Drop for DaemonLock {
    /// Removes the name first: whoever opens it afterwards makes a new file, and whoever had it
    /// open already finds that its file lost the name.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Whether the open file is the one that the path names.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.ino() == ours.ino() && named.dev() == ours.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The pid in the file. The holder writes it right after it takes the lock, so wait a moment.
fn holder(path: &Path) -> Option<u32> {
    for _ in 0..10 {
        if let Some(pid) = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()) {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, pid: Some(pid) } => {
                write!(f, "another busd, process {pid}, holds {}", path.display())
            }
            Self::Held { path, pid: None } => {
                write!(f, "another busd holds {}", path.display())
            }
            Self::Io { path, source } => write!(f, "cannot lock {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_refused_and_told_who_holds_it() {
        let path = std::env::temp_dir().join(format!("t-{}-lock", std::process::id()));
        let first = DaemonLock::take(&path).unwrap();
        let error = DaemonLock::take(&path).unwrap_err();
        let LockError::Held { pid, .. } = &error else { panic!("{error}") };
        assert_eq!(*pid, Some(std::process::id()));
        drop(first);
        assert!(!path.exists());
        drop(DaemonLock::take(&path).unwrap());
    }

    #[test]
    fn a_left_over_file_does_not_bar_the_next() {
        let path = std::env::temp_dir().join(format!("t-{}-stale", std::process::id()));
        fs::write(&path, "4194304999\nleft over").unwrap();
        let lock = DaemonLock::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(lock);
    }
}
