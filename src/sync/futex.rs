//! Sleeping on a shared word, and waking who sleeps there.
//!
//! The futexes are shared ones (not `FUTEX_PRIVATE_FLAG`): the sleeper and the waker are different
//! processes that map the same page. References: futex(2),
//! <https://www.kernel.org/doc/html/latest/userspace-api/futex2.html>.

use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, ClockId, Flags, Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags};

use super::AtomicU32;
use super::clock::monotonic_ns;

/// Words that one sleep can be about: the kernel's `FUTEX_WAITV_MAX`.
pub(crate) const WORDS_MAX: usize = 128;

/// Longest sleep about one of several words where the kernel cannot sleep about all of them.
const NAP: Duration = Duration::from_millis(1);

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

/// Sleeps until any of the words is woken or is no longer what is expected, or `timeout` is over. Returns
/// for any reason at any time.
///
/// Takes Linux 5.16. Before that, and where there are more than `WORDS_MAX` words, it sleeps on the
/// `turn`-th of them for a millisecond at most, so that the others are that much late.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], turn: usize, timeout: Duration) {
    if let [(word, expected)] = words {
        return wait(word, *expected, timeout);
    }
    if words.len() <= WORDS_MAX && wait_vector(words, timeout) {
        return;
    }
    let one = turn.checked_rem(words.len()).and_then(|index| words.get(index));
    match one {
        Some((word, expected)) => wait(word, *expected, timeout.min(NAP)),
        None => std::thread::sleep(timeout),
    }
}

/// `wait_any` by one system call. `false`: the kernel has none for that.
fn wait_vector(words: &[(&AtomicU32, u32)], timeout: Duration) -> bool {
    let mut waits = [Wait::new(); WORDS_MAX];
    for (wait, (word, expected)) in waits.iter_mut().zip(words) {
        wait.val = u64::from(*expected);
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        // Without `PRIVATE`: the wakers are other processes.
        wait.flags = WaitFlags::SIZE_U32;
    }
    let Some(waits) = waits.get(..words.len()) else {
        return false;
    };
    // Until when, not how long.
    let end_ns = monotonic_ns().saturating_add(timeout.as_nanos().try_into().unwrap_or(u64::MAX));
    let end = Timespec {
        tv_sec: i64::try_from(end_ns / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(end_ns % 1_000_000_000).unwrap_or(0),
    };
    match futex::waitv(waits, WaitvFlags::empty(), Some(&end), ClockId::Monotonic) {
        // As in `wait`.
        Ok(_) | Err(Errno::AGAIN | Errno::TIMEDOUT | Errno::INTR) => true,
        // NOSYS: an older kernel; PERM: a filter that does not know the call.
        Err(_) => false,
    }
}
