//! A worker process: reads its plan on stdin, does it, and says on stdout what it measured.
//!
//! It never outlives its parent: the kernel kills it when the parent dies, by whatever cause.
//! Reference: `PR_SET_PDEATHSIG(2const)`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::plan::{Outcome, Plan, Report};
use crate::registry::{self, Entry};

/// The worker's `main`.
pub fn run() -> ExitCode {
    let outcome: Outcome = read_plan().and_then(|plan| follow(&plan));
    let said = serde_json::to_vec(&outcome).map_err(io::Error::from);
    // A parent that is gone cannot be told; the exit code remains.
    let told = said.and_then(|said| io::stdout().write_all(&said));
    if outcome.is_ok() && told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_plan() -> Result<Plan, String> {
    let plan: Plan = serde_json::from_reader(io::stdin())
        .map_err(|error| format!("the plan on stdin: {error}"))?;
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("PR_SET_PDEATHSIG: {error}"))?;
    // A parent that died before the line above sends no signal any more.
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if i64::from(parent) == i64::from(plan.parent_pid) {
        Ok(plan)
    } else {
        Err(String::from("the process that started this worker is gone"))
    }
}

fn follow(plan: &Plan) -> Outcome {
    let entry = registry::find(&plan.peer)?;
    let shape = &plan.tasks.first().ok_or("a plan without a task")?.shape;
    let prepared: Result<Vec<_>, _> =
        plan.prepare.iter().map(|place| (entry.prepare)(shape, place)).collect();
    let outcome = match plan.tasks.as_slice() {
        [task] => (entry.work)(task).map(|report| vec![report]),
        _ => work_in_threads(plan, entry),
    };
    drop(prepared?);
    outcome
}

fn work_in_threads(plan: &Plan, entry: Entry) -> Outcome {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            plan.tasks.iter().map(|task| scope.spawn(move || (entry.work)(task))).collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(String::from("a thread panicked"))));
        joined.collect::<Result<Vec<Report>, String>>()
    })
}
