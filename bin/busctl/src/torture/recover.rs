//! A recoverer: gives back the seats of the dead, all the time, and looks whether they are dead.

use super::board::Stage;
use super::violation::Violation;
use super::worker::{Worker, failed};
use crate::bench::monotonic_ns;
use crate::exit::Failure;
use busway_crashable::Bus;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The kernel's flag of a process that has begun to exit (PF_EXITING). Reference: proc_pid_stat(5).
const EXITING: u64 = 4;

/// After one in so many looks for the dead somebody is told to leave.
const KICKS_ONE_IN: u64 = 64;

/// Recovers until it is told to leave.
pub fn run(worker: &mut Worker) -> Result<(), Failure> {
    let bus = worker.open()?;
    worker.life().enter(Stage::Working);
    while !worker.is_over(monotonic_ns()) {
        for reclaimed in bus.reclaim().map_err(failed("recovering"))? {
            // ORDERING: relaxed; a count.
            worker.life().deeds.fetch_add(1, Ordering::Relaxed);
            if is_alive(reclaimed.pid) {
                let what = format!("{reclaimed:?} was given back and lives");
                worker.report(Violation::WronglyReclaimed, &what)?;
            }
        }
        if worker.random.next().is_multiple_of(KICKS_ONE_IN) {
            kick(worker, &bus)?;
        }
        worker.note_hits();
        std::thread::sleep(Duration::from_micros(worker.random.any_size(5_000)));
    }
    Ok(())
}

/// Tells somebody to leave, whoever that may be.
fn kick(worker: &mut Worker, bus: &Bus) -> Result<(), Failure> {
    let sitting = bus.participants();
    let pids: Vec<u32> = sitting.iter().filter(|who| who.alive).map(|who| who.pid).collect();
    match worker.random.one_of(&pids) {
        Some(pid) => bus.kick(pid).map(drop).map_err(failed("kicking")),
        None => Ok(()),
    }
}

/// Whether a process can still do anything.
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| lives(&stat))
}

/// What the line of /proc/PID/stat says: neither a zombie nor on the way to become one.
fn lives(stat: &str) -> bool {
    // The name before may hold anything, parentheses included.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let state = fields.next();
    let flags = fields.nth(5).and_then(|flags| flags.parse::<u64>().ok());
    !matches!(state, Some("Z" | "X") | None) && flags.is_none_or(|flags| flags & EXITING == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_a_zombie_does_not() {
        assert!(is_alive(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().expect("a child");
        let pid = child.id();
        while is_alive(pid) {
            std::thread::yield_now();
        }
        child.wait().expect("waited for");
        assert!(!is_alive(pid));
    }

    #[test]
    fn state_and_flags_are_found_behind_any_name() {
        let line = |state: &str, flags: u64| format!("7 (a) b) {state} 1 7 7 0 -1 {flags} 93 0");
        assert!(lives(&line("R", 0)) && lives(&line("T", 0x40_0000)));
        assert!(!lives(&line("R", 0x404)) && !lives(&line("Z", 0)) && !lives(""));
    }
}
