//! The scenarios: which cases each has, and which figures its tables show.

use crate::figure::Figure;
use crate::measure::{Case, Kind};
use crate::peer::{Order, Shape, Wait};

/// Messages that a consumer takes at a time at most, unless said otherwise.
pub const POLL_MAX: usize = 256;

/// The payload of all scenarios that do not vary it, in bytes.
const PAYLOAD_BYTES: usize = 48;

/// The bytes of a ring unless said otherwise: half of a small L2 cache.
const CAPACITY_BYTES: usize = 1 << 20;

/// The rings of lockstep cases, where one message is under way: small enough to attach quickly.
const LOCKSTEP_CAPACITY_BYTES: usize = 1 << 16;

/// Messages a batch where the ring's size is varied.
const RING_SIZE_BATCH: usize = 64;

/// How long the slow reader of `lossy` is busy after each poll, in nanoseconds, and how many
/// messages it takes at a time: 3.2 M a second at most.
const SLOW_PAUSE_NS: u64 = 20_000;
const SLOW_POLL_MAX: usize = 64;

/// A question that is put to all peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    Throughput,
    FanIn,
    FanOut,
    Rtt,
    Paced,
    Wake,
    Lossy,
    Attach,
    Growth,
}

/// How much is to be measured.
#[derive(Clone, Debug)]
pub struct Extent {
    /// How long messages are sent in each sample.
    pub duration_ns: u64,
    /// Fewer cases.
    pub quick: bool,
    /// Only cases with this in their names.
    pub only: Option<String>,
    /// Messages that a consumer takes at a time at most.
    pub poll_max: usize,
    /// Bytes of each ring, where the scenario does not vary it.
    pub capacity_bytes: Option<usize>,
    /// What rings may take of `/dev/shm` at most, in bytes.
    pub shm_bytes: u64,
}

impl Scenario {
    /// All of them, in the order of `all`.
    pub const ALL: [Self; 9] = [
        Self::Throughput,
        Self::FanIn,
        Self::FanOut,
        Self::Rtt,
        Self::Paced,
        Self::Wake,
        Self::Lossy,
        Self::Attach,
        Self::Growth,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Rtt => "rtt",
            Self::Paced => "paced",
            Self::Wake => "wake",
            Self::Lossy => "lossy",
            Self::Attach => "attach",
            Self::Growth => "growth",
        }
    }

    /// Its question, as the head of its tables.
    pub fn question(self) -> &'static str {
        match self {
            Self::Throughput => "messages one way, one producer, one consumer, none lost",
            Self::FanIn => "several producers, one consumer, none lost",
            Self::FanOut => "one producer, several consumers that receive everything",
            Self::Rtt => "round trip of one message, both ends spinning",
            Self::Paced => "one-way latency at a steady rate, from the intended send time",
            Self::Wake => "waking a consumer that sleeps in the kernel",
            Self::Lossy => "a producer that never waits, and a slow reader",
            Self::Attach => "making, attaching, and the first message; shared memory mapped",
            Self::Growth => "what more lanes, more consumers and larger rings cost",
        }
    }

    /// What is measured.
    pub fn cases(self, extent: &Extent) -> Vec<Case> {
        let list = |quick: &[usize], full: &[usize]| {
            if extent.quick { quick.to_vec() } else { full.to_vec() }
        };
        match self {
            Self::Throughput => {
                let sizes = list(&[48, 1024], &[8, 16, 48, 64, 256, 1024, 4096]);
                let batches = list(&[1, 64], &[1, 16, 64, 256]);
                let pairs = sizes
                    .iter()
                    .flat_map(|&payload| batches.iter().map(move |&batch| (payload, batch)));
                pairs.map(|(payload, batch)| throughput(extent, payload, batch)).collect()
            }
            Self::FanIn => {
                let counts = list(&[2], &[2, 4, 8, 16, 64]);
                let batches = list(&[], &[16, 64]);
                let orders = [Order::PerProducer, Order::Total];
                let one_by_one = counts.iter().map(|&count| (count, 1));
                let crowds = one_by_one.chain(batches.iter().map(|&batch| (4, batch)));
                crowds
                    .flat_map(|crowd| orders.map(move |order| (crowd, order)))
                    .map(|((count, batch), order)| fan_in(extent, count, batch, order))
                    .collect()
            }
            Self::FanOut => {
                list(&[2], &[1, 2, 4, 8]).iter().map(|&count| fan_out(extent, count)).collect()
            }
            Self::Rtt => list(&[48], &[8, 48, 1024])
                .iter()
                .map(|&payload| rtt(extent, payload, Wait::Spin))
                .collect(),
            Self::Paced => list(&[100_000], &[1000, 100_000, 1_000_000])
                .iter()
                .map(|&rate| paced(extent, rate as u64))
                .collect(),
            Self::Wake => vec![wake(extent), rtt(extent, PAYLOAD_BYTES, Wait::Park)],
            Self::Lossy => list(&[1], &[1, 64]).iter().map(|&batch| lossy(extent, batch)).collect(),
            Self::Attach => vec![attach(extent)],
            Self::Growth => {
                let lanes = list(&[1, 16], &[1, 4, 16, 64, 256]);
                let consumers = list(&[1, 8], &[1, 4, 16, 64]);
                let capacities = list(&[18, 24], &[18, 20, 22, 24, 26, 28, 30]);
                let alone = list(&[1, 64], &[1, 16, 64, 256]);
                let rings = capacities
                    .into_iter()
                    .map(|power| 1_usize << power)
                    .filter(|&bytes| (bytes as u64).saturating_mul(2) <= extent.shm_bytes);
                lanes
                    .into_iter()
                    .map(|count| poll_cost(extent, count))
                    .chain(consumers.into_iter().map(|count| publish_cost(extent, count)))
                    .chain([1, RING_SIZE_BATCH].into_iter().flat_map(|batch| {
                        alone.iter().map(move |&lanes| lone_lane(extent, lanes, batch))
                    }))
                    .chain(rings.map(|bytes| ring_size(extent, bytes)))
                    .collect()
            }
        }
    }
}

impl Kind {
    /// The figures of its tables; the first one is compared.
    pub fn figures(self, lossy: bool) -> &'static [Figure] {
        match self {
            Self::Stream { .. } if lossy => {
                &[Figure::SentPerS, Figure::MessagesPerS, Figure::LostShare]
            }
            Self::Stream { .. } => &[Figure::MessagesPerS],
            Self::Echo | Self::Paced { .. } => {
                &[Figure::P50Ns, Figure::P99Ns, Figure::P999Ns, Figure::MaxNs]
            }
            Self::Wake => {
                &[Figure::P50Ns, Figure::P99Ns, Figure::P999Ns, Figure::MaxNs, Figure::IdleCpuShare]
            }
            Self::Attach => &[
                Figure::FirstMessageNs,
                Figure::CreateNs,
                Figure::AttachRxNs,
                Figure::AttachTxNs,
                Figure::MappedBytes,
                Figure::ResidentBytes,
            ],
            Self::PollCost => &[Figure::SendAndPollNs, Figure::EmptyPollNs],
            Self::PublishCost => &[Figure::SendNs],
        }
    }
}

/// One producer, one consumer, one by one, nothing lost.
fn plain(extent: &Extent, payload_bytes: usize) -> Shape {
    Shape {
        payload_bytes,
        batch: 1,
        producers: 1,
        consumers: 1,
        order: Order::PerProducer,
        capacity_bytes: extent.capacity_bytes.unwrap_or(CAPACITY_BYTES),
        wait: Wait::Spin,
        lossy: false,
        crowded: false,
        idle_producers: 0,
        lockstep: false,
    }
}

fn stream(extent: &Extent, name: String, shape: Shape) -> Case {
    let kind = Kind::Stream { poll_max: extent.poll_max, pause_ns: 0 };
    Case { name, shape, kind, duration_ns: extent.duration_ns }
}

fn batches_of(batch: usize) -> String {
    if batch == 1 { String::from("one by one") } else { format!("batches of {batch}") }
}

/// A whole number of KiB, MiB or GiB, where it is one.
fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

fn throughput(extent: &Extent, payload_bytes: usize, batch: usize) -> Case {
    let mut shape = Shape { batch, ..plain(extent, payload_bytes) };
    // Room for four batches with the greatest header that a peer may have.
    let least = (4 * batch * (payload_bytes + 64)).next_power_of_two();
    shape.capacity_bytes = shape.capacity_bytes.max(least);
    stream(extent, format!("{payload_bytes} B, {}", batches_of(batch)), shape)
}

fn fan_in(extent: &Extent, producers: usize, batch: usize, order: Order) -> Case {
    let shape = Shape { batch, producers, order, ..plain(extent, PAYLOAD_BYTES) };
    let kind = match order {
        Order::PerProducer => "order per producer",
        Order::Total => "one total order",
    };
    let name = match batch {
        1 => format!("{producers} producers, {kind}"),
        _ => format!("{producers} producers, {kind}, {}", batches_of(batch)),
    };
    stream(extent, name, shape)
}

fn fan_out(extent: &Extent, consumers: usize) -> Case {
    let shape = Shape { consumers, ..plain(extent, PAYLOAD_BYTES) };
    stream(extent, format!("to {consumers}"), shape)
}

fn lockstep(extent: &Extent, payload_bytes: usize, wait: Wait) -> Shape {
    let capacity_bytes = extent.capacity_bytes.unwrap_or(LOCKSTEP_CAPACITY_BYTES);
    Shape { lockstep: true, wait, capacity_bytes, ..plain(extent, payload_bytes) }
}

fn rtt(extent: &Extent, payload_bytes: usize, wait: Wait) -> Case {
    let name = match wait {
        Wait::Spin => format!("{payload_bytes} B there and back"),
        Wait::Park => format!("{payload_bytes} B there and back, blocking receive at both ends"),
    };
    let shape = lockstep(extent, payload_bytes, wait);
    Case { name, shape, kind: Kind::Echo, duration_ns: extent.duration_ns }
}

fn paced(extent: &Extent, rate: u64) -> Case {
    let shape = plain(extent, PAYLOAD_BYTES);
    let kind = Kind::Paced { interval_ns: 1_000_000_000 / rate };
    Case { name: format!("{rate} a second"), shape, kind, duration_ns: extent.duration_ns }
}

fn wake(extent: &Extent) -> Case {
    let shape = lockstep(extent, PAYLOAD_BYTES, Wait::Park);
    let name = String::from("one way, a message every millisecond");
    Case { name, shape, kind: Kind::Wake, duration_ns: extent.duration_ns }
}

fn lossy(extent: &Extent, batch: usize) -> Case {
    let shape = Shape { batch, lossy: true, ..plain(extent, PAYLOAD_BYTES) };
    let kind = Kind::Stream { poll_max: SLOW_POLL_MAX, pause_ns: SLOW_PAUSE_NS };
    Case { name: batches_of(batch), shape, kind, duration_ns: extent.duration_ns }
}

fn attach(extent: &Extent) -> Case {
    let shape = plain(extent, PAYLOAD_BYTES);
    let name = format!("rings of {}", size(shape.capacity_bytes));
    Case { name, shape, kind: Kind::Attach, duration_ns: extent.duration_ns }
}

fn poll_cost(extent: &Extent, lanes: usize) -> Case {
    let capacity_bytes = extent.capacity_bytes.unwrap_or(LOCKSTEP_CAPACITY_BYTES);
    let idle_producers = lanes - 1;
    let shape = Shape { capacity_bytes, idle_producers, ..plain(extent, PAYLOAD_BYTES) };
    let name = format!("poll, 1 of {lanes} busy, one thread");
    Case { name, shape, kind: Kind::PollCost, duration_ns: extent.duration_ns }
}

/// As `throughput`, with lanes or rings beside the busy one.
fn lone_lane(extent: &Extent, lanes: usize, batch: usize) -> Case {
    let shape = Shape { batch, idle_producers: lanes - 1, ..plain(extent, PAYLOAD_BYTES) };
    stream(extent, format!("1 of {lanes} sends, {}", batches_of(batch)), shape)
}

fn publish_cost(extent: &Extent, consumers: usize) -> Case {
    let shape = Shape { consumers, ..plain(extent, PAYLOAD_BYTES) };
    let name = format!("send to {consumers}, one thread");
    Case { name, shape, kind: Kind::PublishCost, duration_ns: extent.duration_ns }
}

fn ring_size(extent: &Extent, capacity_bytes: usize) -> Case {
    // In batches: one by one, the two ends stay on a few lines of even the largest ring.
    let shape = Shape { batch: RING_SIZE_BATCH, capacity_bytes, ..plain(extent, PAYLOAD_BYTES) };
    let name = format!("{}, rings of {}", batches_of(RING_SIZE_BATCH), size(capacity_bytes));
    stream(extent, name, shape)
}
