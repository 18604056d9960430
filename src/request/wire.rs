//! What stands before the user's bytes in requests and replies.
//!
//! ```text
//!   0  caller   server << 48 | epoch << 8 | lane: whose call it is, and of whom it is asked
//!   8  call     generation << 16 | slot: which of its calls
//!  16  the user's bytes
//! ```
//!
//! The lane is the caller's on the bus of requests, the epoch says which of the lane's tenants it is:
//! so the next tenant is never taken for the one that called. In the same way the server is named by
//! the epoch of its seat on the bus of replies: one that comes after the server that was asked, and
//! joins before the request is there, passes it over, since its caller will be told that the server
//! is gone. Both are cut to fit: what is told apart is one from the next. The frame's kind is the
//! user's; its flags say more:

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::received::FrameRef;

/// Of a request: the call is given up.
pub(super) const CANCEL: u16 = 1;
/// Of a reply: the server refuses, and says why.
pub(super) const REFUSED: u16 = 1;

const LANE_MASK: u32 = 0xff;
const EPOCH_SHIFT: u32 = 8;
const EPOCH_MASK: u64 = (1 << 40) - 1;
const SERVER_SHIFT: u32 = 48;

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

    /// The head of a call of a lane's tenant, asked of a server's tenancy.
    pub(super) fn new(lane: u32, epoch: u64, server: u64, call: u64) -> Self {
        let caller = server << SERVER_SHIFT
            | (epoch & EPOCH_MASK) << EPOCH_SHIFT
            | u64::from(lane & LANE_MASK);
        Self { caller, call }
    }

    pub(super) fn lane(self) -> u32 {
        u32::try_from(self.caller & u64::from(LANE_MASK)).unwrap_or(0)
    }

    /// Whether the caller is a lane's tenant of that epoch.
    pub(super) fn is_of(self, lane: u32, epoch: u64) -> bool {
        self.lane() == lane & LANE_MASK
            && self.caller >> EPOCH_SHIFT & EPOCH_MASK == epoch & EPOCH_MASK
    }

    /// Whether the server that was asked is the tenancy of that epoch.
    pub(super) fn asks(self, server: u64) -> bool {
        self.caller >> SERVER_SHIFT == server << SERVER_SHIFT >> SERVER_SHIFT
    }
}
