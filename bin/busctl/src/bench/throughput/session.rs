//! One bus with its workers, from creation to removal, and the phases they go through together.

use super::Shape;
use super::consume::{ConsumerOrder, ConsumerReport, ConsumerTask};
use super::produce::{ProducerOrder, ProducerReport, ProducerTask};
use crate::bench::affinity::Pins;
use crate::bench::crew::Crew;
use crate::bench::janitor::{Janitor, Litter};
use crate::bench::pace::monotonic_ns;
use crate::bench::plan::{self, Task};
use crate::exit::Failure;
use crate::signal::Stop;
use busway::{Bus, BusStat};
use std::time::{Duration, Instant};

/// Between giving the order and the start, so that everybody has read it and is asleep again.
const NOTICE_NS: u64 = 3_000_000;

/// How long nothing may move on the bus before a run is given up.
const STALL: Duration = Duration::from_secs(20);

/// Between looks at whether anything moves.
const STALL_LOOK: Duration = Duration::from_secs(1);

/// A bus and the workers that are attached to it. Dropping it ends the workers and removes the bus.
pub struct Session<'a> {
    shape: &'a Shape,
    // The order of fields is the order of dropping: workers end before their bus goes.
    crew: Crew,
    producers: Vec<usize>,
    consumers: Vec<usize>,
    bus: Bus,
    litter: Litter,
    janitor: Janitor,
    published: u64,
}

/// What everybody did in one phase, with counts that have been found to add up.
pub struct Phase {
    pub messages: u64,
    /// From the first publish to the last read, or publish if nobody reads.
    pub elapsed_ns: u64,
    /// With the process id of each.
    pub producers: Vec<(u32, ProducerReport)>,
    pub consumers: Vec<(u32, ConsumerReport)>,
    pub begin_ns: u64,
}

impl<'a> Session<'a> {
    /// Creates the bus and has everybody attach: consumers first, so that nothing is missed.
    pub fn open(shape: &'a Shape, stop: &Stop, pins: &Pins) -> Result<Self, Failure> {
        let mut janitor = Janitor::hire()?;
        let name = crate::bench::bus_name();
        let litter = Litter::Bus(name.clone());
        janitor.expect(litter.clone())?;
        let bus = shape.options().create(&name)?;
        let crew = Crew::new(stop);
        let (producers, consumers) = (Vec::new(), Vec::new());
        let mut session =
            Self { shape, crew, producers, consumers, bus, litter, janitor, published: 0 };
        session.hire(&name, pins)?;
        Ok(session)
    }

    fn hire(&mut self, bus: &str, pins: &Pins) -> Result<(), Failure> {
        for index in 0..self.shape.consumers {
            let task = ConsumerTask { bus: bus.to_owned(), index, shape: self.shape.clone() };
            let cpu = pins.of_worker(number(self.shape.producers + index));
            let name = format!("consumer {index}");
            self.consumers.push(plan::hire(&mut self.crew, &name, cpu, Task::Consume(task))?);
        }
        self.crew.gather::<()>(&self.consumers, || Ok(()))?;
        for index in 0..self.shape.producers {
            let task = ProducerTask { bus: bus.to_owned(), index, shape: self.shape.clone() };
            let cpu = pins.of_worker(number(index));
            let name = format!("producer {index}");
            self.producers.push(plan::hire(&mut self.crew, &name, cpu, Task::Produce(task))?);
        }
        self.crew.gather::<()>(&self.producers, || Ok(())).map(drop)
    }

    /// Has `messages` published, read and accounted for.
    ///
    /// # Errors
    /// A worker that failed or died, a standstill, or counts that do not add up.
    pub fn phase(&mut self, messages: u64) -> Result<Phase, Failure> {
        for &member in &self.consumers {
            self.crew.order(member, &ConsumerOrder { messages })?;
        }
        let start_ns = monotonic_ns() + NOTICE_NS;
        for (&member, index) in self.producers.iter().zip(0..) {
            let messages = super::share(messages, self.shape.producers, index);
            self.crew.order(member, &ProducerOrder { start_ns, messages })?;
        }
        let mut watch = Watch::new(&self.bus, self.shape);
        let produced: Vec<ProducerReport> = self.crew.gather(&self.producers, || watch.look())?;
        let consumed: Vec<ConsumerReport> = self.crew.gather(&self.consumers, || watch.look())?;
        self.published += messages;
        self.verify(messages, &produced, &consumed)?;
        let begin_ns = produced.iter().map(|report| report.begin_ns).min().unwrap_or(start_ns);
        let read = consumed.iter().map(|report| report.end_ns);
        let sent = produced.iter().map(|report| report.end_ns);
        // Whoever reads ends later than who publishes; without consumers nobody reads.
        let end_ns = read.chain(sent).max().unwrap_or(begin_ns);
        let pids = |members: &[usize]| -> Vec<u32> {
            members.iter().map(|&member| self.crew.pid(member)).collect()
        };
        Ok(Phase {
            messages,
            elapsed_ns: end_ns.saturating_sub(begin_ns).max(1),
            producers: pids(&self.producers).into_iter().zip(produced).collect(),
            consumers: pids(&self.consumers).into_iter().zip(consumed).collect(),
            begin_ns,
        })
    }

    /// Ends the workers and removes the bus.
    pub fn close(self) -> Result<(), Failure> {
        let Self { crew, bus, litter, mut janitor, .. } = self;
        crew.dismiss()?;
        drop(bus);
        janitor.clear(&litter)
    }

    fn verify(
        &self,
        messages: u64,
        produced: &[ProducerReport],
        consumed: &[ConsumerReport],
    ) -> Result<(), Failure> {
        let published: u64 = produced.iter().map(|report| report.published).sum();
        if published != messages {
            return Err(wrong(format!("{published} of {messages} messages were published")));
        }
        let counted = self.bus.stat().published;
        if counted != self.published {
            return Err(wrong(format!(
                "the bus counts {counted} frames, its producers published {}",
                self.published
            )));
        }
        for (report, index) in consumed.iter().zip(0_u32..) {
            let ConsumerReport { read, lost, .. } = report;
            if read + lost != messages {
                return Err(wrong(format!(
                    "consumer {index} read {read} and lost {lost} of {messages} messages"
                )));
            }
            if *lost > 0 && self.shape.on_full.is_lossless() {
                return Err(wrong(format!(
                    "consumer {index} lost {lost} messages of a lossless bus"
                )));
            }
        }
        let mut orders = consumed.iter().map(|report| report.order_hash);
        let first = orders.next();
        if self.shape.on_full.is_lossless() && orders.any(|order| Some(order) != first) {
            return Err(wrong("consumers of an ordered bus saw different orders"));
        }
        Ok(())
    }
}

impl Phase {
    /// How many messages would be done in `time` at this phase's speed.
    pub fn messages_in(&self, time: Duration) -> u64 {
        let messages = u128::from(self.messages) * time.as_nanos() / u128::from(self.elapsed_ns);
        u64::try_from(messages).unwrap_or(u64::MAX)
    }
}

fn wrong(what: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("counts do not add up: {what}"))
}

fn number(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Notices a bus on which nothing moves.
struct Watch<'a> {
    bus: &'a Bus,
    patience: Duration,
    seen: (u64, u64),
    moved: Instant,
    looked: Instant,
}

impl<'a> Watch<'a> {
    fn new(bus: &'a Bus, shape: &Shape) -> Self {
        let now = Instant::now();
        // Between two batches of a slow beat nothing moves, and that is right.
        let beat = shape.rate_hz.map_or(0.0, |hz| f64::from(shape.batch_messages) / hz);
        let patience = STALL + Duration::try_from_secs_f64(2.0 * beat).unwrap_or(Duration::MAX / 2);
        Self { bus, patience, seen: (0, 0), moved: now, looked: now }
    }

    fn look(&mut self) -> Result<(), Failure> {
        if self.looked.elapsed() < STALL_LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let stat = self.bus.stat();
        let seen = (stat.published, consumed(&stat));
        if seen != self.seen {
            self.seen = seen;
            self.moved = Instant::now();
        }
        if self.moved.elapsed() < self.patience {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "nothing has moved on the bus for {} s: {} published, lags {:?}",
            self.patience.as_secs(),
            stat.published,
            stat.consumers.iter().map(|consumer| consumer.lag).collect::<Vec<_>>()
        )))
    }
}

/// What all consumers have done, as one number that grows.
fn consumed(stat: &BusStat) -> u64 {
    let lanes = stat.consumers.iter().flat_map(|consumer| &consumer.lanes);
    lanes.fold(0, |sum, lane| sum.wrapping_add(lane.position))
}
