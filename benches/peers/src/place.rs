//! Places: directories in `/dev/shm` with names that are unique on this machine. All that a
//! measurement makes lies in one, or carries its name.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared memory as files: no disk is ever involved.
const SHM: &str = "/dev/shm";

/// How often a removal is tried again while a dying process still makes files.
const ATTEMPTS: u32 = 20;

/// Between two attempts.
const ATTEMPT_GAP: std::time::Duration = std::time::Duration::from_millis(25);

/// A directory that is removed when dropped, with everything in `/dev/shm` that has its name in it.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    /// Makes one for this process.
    ///
    /// # Errors
    /// The path and what the system said.
    pub fn create() -> Result<Self, String> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // ORDERING: relaxed; only the number counts.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(SHM).join(format!("{}{count}", prefix(std::process::id())));
        match std::fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(format!("making {}: {error}", path.display())),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let name = crate::peer::tag(&self.0);
        // What is still left is removed by the janitor.
        let _ = remove_all(|entry| names(entry, &name));
    }
}

/// The beginning of the names of all places of a process.
fn prefix(pid: u32) -> String {
    format!("bp-{pid}-")
}

/// The places that a process that is gone has left.
pub fn left(pid: u32) -> Vec<PathBuf> {
    let prefix = prefix(pid);
    let entries = std::fs::read_dir(SHM).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    ours.map(|entry| entry.path()).collect()
}

/// Removes what a process that is gone has left in `/dev/shm`.
pub fn sweep(pid: u32) {
    let prefix = prefix(pid);
    for _ in 0..ATTEMPTS {
        if remove_all(|entry| entry.contains(&prefix)).is_ok() {
            return;
        }
        std::thread::sleep(ATTEMPT_GAP);
    }
}

/// Whether a file's name carries a place's name, and not that of a place with a longer number.
fn names(entry: &str, name: &str) -> bool {
    entry.match_indices(name).any(|(at, found)| {
        let after = entry[at + found.len()..].chars().next();
        after.is_none_or(|after| !after.is_ascii_digit())
    })
}

fn remove_all(ours: impl Fn(&str) -> bool) -> std::io::Result<()> {
    let mut result = Ok(());
    for entry in std::fs::read_dir(SHM)? {
        let entry = entry?;
        if !ours(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if directory {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => result = Err(error),
            _ => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_goes_with_all_that_has_its_name() {
        let place = Place::create().expect("/dev/shm");
        let path = place.path().to_owned();
        let beside = Path::new(SHM).join(format!("x.{}", crate::peer::tag(&path)));
        std::fs::write(path.join("inside"), b"x").expect("a file");
        std::fs::write(&beside, b"x").expect("a file");
        drop(place);
        assert!(!path.exists());
        assert!(!beside.exists());
    }

    #[test]
    fn a_longer_number_is_another_place() {
        assert!(names("busway.bp-7-1", "bp-7-1"));
        assert!(names("bp-7-1.data", "bp-7-1"));
        assert!(!names("bp-7-12", "bp-7-1"));
    }
}
