//! Segments that are cut short while they are mapped.
//!
//! Whoever may write to a segment's file may truncate it, and whoever then touches a page beyond
//! the new end gets SIGBUS, which ends a process. The daemon maps segments of every user of the
//! host, so that one of them could end it for all. Here the kernel's report is answered by putting
//! a page of zeros where the missing page was: the access goes on, reads nonsense, and nonsense is
//! what everything read from a segment is taken for until checked. The watch then looks at every
//! segment anew and drops the one that is broken.
//!
//! libwayland's `wl_shm_buffer_begin_access` does the same to its clients' pools.
//! References: sigaction(2), mmap(2).

use std::ffi::{c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc::{BUS_ADRERR, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Pages that were replaced since somebody last asked.
static REPLACED: AtomicU64 = AtomicU64::new(0);

/// From here on a segment that is cut short does not end this process.
///
/// # Errors
/// When the system refuses the handler.
pub(crate) fn survive() -> io::Result<()> {
    // `page_size` reads a value that it keeps; the first call must not be in the handler.
    let _ = rustix::param::page_size();
    let action =
        SigAction::new(SigHandler::SigAction(replace), SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: the handler is async-signal-safe: it makes system calls without the C library's
    // errno, and touches one atomic.
    unsafe { sigaction(Signal::SIGBUS, &action) }?;
    Ok(())
}

/// How many pages were replaced since the last call.
pub(crate) fn take_replaced() -> u64 {
    // ORDERING: relaxed; a count, which says nothing of other memory.
    REPLACED.swap(0, Ordering::Relaxed)
}

/// Puts a page of zeros where the access failed; returning repeats the access.
extern "C" fn replace(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // SAFETY: for SIGBUS the kernel fills in the address.
    let address = unsafe { (*info).si_addr() };
    // Anything but an access beyond the end of a file (bad memory, say) ends the process as ever.
    if code != BUS_ADRERR || !put_zeros(address) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action is no handler of ours. The repeated access then ends us.
        let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
    }
}

fn put_zeros(address: *mut c_void) -> bool {
    let size = rustix::param::page_size();
    let page = address.map_addr(|address| address & !(size - 1));
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the page belongs to a mapping of a file that ended before it, so that it held no
    // object that anybody could have a valid reference to; only segments are mapped shared here,
    // and those are read by copying words that may change at any time.
    let mapped = unsafe { mmap_anonymous(page, size, access, MapFlags::PRIVATE | MapFlags::FIXED) };
    // ORDERING: relaxed; a count, which says nothing of other memory.
    REPLACED.fetch_add(1, Ordering::Relaxed);
    mapped.is_ok()
}
