//! The processes that a `busctl` has started, and what it left in shared memory.

use crate::sandbox::eventually;
use rustix::process::{Pid, test_kill_process};
use std::fs;

/// Children of a process, by the names that they gave themselves.
#[derive(Debug, Default)]
pub struct Family {
    members: Vec<(Pid, String)>,
}

impl Family {
    /// The children that a process has now.
    pub fn of(parent: Pid) -> Self {
        let mut members = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let Some((head, tail)) = stat.rsplit_once(')') else {
                continue;
            };
            let Some((pid, name)) = head.split_once(" (") else {
                continue;
            };
            let parent_pid = tail.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
            if parent_pid == Some(parent.as_raw_nonzero().get()) {
                let pid = pid.parse().ok().and_then(Pid::from_raw);
                members.extend(pid.map(|pid| (pid, name.to_owned())));
            }
        }
        Self { members }
    }

    /// The process of this name. The kernel keeps 15 bytes of a name.
    pub fn pid_of(&self, name: &str) -> Option<Pid> {
        let name = name.get(..15).unwrap_or(name);
        self.members.iter().find(|(_, member)| member == name).map(|(pid, _)| *pid)
    }

    /// Waits until none of them is left.
    #[track_caller]
    pub fn ends(&self) {
        assert!(!self.members.is_empty());
        eventually("every process of the family has ended", || {
            self.members.iter().all(|(pid, _)| test_kill_process(*pid).is_err())
        });
    }
}

/// The segments that a process of this kind makes: of buses, `bench-PID…`, `demo-PID`, and of what
/// belongs to them, `demo-PID@work`, `demo-PID.latest`.
pub fn segments(kind: &str, pid: Pid) -> Vec<String> {
    let name = format!("busway.{kind}-{pid}");
    let names = fs::read_dir("/dev/shm").unwrap().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let own = |found: &String| {
        found
            .strip_prefix(&name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '@']))
    };
    names.filter(own).collect()
}
