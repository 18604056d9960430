//! Sleeping on a shared word, and waking who sleeps there.
//!
//! The futexes are shared ones (not `FUTEX_PRIVATE_FLAG`): the sleeper and the waker are different
//! processes that map the same page. Reference: futex(2).

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

use super::AtomicU32;

/// Sleeps until the word is woken, is no longer `expected`, or `timeout` is over. Returns for any
/// reason at any time: the caller looks again.
pub(crate) fn wait(word: &AtomicU32, expected: u32, timeout: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    };
    match futex::wait(word, Flags::empty(), expected, Some(&timeout)) {
        // AGAIN: the word had changed. TIMEDOUT, INTR: look again. Any other error (a kernel
        // without futexes) would turn waiting into spinning, so the core is yielded.
        Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT | Errno::INTR) => {}
        Err(_) => std::thread::yield_now(),
    }
}

/// Wakes whoever sleeps on the word.
pub(crate) fn wake(word: &AtomicU32) {
    // The only failures are of addresses that are not mapped, which a reference rules out; a wake
    // that is lost all the same costs the sleeper one bounded park.
    let _woken = futex::wake(word, Flags::empty(), u32::MAX >> 1);
}
