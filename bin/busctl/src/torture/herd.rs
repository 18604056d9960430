//! The workers of scenarios that fit a file or two: started, killed and stopped at random and at their
//! points, and taken note of when they have ended.

use super::random::Random;
use crate::exit::Failure;
use busway_crashable::{CrashAction, CrashPoint};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process, set_parent_process_death_signal,
    waitid,
};
use serde::Serialize;
use std::process::{Child, Command, Stdio};

/// A stopped worker stands for at most so many looks of the conductor.
const STANDS_MAX: u64 = 200;

/// One in so many looks kills who does nothing special.
const KILLS_ONE_IN: u64 = 300;

/// What was done to workers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Blows {
    pub workers: u64,
    pub killed_at_random: u64,
    pub killed_at_points: u64,
    pub stopped: u64,
    pub left: u64,
}

/// A worker process, ended whatever happens.
pub struct Worker {
    child: Child,
    /// Looks until it may go on.
    stands: u64,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// Where a worker is to die or to stop, if it is, in the words that it is told.
pub fn fate(
    random: &mut Random,
    points: &[CrashPoint],
    nth: impl Fn(CrashPoint, u64) -> u64,
) -> Vec<String> {
    let point = random.one_of(points).unwrap_or(CrashPoint::SeatTaken);
    let what = random.one_of(&["die", "stop", "live"]).unwrap_or("live");
    let nth = nth(point, random.next());
    let seed = random.next().to_string();
    vec![point.name().to_owned(), what.to_owned(), nth.to_string(), seed]
}

/// Starts a worker: the hidden verb, and its words, to which the parent is added.
pub fn start(verb: &str, words: &[String], blows: &mut Blows) -> Result<Worker, Failure> {
    blows.workers += 1;
    let child = Command::new(std::env::current_exe()?)
        .args(["torture", verb])
        .args(words)
        .arg(std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    Ok(Worker { child, stands: 0 })
}

/// In the worker: ties it to its parent, and arms it. The words are those of `fate`, and the
/// parent. Returns where it draws from.
pub fn enter(words: [&String; 5]) -> Result<Random, Failure> {
    let [point, what, nth, seed, parent] = words;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)?;
    let is_child = getppid().is_some_and(|pid| pid.as_raw_nonzero().to_string() == *parent);
    if !is_child {
        return Err(Failure::failed("the process that started this worker is gone"));
    }
    let (nth, random) = (number(nth)?, Random::of(number(seed)?, &[]));
    let point: CrashPoint = point.parse().map_err(Failure::usage)?;
    match what.as_str() {
        "die" => busway_crashable::arm(point, nth, CrashAction::Die),
        "stop" => busway_crashable::arm(point, nth, CrashAction::Stop),
        _ => {}
    }
    Ok(random)
}

/// A number among the words.
pub fn number(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::usage(text.to_owned()))
}

/// Kills, stops and wakes workers, and takes note of those that have ended, which are left out after.
pub fn torment(
    workers: &mut Vec<Worker>,
    random: &mut Random,
    blows: &mut Blows,
    violations: &mut Vec<String>,
) -> Result<(), Failure> {
    let options = WaitIdOptions::EXITED
        | WaitIdOptions::STOPPED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT;
    let mut kept = Vec::new();
    for mut worker in std::mem::take(workers) {
        let pid = Pid::from_child(&worker.child);
        let status = waitid(WaitId::Pid(pid), options).map_err(std::io::Error::from)?;
        match status {
            Some(status) if status.stopped() => {
                if worker.stands == 0 {
                    blows.stopped += 1;
                    worker.stands = 1 + random.next() % STANDS_MAX;
                }
                worker.stands -= 1;
                if worker.stands == 0 {
                    // One in four dies where it stands.
                    let kills = random.next().is_multiple_of(4);
                    let signal = if kills { Signal::KILL } else { Signal::CONT };
                    let _gone = kill_process(pid, signal);
                }
                kept.push(worker);
            }
            Some(status) if status.killed() => blows.killed_at_points += 1,
            Some(status) if status.exit_status() == Some(0) => blows.left += 1,
            Some(status) => {
                let code = status.exit_status();
                violations.push(format!("a worker failed with code {code:?}, and has said why"));
            }
            None if random.next().is_multiple_of(KILLS_ONE_IN) => blows.killed_at_random += 1,
            None => kept.push(worker),
        }
    }
    *workers = kept;
    Ok(())
}
