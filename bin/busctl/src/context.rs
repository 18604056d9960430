//! What every verb is run with: where to write, and whether and where to look for the daemon.

use crate::cli::Globals;
use crate::output::Out;
use busd::RuntimeDir;

/// The global flags, in force.
pub struct Context {
    /// Where output goes.
    pub out: Out,
    /// Work straight on the segments.
    pub no_daemon: bool,
    /// Where the daemon's socket is, or would be.
    pub runtime_dir: RuntimeDir,
}

impl Context {
    /// Puts the global flags into force.
    pub fn new(globals: &Globals) -> Self {
        Self {
            out: Out::new(globals.json, globals.color),
            no_daemon: globals.no_daemon,
            runtime_dir: RuntimeDir::resolve(globals.runtime_dir.as_deref()),
        }
    }
}
