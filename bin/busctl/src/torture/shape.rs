//! The buses that are tortured, in turn: every topology with every policy, and what a seed draws.

use super::board::LANES;
use super::frame::HEAD_BYTES;
use super::plan::Part;
use super::random::Random;
use busway::{Affinity, BusOptions, Delivery, FrameLayout, OnFull, Timestamps, Topology};
use std::time::Duration;

/// Seats beyond those that live workers need: who stands still while it recovers a seat, or takes
/// one, has that one locked.
pub const SPARE_SEATS: u32 = 6;

/// Who makes and removes a second group, at a time.
const KEEPERS: u32 = 2;

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
    /// The group that works on it, where that is what is tortured.
    pub group: Option<GroupShape>,
}

/// A group of a run.
#[derive(Clone, Copy, Debug)]
pub struct GroupShape {
    pub delivery: Delivery,
    pub affinity: Affinity,
    /// At work at a time.
    pub members: u32,
    /// 0: without end.
    pub attempts_max: u32,
    pub timeout: Duration,
    /// Frames that a member claims together at most.
    pub batch: u32,
}

/// The keys that groups are drawn with: none half of the time; the number of a frame by its writer, which
/// is every share in turn; one for each lane.
const AFFINITIES: [Affinity; 4] =
    [Affinity::Off, Affinity::Off, Affinity::Payload { offset: 8, len: 8 }, Affinity::Lane];

/// What is said of a group; what is not is drawn.
#[derive(Clone, Copy, Debug)]
pub struct GroupKind {
    pub delivery: Delivery,
    pub affinity: Option<Affinity>,
    pub members: u32,
    pub attempts_max: Option<u32>,
    pub timeout_ms: Option<u32>,
    pub batch: Option<u32>,
}

impl GroupShape {
    /// Members' seats.
    pub fn seats(&self) -> u32 {
        self.members + SPARE_SEATS
    }

    /// Whether frames of it become dead letters.
    fn has_letters(&self) -> bool {
        self.delivery == Delivery::AtLeastOnce && self.attempts_max > 0
    }
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
            group: None,
        }
    }

    /// Draws a bus with a group.
    pub fn draw_grouped(
        seed: u64,
        number: u64,
        bus: (Topology, OnFull),
        producers: u32,
        kind: GroupKind,
    ) -> Self {
        let mut random = Random::of(seed, &[5, number]);
        let attempts = random.one_of(&[0, 1, 2, 3, 5, 254]).unwrap_or(5);
        let timeout_ms = random.within(10, 80);
        let batch = u32::try_from(random.any_size(64)).unwrap_or(1);
        let affinity = random.one_of(&AFFINITIES).unwrap_or(Affinity::Off);
        let group = GroupShape {
            delivery: kind.delivery,
            affinity: kind.affinity.unwrap_or(affinity),
            members: kind.members,
            attempts_max: kind.attempts_max.unwrap_or(attempts),
            timeout: Duration::from_millis(kind.timeout_ms.map_or(timeout_ms, u64::from)),
            batch: kind.batch.unwrap_or(batch),
        };
        Self {
            // Of the groups; each keeper takes one while it makes one.
            consumers: KEEPERS + 1,
            evict_after: None,
            evict_lag_frames: 0,
            group: Some(group),
            ..Self::draw(seed, number, bus, producers, 0)
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
    pub fn cast(&self) -> Vec<(Part, u32, u32)> {
        let staying = u32::from(self.producers > 1);
        if let Some(group) = &self.group {
            return vec![
                (Part::Undertaker, group.has_letters().into(), 0),
                (Part::Member, group.members, 0),
                (Part::Producer, self.producers, staying),
                (Part::Keeper, KEEPERS, 0),
                (Part::Recoverer, 1, 0),
            ];
        }
        vec![
            // Consumers first: the one that stays sees every frame there ever is.
            (Part::Consumer, self.consumers, 1),
            (Part::Producer, self.producers, staying),
            (Part::Observer, 1, 0),
            (Part::Recoverer, 1, 0),
            (Part::Creator, 1, 0),
        ]
    }

    /// Frames that a worker publishes, or claims, together at most.
    pub fn batch_max(&self, part: Part) -> u64 {
        match self.group {
            Some(group) if part != Part::Producer => group.batch.into(),
            _ => self.batch_max,
        }
    }

    /// Whether slow consumers lose their place.
    pub fn evicts(&self) -> bool {
        self.evict_after.is_some() || self.evict_lag_frames > 0
    }

    /// The topology and the policies, as they are written.
    pub fn name(&self) -> String {
        let evicts = if self.evicts() { ", evicting" } else { "" };
        let group = self.group.map_or_else(String::new, |group| format!(", {}", group.delivery));
        format!("{}, {}{evicts}{group}", self.topology, self.on_full)
    }
}
