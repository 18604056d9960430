//! The first frame of a keyed transaction's part.
//!
//! ```text
//!   0  mark        "bwtrans1"
//!   8  key         which transaction, low half and high half
//!  24  frames      that follow in this part (u32)
//!  28  part        (u16)
//!  30  parts       of the whole (u16)
//!  32
//! ```

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::received::FrameRef;

/// The kind of such a frame. With the mark it tells it from others.
pub(super) const KIND: u16 = 0xfffe;
const MARK: u64 = u64::from_le_bytes(*b"bwtrans1");

#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(super) struct Head {
    mark: u64,
    key: [u64; 2],
    frames: u32,
    part: u16,
    parts: u16,
}

const _: () = assert!(size_of::<Head>() == 32);

impl Head {
    pub(super) fn new(key: u128, frames: u64, part: usize, parts: usize) -> Self {
        Self {
            mark: MARK,
            // The two halves of it.
            #[allow(clippy::cast_possible_truncation)]
            key: [key as u64, (key >> 64) as u64],
            frames: u32::try_from(frames).unwrap_or(u32::MAX),
            part: u16::try_from(part).unwrap_or(u16::MAX),
            parts: u16::try_from(parts).unwrap_or(u16::MAX),
        }
    }

    pub(super) fn write(&self, payload: &mut [u8]) {
        if let Some(to) = payload.get_mut(..size_of::<Self>()) {
            to.copy_from_slice(self.as_bytes());
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        IntoBytes::as_bytes(self)
    }

    /// The head in a frame, if it is one.
    pub(super) fn of(frame: &FrameRef<'_>) -> Option<Self> {
        if frame.kind() != KIND {
            return None;
        }
        Self::read_from_bytes(frame.payload()).ok().filter(|head| head.mark == MARK)
    }

    pub(super) fn key(&self) -> u128 {
        let [low, high] = self.key;
        u128::from(low) | u128::from(high) << 64
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames.into()
    }
}
