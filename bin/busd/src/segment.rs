//! Opens buses with the suspicion that is due to files which any user of the host may have made.
//!
//! /dev/shm is open to everybody. The library checks what is in a segment; here stands what must
//! be known before it is opened at all, by a process that others rely on: opening a named pipe
//! waits until somebody writes to it, which may be never.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use busway::{Bus, Error};

/// Where POSIX shared memory lives on Linux (shm_overview(7)).
pub(crate) const SHM_DIR: &str = "/dev/shm";

/// Opens a bus, unless its file is not one.
///
/// # Errors
/// Those of [`Bus::open`].
pub(crate) fn open(name: &str) -> Result<Bus, Error> {
    match metadata(name) {
        Some(found) if !found.is_file() => Err(Error::Corrupt {
            name: name.to_owned(),
            reason: "it is not a regular file".to_owned(),
        }),
        _ => Bus::open(name),
    }
}

/// What tells a segment from an earlier one of the same name.
pub(crate) fn inode(name: &str) -> Option<u64> {
    metadata(name).map(|found| found.ino())
}

fn metadata(name: &str) -> Option<Metadata> {
    busway::check_name(name).ok()?;
    fs::symlink_metadata(Path::new(SHM_DIR).join(format!("busway.{name}"))).ok()
}
