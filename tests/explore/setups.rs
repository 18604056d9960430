//! Who is on the bus, what each of them wants, and how much may go wrong.

/// A producer on one of the two lanes.
#[derive(Clone, Debug)]
pub struct ProducerSetup {
    pub lane: u8,
    /// Sits there already; otherwise it is a tenant that waits for the seat.
    pub seated: bool,
    pub mortal: bool,
    /// Holds credit for its first two frames when the exploration begins.
    pub credited: bool,
    /// Frames of each batch that it publishes, one or two.
    pub batches: Vec<u8>,
}

/// How a consumer comes to its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Is attached when the exploration begins.
    Seated,
    /// Waits for the seat and joins, at the latest frame or at the oldest that is held.
    AtLatest,
    AtOldest,
}

/// A consumer in one of the two seats.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSetup {
    pub seat: u8,
    pub arrival: Arrival,
    pub mortal: bool,
    /// May leave at any time.
    pub leaves: bool,
}

/// A bus and everybody on it.
#[derive(Clone, Debug)]
pub struct Setup {
    pub ordered: bool,
    pub evicting: bool,
    /// Entries of the order ring.
    pub entries: u8,
    /// How many frames a producer takes as credit at once, unless a batch is longer.
    pub credit: u8,
    pub producers: Vec<ProducerSetup>,
    pub consumers: Vec<ConsumerSetup>,
    /// The last of them never dies.
    pub recoverers: u8,
    pub crashes: u8,
    /// Who declares or recovers may stop for ever, so often.
    pub stops: u8,
    pub evictions: u8,
    /// Tickets that may be punched although their producer is about to commit them.
    pub punches: u8,
}

impl Setup {
    fn new(producers: Vec<ProducerSetup>, consumers: Vec<ConsumerSetup>) -> Self {
        Self {
            ordered: false,
            evicting: false,
            entries: 2,
            credit: 2,
            producers,
            consumers,
            recoverers: 1,
            crashes: 1,
            stops: 0,
            evictions: 0,
            punches: 0,
        }
    }

    fn ordered(producers: Vec<ProducerSetup>, consumers: Vec<ConsumerSetup>) -> Self {
        Self { ordered: true, ..Self::new(producers, consumers) }
    }

    /// With as many more deaths, and frames of the first producer, as `EXPLORE_MORE` says.
    pub fn more(mut self) -> Self {
        let more = std::env::var("EXPLORE_MORE").map_or(0, |more| more.parse().unwrap());
        self.crashes += more;
        self.producers[0].batches.extend(std::iter::repeat_n(1, usize::from(more)));
        self
    }
}

fn producer(lane: u8, batches: &[u8]) -> ProducerSetup {
    let batches = batches.to_vec();
    ProducerSetup { lane, seated: true, mortal: true, credited: false, batches }
}

fn credited(lane: u8, batches: &[u8]) -> ProducerSetup {
    ProducerSetup { credited: true, ..producer(lane, batches) }
}

fn tenant(lane: u8, batches: &[u8]) -> ProducerSetup {
    ProducerSetup { seated: false, mortal: false, ..producer(lane, batches) }
}

fn consumer(seat: u8) -> ConsumerSetup {
    ConsumerSetup { seat, arrival: Arrival::Seated, mortal: true, leaves: false }
}

fn bystander(seat: u8) -> ConsumerSetup {
    ConsumerSetup { mortal: false, ..consumer(seat) }
}

fn newcomer(seat: u8) -> ConsumerSetup {
    ConsumerSetup { arrival: Arrival::AtOldest, ..consumer(seat) }
}

fn leaver(seat: u8) -> ConsumerSetup {
    ConsumerSetup { leaves: true, ..consumer(seat) }
}

/// Two producers and a tenant, a consumer, and two who recover, of which one may die of it.
pub fn lanes() -> Setup {
    let producers = vec![producer(0, &[2, 1]), producer(1, &[1]), tenant(0, &[2])];
    Setup { recoverers: 2, crashes: 2, ..Setup::new(producers, vec![consumer(0)]) }
}

/// A consumer that leaves, one that takes its seat, and one that comes to the other.
pub fn seats() -> Setup {
    let latest = ConsumerSetup { arrival: Arrival::AtLatest, ..newcomer(1) };
    let consumers = vec![leaver(0), newcomer(0), latest];
    Setup::new(vec![producer(0, &[1, 2, 1])], consumers)
}

/// One of three consumers is evicted: the one that stays, the one that leaves, or the one that
/// takes its seat.
pub fn evicting() -> Setup {
    let consumers = vec![bystander(0), leaver(1), newcomer(1)];
    let setup = Setup::new(vec![producer(0, &[1, 2, 1])], consumers);
    Setup { evicting: true, evictions: 1, ..setup }
}

/// A consumer is evicted, the producer dies while it overwrites, and a tenant goes on.
pub fn heir() -> Setup {
    let setup = Setup::new(vec![producer(0, &[2, 2]), tenant(0, &[1])], vec![consumer(0)]);
    Setup { evicting: true, evictions: 1, credit: 1, ..setup }
}

/// Two producers and two consumers, all at the same two entries.
pub fn punching() -> Setup {
    let second = ProducerSetup { mortal: false, ..credited(1, &[2]) };
    let setup = Setup::ordered(vec![credited(0, &[1]), second], vec![bystander(0), bystander(1)]);
    Setup { punches: 1, ..setup }
}

/// One producer, and two consumers that follow it round the ring.
pub fn laps() -> Setup {
    let setup = Setup::ordered(vec![credited(0, &[1, 1, 1])], vec![consumer(0), bystander(1)]);
    Setup { punches: 1, ..setup }
}

/// A producer dies, and a tenant and two recoverers come for its seat.
pub fn recovering() -> Setup {
    let producers = vec![credited(0, &[1, 1]), tenant(0, &[1])];
    let setup = Setup::ordered(producers, vec![consumer(0)]);
    Setup { recoverers: 2, crashes: 2, ..setup }
}

/// A producer dies, and another goes round the ring, over the dead one's entry.
pub fn reuse() -> Setup {
    let other = ProducerSetup { mortal: false, ..credited(1, &[1, 1]) };
    Setup::ordered(vec![credited(0, &[1]), other, tenant(0, &[1])], vec![bystander(0)])
}

/// A consumer joins an order beside one that was there all along.
pub fn joining() -> Setup {
    let other = ProducerSetup { mortal: false, ..credited(1, &[1]) };
    Setup::ordered(vec![credited(0, &[1]), other], vec![newcomer(0), bystander(1)])
}

/// A consumer of an order is evicted, or the one that takes its seat.
pub fn evicting_in_order() -> Setup {
    let consumers = vec![leaver(0), newcomer(0)];
    let setup = Setup::ordered(vec![producer(0, &[1, 1, 1])], consumers);
    Setup { evicting: true, evictions: 1, ..setup }
}

/// A consumer dies, and of those who ask after it, the only recoverer, the newcomer in its seat and
/// the producer that it holds up, one stops.
pub fn stopping() -> Setup {
    let consumers = vec![consumer(0), newcomer(0), bystander(1)];
    let setup = Setup::new(vec![producer(0, &[2, 1])], consumers);
    Setup { stops: 1, ..setup }
}

/// The same at an order ring of two entries.
pub fn stopping_in_order() -> Setup {
    let consumers = vec![consumer(0), newcomer(0)];
    let setup = Setup::ordered(vec![credited(0, &[1, 1, 1])], consumers);
    Setup { stops: 1, ..setup }
}

/// Two consumers die in one seat, one after the other, and two recoverers, a newcomer and the producer
/// that waits for them meet there, of whom two stop.
pub fn crowding() -> Setup {
    let setup = Setup::new(vec![producer(0, &[2, 1])], vec![consumer(0), newcomer(0)]);
    Setup { recoverers: 2, crashes: 2, stops: 2, ..setup }
}
