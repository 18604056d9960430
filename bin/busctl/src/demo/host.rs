//! The demo's daemon: `busd` in a process of its own, in the demo's private directory.
//!
//! It ends when the demo ends its orders, and dies with the demo. Its log goes to a file beside its
//! socket, and its config file is empty, so that it declares no bus that the user's daemon would.

use crate::bench::{Crew, Identity, Station, run_worker};
use crate::exit::{Exit, Failure};
use crate::private_dir::CONFIG;
use busd::{Args, Client, LogLevel, RuntimeDir};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the daemon may take to answer.
const START: Duration = Duration::from_secs(10);

const LOG: &str = "busd.log";

/// What the daemon process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct HostPlan {
    identity: Identity,
    directory: PathBuf,
}

/// Starts the daemon and waits until it answers. Returns its index in the crew.
pub fn start(crew: &mut Crew, directory: &Path) -> Result<(usize, Client), Failure> {
    let identity =
        Identity { name: String::from("busd"), parent_pid: std::process::id(), cpu: None };
    let plan = HostPlan { identity, directory: directory.to_owned() };
    let plan = serde_json::to_string(&plan).map_err(std::io::Error::from)?;
    let log = File::create(directory.join(LOG))?;
    let index = crew.hire_with_stderr("the demo's busd", &["demo", "daemon", &plan], log.into())?;
    let runtime = RuntimeDir::resolve(Some(directory));
    let client = busd::wait_until_ready(&runtime, START).map_err(|error| {
        let log = std::fs::read_to_string(directory.join(LOG)).unwrap_or_default();
        Failure::new(Exit::Daemon, format!("the demo's daemon did not start: {error}\n{log}"))
    })?;
    Ok((index, client))
}

/// The daemon process.
pub fn run(plan: &str) -> ExitCode {
    run_worker(|| {
        let plan: HostPlan = serde_json::from_str(plan)
            .map_err(|error| Failure::usage(format!("the plan of the daemon: {error}")))?;
        let wait = Station::enter(&plan.identity)?.end_of_orders();
        // Before there is a thread that a signal could end the process in.
        busd::hold_signals()?;
        std::thread::spawn(move || {
            wait();
            // The daemon's own way to end: it removes its socket and lets go of its lock.
            let _ = kill_process(getpid(), Signal::TERM);
        });
        let code = busd::run(&Args {
            config: Some(plan.directory.join(CONFIG)),
            runtime_dir: Some(plan.directory),
            log_level: LogLevel::Warn,
            ..Args::default()
        });
        if code == ExitCode::SUCCESS {
            Ok(())
        } else {
            Err(Failure::failed(format!("the daemon ended with {code:?}")))
        }
    })
}
