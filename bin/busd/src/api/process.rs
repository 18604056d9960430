//! What a process does, as the kernel shows it in /proc.
//!
//! For display, never proof of anything: a pid is what its process saw, perhaps in another pid
//! namespace, and may be another process's by now. What proves life is the lock of a seat.
//! Reference: proc_pid_stat(5).

use std::fs;
use std::io::ErrorKind;

use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

/// The state of a process, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// On a processor, or waiting for one.
    Running,
    /// Waits for something, and signals wake it.
    Sleeping,
    /// Waits for something, mostly a disk, and signals do not wake it.
    DiskSleep,
    /// Stopped by a signal: it does nothing until SIGCONT.
    Stopped,
    /// Stopped by a debugger: it does nothing until that lets it go on.
    Traced,
    /// Ended; its parent has not asked how.
    Zombie,
    /// This host has no such process, or none that this process can see.
    Gone,
    /// It exists, and /proc does not say more to this user.
    Unknown,
}

impl ProcessState {
    /// Looks now. One file of /proc is read.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => Self::from_stat(&stat),
            // ESRCH: it ended between open and read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                Self::Gone
            }
            // With hidepid, the processes of others are not there to be seen.
            Err(error) if error.kind() == ErrorKind::NotFound && !exists(pid) => Self::Gone,
            Err(_) => Self::Unknown,
        }
    }

    /// The letter stands behind the name, which is in parentheses and may hold some itself.
    fn from_stat(stat: &[u8]) -> Self {
        let after_name = stat.rsplit(|byte| *byte == b')').next().unwrap_or_default();
        match after_name.trim_ascii_start().first() {
            Some(b'R') => Self::Running,
            Some(b'S' | b'I' | b'P') => Self::Sleeping,
            Some(b'D') => Self::DiskSleep,
            Some(b'T') => Self::Stopped,
            Some(b't') => Self::Traced,
            Some(b'Z') => Self::Zombie,
            Some(b'X' | b'x') => Self::Gone,
            _ => Self::Unknown,
        }
    }

    /// In one lower-case word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::DiskSleep => "disk-sleep",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Zombie => "zombie",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it will not make another call by itself.
    #[must_use]
    pub const fn stands_still(self) -> bool {
        matches!(self, Self::Stopped | Self::Traced | Self::Zombie | Self::Gone)
    }
}

/// Whether there is such a process, also one that this user may not signal.
fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, kill_process};
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    /// Ended whatever the test says.
    struct Leashed(Child);

    impl Drop for Leashed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[track_caller]
    fn becomes(pid: u32, wanted: ProcessState) {
        let start = Instant::now();
        while ProcessState::of(pid) != wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", ProcessState::of(pid));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn every_state_of_a_life_is_told() {
        let mut child = Leashed(Command::new("sleep").arg("60").spawn().unwrap());
        let (pid, handle) = (child.0.id(), Pid::from_child(&child.0));
        becomes(pid, ProcessState::Sleeping);
        kill_process(handle, Signal::STOP).unwrap();
        becomes(pid, ProcessState::Stopped);
        kill_process(handle, Signal::KILL).unwrap();
        becomes(pid, ProcessState::Zombie);
        child.0.wait().unwrap();
        assert_eq!(ProcessState::of(pid), ProcessState::Gone);
        assert_eq!(ProcessState::of(u32::MAX), ProcessState::Gone);
    }

    #[test]
    fn who_works_is_running() {
        let child =
            Leashed(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap());
        becomes(child.0.id(), ProcessState::Running);
    }

    #[test]
    fn a_name_cannot_pass_for_a_state() {
        let state = |stat: &str| ProcessState::from_stat(stat.as_bytes());
        assert_eq!(state("7 (a) Z (b)) T 1 7"), ProcessState::Stopped);
        assert_eq!(state("7 (a) t 1"), ProcessState::Traced);
        assert_eq!(state("7 (a) D 1"), ProcessState::DiskSleep);
        assert_eq!(state(""), ProcessState::Unknown);
    }
}
