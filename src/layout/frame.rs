//! The header of an event frame.

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

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<FrameHeader>() == super::geometry::EVENT_HEADER_BYTES as usize);
    assert!(offset_of!(FrameHeader, time_ns) == 0);
    assert!(offset_of!(FrameHeader, len) == 8);
    assert!(offset_of!(FrameHeader, kind) == 12);
    assert!(offset_of!(FrameHeader, flags) == 14);
};
