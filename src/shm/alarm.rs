//! One word that says whether anything happened in this process that an attached end must ask about
//! before it touches its memory: a page that is missing (`sigbus`), or that this process is a forked
//! child, which has no part in its parent's attachments and none of their mappings.
//!
//! The fast path pays one load of a line that is never written; what was raised stays raised, and
//! whoever sees it asks for itself.

#![allow(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;

use super::sigbus;

/// All bits, until it is raised: then none.
static CALM: AtomicU64 = AtomicU64::new(u64::MAX);

/// All bits if nothing happened, none if anything did: to be combined with what else is asked. Cost: a
/// load.
#[inline]
pub(crate) fn calm() -> u64 {
    // ORDERING: relaxed; raised by this thread's own access or fork, or seen a little later.
    CALM.load(Ordering::Relaxed)
}

/// Whether anything happened at all. Cost: a load.
#[inline]
pub(crate) fn is_raised() -> bool {
    calm() == 0
}

/// Raises it. Async-signal-safe.
pub(super) fn raise() {
    // ORDERING: relaxed; as in `is_raised`.
    CALM.store(0, Ordering::Relaxed);
}

/// Has it raised in every child that is forked from now on, by fork(3). A child made by the system
/// call itself is not told: it has to leave its parent's handles alone by itself.
pub(crate) fn watch_forks() {
    extern "C" fn in_child() {
        raise();
        sigbus::forget_what_is_not_inherited();
    }
    static WATCHING: OnceLock<()> = OnceLock::new();
    WATCHING.get_or_init(|| {
        // SAFETY: the handler is async-signal-safe (it stores to one atomic) and lives as long as the
        // program. Where there is no memory for it, children are as if made by the system call.
        let _registered = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}
