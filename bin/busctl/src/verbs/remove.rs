//! `rm`: removes buses; refuses while somebody alive is attached, unless forced.
//!
//! Everything is looked at before anything is removed: one refusal leaves all of them in place.

use crate::context::Context;
use crate::daemon;
use crate::exit::{Exit, Failure};
use crate::open::open;
use crate::process::process_name;
use crate::verbs::table::remove_table;
use busd::api::{self, RemovedBus, Standing};
use busway::Bus;
use clap::Args;
use serde::Serialize;
use std::process::ExitCode;

/// Arguments of `rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The buses
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Remove even while participants are attached; they learn of it by themselves
    #[arg(short, long)]
    force: bool,
}

/// The document of `rm --json`.
#[derive(Serialize)]
struct List {
    removed: Vec<RemovedBus>,
}

/// Removes the buses.
pub fn run(args: RemoveArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut names = args.names;
    names.sort();
    names.dedup();
    let mut found = Vec::new();
    let mut tables = Vec::new();
    for name in names {
        busway::check_name(&name)?;
        if busway::is_table(&name) == Some(true) {
            tables.push(name);
            continue;
        }
        let participants = attached(&name, args.force, context)?;
        found.push(RemovedBus { removed: name, participants });
    }
    let daemon = daemon::running(context)?;
    for bus in &found {
        match &daemon {
            Some(daemon) => drop(daemon.remove_bus(&bus.removed, args.force)?),
            None => Bus::remove(&bus.removed)?,
        }
        if !context.out.json() {
            context.out.note(format_args!("removed {}", bus.removed));
        }
    }
    for removed in tables {
        remove_table(&removed, args.force)?;
        if !context.out.json() {
            context.out.note(format_args!("removed {removed}"));
        }
        found.push(RemovedBus { removed, participants: Vec::new() });
    }
    if context.out.json() {
        context.out.document("busway.rm/1", &List { removed: found })?;
    }
    Ok(Exit::Ok.code())
}

/// Who is attached to a bus that may go; a failure that names them when it may not.
fn attached(name: &str, force: bool, context: &Context) -> Result<Vec<api::Participant>, Failure> {
    let detail = match open(context, name) {
        Ok(bus) => api::BusDetail::read(&bus),
        Err(failure) if matches!(failure.exit(), Exit::NotFound | Exit::Permission) => {
            return Err(failure);
        }
        // Not a bus that this build can read: nobody can say who uses it.
        Err(_) if force => return Ok(Vec::new()),
        Err(failure) => {
            return Err(failure.hint("`busctl rm -f` removes it without a look inside"));
        }
    };
    let alive: Vec<_> = detail.participants().filter(|one| one.alive).cloned().collect();
    if alive.is_empty() || force {
        return Ok(alive);
    }
    let named: Vec<String> = alive
        .iter()
        .map(|one| {
            if one.standing == Standing::Group {
                return format!("group {:?}", one.name);
            }
            let process = process_name(one.pid);
            format!("{} {:?} (pid {}, {process})", one.role, one.name, one.pid)
        })
        .collect();
    Err(Failure::failed(format!("bus {name:?} is in use by {}", named.join(", ")))
        .hint("stop them, or `busctl rm -f` to remove it anyway: they learn of it by themselves"))
}
