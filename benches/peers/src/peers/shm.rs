//! Names in `/dev/shm`, for peers whose memory has to have one there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::peer::tag;

/// Where POSIX shared memory lives on Linux.
const DIRECTORY: &str = "/dev/shm";

/// The name of a peer's object `number`, as `shm_open` takes it without its slash.
pub fn name(place: &Path, number: usize) -> String {
    format!("{}-{number}", tag(place))
}

/// The path of that object.
pub fn path(place: &Path, number: usize) -> PathBuf {
    Path::new(DIRECTORY).join(name(place, number))
}

/// Removes everything in `/dev/shm` whose name contains the place's tag, when dropped.
pub struct Sweep {
    tag: String,
}

impl Sweep {
    /// For this place.
    pub fn new(place: &Path) -> Self {
        Self { tag: tag(place) }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(DIRECTORY) else { return };
        for entry in entries.flatten() {
            if self.tag.is_empty() || !entry.file_name().to_string_lossy().contains(&self.tag) {
                continue;
            }
            // Whoever made it may have removed it meanwhile.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
        }
    }
}
