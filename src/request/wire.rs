//! What stands before the user's bytes in requests and replies.
//!
//! ```text
//!   0  caller   epoch << 8 | lane: whose call it is
//!   8  call     generation << 16 | slot: which of its calls
//!  16  the user's bytes
//! ```
//!
//! The lane is the caller's on the bus of requests, the epoch says which of the lane's tenants it is:
//! so the next tenant is never taken for the one that called. The frame's kind is the user's; its flags
//! say more:

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::received::FrameRef;

/// Of a request: the call is given up.
pub(super) const CANCEL: u16 = 1;
/// Of a reply: the server refuses, and says why.
pub(super) const REFUSED: u16 = 1;

/// Bytes of a [`Head`].
pub(super) const HEAD_BYTES: usize = size_of::<Head>();

/// The head of a request and of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct Head {
    pub(super) caller: u64,
    pub(super) call: u64,
}

impl Head {
    /// The head of a frame and what follows it; `None` when it is too short to have one.
    pub(super) fn of<'a>(frame: &FrameRef<'a>) -> Option<(Self, &'a [u8])> {
        Self::read_from_prefix(frame.payload()).ok()
    }

    /// Writes head and body into a payload that holds them.
    pub(super) fn write(self, body: &[u8], payload: &mut [u8]) {
        if let Some((head, rest)) = payload.split_at_mut_checked(HEAD_BYTES)
            && let Some(rest) = rest.get_mut(..body.len())
        {
            head.copy_from_slice(self.as_bytes());
            rest.copy_from_slice(body);
        }
    }

    /// The name of a lane's tenant.
    pub(super) fn caller(lane: u32, epoch: u64) -> u64 {
        epoch << 8 | u64::from(lane & 0xff)
    }

    pub(super) fn lane(self) -> u32 {
        u32::try_from(self.caller & 0xff).unwrap_or(0)
    }

    /// The epoch, as far as it fits.
    pub(super) fn epoch(self) -> u64 {
        self.caller >> 8
    }
}
