//! The header of an event frame, and how a frame lies in its slot.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The 16 bytes in front of an event frame's payload.
///
/// ```text
///  0  time_ns  CLOCK_MONOTONIC at commit; 0 when the bus keeps no timestamps
///  8  len      payload bytes used
/// 12  kind     the event type, the user's
/// 14  flags    the user's
/// 16
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct FrameHeader {
    pub(crate) time_ns: u64,
    pub(crate) len: u32,
    pub(crate) kind: u16,
    pub(crate) flags: u16,
}

/// How a frame lies in its slot: the header, if it has one, then the payload. Both fit the slot;
/// there is no other way to make one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameShape {
    /// Those of a [`FrameHeader`], or 0.
    header_bytes: usize,
    payload_bytes: usize,
    /// Bytes from one slot to the next; a multiple of 8.
    stride: usize,
}

impl FrameShape {
    /// `None` when header and payload do not fit the stride, or that is not a multiple of 8.
    pub(crate) fn new(event: bool, payload_bytes: u32, stride: u32) -> Option<Self> {
        let header_bytes = if event { size_of::<FrameHeader>() } else { 0 };
        let payload_bytes = usize::try_from(payload_bytes).ok()?;
        let stride = usize::try_from(stride).ok()?;
        let fits = header_bytes.checked_add(payload_bytes)? <= stride && stride.is_multiple_of(8);
        fits.then_some(Self { header_bytes, payload_bytes, stride })
    }

    /// Whether frames have a header.
    #[inline]
    pub(crate) const fn is_event(&self) -> bool {
        self.header_bytes != 0
    }

    /// Bytes before the payload.
    #[inline]
    pub(crate) const fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Bytes of a payload at most; of a bare frame always.
    #[inline]
    pub(crate) const fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Bytes from one slot to the next.
    #[inline]
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<FrameHeader>() == super::geometry::EVENT_HEADER_BYTES as usize);
    assert!(offset_of!(FrameHeader, time_ns) == 0);
    assert!(offset_of!(FrameHeader, len) == 8);
    assert!(offset_of!(FrameHeader, kind) == 12);
    assert!(offset_of!(FrameHeader, flags) == 14);
};
