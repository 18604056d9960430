//! Measures busway side by side with what a user would take instead, on the user's own machine:
//! separate pinned processes, payload checked, runs interleaved, every sample between two probes of
//! the distance of its cores. See README.md.

mod affinity;
mod board;
mod cli;
mod clock;
mod crew;
mod figure;
mod janitor;
mod latency;
mod measure;
mod pattern;
mod peer;
mod peers;
mod place;
mod plan;
mod probe;
mod registry;
mod report;
mod run;
mod scenario;
mod shm;
mod stats;
mod work;
mod worker;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
