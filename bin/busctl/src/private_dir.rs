//! A directory for one command alone: where a demo or a test has a daemon of its own.

use crate::exit::Failure;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Room that a Unix socket's address leaves for the path of the directory.
const PATH_BYTES_MAX: usize = 80;

/// The config file in it: empty, so that a daemon there declares no bus that the user's would.
pub const CONFIG: &str = "busd.toml";

/// Where the private directory of this process will be: under TMPDIR, unless its path is too long
/// for a socket. `kind` is the command.
pub fn path(kind: &str) -> PathBuf {
    let name = format!("busway-{kind}-{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    if path.as_os_str().len() > PATH_BYTES_MAX { Path::new("/tmp").join(name) } else { path }
}

/// Makes the directory, for this user alone, with an empty config file in it.
pub fn make(directory: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .mode(0o700)
        .create(directory)
        .and_then(|()| File::create(directory.join(CONFIG)))
        .map(drop)
        .map_err(|error| {
            Failure::from(error).context(format_args!("making {}", directory.display()))
        })
}
