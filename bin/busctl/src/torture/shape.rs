//! The buses that are tortured, in turn: every topology with every policy, and what a seed draws.

use super::board::LANES;
use super::frame::HEAD_BYTES;
use super::plan::Part;
use super::random::Random;
use busway::{BusOptions, FrameLayout, OnFull, Timestamps, Topology};
use std::time::Duration;

/// Seats beyond those that live workers need: who stands still while it recovers a seat, or takes
/// one, has that one locked.
pub const SPARE_SEATS: u32 = 6;

/// The origins that occur: the ordinary one, and one from which positions wrap at once.
const ORIGINS: [u64; 3] = [0, 0, u64::MAX - 10_000];

/// One bus of a run, and how many work on it.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Its place in the run, from 0.
    pub number: u64,
    pub topology: Topology,
    pub on_full: OnFull,
    pub producers: u32,
    pub consumers: u32,
    pub capacity_frames: u64,
    pub payload_bytes: u32,
    pub frames: FrameLayout,
    pub timestamps: Timestamps,
    pub origin: u64,
    pub batch_max: u64,
    /// Consumers that hold a producer up for so long are evicted; or that are so far behind.
    pub evict_after: Option<Duration>,
    pub evict_lag_frames: u64,
}

impl Shape {
    /// Draws the rest.
    pub fn draw(
        seed: u64,
        number: u64,
        (topology, on_full): (Topology, OnFull),
        producers: u32,
        consumers: u32,
    ) -> Self {
        let mut random = Random::of(seed, &[1, number]);
        let capacity_frames = 1 << random.within(6, 11);
        let single = topology == Topology::Single;
        let evicts = on_full.is_lossless() && random.percent(33);
        let by_time = evicts && random.percent(66);
        Self {
            number,
            topology,
            on_full,
            producers: if single { 1 } else { producers },
            consumers,
            capacity_frames,
            payload_bytes: u32::try_from(HEAD_BYTES).unwrap_or(0)
                + u32::try_from(random.any_size(400)).unwrap_or(0),
            frames: if random.percent(30) { FrameLayout::Bare } else { FrameLayout::Event },
            timestamps: random
                .one_of(&[Timestamps::Off, Timestamps::Batch, Timestamps::Frame])
                .unwrap_or(Timestamps::Batch),
            origin: random.one_of(&ORIGINS).unwrap_or(0),
            batch_max: random.any_size(capacity_frames / 4),
            evict_after: by_time.then(|| Duration::from_millis(random.within(5, 100))),
            evict_lag_frames: if evicts && !by_time { capacity_frames / 4 * 3 } else { 0 },
        }
    }

    /// Lanes of the bus.
    pub fn lanes(&self) -> u32 {
        let most = u32::try_from(LANES).unwrap_or(u32::MAX) - 1;
        if self.topology == Topology::Single { 1 } else { (self.producers + SPARE_SEATS).min(most) }
    }

    /// Its options.
    pub fn options(&self) -> BusOptions {
        busway::Bus::options()
            .topology(self.topology)
            .on_full(self.on_full)
            .frames(self.frames)
            .timestamps(self.timestamps)
            .payload_bytes(self.payload_bytes)
            .capacity_frames(self.capacity_frames)
            .lanes(self.lanes())
            .consumers(self.consumers + SPARE_SEATS)
            .origin(self.origin)
            .evict_after(self.evict_after)
            .evict_lag_frames(self.evict_lag_frames)
    }

    /// Who works on it: the part, how many of them, and how many of those are never killed.
    pub fn cast(&self) -> [(Part, u32, u32); 5] {
        let staying = u32::from(self.producers > 1);
        [
            // Consumers first: the one that stays sees every frame there ever is.
            (Part::Consumer, self.consumers, 1),
            (Part::Producer, self.producers, staying),
            (Part::Observer, 1, 0),
            (Part::Recoverer, 1, 0),
            (Part::Creator, 1, 0),
        ]
    }

    /// Whether slow consumers lose their place.
    pub fn evicts(&self) -> bool {
        self.evict_after.is_some() || self.evict_lag_frames > 0
    }

    /// The topology and the policies, as they are written.
    pub fn name(&self) -> String {
        let evicts = if self.evicts() { ", evicting" } else { "" };
        format!("{}, {}{evicts}", self.topology, self.on_full)
    }
}
