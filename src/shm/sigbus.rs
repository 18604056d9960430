//! Segments that are cut short while they are mapped.
//!
//! Whoever may write to a segment's file may truncate it, and whoever touches a page beyond the new
//! end gets SIGBUS, which ends a process. Here the kernel's report is answered by putting a page of
//! zeros where the missing page was: the access goes on, reads nonsense, and nonsense is what
//! everything read from a segment is taken for until checked. The mapping is marked, and whoever uses
//! it says so with an error at the next look.
//!
//! The handler is installed when the first segment is mapped. It answers for the mappings in its list
//! and for nothing else: any other SIGBUS goes to the handler that was there before, or ends the
//! process as ever. A program that sets a handler of its own later should pass on what it does not
//! know.
//!
//! ```text
//! FIRST -> block of 32 slots -> block of 32 slots -> ...      blocks are added, never taken away
//!            slot: base | end | is broken                      base 0: free
//! ```
//!
//! libwayland's `wl_shm_buffer_begin_access` does the same to its clients' pools.
//! References: sigaction(2), signal-safety(7), mmap(2).

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use nix::libc::{BUS_ADRERR, BUS_MCEERR_AO, siginfo_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{getpid, kill_process};

use super::alarm;

/// A page of memory. Where pages are larger, regions cannot be mapped at all (`layout::PAGE_BYTES`).
const PAGE: usize = 4096;
/// Mappings that a block of the list holds.
const SLOTS: usize = 32;

/// One mapping that the handler answers for.
#[derive(Debug)]
pub(super) struct Slot {
    /// The first address; 0 while the slot is free.
    base: AtomicUsize,
    /// The address after the last.
    end: AtomicUsize,
    is_broken: AtomicBool,
    /// A forked child has the mapping too.
    is_inherited: AtomicBool,
    /// How often the slot was taken: tells one range from a later one at the same address.
    turn: AtomicUsize,
}

struct Block {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Block>,
}

impl Block {
    const fn new() -> Self {
        Self {
            slots: [const {
                Slot {
                    base: AtomicUsize::new(0),
                    end: AtomicUsize::new(0),
                    is_broken: AtomicBool::new(false),
                    is_inherited: AtomicBool::new(false),
                    turn: AtomicUsize::new(0),
                }
            }; SLOTS],
            next: AtomicPtr::new(null_mut()),
        }
    }
}

/// The list. It grows to the most mappings that the process ever had at a time.
static FIRST: Block = Block::new();
/// What SIGBUS did before; set as soon as the handler is installed, which says what that was.
static BEFORE: OnceLock<SigAction> = OnceLock::new();

impl Slot {
    /// Whether a page of the mapping was found missing.
    pub(super) fn is_broken(&self) -> bool {
        // ORDERING: relaxed; as in `alarm::is_raised`.
        self.is_broken.load(Ordering::Relaxed)
    }

    /// Gives the slot back, before the range is unmapped.
    pub(super) fn clear(&self) {
        // ORDERING: release, pairs with the acquire in `claim`: what this mapping did to the slot
        // comes before what the next one does.
        self.base.store(0, Ordering::Release);
    }

    /// Takes the slot for a range, if it is free.
    fn claim(&self, base: usize, end: usize, is_inherited: bool) -> bool {
        // ORDERING: acquire, pairs with the release in `clear`. An address that is no mapping's
        // keeps the slot from others and matches nothing while the rest is written.
        let claimed =
            self.base.compare_exchange(0, usize::MAX, Ordering::Acquire, Ordering::Relaxed);
        if claimed.is_err() {
            return false;
        }
        // ORDERING: relaxed; published by the release of the end, before which it stands.
        self.turn.fetch_add(1, Ordering::Relaxed);
        // ORDERING: release, pairs with the acquire of the end in `holds`: who sees this end sees
        // the new turn.
        self.end.store(end, Ordering::Release);
        // ORDERING: relaxed for both; published by the release of the base.
        self.is_broken.store(false, Ordering::Relaxed);
        self.is_inherited.store(is_inherited, Ordering::Relaxed);
        // ORDERING: release, pairs with the acquire load in `holds`.
        self.base.store(base, Ordering::Release);
        true
    }

    fn holds(&self, address: usize) -> bool {
        // ORDERING: acquire, before the loads that it is compared around.
        let turn = self.turn.load(Ordering::Acquire);
        // ORDERING: acquire, pairs with the release in `claim`; makes its end visible.
        let base = self.base.load(Ordering::Acquire);
        // ORDERING: acquire, pairs with the release of the end in `claim`. The slot may change hands
        // between the two loads; then the last one shows another turn.
        let end = self.end.load(Ordering::Acquire);
        let holds = base != 0 && base <= address && address < end;
        // ORDERING: relaxed; the acquire above orders it after the claim that the end is of.
        holds && self.turn.load(Ordering::Relaxed) == turn
    }
}

/// Has the handler answer for a range that was just mapped, in forked children too if they inherit it.
pub(super) fn watch(base: usize, bytes: usize, is_inherited: bool) -> &'static Slot {
    install();
    let end = base.saturating_add(bytes);
    let mut block = &FIRST;
    loop {
        if let Some(slot) = block.slots.iter().find(|slot| slot.claim(base, end, is_inherited)) {
            return slot;
        }
        block = next(block).unwrap_or_else(|| grow(block));
    }
}

/// In a forked child: stops answering for mappings that it did not inherit. What stands there from
/// now on is somebody else's. Async-signal-safe.
pub(super) fn forget_what_is_not_inherited() {
    let mut block = Some(&FIRST);
    while let Some(here) = block {
        // ORDERING: relaxed; the child has one thread, and its own copy of the list.
        for slot in here.slots.iter().filter(|slot| !slot.is_inherited.load(Ordering::Relaxed)) {
            slot.clear();
        }
        block = next(here);
    }
}

/// The block after this one.
fn next(block: &Block) -> Option<&'static Block> {
    // ORDERING: acquire, pairs with the release in `grow`; makes the block's slots visible.
    let next = block.next.load(Ordering::Acquire);
    // SAFETY: either null, or a block that `grow` leaked: it is valid for ever and only shared.
    unsafe { next.as_ref() }
}

/// Adds a block behind this one, or finds the one that somebody else has just added.
fn grow(block: &Block) -> &'static Block {
    let new = Box::into_raw(Box::new(Block::new()));
    let old = null_mut();
    // ORDERING: release for who finds the new block, acquire for whose was faster.
    match block.next.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: made above and leaked, so valid for ever; only shared references are given out.
        Ok(_) => unsafe { &*new },
        Err(theirs) => {
            // SAFETY: made above, and nobody has seen it.
            drop(unsafe { Box::from_raw(new) });
            // SAFETY: not null, since the exchange failed: a block that another thread leaked.
            unsafe { &*theirs }
        }
    }
}

/// Installs the handler, once. Where the system refuses, a truncated segment ends the process, as it
/// would without busway.
fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // On the thread's alternate stack, where it has one: the runtime's handlers use that too.
        let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
        let ours = SigAction::new(SigHandler::SigAction(answer), flags, SigSet::empty());
        // SAFETY: the handler is async-signal-safe: it makes system calls without the C library's
        // errno, and touches nothing but atomics and what was set before it was installed.
        if let Ok(before) = unsafe { sigaction(Signal::SIGBUS, &ours) } {
            let _set_once = BEFORE.set(before);
        }
    });
}

/// Puts a page of zeros where the access failed; returning repeats the access.
extern "C" fn answer(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // SAFETY: for SIGBUS the kernel fills in the address.
    let address = unsafe { (*info).si_addr() };
    // Anything but an access beyond the end of a file (bad memory, say) is not for us.
    if code == BUS_ADRERR
        && let Some(slot) = slot_of(address.addr())
        && put_zeros(address)
    {
        // ORDERING: relaxed; it says nothing of other memory, and this thread sees it.
        slot.is_broken.store(true, Ordering::Relaxed);
        alarm::raise();
        return;
    }
    // One that somebody sent is over when this returns; a failed access is repeated and fails again.
    let is_sent = code <= 0 || code == BUS_MCEERR_AO;
    pass_on(signal, is_sent, info, context);
}

fn slot_of(address: usize) -> Option<&'static Slot> {
    let mut block = Some(&FIRST);
    while let Some(here) = block {
        if let Some(slot) = here.slots.iter().find(|slot| slot.holds(address)) {
            return Some(slot);
        }
        block = next(here);
    }
    None
}

fn put_zeros(address: *mut c_void) -> bool {
    let page = address.map_addr(|address| address & !(PAGE - 1));
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the page belongs to one of this crate's mappings, of a file that ended before it. What
    // references to it there are go on: to atomics, which any value is one of, and to bytes of
    // frames, which are zeros now.
    unsafe { mmap_anonymous(page, PAGE, access, MapFlags::PRIVATE | MapFlags::FIXED) }.is_ok()
}

/// Does what SIGBUS did before.
fn pass_on(signal: c_int, is_sent: bool, info: *mut siginfo_t, context: *mut c_void) {
    match BEFORE.get().map(SigAction::handler) {
        Some(SigHandler::SigAction(handler)) => handler(signal, info, context),
        Some(SigHandler::Handler(handler)) => handler(signal),
        // The kernel ignores only what is sent.
        Some(SigHandler::SigIgn) if is_sent => {}
        _ => {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action is no handler of ours. The repeated access then ends us.
            let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
            if is_sent {
                // It waits until this handler has returned, and then ends us.
                let _ = kill_process(getpid(), rustix::process::Signal::BUS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_by_any_address_inside_and_given_back() {
        // More than a block, of ranges that nobody maps.
        let all: Vec<_> = (1..=3 * SLOTS).map(|n| (n << 12, watch(n << 12, 4096, false))).collect();
        for &(base, slot) in &all {
            assert!(std::ptr::eq(slot_of(base).unwrap(), slot));
            assert!(std::ptr::eq(slot_of(base + 4095).unwrap(), slot));
        }
        for (_, slot) in &all {
            slot.clear();
        }
        assert!(all.iter().all(|&(base, _)| slot_of(base).is_none()));
    }
    #[test]
    fn slot_that_changes_hands_meanwhile_holds_nothing_between_the_two_ranges() {
        let slot = Block::new().slots.into_iter().next().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..4_000_000 {
                    assert!(slot.claim(0x1000, 0x2000, false));
                    slot.clear();
                    assert!(slot.claim(0x10_0000, 0x10_1000, false));
                    slot.clear();
                }
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                assert!(!slot.holds(0x5_0000), "nobody's address");
            }
        });
    }
}
