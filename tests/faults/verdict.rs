//! Which outcomes are right for which fault.
//!
//! A call that is retried, or whose failure costs nothing but time, must not be noticed. Any other
//! must be an error that names what could not be done, with the variant that the caller can act on.
//! Where one name stands for calls of both kinds, both are right.

use busway_faults::Hit;

use crate::operation::Operation;

/// Whether success is right, and how an error may begin.
type Right = (bool, &'static [&'static str]);

/// Fails unless the outcome is right.
pub fn check(operation: Operation, hit: &Hit, outcome: &str, context: &str) {
    let (may_succeed, errors): Right = match hit {
        Hit::Done { call, what } => right(operation, call, what),
        Hit::NotReached | Hit::NoVariant => (true, &[]),
    };
    let is_right = if outcome == "ok" {
        may_succeed
    } else {
        errors.iter().any(|start| outcome.starts_with(start))
    };
    assert!(is_right, "not an outcome that is right: {context}");
}

/// A descriptor whose closing was skipped, or a mapping whose unmapping was, is there still.
pub fn keeps_what_it_held(hit: &Hit) -> bool {
    matches!(hit, Hit::Done { call, .. } if call == "close" || call == "munmap")
}

fn right(operation: Operation, call: &str, what: &str) -> Right {
    use Operation::{AcceptExisting, Create, CreateUnlessThere, Observe, Remove};
    let is_creation = matches!(operation, Create | CreateUnlessThere | AcceptExisting);
    match (call, what) {
        // Done again, or done without; what is read by `read` is the process's own name.
        ("fallocate" | "pread64" | "pwrite64" | "getrandom" | "clock_nanosleep", "EINTR")
        | (_, "half")
        | ("close" | "munmap" | "membarrier" | "futex" | "read" | "prlimit64", _) => (true, &[]),
        // What is attached is not told; the name goes all the same. Unless the groups of the bus cannot be
        // found, which go with it.
        ("openat" | "statx", _) if operation == Remove => {
            (true, &["io: could not list shared memory: "])
        }
        ("pread64" | "mmap" | "madvise", _) if operation == Remove => (true, &[]),
        ("fallocate", _) => (false, &["no_space: shared memory cannot hold bus"]),
        ("openat", _) => (names_itself(operation), open_errors(is_creation, what)),
        // A first look whether the name is taken may fail: the link decides. So may a look whether
        // the bus is still there: it is, unless the system says that it is not.
        ("statx", "EACCES") => (
            is_creation || names_itself(operation) || operation == Observe,
            &["permission: no permission to look at", "io: could not read the segment's size"],
        ),
        ("statx", _) => (
            is_creation || names_itself(operation) || operation == Observe,
            &["io: could not look at the bus: ", "io: could not read the segment's size: "],
        ),
        ("pread64", _) => (false, &["io: could not read the segment header: "]),
        ("pwrite64", _) => (false, &["io: could not write the "]),
        ("fchmod", "EPERM") => (false, &["permission: no permission to set the mode of the bus"]),
        ("fchmod", _) => (false, &["io: could not set the mode of the bus: "]),
        ("linkat", "EEXIST") if operation == CreateUnlessThere => (false, &["not_found: "]),
        ("linkat", "EEXIST") => (false, &["already_exists: "]),
        ("linkat", "EACCES") => (false, &["permission: no permission to create the bus"]),
        ("linkat", "ENOENT") => (false, &["io: could not name a file through /proc/self/fd: "]),
        ("linkat", _) => (false, &["io: could not create the bus: "]),
        ("mmap" | "madvise", _) => (false, &["io: could not map the segment: "]),
        ("getdents64" | "newfstatat" | "fstat", _) => {
            (false, &["io: could not list shared memory: "])
        }
        // A seat that looks locked is somebody's; one that cannot be unlocked is unlocked by its
        // closing.
        ("fcntl", "EINTR" | "ENOLCK") => (
            true,
            &[
                "io: could not lock a seat: ",
                "io: could not keep a seat's lock: ",
                "io: could not unlock a seat: ",
            ],
        ),
        ("fcntl", _) => {
            (true, &["io: could not keep a seat's lock: ", "io: could not unlock a seat: "])
        }
        ("unlink" | "unlinkat", "EACCES") => (false, &["permission: no permission to remove the "]),
        ("unlink" | "unlinkat", "ENOENT") => (false, &["not_found: "]),
        ("unlink" | "unlinkat", _) => (false, &["io: could not remove the bus: "]),
        _ => (false, &[]),
    }
}

/// Whether it opens a file that it can do without: the one with the process's name.
fn names_itself(operation: Operation) -> bool {
    matches!(operation, Operation::Produce | Operation::Consume | Operation::AttachOverDead)
}

fn open_errors(is_creation: bool, what: &str) -> &'static [&'static str] {
    match (is_creation, what) {
        (_, "EACCES") => &["permission: no permission to ", "io: could not list shared memory: "],
        (true, "ENOENT") => &["io: could not create a file in /dev/shm: ", "not_found: "],
        (false, "ENOENT") => &["not_found: there is no bus", "io: could not list shared memory: "],
        (true, _) => &["io: could not create the bus: ", "io: could not read the bus: "],
        (false, _) => &[
            "io: could not attach to the bus: ",
            "io: could not read the bus: ",
            "io: could not list shared memory: ",
        ],
    }
}
