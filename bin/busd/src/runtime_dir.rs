//! The runtime directory: where the daemon's socket and lock are.
//!
//! ```text
//! --runtime-dir DIR, else $BUSWAY_RUNTIME_DIR, else $XDG_RUNTIME_DIR/busway (when
//! $XDG_RUNTIME_DIR belongs to this user), else /run/busway for root, else /tmp/busway-UID
//! ```
//!
//! Whoever may write in this directory can pose as the daemon. So the daemon uses it only when it
//! is a real directory (no symbolic link), its own, and writable by nobody else; and a client
//! looks at it in the same way before it talks to a socket in it. The directory is 0700 unless
//! the config file opens the socket to others, who then get the right to pass through, no more.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "busd.sock";
/// The name in the runtime directory of the socket that hands out brokered buses.
pub const BROKER_SOCKET_NAME: &str = "broker.sock";
/// The lock's name in the runtime directory.
pub const LOCK_NAME: &str = "busd.lock";

/// The runtime directory of a daemon or of the clients that look for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir {
    path: PathBuf,
    source: Source,
}

/// Where the path comes from; how far it is trusted depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A person or a script named it.
    Named,
    /// Made up from the environment of this user.
    Default,
}

/// Whom the directory shall let through to the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Members of this group.
    pub group: Option<u32>,
    /// Everybody.
    pub others: bool,
}

/// Why a directory cannot be used. The message names it and says what would be right.
#[derive(Debug)]
pub struct RuntimeDirError {
    /// The directory.
    pub path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    Symlink,
    NotADirectory,
    Owner { found: u32, wanted: u32 },
    Writable { mode: u32 },
    TooLong { len: usize },
    Io { action: &'static str, source: io::Error },
}

impl RuntimeDir {
    /// Finds the directory; touches nothing.
    #[must_use]
    pub fn resolve(argument: Option<&Path>) -> Self {
        let owner = |path: &Path| fs::metadata(path).ok().map(|found| found.uid());
        resolve_from(argument, own_uid(), |name| std::env::var_os(name), owner)
    }

    /// The one that is found when nobody names another.
    pub(crate) fn usual() -> Self {
        let owner = |path: &Path| fs::metadata(path).ok().map(|found| found.uid());
        let variable = |name: &str| std::env::var_os(name).filter(|_| name != "BUSWAY_RUNTIME_DIR");
        resolve_from(None, own_uid(), variable, owner)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join(SOCKET_NAME)
    }

    /// The daemon's socket for those who attach to brokered buses.
    #[must_use]
    pub fn broker_socket(&self) -> PathBuf {
        self.path.join(BROKER_SOCKET_NAME)
    }

    /// The daemon's lock.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.join(LOCK_NAME)
    }

    /// For the daemon: makes the directory if it is missing and checks that it is safe to use.
    ///
    /// # Errors
    /// When it is a symbolic link or no directory, belongs to another user, may be written by
    /// others, or its path is too long for a socket.
    pub fn prepare(&self, passage: Passage) -> Result<(), RuntimeDirError> {
        self.check_length()?;
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => {
                return Err(self.error(Reason::Io { action: "create", source }));
            }
        }
        let directory = self.open()?;
        let found = directory.metadata().map_err(|source| self.io("inspect", source))?;
        self.check_owner(found.uid(), &[own_uid()])?;
        self.check_mode(found.mode())?;
        self.open_passage(&directory, found.mode(), passage)
    }

    /// For a client: checks that nobody but this user, root, or whoever was named on purpose can
    /// have put a socket there. A directory that does not exist is fine: nobody is there.
    ///
    /// # Errors
    /// As [`RuntimeDir::prepare`], without making anything.
    pub fn check(&self) -> Result<(), RuntimeDirError> {
        self.check_length()?;
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(self.io("inspect", source)),
        };
        if found.is_symlink() {
            return Err(self.error(Reason::Symlink));
        }
        if !found.is_dir() {
            return Err(self.error(Reason::NotADirectory));
        }
        if self.source == Source::Default {
            self.check_owner(found.uid(), &[own_uid(), 0])?;
            self.check_mode(found.mode())?;
        }
        Ok(())
    }

    /// A Unix socket's path has at most 107 bytes (unix(7)).
    fn check_length(&self) -> Result<(), RuntimeDirError> {
        // The longer of the two names.
        let len = self.broker_socket().as_os_str().len();
        if len > 107 { Err(self.error(Reason::TooLong { len })) } else { Ok(()) }
    }

    fn open(&self) -> Result<File, RuntimeDirError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&self.path, flags, Mode::empty());
        opened.map(File::from).map_err(|errno| match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_symlink() => self.error(Reason::Symlink),
            Ok(found) if !found.is_dir() => self.error(Reason::NotADirectory),
            // A directory of somebody else's that we may not even open: say so.
            Ok(found) if found.uid() != own_uid() => {
                self.error(Reason::Owner { found: found.uid(), wanted: own_uid() })
            }
            _ => self.io("open", errno.into()),
        })
    }

    fn check_owner(&self, found: u32, allowed: &[u32]) -> Result<(), RuntimeDirError> {
        if allowed.contains(&found) {
            return Ok(());
        }
        Err(self.error(Reason::Owner { found, wanted: own_uid() }))
    }

    fn check_mode(&self, mode: u32) -> Result<(), RuntimeDirError> {
        if mode & 0o022 == 0 { Ok(()) } else { Err(self.error(Reason::Writable { mode })) }
    }

    /// Lets through whom the config file names. A directory that this program chose has exactly
    /// the mode that is needed; one that a person named keeps what it has.
    fn open_passage(
        &self,
        directory: &File,
        mode: u32,
        passage: Passage,
    ) -> Result<(), RuntimeDirError> {
        let mut wanted = match self.source {
            Source::Named => mode & 0o777,
            Source::Default => 0o700,
        };
        if let Some(group) = passage.group {
            rustix::fs::fchown(directory, None, Some(Gid::from_raw(group)))
                .map_err(|errno| self.io("give to the socket's group", errno.into()))?;
            wanted |= 0o010;
        }
        if passage.others {
            wanted |= 0o001;
        }
        if wanted != mode & 0o777 {
            rustix::fs::fchmod(directory, Mode::from_raw_mode(wanted))
                .map_err(|errno| self.io("set the mode of", errno.into()))?;
        }
        Ok(())
    }

    fn io(&self, action: &'static str, source: io::Error) -> RuntimeDirError {
        self.error(Reason::Io { action, source })
    }

    fn error(&self, reason: Reason) -> RuntimeDirError {
        RuntimeDirError { path: self.path.clone(), reason }
    }
}

/// The user that this process acts as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The rule, with the environment as an argument so that it can be tested.
fn resolve_from(
    argument: Option<&Path>,
    uid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
    owner: impl Fn(&Path) -> Option<u32>,
) -> RuntimeDir {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let named = argument.map(Path::to_owned).or_else(|| variable("BUSWAY_RUNTIME_DIR"));
    if let Some(path) = named {
        let path = std::path::absolute(&path).unwrap_or(path);
        return RuntimeDir { path, source: Source::Named };
    }
    // A relative or foreign $XDG_RUNTIME_DIR is void (XDG base directory specification): `sudo -E`
    // hands root the directory of the user, and root must not settle there.
    let session = variable("XDG_RUNTIME_DIR")
        .filter(|path| path.is_absolute() && owner(path) == Some(uid))
        .map(|path| path.join("busway"));
    let path = match session {
        Some(path) => path,
        None if uid == 0 => PathBuf::from("/run/busway"),
        None => PathBuf::from(format!("/tmp/busway-{uid}")),
    };
    RuntimeDir { path, source: Source::Default }
}

impl RuntimeDirError {
    /// Whether somebody else's rights are the cause.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match &self.reason {
            Reason::Symlink | Reason::Owner { .. } | Reason::Writable { .. } => true,
            Reason::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
            Reason::NotADirectory | Reason::TooLong { .. } => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match &self.reason {
            Reason::Writable { .. } => format!("chmod 700 {}", self.path.display()),
            _ => "name another directory with --runtime-dir or BUSWAY_RUNTIME_DIR".to_owned(),
        }
    }
}

impl fmt::Display for RuntimeDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Symlink => {
                write!(f, "runtime directory {path} is a symbolic link; it must be a directory")
            }
            Reason::NotADirectory => write!(f, "runtime directory {path} is not a directory"),
            Reason::Owner { found, wanted } => write!(
                f,
                "runtime directory {path} belongs to uid {found}; it must belong to uid {wanted}"
            ),
            Reason::Writable { mode } => write!(
                f,
                "runtime directory {path} has mode {:04o}, so that others could put a socket of \
                 their own in it; it must be writable by its owner alone",
                mode & 0o777
            ),
            Reason::TooLong { len } => write!(
                f,
                "runtime directory {path} makes a socket path of {len} bytes; at most 107 are \
                 possible"
            ),
            Reason::Io { action, source } => {
                write!(f, "cannot {action} runtime directory {path}: {source}")
            }
        }
    }
}

impl std::error::Error for RuntimeDirError {}

#[cfg(test)]
mod tests;
