//! An asymmetric store–load barrier between processes: the side that sleeps pays, the side that
//! publishes does not.
//!
//! Dekker's pattern needs both sides to order "store mine, then load yours". A publisher does this
//! millions of times a second and a sleeper seldom, so the sleeper calls
//! `membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED)`, which makes every running thread of every
//! registered process execute a full barrier; publishers register once and then need only keep the
//! compiler from reordering. Where the kernel refuses registration, publishers use a real fence;
//! where it refuses the sleeper's call, the sleeper's parks are kept short. Reference:
//! membarrier(2).

use std::sync::OnceLock;
use std::sync::atomic::compiler_fence;

use rustix::thread::{MembarrierCommand, membarrier};

use super::{Ordering, fence};

/// The light half, held by whoever stores often: knows whether a real fence is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Light {
    needs_fence: bool,
}

impl Light {
    /// Registers this process with the kernel, once.
    pub(crate) fn register() -> Self {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        let registered = *REGISTERED
            .get_or_init(|| membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok());
        Self { needs_fence: !registered }
    }

    /// Whether `barrier` has to be a real fence here.
    pub(crate) fn needs_fence(self) -> bool {
        self.needs_fence
    }

    /// Orders every earlier store before every later load, against a peer's [`heavy`].
    #[inline]
    pub(crate) fn barrier(self) {
        if self.needs_fence {
            // ORDERING: the store→load half of Dekker's pattern, against `heavy` of a sleeper.
            fence(Ordering::SeqCst);
        } else {
            compiler();
        }
    }
}

/// [`Light::barrier`] where no real fence is needed.
#[inline]
pub(crate) fn compiler() {
    // ORDERING: the peer's membarrier turns this program-order point into a full barrier.
    compiler_fence(Ordering::SeqCst);
}

/// The heavy half: after it, every store that a registered peer made before its own
/// [`Light::barrier`] is visible, or that peer sees every store made before this call.
/// Returns whether the kernel did it; if not, the caller must not sleep for long.
pub(crate) fn heavy() -> bool {
    // ORDERING: for peers that use a real fence, this side needs one of its own as well.
    fence(Ordering::SeqCst);
    membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}
