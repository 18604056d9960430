//! One pidfd a process that is attached somewhere, all in one epoll.
//!
//! A pidfd becomes readable when the process has ended and its memory is torn down, which is when
//! its locks are free or about to be. Where none can be had (another pid namespace, out of
//! descriptors) the watch's regular sweep must do.
//!
//! References: pidfd_open(2), epoll(7), eventfd(2).

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The waker's mark in the epoll; pids are smaller.
const WAKER: u64 = u64::MAX;
/// Events taken at a time; more come with the next call.
const EVENTS_MAX: usize = 64;

/// Wakes the thread that waits in [`Processes::wait`].
#[derive(Debug)]
pub(super) struct Waker {
    event: OwnedFd,
}

/// The processes that are attached somewhere.
#[derive(Debug)]
pub(super) struct Processes {
    epoll: OwnedFd,
    known: HashMap<u32, Process>,
}

#[derive(Debug)]
enum Process {
    /// Closing the descriptor takes it out of the epoll.
    Watched { _pidfd: OwnedFd },
    /// It has ended; its seats are being recovered.
    Ended,
    /// It cannot be watched.
    Hidden,
}

/// Why [`Processes::wait`] returned.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// Processes that have ended.
    pub ended: Vec<u32>,
    /// Whether somebody asks for a look.
    pub asked: bool,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Cannot fail in a way that matters: a full counter wakes as well.
    pub(super) fn wake(&self) {
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    fn clear(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl Processes {
    pub(super) fn new(waker: &Waker) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mark = epoll::EventData::new_u64(WAKER);
        epoll::add(&epoll, &waker.event, mark, epoll::EventFlags::IN)?;
        Ok(Self { epoll, known: HashMap::new() })
    }

    /// Watches exactly these processes from now on. Returns those of them that are known to have
    /// ended already.
    pub(super) fn watch_only(&mut self, pids: &BTreeSet<u32>) -> Vec<u32> {
        self.known.retain(|pid, _| pids.contains(pid));
        let mut ended = Vec::new();
        for pid in pids {
            if self.known.contains_key(pid) {
                continue;
            }
            let process = self.open(*pid);
            if matches!(process, Process::Ended) {
                ended.push(*pid);
            }
            self.known.insert(*pid, process);
        }
        ended
    }

    fn open(&self, pid: u32) -> Process {
        let Some(pid) = checked(pid) else {
            return Process::Hidden;
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => {
                let raw = u64::from(pid.as_raw_nonzero().get().unsigned_abs());
                let mark = epoll::EventData::new_u64(raw);
                match epoll::add(&self.epoll, &pidfd, mark, epoll::EventFlags::IN) {
                    Ok(()) => Process::Watched { _pidfd: pidfd },
                    Err(_) => Process::Hidden,
                }
            }
            // Ended, or of another pid namespace: the lock will tell.
            Err(rustix::io::Errno::SRCH) => Process::Ended,
            Err(_) => Process::Hidden,
        }
    }

    /// Waits until a process ends, somebody asks, or the time is over.
    pub(super) fn wait(&mut self, waker: &Waker, time: Duration) -> Woken {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let timeout = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // An interrupted or failed wait is an early look, which does no harm; but never spin.
        if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut woken = Woken::default();
        for event in events {
            let mark = event.data.u64();
            if let Ok(pid) = u32::try_from(mark) {
                self.known.insert(pid, Process::Ended);
                woken.ended.push(pid);
            } else {
                waker.clear();
                woken.asked = true;
            }
        }
        woken
    }
}

/// The pid is what somebody wrote into shared memory: any number is possible.
fn checked(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok().filter(|pid| *pid > 0)?)
}

/// Whether a process has ended, also when nobody has waited for it yet. For the words of the log,
/// not as proof: the number may be another process's by now.
pub(super) fn has_ended(pid: u32) -> bool {
    let Some(pid) = checked(pid) else {
        return false;
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => {
            let mut look = [PollFd::new(&pidfd, PollFlags::IN)];
            poll(&mut look, Some(&Timespec::default())).is_ok_and(|ready| ready == 1)
        }
        Err(errno) => errno == rustix::io::Errno::SRCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn the_end_of_a_process_is_told_once() {
        let waker = Waker::new().unwrap();
        let mut processes = Processes::new(&waker).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pids = BTreeSet::from([child.id()]);
        assert!(processes.watch_only(&pids).is_empty());
        assert!(!has_ended(child.id()));
        child.kill().unwrap();
        assert_eq!(processes.wait(&waker, PATIENCE).ended, [child.id()]);
        assert!(has_ended(child.id()));
        child.wait().unwrap();
        assert!(processes.watch_only(&pids).is_empty());
        assert!(processes.wait(&waker, Duration::ZERO).ended.is_empty());

        processes.watch_only(&BTreeSet::new());
        assert_eq!(processes.watch_only(&pids), [child.id()]);
    }

    #[test]
    fn impossible_pids_are_no_trouble() {
        let waker = Waker::new().unwrap();
        let mut processes = Processes::new(&waker).unwrap();
        let pids = BTreeSet::from([0, u32::MAX, i32::MAX.unsigned_abs()]);
        let ended = processes.watch_only(&pids);
        assert!(ended.iter().all(|pid| *pid == i32::MAX.unsigned_abs()));
        waker.wake();
        assert!(processes.wait(&waker, PATIENCE).asked);
        assert!(!processes.wait(&waker, Duration::ZERO).asked);
    }
}
