//! The consumer process of a throughput run: it checks every byte and every position that it sees.

use super::Shape;
use crate::bench::latency::{Buckets, Latency};
use crate::bench::pace::monotonic_ns;
use crate::bench::pattern::{self, Origin};
use crate::bench::worker::Station;
use crate::exit::Failure;
use busway::{Bus, Consumer, FrameRef, PollError, Topology};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a consumer waits at a time; between waits it looks whether all is read.
const LOOK: Duration = Duration::from_millis(100);

/// What a consumer process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumerTask {
    pub bus: String,
    /// Its number among the consumers.
    pub index: u32,
    pub shape: Shape,
}

/// One phase: read until so many messages are read or lost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ConsumerOrder {
    pub messages: u64,
}

/// What one consumer saw in a phase.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConsumerReport {
    pub read: u64,
    pub lost: u64,
    pub end_ns: u64,
    /// From the intended send time; empty unless the run is paced.
    pub latency: Buckets,
    /// Of the order in which frames of all lanes came, since the attach (`ordered` only).
    pub order_hash: u64,
}

/// The consumer process.
pub fn consume(station: &mut Station, task: &ConsumerTask) -> Result<(), Failure> {
    let bus = Bus::open(&task.bus)?;
    let name = format!("consumer {}", task.index);
    let mut consumer = bus.consumer().name(name).wait(task.shape.wait).attach()?;
    let mut checker = Checker::new(&task.shape, bus.info().lanes);
    station.report(&())?;
    while let Some(order) = station.next_order::<ConsumerOrder>()? {
        station.report(&phase(&mut consumer, &mut checker, order, &task.shape)?)?;
    }
    consumer.detach();
    Ok(())
}

fn phase(
    consumer: &mut Consumer,
    checker: &mut Checker,
    order: ConsumerOrder,
    shape: &Shape,
) -> Result<ConsumerReport, Failure> {
    let most = usize::try_from(shape.poll_messages).unwrap_or(usize::MAX);
    let (read_before, lost_before) = (checker.read, consumer.lost());
    checker.latency.clear();
    loop {
        let done = (checker.read - read_before) + (consumer.lost() - lost_before);
        if done >= order.messages {
            break;
        }
        let polled = consumer.poll_batch(most, |frames| {
            for frame in frames {
                checker.check(&frame);
            }
        });
        match polled {
            Ok(0) => match consumer.recv_timeout(LOOK) {
                Ok(Some(frame)) => checker.check(&frame),
                // Not yet; or nobody is attached at the moment, which is no end here.
                Ok(None) | Err(PollError::Closed) => {}
                Err(error) => return Err(error.into()),
            },
            Ok(_) | Err(PollError::Closed) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(wrong) = checker.wrong.take() {
            return Err(Failure::failed(wrong));
        }
    }
    let end_ns = monotonic_ns();
    consumer.release();
    let lost = consumer.lost() - lost_before;
    checker.reconcile(consumer)?;
    Ok(ConsumerReport {
        read: checker.read - read_before,
        lost,
        end_ns,
        latency: checker.latency.buckets(),
        order_hash: checker.order_hash,
    })
}

/// Knows what must come next on each lane.
struct Checker {
    /// The next position of each lane; lanes of a new bus start at 0.
    next: Vec<u64>,
    read: u64,
    /// Positions that were jumped over, from the first frame on.
    skipped: u64,
    lossless: bool,
    timed: bool,
    ordered: bool,
    order_hash: u64,
    latency: Latency,
    /// The first thing that was wrong.
    wrong: Option<String>,
}

impl Checker {
    fn new(shape: &Shape, lanes: u32) -> Self {
        Self {
            next: vec![0; usize::try_from(lanes).unwrap_or(0)],
            read: 0,
            skipped: 0,
            lossless: shape.on_full.is_lossless(),
            timed: shape.rate_hz.is_some(),
            ordered: shape.topology == Topology::Ordered,
            order_hash: 0,
            latency: Latency::new(),
            wrong: None,
        }
    }

    #[inline]
    fn check(&mut self, frame: &FrameRef<'_>) {
        let origin = Origin { lane: frame.lane(), sequence: frame.position() };
        self.read += 1;
        self.check_place(origin);
        match pattern::check(frame.payload(), origin) {
            Ok(intended_ns) if self.timed => {
                self.latency.record(monotonic_ns().saturating_sub(intended_ns));
            }
            Ok(_) => {}
            Err(mismatch) => self.blame(mismatch.to_string()),
        }
        if self.ordered {
            let place = origin.sequence ^ (u64::from(origin.lane) << 48);
            self.order_hash = (self.order_hash ^ place).wrapping_mul(0x0100_0000_01b3);
        }
    }

    #[inline]
    fn check_place(&mut self, origin: Origin) {
        let lane = usize::try_from(origin.lane).unwrap_or(usize::MAX);
        let Some(next) = self.next.get_mut(lane) else {
            return self.blame(format!("there is no lane {}", origin.lane));
        };
        let expected = std::mem::replace(next, origin.sequence + 1);
        if origin.sequence == expected {
            return;
        }
        if origin.sequence > expected && !self.lossless {
            self.skipped += origin.sequence - expected;
            return;
        }
        self.blame(format!(
            "lane {}: position {} came where {expected} was next",
            origin.lane, origin.sequence
        ));
    }

    #[cold]
    fn blame(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }

    /// At the end of a phase all that was skipped must have been counted as lost, and nothing else.
    ///
    /// On an `ordered` bus the last frames of a lane may be lost too, when the others' frames have
    /// pushed them out of the order: then the lane's position is past what was read last.
    fn reconcile(&mut self, consumer: &Consumer) -> Result<(), Failure> {
        if !self.lossless {
            for (lane, next) in (0..).zip(&mut self.next) {
                let position = consumer.lane_position(lane).unwrap_or(*next);
                self.skipped += position.saturating_sub(*next);
                *next = position.max(*next);
            }
        }
        let lost = consumer.lost();
        if self.skipped == lost {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "positions show that {} messages were lost, the consumer counted {lost}",
            self.skipped
        )))
    }
}
