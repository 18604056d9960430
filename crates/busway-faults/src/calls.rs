//! The system calls that are failed, each with the errors that it plausibly has.
//!
//! Calls without errors in the table (they cannot fail, or not without a bug of ours) are killed
//! at all the same. Polling calls on sockets have no EINTR: the kernel gives none to a socket that
//! does not block. Some calls are looked at closely: reading and writing does not fail on a
//! descriptor that only this process knows (an eventfd, a pair of sockets); of the futex calls
//! among threads only waiting can, by a signal; and memory for the heap and for stacks is there, since the
//! Rust runtime ends a process that has none.

use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

/// One way for a call to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It has no effect and returns this error.
    Errno(Errno),
    /// It does half of what was asked, and says so.
    Half,
}

use Failure::{Errno as E, Half};

/// Opening a file or a directory.
const OPEN: &[Failure] = &[
    E(Errno::EMFILE),
    E(Errno::ENFILE),
    E(Errno::ENOMEM),
    E(Errno::EACCES),
    E(Errno::ENOSPC),
    E(Errno::ENOENT),
];
/// A new descriptor that names no file.
const DESCRIPTOR: &[Failure] = &[E(Errno::EMFILE), E(Errno::ENOMEM)];
const LOOK: &[Failure] = &[E(Errno::EIO), E(Errno::EACCES)];
const READ: &[Failure] = &[E(Errno::EIO), E(Errno::EINTR), Half];
const WRITE: &[Failure] = &[E(Errno::ENOSPC), E(Errno::EIO), E(Errno::EINTR), Half];
const RIGHTS: &[Failure] = &[E(Errno::EPERM), E(Errno::EIO)];
const NAME: &[Failure] = &[E(Errno::EACCES), E(Errno::ENOENT), E(Errno::ENOSPC)];
const MAP: &[Failure] = &[E(Errno::ENOMEM), E(Errno::EAGAIN)];
const RECEIVE: &[Failure] = &[E(Errno::ECONNRESET), E(Errno::ENOMEM)];
const SEND: &[Failure] = &[E(Errno::EPIPE), E(Errno::ECONNRESET), E(Errno::ENOBUFS)];

/// Number, name, failures.
type Row = (libc::c_long, &'static str, &'static [Failure]);

const TABLE: &[Row] = &[
    (libc::SYS_openat, "openat", OPEN),
    (libc::SYS_getdents64, "getdents64", &[E(Errno::EIO)]),
    (
        libc::SYS_fallocate,
        "fallocate",
        &[E(Errno::ENOSPC), E(Errno::EINTR), E(Errno::ENOMEM), E(Errno::EFBIG)],
    ),
    (libc::SYS_ftruncate, "ftruncate", &[E(Errno::EIO), E(Errno::EFBIG)]),
    (libc::SYS_fsync, "fsync", &[E(Errno::EIO), E(Errno::ENOSPC)]),
    (libc::SYS_fdatasync, "fdatasync", &[E(Errno::EIO), E(Errno::ENOSPC)]),
    (libc::SYS_statx, "statx", LOOK),
    (libc::SYS_fstat, "fstat", LOOK),
    (libc::SYS_newfstatat, "newfstatat", LOOK),
    (libc::SYS_pread64, "pread64", READ),
    (libc::SYS_pwrite64, "pwrite64", WRITE),
    (libc::SYS_read, "read", READ),
    (libc::SYS_write, "write", WRITE),
    (libc::SYS_fchmod, "fchmod", RIGHTS),
    (libc::SYS_fchown, "fchown", RIGHTS),
    (libc::SYS_fchmodat, "fchmodat", RIGHTS),
    (libc::SYS_fchownat, "fchownat", RIGHTS),
    (
        libc::SYS_linkat,
        "linkat",
        &[E(Errno::EEXIST), E(Errno::ENOSPC), E(Errno::ENOENT), E(Errno::EACCES)],
    ),
    (libc::SYS_unlinkat, "unlinkat", NAME),
    (libc::SYS_mkdirat, "mkdirat", NAME),
    (libc::SYS_renameat, "renameat", NAME),
    (libc::SYS_mmap, "mmap", MAP),
    (libc::SYS_munmap, "munmap", &[E(Errno::ENOMEM)]),
    (libc::SYS_madvise, "madvise", &[E(Errno::EINVAL), E(Errno::ENOMEM), E(Errno::EAGAIN)]),
    (libc::SYS_mprotect, "mprotect", &[]),
    (libc::SYS_brk, "brk", &[]),
    (
        libc::SYS_fcntl,
        "fcntl",
        &[E(Errno::EAGAIN), E(Errno::EINTR), E(Errno::ENOLCK), E(Errno::EACCES)],
    ),
    (libc::SYS_flock, "flock", &[E(Errno::EINTR), E(Errno::ENOLCK), E(Errno::EWOULDBLOCK)]),
    // An error of writing back (EIO) does not come from the file systems in question, and the
    // standard library takes it for a bug where it closes a directory.
    (libc::SYS_close, "close", &[E(Errno::EINTR)]),
    (libc::SYS_membarrier, "membarrier", &[E(Errno::ENOSYS), E(Errno::EPERM)]),
    (libc::SYS_futex, "futex", &[E(Errno::EINTR), E(Errno::ENOSYS)]),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", &[E(Errno::EINTR)]),
    (libc::SYS_sched_yield, "sched_yield", &[]),
    (libc::SYS_clone3, "clone3", &[E(Errno::EAGAIN)]),
    (libc::SYS_prctl, "prctl", &[]),
    (libc::SYS_prlimit64, "prlimit64", &[E(Errno::EPERM)]),
    (libc::SYS_getrandom, "getrandom", &[E(Errno::EINTR)]),
    (libc::SYS_socket, "socket", DESCRIPTOR),
    (libc::SYS_socketpair, "socketpair", DESCRIPTOR),
    (libc::SYS_bind, "bind", &[E(Errno::EADDRINUSE), E(Errno::EACCES), E(Errno::ENOSPC)]),
    (libc::SYS_listen, "listen", &[E(Errno::EADDRINUSE)]),
    (
        libc::SYS_accept4,
        "accept4",
        &[E(Errno::EMFILE), E(Errno::ENFILE), E(Errno::ENOMEM), E(Errno::ECONNABORTED)],
    ),
    (libc::SYS_getsockopt, "getsockopt", &[E(Errno::ENOBUFS)]),
    (libc::SYS_recvfrom, "recvfrom", RECEIVE),
    (libc::SYS_sendto, "sendto", SEND),
    (libc::SYS_writev, "writev", SEND),
    (libc::SYS_shutdown, "shutdown", &[E(Errno::ENOTCONN)]),
    (libc::SYS_epoll_create1, "epoll_create1", DESCRIPTOR),
    (libc::SYS_epoll_ctl, "epoll_ctl", &[E(Errno::ENOMEM), E(Errno::ENOSPC)]),
    (libc::SYS_epoll_pwait, "epoll_pwait", &[E(Errno::EINTR)]),
    (libc::SYS_eventfd2, "eventfd2", DESCRIPTOR),
    (libc::SYS_timerfd_create, "timerfd_create", DESCRIPTOR),
    (libc::SYS_timerfd_settime, "timerfd_settime", &[E(Errno::ECANCELED), E(Errno::EINVAL)]),
    (libc::SYS_ppoll, "ppoll", &[E(Errno::EINTR)]),
    (
        libc::SYS_pidfd_open,
        "pidfd_open",
        &[E(Errno::EMFILE), E(Errno::ENOMEM), E(Errno::EINVAL), E(Errno::ENOSYS)],
    ),
    (libc::SYS_ioctl, "ioctl", &[E(Errno::ENOTTY)]),
];

/// Calls that newer processors' kernels do without.
#[cfg(target_arch = "x86_64")]
const OLD: &[Row] = &[
    (libc::SYS_open, "open", OPEN),
    (libc::SYS_stat, "stat", LOOK),
    (libc::SYS_lstat, "lstat", LOOK),
    (libc::SYS_unlink, "unlink", NAME),
    (libc::SYS_mkdir, "mkdir", NAME),
    (libc::SYS_rename, "rename", NAME),
    (libc::SYS_chmod, "chmod", RIGHTS),
    (libc::SYS_chown, "chown", RIGHTS),
    (libc::SYS_poll, "poll", &[E(Errno::EINTR)]),
    (libc::SYS_epoll_wait, "epoll_wait", &[E(Errno::EINTR)]),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Row] = &[];

/// Calls whose first argument is the descriptor that is read or written.
const STREAMS: &[&str] = &["read", "write", "recvfrom", "sendto", "writev"];
/// The futex operations that wait.
const FUTEX_WAITS: [u64; 2] = [libc::FUTEX_WAIT as u64, libc::FUTEX_WAIT_BITSET as u64];

/// A call that is about to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) process: Pid,
    pub(crate) number: u64,
    pub(crate) args: [u64; 6],
}

impl Call {
    fn row(&self) -> Option<&'static Row> {
        TABLE.iter().chain(OLD).find(|row| u64::try_from(row.0) == Ok(self.number))
    }

    /// The call's name, or its number.
    pub(crate) fn name(&self) -> String {
        self.row().map_or_else(|| format!("call {}", self.number), |row| row.1.to_owned())
    }

    /// The ways in which it may fail.
    pub(crate) fn failures(&self) -> &'static [Failure] {
        let Some((_, name, failures)) = self.row() else {
            return &[];
        };
        let cannot = match *name {
            // Among threads of one process: only waiting can fail, and only by a signal.
            "futex" if self.is_futex_among_threads() => {
                let waits = FUTEX_WAITS.contains(&(self.args[1] & 0x7f));
                return failures.get(..usize::from(waits)).unwrap_or_default();
            }
            "mmap" => self.args[3] & u64::from(libc::MAP_ANONYMOUS.unsigned_abs()) != 0,
            name if STREAMS.contains(&name) => self.is_private_stream(),
            _ => false,
        };
        if cannot { &[] } else { failures }
    }

    /// Whether nothing comes after it.
    pub(crate) fn is_exit(&self) -> bool {
        [libc::SYS_exit, libc::SYS_exit_group]
            .iter()
            .any(|number| u64::try_from(*number) == Ok(self.number))
    }

    fn is_futex_among_threads(&self) -> bool {
        self.args[1] & u64::from(libc::FUTEX_PRIVATE_FLAG.unsigned_abs()) != 0
    }

    /// Whether the descriptor is neither a file nor a socket that others can name.
    fn is_private_stream(&self) -> bool {
        let descriptor = format!("/proc/{}/fd/{}", self.process, self.args[0]);
        let Ok(target) = std::fs::read_link(descriptor) else {
            return false;
        };
        if target.is_absolute() {
            return false;
        }
        !is_named_socket(self.process, &target)
    }
}

/// Whether it is a socket that has a path, as `socket:[inode]` of a process's descriptors.
fn is_named_socket(process: Pid, target: &Path) -> bool {
    let target = target.to_string_lossy();
    let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'))
    else {
        return false;
    };
    let table = std::fs::read_to_string(format!("/proc/{process}/net/unix")).unwrap_or_default();
    // Num RefCount Protocol Flags Type St Inode Path
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(6) == Some(&inode) && fields.len() > 7
    })
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Errno(errno) => write!(f, "{errno:?}"),
            Self::Half => f.write_str("half"),
        }
    }
}
