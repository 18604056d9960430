//! Runs a child under ptrace to its end and does what the plan says.
//!
//! The child asks to be traced before it executes its program, so that nothing of it runs
//! unseen; its threads are traced from their first instruction. It has a process group of its
//! own, which is what is waited for: other children of this process are left alone. Only the
//! thread that started it may trace it, so everything here happens on one thread, and should that
//! thread end, the kernel kills the child.

#![allow(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{Call, Failure};
use crate::plan::{Act, Moment, Plan};
use crate::registers;

/// When the window opens and what is traced before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the child's first [`mark`]; until then it runs at full speed.
    AtMark,
    /// At the first call whose path begins so; the child makes no marks.
    AtPath(String),
    /// When somebody else arms the plan; the child makes no marks.
    WhenArmed,
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this code.
    Code(i32),
    /// By this signal, given by its number.
    Signal(i32),
    /// It did not end in time and was killed.
    TimedOut,
}

/// A traced child.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    leader: Pid,
    plan: Arc<Plan>,
    begin: Begin,
    /// Whether threads stop at every system call, which is what tracing costs.
    every_call: bool,
    threads: HashSet<Pid>,
    /// What is to be done when the call that a thread is in ends.
    at_exit: HashMap<Pid, Act>,
    ended: Option<End>,
}

/// To be called in a child of [`Begin::AtMark`]: opens the window, and closes it the next time.
///
/// # Panics
/// When the system refuses the signal.
pub fn mark() {
    // SAFETY: raises a signal in this thread; no memory is involved. The tracer keeps the signal
    // from being delivered.
    let raised = unsafe { libc::raise(libc::SIGSTOP) };
    assert_eq!(raised, 0, "{}", std::io::Error::last_os_error());
}

/// A refusal of ptrace is the end of the test, in words that say what to do about it.
fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        panic!(
            "ptrace: cannot {what}: {error}. These tests need ptrace of a child process: allow it \
             (seccomp profile of a container, kernel.yama.ptrace_scope below 3), trace them by \
             nothing else, and run on x86-64"
        )
    })
}

impl Tracer {
    /// Starts a child. It is traced by this thread, which has to call [`run`](Self::run) next.
    ///
    /// # Panics
    /// When the child cannot be started or traced.
    #[must_use]
    pub fn start(mut command: Command, begin: Begin, plan: Arc<Plan>) -> Self {
        command.process_group(0);
        // SAFETY: between fork and exec this makes one system call and allocates nothing.
        let started = unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) }.spawn();
        let child = must("start a child that asks to be traced", started);
        let leader = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let first = must("wait for the child", waitpid(leader, Some(WaitPidFlag::__WALL)));
        assert_eq!(first, WaitStatus::Stopped(leader, Signal::SIGTRAP), "the child executes");
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_EXITKILL;
        must("set options", ptrace::setoptions(leader, options));
        let every_call = begin != Begin::AtMark;
        let threads = HashSet::from([leader]);
        let at_exit = HashMap::new();
        Self { child, leader, plan, begin, every_call, threads, at_exit, ended: None }
    }

    /// The child's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Runs the child to its end, for at most `timeout`.
    ///
    /// # Panics
    /// When it cannot be traced.
    pub fn run(mut self, timeout: Duration) -> End {
        let watchdog = Watchdog::start(self.leader, timeout);
        self.resume(self.leader, None);
        let group = Pid::from_raw(-self.leader.as_raw());
        while self.ended.is_none() {
            let status = must("wait for the child", waitpid(group, Some(WaitPidFlag::__WALL)));
            self.react(status);
        }
        let in_time = watchdog.dismiss();
        self.ended.filter(|_| in_time).unwrap_or(End::TimedOut)
    }

    fn react(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(thread, code) => self.note_end(thread, End::Code(code)),
            WaitStatus::Signaled(thread, signal, _) => {
                self.note_end(thread, End::Signal(signal as i32));
            }
            WaitStatus::PtraceSyscall(thread) => self.at_call(thread),
            WaitStatus::PtraceEvent(thread, ..) => self.resume(thread, None),
            // A new thread's first stop.
            WaitStatus::Stopped(thread, Signal::SIGSTOP) if self.threads.insert(thread) => {
                self.resume(thread, None);
            }
            WaitStatus::Stopped(thread, Signal::SIGSTOP) if self.begin == Begin::AtMark => {
                self.plan.toggle();
                self.every_call = !self.every_call;
                self.resume(thread, None);
            }
            WaitStatus::Stopped(thread, signal) => self.resume(thread, Some(signal)),
            other => panic!("ptrace: the child is in a state of no use here: {other:?}"),
        }
    }

    fn note_end(&mut self, thread: Pid, end: End) {
        self.threads.remove(&thread);
        if thread == self.leader {
            self.ended = Some(end);
        }
    }

    /// Lets a stopped thread go on. One that was killed meanwhile cannot: its end is told soon.
    fn resume(&self, thread: Pid, signal: Option<Signal>) {
        let resumed = if self.every_call {
            ptrace::syscall(thread, signal)
        } else {
            ptrace::cont(thread, signal)
        };
        match resumed {
            Err(Errno::ESRCH) => {}
            resumed => must("resume the child", resumed),
        }
    }

    /// A thread stands before a system call or after one.
    fn at_call(&mut self, thread: Pid) {
        match self.step(thread) {
            // Killed meanwhile, by the watchdog or by who directs the test.
            Err(Errno::ESRCH) => {}
            stepped => must("look at a system call", stepped),
        }
        self.resume(thread, None);
    }

    fn step(&mut self, thread: Pid) -> Result<(), Errno> {
        let info = ptrace::syscall_info(thread)?;
        if info.op == libc::PTRACE_SYSCALL_INFO_EXIT {
            return match self.at_exit.remove(&thread) {
                Some(Act::Fail(Failure::Errno(errno))) => {
                    registers::set_result(thread, -i64::from(errno as i32))
                }
                Some(Act::Kill(_)) => kill(self.leader, Signal::SIGKILL),
                _ => Ok(()),
            };
        }
        // SAFETY: the kernel has filled in this part of the union, as `op` says.
        let entry = unsafe { info.u.entry };
        if let Begin::AtPath(prefix) = &self.begin
            && entry.args.iter().take(2).any(|address| self.reads(*address, prefix))
        {
            self.plan.open();
            self.begin = Begin::WhenArmed;
        }
        let call = Call { process: self.leader, number: entry.nr, args: entry.args };
        let act = self.plan.at_call(&call);
        match act {
            Act::Pass => return Ok(()),
            Act::Kill(Moment::Entry) => return kill(self.leader, Signal::SIGKILL),
            Act::Kill(Moment::Exit) => {}
            Act::Fail(Failure::Half) => registers::halve_length(thread)?,
            Act::Fail(Failure::Errno(_)) => registers::skip(thread)?,
        }
        self.at_exit.insert(thread, act);
        Ok(())
    }

    /// Whether the child has this text at an address. An argument that is no address reads as no.
    fn reads(&self, address: u64, prefix: &str) -> bool {
        let mut bytes = vec![0; prefix.len()];
        File::open(format!("/proc/{}/mem", self.leader))
            .and_then(|memory| memory.read_exact_at(&mut bytes, address))
            .is_ok_and(|()| bytes == prefix.as_bytes())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // A test failed half-way. The child is not waited for yet, so its number is its own.
            let _killed = kill(self.leader, Signal::SIGKILL);
        }
    }
}

/// Kills a child that takes too long.
struct Watchdog {
    dismissal: Sender<()>,
    thread: std::thread::JoinHandle<()>,
    has_bitten: Arc<AtomicBool>,
}

impl Watchdog {
    fn start(child: Pid, timeout: Duration) -> Self {
        let (dismissal, dismissed) = channel();
        let has_bitten = Arc::new(AtomicBool::new(false));
        let bites = Arc::clone(&has_bitten);
        let thread = std::thread::spawn(move || {
            if dismissed.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
                bites.store(true, Ordering::SeqCst);
                // Should it have ended by itself this very moment, that is as good.
                let _killed = kill(child, Signal::SIGKILL);
            }
        });
        Self { dismissal, thread, has_bitten }
    }

    /// Whether the child ended in time.
    fn dismiss(self) -> bool {
        drop(self.dismissal);
        self.thread.join().expect("a watchdog that ends");
        !self.has_bitten.load(Ordering::SeqCst)
    }
}
