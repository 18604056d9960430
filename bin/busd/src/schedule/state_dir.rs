//! Where schedules are kept: a directory that is this user's alone.
//!
//! ```text
//! --state-dir DIR, else $BUSWAY_STATE_DIR; else, for a daemon in the usual runtime directory,
//! $XDG_STATE_HOME/busway, else ~/.local/state/busway, /var/lib/busway for root;
//! else `state` in the runtime directory: each daemon has its own
//! ```
//!
//! What lies there is published in the daemon's name, so nobody else may write to it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::runtime_dir::{RuntimeDir, own_uid};

/// The directory; it need not exist yet.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// Why it cannot be used.
#[derive(Debug)]
pub(crate) struct StateDirError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    NotADirectory,
    Owner(u32),
    Writable(u32),
    Io { action: &'static str, source: io::Error },
}

impl StateDir {
    /// Finds the directory of a daemon with this runtime directory; touches nothing.
    pub(crate) fn resolve(argument: Option<&Path>, runtime_dir: &RuntimeDir) -> Self {
        let is_usual = *runtime_dir.path() == *RuntimeDir::usual().path();
        let variable = |name: &str| std::env::var_os(name);
        Self { path: resolve_from(argument, runtime_dir.path(), is_usual, own_uid(), variable) }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("schedules.redb")
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("schedules.journal")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.path.join("schedules.lock")
    }

    /// Whether schedules have ever been kept there.
    pub(super) fn is_in_use(&self) -> bool {
        self.database().exists()
    }

    /// Makes it if it is missing, and checks that it is safe to use.
    pub(super) fn prepare(&self) -> Result<(), StateDirError> {
        let io = |action| move |source| self.error(Reason::Io { action, source });
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(io("make"))?;
        let found = fs::symlink_metadata(&self.path).map_err(io("look at"))?;
        if !found.is_dir() {
            return Err(self.error(Reason::NotADirectory));
        }
        if found.uid() != own_uid() {
            return Err(self.error(Reason::Owner(found.uid())));
        }
        if found.mode() & 0o022 != 0 {
            return Err(self.error(Reason::Writable(found.mode())));
        }
        Ok(())
    }

    fn error(&self, reason: Reason) -> StateDirError {
        StateDirError { path: self.path.clone(), reason }
    }
}

/// The rule, with the environment as an argument so that it can be tested.
fn resolve_from(
    argument: Option<&Path>,
    runtime_dir: &Path,
    is_usual: bool,
    uid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> PathBuf {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    if let Some(named) = argument.map(Path::to_owned).or_else(|| set("BUSWAY_STATE_DIR")) {
        return absolute(named);
    }
    if !is_usual {
        return runtime_dir.join("state");
    }
    if uid == 0 {
        return PathBuf::from("/var/lib/busway");
    }
    // A relative one is void (XDG base directory specification).
    let home = || set("HOME").map(|home| home.join(".local/state"));
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute()).or_else(home);
    state.map_or_else(|| runtime_dir.join("state"), |path| path.join("busway"))
}

impl fmt::Display for StateDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::NotADirectory => write!(f, "state directory {path} is not a directory"),
            Reason::Owner(found) => write!(
                f,
                "state directory {path} belongs to uid {found}; it must belong to uid {}",
                own_uid()
            ),
            Reason::Writable(mode) => write!(
                f,
                "state directory {path} has mode {:04o}; it must be writable by its owner alone",
                mode & 0o777
            ),
            Reason::Io { action, source } => {
                write!(f, "cannot {action} state directory {path}: {source}")
            }
        }
    }
}

impl std::error::Error for StateDirError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_is_named_or_the_users_or_the_daemons_own() {
        let of = |argument: Option<&str>, is_usual, uid, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            };
            let path = argument.map(Path::new);
            resolve_from(path, Path::new("/run/here"), is_usual, uid, variable)
        };
        let home = ("HOME", "/home-of-a");
        assert_eq!(
            of(Some("/named"), false, 1, &[("BUSWAY_STATE_DIR", "/b")]),
            Path::new("/named")
        );
        assert_eq!(of(None, true, 1, &[("BUSWAY_STATE_DIR", "/b")]), Path::new("/b"));
        assert_eq!(of(None, false, 1, &[home]), Path::new("/run/here/state"));
        assert_eq!(of(None, true, 0, &[home]), Path::new("/var/lib/busway"));
        assert_eq!(of(None, true, 1, &[home]), Path::new("/home-of-a/.local/state/busway"));
        let state = ("XDG_STATE_HOME", "/x");
        assert_eq!(of(None, true, 1, &[home, state]), Path::new("/x/busway"));
        assert_eq!(of(None, true, 1, &[]), Path::new("/run/here/state"));
    }

    #[test]
    fn directory_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("t-{}-state", std::process::id()));
        let directory = StateDir::at(path.join("deep"));
        directory.prepare().unwrap();
        fs::set_permissions(path.join("deep"), fs::Permissions::from_mode(0o777)).unwrap();
        let error = directory.prepare().unwrap_err().to_string();
        fs::remove_dir_all(&path).unwrap();
        assert!(error.contains("has mode 0777"), "{error}");
        fs::write(&path, "").unwrap();
        let error = StateDir::at(path.clone()).prepare().unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.contains("cannot make"), "{error}");
    }
}
