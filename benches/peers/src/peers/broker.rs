//! A broker that runs as a child process for one measurement.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a broker may take to open its socket.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running broker, ended when dropped, and by the kernel when its parent dies.
pub struct Broker(Child);

impl Broker {
    /// Starts a program and waits until `ready` says that it answers.
    ///
    /// # Errors
    /// That it cannot be started (is it installed?), or did not answer in time.
    pub fn start(
        program: &str,
        arguments: &[&str],
        directory: &Path,
        mut ready: impl FnMut() -> bool,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: between fork and exec this makes one system call, and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                let kill = Some(rustix::process::Signal::KILL);
                Ok(rustix::process::set_parent_process_death_signal(kill)?)
            });
        }
        let child = command.spawn().map_err(|error| format!("starting {program}: {error}"))?;
        let mut broker = Self(child);
        let start = Instant::now();
        while !ready() {
            if let Ok(Some(status)) = broker.0.try_wait() {
                return Err(format!("{program} ended: {status}"));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{program} did not answer in {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(broker)
    }

    /// Whether a program can be started here.
    pub fn is_installed(program: &str) -> bool {
        let search = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&search).any(|directory| directory.join(program).is_file())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It has nothing to save. An error means that it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
