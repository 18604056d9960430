//! The first eight bytes of an input: what the bus is.

use std::time::Duration;

use busway::{Bus, FrameLayout, OnFull, Timestamps, Topology};

use crate::bytes::Bytes;
use crate::scratch::Name;

/// Creates the bus. `None`: there is no such shape, or no room for it.
pub(super) fn create(bytes: &mut Bytes<'_>, name: &Name) -> Option<Bus> {
    let [topology, on_full, frames, timestamps, lanes, consumers, size, origin] = bytes.array();
    let topology = Topology::from_number(u32::from(topology % 3))?;
    let single = topology == Topology::Single;
    let on_full = OnFull::from_number(u32::from(on_full % 3))?;
    let evicts = if on_full.is_lossless() { consumers / 4 % 4 } else { 0 };
    let options = Bus::options()
        .topology(topology)
        .on_full(on_full)
        .evict_lag_frames(u64::from(evicts & 1) * 2)
        .evict_after((evicts & 2 != 0).then_some(Duration::from_millis(1)))
        .frames(FrameLayout::from_number(u32::from(frames % 2))?)
        .timestamps(Timestamps::from_number(u32::from(timestamps % 3))?)
        .lanes(if single { 1 } else { 1 + u32::from(lanes % 4) })
        .consumers(1 + u32::from(consumers % 4))
        .align_bytes([8, 16, 64][usize::from(frames / 2) % 3])
        .capacity_frames(2 << (size % 6))
        .payload_bytes(1 + u32::from(size / 6))
        .origin(origin_of(origin));
    options.create(&name.0).ok()
}

/// Zero, or close to where positions wrap.
fn origin_of(byte: u8) -> u64 {
    match byte {
        0..128 => 0,
        _ => u64::MAX - u64::from(byte - 128),
    }
}
